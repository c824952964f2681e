// The CUDA kernels. A warp works on a few (image, query, head) items at once; the lanes of one item are its group.
//
//     plan     one lane per sampling point: read location and weight, find the corners, put them in shared memory
//     gather   one lane per few channels: read the corner rows of the group's points (and add to them, backward)
//     settle   one lane per sampling point again: turn sums over channels into the point's gradients (backward only)
//
// so that no coordinate is computed twice and every access to global memory is as wide as the channels allow. The three
// steps repeat until all points are done, one point per lane at a time. Warps never wait for each other.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "../sampling.h"
#include "layout.h"

namespace msda::cuda {

template <typename Value>
struct RealOf {
    using type = float;
};
template <>
struct RealOf<double> {
    using type = double;
};

// Blocks that should fit on a multiprocessor. It leaves each lane the registers to have four rows on their way at once.
constexpr int FORWARD_BLOCKS = 4;
constexpr int BACKWARD_BLOCKS = 3;

// A location far outside every map, for lanes without a point.
constexpr float NOWHERE = -2;

// What sums of Value are kept in.
template <typename Value>
using Real = typename RealOf<Value>::type;

// N neighbouring channels, read and written in one access.
template <typename Value, int N>
struct alignas(sizeof(Value) * N) Channels {
    Value channel[N];
};

template <int N, typename Value>
__device__ __forceinline__ void read(const Value* from, Real<Value> (&to)[N], int32_t step = 0) {
    const Channels<Value, N> channels = reinterpret_cast<const Channels<Value, N>*>(from)[step];
#pragma unroll
    for (int c = 0; c < N; ++c) to[c] = static_cast<Real<Value>>(channels.channel[c]);
}

template <int N, typename Value>
__device__ __forceinline__ void write(Value* to, const Real<Value> (&from)[N]) {
    Channels<Value, N> channels;
#pragma unroll
    for (int c = 0; c < N; ++c) channels.channel[c] = static_cast<Value>(from[c]);
    *reinterpret_cast<Channels<Value, N>*>(to) = channels;
}

template <typename Number>
__device__ __forceinline__ void add_four(Number* to, float4 four) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    atomicAdd(reinterpret_cast<float4*>(to), four);
#endif
}

// to += factor * terms, while other lanes may do the same.
template <int N, typename Number>
__device__ __forceinline__ void add(Number* to, Number factor, const Number (&terms)[N]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    constexpr bool FOUR_AT_ONCE = N % 4 == 0 && sizeof(Number) == sizeof(float);
#else
    constexpr bool FOUR_AT_ONCE = false;
#endif
    if constexpr (FOUR_AT_ONCE) {
#pragma unroll
        for (int c = 0; c < N; c += 4) {
            const float4 four{factor * terms[c], factor * terms[c + 1], factor * terms[c + 2], factor * terms[c + 3]};
            add_four(to + c, four);
        }
    } else {
#pragma unroll
        for (int c = 0; c < N; ++c) atomicAdd(to + c, factor * terms[c]);
    }
}

// What the gather step knows of a point. Rows are counted in accesses from the first token's, so that the address of a
// row takes one instruction. A corner outside the map has weight zero and stands for another corner of the same point,
// so that all four rows can be read at once without asking; only a point that does not count has NO_TOKEN instead.
// Rows and weights lie apart so that each is one 16-byte access in float32.
template <typename Number>
struct PlannedPoints {
    struct alignas(16) Rows {
        int32_t corner[CORNERS];
    };
    struct alignas(16) Weights {
        Number corner[CORNERS];
    };
    Rows rows[WARP];
    Weights weights[WARP];
};

// The lane's place in its group and the group's item.
struct Place {
    int lane, member;
    int64_t item;
    bool exists;
    int64_t image, query_head;  // query_head = query * heads + head
    int head;

    __device__ __forceinline__ Place(const Layout& layout) {
        lane = int(threadIdx.x) % WARP;
        member = lane % layout.group;
        const int64_t warp = int64_t(blockIdx.x) * (THREADS / WARP) + int(threadIdx.x) / WARP;
        item = warp * (WARP / layout.group) + lane / layout.group;
        exists = item < layout.items;
        const int64_t items_per_image = int64_t(layout.queries) * layout.heads;
        image = exists ? item / items_per_image : 0;
        query_head = exists ? item % items_per_image : 0;
        head = int(query_head % layout.heads);
    }
};

// A point as its lane sees it in the plan and settle steps. Lanes beyond the last point have none.
template <typename Number>
struct OwnPoint {
    bool exists;
    int64_t index;  // among all points of the problem
    Level level;
    Number attention;
    Cell<Number> cell;

    __device__ __forceinline__ OwnPoint(const Layout& layout, const Place& place, int sample, const Number* locations,
                                        const Number* weights)
        : exists(place.exists && sample < layout.samples),
          index(exists ? place.item * layout.samples + sample : 0),
          level(layout.level[exists ? sample / layout.points : 0]),
          attention(exists ? weights[index] : Number(0)),
          cell(locate(level, exists ? locations[2 * index] : Number(NOWHERE),
                      exists ? locations[2 * index + 1] : Number(NOWHERE))) {}

    __device__ __forceinline__ void plan(PlannedPoints<Number>& planned, int lane, int accesses_per_token) const {
        Number weight[CORNERS];
        corner_weights(cell.right, cell.down, attention, weight);
        const int32_t some_corner = max(max(cell.token[0], cell.token[1]), max(cell.token[2], cell.token[3]));
#pragma unroll
        for (int corner = 0; corner < CORNERS; ++corner) {
            const bool outside = cell.token[corner] == NO_TOKEN;
            const int32_t token = outside ? some_corner : cell.token[corner];
            planned.rows[lane].corner[corner] = token == NO_TOKEN ? NO_TOKEN : token * accesses_per_token;
            planned.weights[lane].corner[corner] = outside ? Number(0) : weight[corner];
        }
    }

    // `dot` holds <grad_output, value row> for the rows that plan() named.
    __device__ __forceinline__ PointGradient<Number> settle(const Number (&dot)[CORNERS]) const {
        Number inside[CORNERS];
#pragma unroll
        for (int corner = 0; corner < CORNERS; ++corner) {
            inside[corner] = cell.token[corner] == NO_TOKEN ? Number(0) : dot[corner];
        }
        return point_gradient(level, cell.right, cell.down, attention, inside);
    }
};

// Reads the rows of all four corners of a planned point that counts.
template <int N, typename Value>
__device__ __forceinline__ void read_corners(const Value* column, const typename PlannedPoints<Real<Value>>::Rows& rows,
                                             Real<Value> (&channels)[CORNERS][N]) {
#pragma unroll
    for (int corner = 0; corner < CORNERS; ++corner) read<N>(column, channels[corner], rows.corner[corner]);
}

template <typename Value, int N>
__global__ void __launch_bounds__(THREADS, FORWARD_BLOCKS)
    forward_kernel(const __grid_constant__ Layout layout, const Value* __restrict__ value,
                   const Real<Value>* __restrict__ locations, const Real<Value>* __restrict__ weights,
                   Value* __restrict__ output) {
    using Number = Real<Value>;
    __shared__ PlannedPoints<Number> planned_by_warp[THREADS / WARP];
    PlannedPoints<Number>& planned = planned_by_warp[threadIdx.x / WARP];
    const Place place(layout);
    const int first_planned = place.lane - place.member;
    const int accesses_per_token = layout.heads * layout.channels / N;

    for (int start = 0; start < layout.channels; start += layout.group * N) {
        const int channel = start + place.member * N;
        const bool reads = place.exists && channel < layout.channels;
        const Value* column =
            value + (place.image * layout.tokens * layout.heads + place.head) * layout.channels + channel;
        Number sum[N] = {};
        for (int first = 0; first < layout.samples; first += layout.group) {
            __syncwarp();  // the points planned before have been used
            OwnPoint<Number>(layout, place, first + place.member, locations, weights)
                .plan(planned, place.lane, accesses_per_token);
            __syncwarp();
            const int points = min(layout.group, layout.samples - first);
            for (int p = 0; p < points; ++p) {
                const auto rows = planned.rows[first_planned + p];
                const auto corner_weight = planned.weights[first_planned + p];
                if (!reads || rows.corner[0] == NO_TOKEN) continue;
                Number channels[CORNERS][N];
                read_corners<N>(column, rows, channels);
#pragma unroll
                for (int corner = 0; corner < CORNERS; ++corner) {
#pragma unroll
                    for (int c = 0; c < N; ++c) sum[c] += corner_weight.corner[corner] * channels[corner][c];
                }
            }
        }
        if (reads) write<N>(output + place.item * layout.channels + channel, sum);
    }
}

// Adds each of four numbers over the lanes of a group and hands the totals to `keep(corner, total)` on one lane each.
// From four lanes on, every exchange halves what is left to add.
template <typename Number, typename Keep>
__device__ __forceinline__ void sum_over_group(const Number (&part)[CORNERS], int group, int member, Keep keep) {
    constexpr unsigned ALL = 0xffffffffu;
    if (group >= CORNERS) {
        const bool odd = member & 1, upper = member & 2;
        const Number low = (odd ? part[1] : part[0]) + __shfl_xor_sync(ALL, odd ? part[0] : part[1], 1);
        const Number high = (odd ? part[3] : part[2]) + __shfl_xor_sync(ALL, odd ? part[2] : part[3], 1);
        Number total = (upper ? high : low) + __shfl_xor_sync(ALL, upper ? low : high, 2);
        for (int distance = CORNERS; distance < group; distance *= 2) total += __shfl_xor_sync(ALL, total, distance);
        if (member < CORNERS) keep(member, total);
        return;
    }
#pragma unroll
    for (int corner = 0; corner < CORNERS; ++corner) {
        Number total = part[corner];
        if (group == 2) total += __shfl_xor_sync(ALL, total, 1);
        if (member == 0) keep(corner, total);
    }
}

// grad_value is zero on entry.
template <typename Value, int N>
__global__ void __launch_bounds__(THREADS, BACKWARD_BLOCKS)
    backward_kernel(const __grid_constant__ Layout layout, const Value* __restrict__ grad_output,
                    const Value* __restrict__ value, const Real<Value>* __restrict__ locations,
                    const Real<Value>* __restrict__ weights, Real<Value>* __restrict__ grad_value,
                    Real<Value>* __restrict__ grad_locations, Real<Value>* __restrict__ grad_weights) {
    using Number = Real<Value>;
    struct alignas(16) Dots {
        Number corner[CORNERS];  // <grad_output, value at the corner>
    };
    __shared__ PlannedPoints<Number> planned_by_warp[THREADS / WARP];
    __shared__ Dots dots_by_warp[THREADS / WARP][WARP];
    PlannedPoints<Number>& planned = planned_by_warp[threadIdx.x / WARP];
    Dots(&dots)[WARP] = dots_by_warp[threadIdx.x / WARP];
    const Place place(layout);
    const int first_planned = place.lane - place.member;
    const int accesses_per_token = layout.heads * layout.channels / N;

    for (int first = 0; first < layout.samples; first += layout.group) {
        __syncwarp();  // the points planned before have been used
        const OwnPoint<Number> own(layout, place, first + place.member, locations, weights);
        own.plan(planned, place.lane, accesses_per_token);
        __syncwarp();
        const int points = min(layout.group, layout.samples - first);
        for (int start = 0; start < layout.channels; start += layout.group * N) {
            const int channel = start + place.member * N;
            const bool reads = place.exists && channel < layout.channels;
            const int64_t column =
                (place.image * layout.tokens * layout.heads + place.head) * layout.channels + channel;
            Number gradient[N] = {};
            if (reads) read<N>(grad_output + place.item * layout.channels + channel, gradient);
            for (int p = 0; p < points; ++p) {
                const auto rows = planned.rows[first_planned + p];
                const auto corner_weight = planned.weights[first_planned + p];
                Number dot[CORNERS] = {};
                if (reads && rows.corner[0] != NO_TOKEN) {
                    Number channels[CORNERS][N];
                    read_corners<N>(value + column, rows, channels);
#pragma unroll
                    for (int corner = 0; corner < CORNERS; ++corner) {
#pragma unroll
                        for (int c = 0; c < N; ++c) dot[corner] += gradient[c] * channels[corner][c];
                    }
#pragma unroll
                    for (int corner = 0; corner < CORNERS; ++corner) {
                        if (corner_weight.corner[corner] == Number(0)) continue;
                        add<N>(grad_value + column + int64_t(rows.corner[corner]) * N, corner_weight.corner[corner],
                               gradient);
                    }
                }
                __syncwarp();  // lanes may have parted above; the sum takes all of them
                Number(&total)[CORNERS] = dots[first_planned + p].corner;
                sum_over_group(dot, layout.group, place.member, [&](int corner, Number sum) {
                    total[corner] = start == 0 ? sum : total[corner] + sum;
                });
            }
        }
        __syncwarp();
        if (own.exists) {
            const PointGradient<Number> gradient = own.settle(dots[place.lane].corner);
            grad_locations[2 * own.index] = gradient.x;
            grad_locations[2 * own.index + 1] = gradient.y;
            grad_weights[own.index] = gradient.attention;
        }
    }
}

}  // namespace msda::cuda
