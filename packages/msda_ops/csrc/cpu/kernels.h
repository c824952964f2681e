// What the CPU kernels of every instruction set offer, and the piece of work that one call does.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../sampling.h"

namespace msda::cpu {

// Numbers computed with together are 64 bytes: one AVX-512 register, two AVX or four SSE or NEON registers.
constexpr int LANE_BYTES = 64;

template <typename Real>
constexpr int LANES = LANE_BYTES / int(sizeof(Real));

// The level of every point of a query, one array per quantity so that points are computed side by side.
struct PointLevels {
    const int32_t *height, *width, *start;  // [points] each
};

MSDA_INLINE Level level_of(const PointLevels& levels, int64_t point) {
    return {levels.height[point], levels.width[point], levels.start[point]};
}

// One head of one image, queries [first_query, last_query). Pointers are already at that image and head; strides count
// numbers. Tensors as in msda.h.
template <typename Real>
struct Work {
    PointLevels levels;
    int64_t points;  // of all levels together
    int64_t channels;
    int64_t tokens;
    int64_t first_query, last_query;

    const Real* value;
    int64_t token_stride;  // value, grad_value
    bool pack;             // copy the head's rows side by side first; otherwise `channels` fills whole lanes, and
                           // grad_value is zero on entry
    const Real* locations;
    const Real* weights;
    int64_t point_stride;  // weights from query to query (locations: twice that)
    int64_t query_stride;  // output, grad_output

    Real* output = nullptr;             // forward
    const Real* grad_output = nullptr;  // backward, from here on
    Real* grad_value = nullptr;
    Real* grad_locations = nullptr;
    Real* grad_weights = nullptr;
};

template <typename Real>
struct Kernels {
    size_t (*scratch_bytes)(const Work<Real>&);
    void (*forward)(const Work<Real>&, void* scratch);
    void (*backward)(const Work<Real>&, void* scratch);
};

#define MSDA_DECLARE_KERNELS(INSTRUCTIONS)     \
    namespace INSTRUCTIONS {                   \
    extern const Kernels<float> float_kernels; \
    extern const Kernels<double> double_kernels; \
    }

MSDA_DECLARE_KERNELS(baseline)
MSDA_DECLARE_KERNELS(avx2)
MSDA_DECLARE_KERNELS(avx512)

}  // namespace msda::cpu
