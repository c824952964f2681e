// The arithmetic of one sampling point, shared by the CPU and the CUDA kernels.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define MSDA_INLINE static __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// Internal linkage: translation units for different instruction sets must not share one copy.
#define MSDA_INLINE static inline __attribute__((always_inline))
#define MSDA_NOINLINE static __attribute__((noinline))
#else
#define MSDA_INLINE static inline
#define MSDA_NOINLINE static
#endif

namespace msda {

constexpr int CORNERS = 4;         // top left, top right, bottom left, bottom right
constexpr int32_t NO_TOKEN = -1;   // a corner outside the map: it reads zero and receives nothing

struct Level {
    int32_t height, width;
    int32_t start;  // token of the top left pixel
};

// Where a sampling point lies: the tokens around it and how far it is from the left and from the top ones (0 to 1).
template <typename Real>
struct Cell {
    int32_t token[CORNERS];
    Real right, down;
};

// Written without branches so that compilers can handle many points at once.
template <typename Real>
MSDA_INLINE Cell<Real> locate(const Level& level, Real location_x, Real location_y) {
    const Real x = location_x * Real(level.width) - Real(0.5);
    const Real y = location_y * Real(level.height) - Real(0.5);
    const bool counts = (x > Real(-1)) & (y > Real(-1)) & (x < Real(level.width)) & (y < Real(level.height));
    const Real inside_x = counts ? x : Real(0);  // also keeps NaN and huge numbers away from the conversion below
    const Real inside_y = counts ? y : Real(0);
    int32_t left = int32_t(inside_x);  // towards zero; one less below zero gives the floor
    int32_t top = int32_t(inside_y);
    left -= inside_x < Real(left) ? 1 : 0;
    top -= inside_y < Real(top) ? 1 : 0;

    const bool has_left = counts & (left >= 0), has_right = counts & (left + 1 < level.width);
    const bool has_top = top >= 0, has_bottom = top + 1 < level.height;
    const int32_t first = level.start + top * level.width + left;
    const int32_t below = first + level.width;
    Cell<Real> cell;
    cell.token[0] = (has_top & has_left) ? first : NO_TOKEN;
    cell.token[1] = (has_top & has_right) ? first + 1 : NO_TOKEN;
    cell.token[2] = (has_bottom & has_left) ? below : NO_TOKEN;
    cell.token[3] = (has_bottom & has_right) ? below + 1 : NO_TOKEN;
    cell.right = inside_x - Real(left);
    cell.down = inside_y - Real(top);
    return cell;
}

// Weights of the four corners; they add up to `attention`.
template <typename Real>
MSDA_INLINE void corner_weights(Real right, Real down, Real attention, Real (&weight)[CORNERS]) {
    const Real lower = down * attention, upper = attention - lower;
    weight[1] = right * upper;
    weight[0] = upper - weight[1];
    weight[3] = right * lower;
    weight[2] = lower - weight[3];
}

template <typename Real>
struct PointGradient {
    Real x, y, attention;
};

// Gradient of a point from dot[k] = <grad_output, value at corner k> (zero for a corner outside the map).
template <typename Real>
MSDA_INLINE PointGradient<Real> point_gradient(const Level& level, Real right, Real down, Real attention,
                                               const Real (&dot)[CORNERS]) {
    const Real along_top = dot[1] - dot[0], along_bottom = dot[3] - dot[2];
    const Real on_top = dot[0] + right * along_top, on_bottom = dot[2] + right * along_bottom;
    PointGradient<Real> gradient;
    gradient.attention = on_top + down * (on_bottom - on_top);
    gradient.x = Real(level.width) * attention * (along_top + down * (along_bottom - along_top));
    gradient.y = Real(level.height) * attention * (on_bottom - on_top);
    return gradient;
}

}  // namespace msda
