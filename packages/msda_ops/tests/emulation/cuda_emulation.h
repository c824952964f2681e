// Enough of CUDA to run a kernel without barriers between warps on the CPU. The lanes of a warp are coroutines that
// take turns: each runs up to its next __syncwarp or shuffle, then the next lane does. Only for tests.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __shared__ static
#define __launch_bounds__(...)

using std::max;
using std::min;

struct float4 {
    float x, y, z, w;
};

struct Index {
    unsigned x;
};

inline Index threadIdx, blockIdx;

namespace emulation {

constexpr int WARP = 32;
constexpr size_t STACK = 64 * 1024;

struct Lane {
    ucontext_t context;
    unsigned char exchange[16];
    bool finished;
};

inline Lane lanes[WARP];
inline int current;
inline ucontext_t scheduler;
inline const std::function<void()>* body;

inline void lane_main() {
    (*body)();
    lanes[current].finished = true;
}

inline void wait_for_the_others() { swapcontext(&lanes[current].context, &scheduler); }

// Runs `kernel` for every warp of every block.
inline void run(int64_t blocks, int threads, const std::function<void()>& kernel) {
    const auto stacks = std::make_unique<char[]>(WARP * STACK);
    body = &kernel;
    for (int64_t block = 0; block < blocks; ++block) {
        for (int first = 0; first < threads; first += WARP) {
            for (int i = 0; i < WARP; ++i) {
                getcontext(&lanes[i].context);
                lanes[i].context.uc_stack.ss_sp = stacks.get() + i * STACK;
                lanes[i].context.uc_stack.ss_size = STACK;
                lanes[i].context.uc_link = &scheduler;
                lanes[i].finished = false;
                makecontext(&lanes[i].context, lane_main, 0);
            }
            int finished = 0;
            while (finished == 0) {
                for (current = 0; current < WARP; ++current) {
                    threadIdx = {unsigned(first + current)};
                    blockIdx = {unsigned(block)};
                    swapcontext(&scheduler, &lanes[current].context);
                    finished += lanes[current].finished;
                }
            }
            if (finished != WARP) {
                std::fprintf(stderr, "the lanes of a warp do not meet at the same __syncwarp\n");
                std::abort();
            }
        }
    }
}

}  // namespace emulation

inline void __syncwarp() { emulation::wait_for_the_others(); }

template <typename Number>
Number __shfl_xor_sync(unsigned mask, Number number, int distance) {
    if (mask != 0xffffffffu) std::abort();  // the kernels shuffle with whole warps only
    std::memcpy(emulation::lanes[emulation::current].exchange, &number, sizeof number);
    emulation::wait_for_the_others();
    Number other;
    std::memcpy(&other, emulation::lanes[emulation::current ^ distance].exchange, sizeof other);
    emulation::wait_for_the_others();  // nobody overwrites what another lane has yet to read
    return other;
}

template <typename Number>
void atomicAdd(Number* to, Number term) {
    *to += term;
}

inline void atomicAdd(float4* to, float4 terms) {
    if (reinterpret_cast<uintptr_t>(to) % sizeof(float4) != 0) std::abort();
    to->x += terms.x, to->y += terms.y, to->z += terms.z, to->w += terms.w;
}
