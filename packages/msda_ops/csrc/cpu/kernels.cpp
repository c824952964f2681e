// The CPU kernels. Compiled once per instruction set, with MSDA_INSTRUCTIONS naming it; no standard C++ header may be
// included here, or the linker could pick a copy of its inline functions that other machines cannot run.
#include <string.h>

#include "kernels.h"
#include "lanes.h"

namespace msda::cpu::MSDA_INSTRUCTIONS {
namespace {

// The numbers of all points of one query, one array per quantity so that points are computed side by side.
template <typename Real>
struct Plan {
    int32_t* token[CORNERS];
    Real* weight[CORNERS];  // bilinear weight times attention
    Real *right, *down;

    static size_t bytes(int64_t points) {
        return size_t(points) * (CORNERS * (sizeof(int32_t) + sizeof(Real)) + 2 * sizeof(Real));
    }

    Plan(void* memory, int64_t points) {
        Real* reals = static_cast<Real*>(memory);
        for (Real*& array : weight) array = reals, reals += points;
        right = reals, down = reals + points;
        int32_t* integers = reinterpret_cast<int32_t*>(down + points);
        for (int32_t*& array : token) array = integers, integers += points;
    }
};

// Plans all points of a query. Separate arguments let the compiler see that no two arrays overlap.
template <typename Real>
MSDA_INLINE void plan_points(int64_t points, const int32_t* __restrict height, const int32_t* __restrict width,
                             const int32_t* __restrict start, const Real* __restrict location,
                             const Real* __restrict attention, int32_t* __restrict token0, int32_t* __restrict token1,
                             int32_t* __restrict token2, int32_t* __restrict token3, Real* __restrict weight0,
                             Real* __restrict weight1, Real* __restrict weight2, Real* __restrict weight3,
                             Real* __restrict right, Real* __restrict down) {
    for (int64_t i = 0; i < points; ++i) {
        const Cell<Real> cell = locate(Level{height[i], width[i], start[i]}, location[2 * i], location[2 * i + 1]);
        Real weight[CORNERS];
        corner_weights(cell.right, cell.down, attention[i], weight);
        token0[i] = cell.token[0], token1[i] = cell.token[1], token2[i] = cell.token[2], token3[i] = cell.token[3];
        weight0[i] = weight[0], weight1[i] = weight[1], weight2[i] = weight[2], weight3[i] = weight[3];
        right[i] = cell.right, down[i] = cell.down;
    }
}

template <typename Real>
MSDA_NOINLINE void fill(const Plan<Real>& plan, const Work<Real>& work, int64_t query) {
    const int64_t point = query * work.point_stride;
    plan_points(work.points, work.levels.height, work.levels.width, work.levels.start, work.locations + 2 * point,
                work.weights + point, plan.token[0], plan.token[1], plan.token[2], plan.token[3], plan.weight[0],
                plan.weight[1], plan.weight[2], plan.weight[3], plan.right, plan.down);
}

// Rows of one head; a corner outside the map gets a row of its own.
template <typename Real>
struct Rows {
    Real* first;
    int64_t stride;
    Real* outside;

    Real* operator[](int32_t token) const { return token < 0 ? outside : first + token * stride; }
};

// `channels` rounded up to whole lanes.
template <typename Real>
int64_t padded(int64_t channels) {
    return (channels + LANES<Real> - 1) / LANES<Real> * LANES<Real>;
}

template <typename Real>
void pack(const Work<Real>& work, Real* packed) {
    const int64_t row = padded<Real>(work.channels);
    for (int64_t token = 0; token < work.tokens; ++token) {
        memcpy(packed + token * row, work.value + token * work.token_stride, work.channels * sizeof(Real));
        memset(packed + token * row + work.channels, 0, (row - work.channels) * sizeof(Real));
    }
}

template <typename Real>
size_t scratch_bytes(const Work<Real>& work) {
    const size_t row = size_t(padded<Real>(work.channels)) * sizeof(Real);
    const size_t planes = work.pack ? (work.grad_output ? 2 : 1) : 0;
    return planes * work.tokens * row + 4 * row + Plan<Real>::bytes(work.points);
}

// Adds up BLOCKS * LANES channels of all corners of all points.
template <int BLOCKS, typename Real>
MSDA_INLINE void gather(const Plan<Real>& plan, int64_t points, const Rows<const Real>& rows, int64_t channel,
                        Real* out) {
    Lanes<Real> sum[BLOCKS] = {};
    for (int64_t i = 0; i < points; ++i) {
        for (int corner = 0; corner < CORNERS; ++corner) {
            const Real weight = plan.weight[corner][i];
            const Real* from = rows[plan.token[corner][i]] + channel;
            for (int b = 0; b < BLOCKS; ++b) sum[b] += weight * load(from + b * LANES<Real>);
        }
    }
    for (int b = 0; b < BLOCKS; ++b) store(out + b * LANES<Real>, sum[b]);
}

template <typename Real>
void forward(const Work<Real>& work, void* scratch) {
    const int64_t row = padded<Real>(work.channels);
    Real* zeros = static_cast<Real*>(scratch);
    Real* result = zeros + row;
    Real* packed = result + row;
    memset(zeros, 0, row * sizeof(Real));
    Rows<const Real> rows{work.value, work.token_stride, zeros};
    void* plan_memory = packed;
    if (work.pack) {
        pack(work, packed);
        rows = {packed, row, zeros};
        plan_memory = packed + work.tokens * row;
    }
    Plan<Real> plan(plan_memory, work.points);
    for (int64_t q = work.first_query; q < work.last_query; ++q) {
        fill(plan, work, q);
        int64_t c = 0;
        for (; c + 4 * LANES<Real> <= row; c += 4 * LANES<Real>) gather<4>(plan, work.points, rows, c, result + c);
        for (; c + 2 * LANES<Real> <= row; c += 2 * LANES<Real>) gather<2>(plan, work.points, rows, c, result + c);
        for (; c < row; c += LANES<Real>) gather<1>(plan, work.points, rows, c, result + c);
        memcpy(work.output + q * work.query_stride, result, work.channels * sizeof(Real));
    }
}

// <gradient, value> per corner; and weight * gradient added to each corner's gradient row.
template <typename Real>
MSDA_INLINE void scatter(const Plan<Real>& plan, int64_t i, const Real* gradient, const Rows<const Real>& values,
                         const Rows<Real>& grad_values, int64_t row, Real (&dot)[CORNERS]) {
    for (int corner = 0; corner < CORNERS; ++corner) {
        const int32_t token = plan.token[corner][i];
        const Real* value = values[token];
        Real* grad_value = grad_values[token];
        const Real weight = plan.weight[corner][i];
        Lanes<Real> product = {};
        for (int64_t c = 0; c < row; c += LANES<Real>) {
            const Lanes<Real> lanes = load(gradient + c);
            product += lanes * load(value + c);
            Lanes<Real> sum = load(grad_value + c);
            sum += weight * lanes;
            store(grad_value + c, sum);
        }
        dot[corner] = sum_lanes<Real>(product);
    }
}

// Works on all queries of a head in order, so the sum in grad_value never depends on threads.
template <typename Real>
void backward(const Work<Real>& work, void* scratch) {
    const int64_t row = padded<Real>(work.channels);
    Real* zeros = static_cast<Real*>(scratch);
    Real* gradient = zeros + row;  // the rest of the last lanes stays zero
    Real* unwanted = gradient + row;
    Real* packed = unwanted + row;
    Real* packed_gradient = packed + (work.pack ? work.tokens * row : 0);
    memset(scratch, 0, 3 * row * sizeof(Real));
    Rows<const Real> values{work.value, work.token_stride, zeros};
    Rows<Real> grad_values{work.grad_value, work.token_stride, unwanted};
    if (work.pack) {
        pack(work, packed);
        values = {packed, row, zeros};
        grad_values = {packed_gradient, row, unwanted};
        memset(packed_gradient, 0, work.tokens * row * sizeof(Real));
    }
    Plan<Real> plan(packed_gradient + (work.pack ? work.tokens * row : 0), work.points);
    for (int64_t q = work.first_query; q < work.last_query; ++q) {
        const int64_t point = q * work.point_stride;
        fill(plan, work, q);
        memcpy(gradient, work.grad_output + q * work.query_stride, work.channels * sizeof(Real));
        for (int64_t i = 0; i < work.points; ++i) {
            Real dot[CORNERS];
            scatter(plan, i, gradient, values, grad_values, row, dot);
            const PointGradient<Real> gradients = point_gradient(
                level_of(work.levels, i), plan.right[i], plan.down[i], work.weights[point + i], dot);
            work.grad_locations[2 * (point + i)] = gradients.x;
            work.grad_locations[2 * (point + i) + 1] = gradients.y;
            work.grad_weights[point + i] = gradients.attention;
        }
    }
    if (!work.pack) return;
    for (int64_t token = 0; token < work.tokens; ++token) {
        memcpy(work.grad_value + token * work.token_stride, packed_gradient + token * row,
               work.channels * sizeof(Real));
    }
}

}  // namespace

extern const Kernels<float> float_kernels = {scratch_bytes<float>, forward<float>, backward<float>};
extern const Kernels<double> double_kernels = {scratch_bytes<double>, forward<double>, backward<double>};

}  // namespace msda::cpu::MSDA_INSTRUCTIONS
