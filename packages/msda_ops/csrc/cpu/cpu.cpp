// CPU entry points: pick the instruction set, cut the problem into work, share it among threads.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "../error.h"
#include "../msda.h"
#include "../problem.h"
#include "kernels.h"
#include "threads.h"

namespace msda::cpu {
namespace {

enum class Instructions { baseline, avx2, avx512 };
constexpr const char* NAMES[] = {"baseline", "avx2", "avx512"};

Instructions supported() {
#if defined(MSDA_X86_64)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
        return Instructions::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Instructions::avx2;
#endif
    return Instructions::baseline;
}

// The best supported ones, or less where the environment variable MSDA_CPU_INSTRUCTIONS names less.
Instructions chosen_instructions() {
    static const Instructions chosen = [] {
        const char* wanted = std::getenv("MSDA_CPU_INSTRUCTIONS");
        for (int i = 0; wanted != nullptr && i < int(supported()); ++i) {
            if (std::strcmp(wanted, NAMES[i]) == 0) return Instructions(i);
        }
        return supported();
    }();
    return chosen;
}

template <typename Real>
const Kernels<Real>& kernels_for(Instructions instructions) {
    constexpr bool single = std::is_same_v<Real, float>;
#define MSDA_PICK(NAME)                                 \
    if constexpr (single) return NAME::float_kernels;   \
    else return NAME::double_kernels;
#if defined(MSDA_X86_64)
    if (instructions == Instructions::avx512) { MSDA_PICK(avx512) }
    if (instructions == Instructions::avx2) { MSDA_PICK(avx2) }
#endif
    MSDA_PICK(baseline)
#undef MSDA_PICK
}

// Starting a thread takes about as long as this many multiplications.
constexpr int64_t WORTH_A_THREAD = int64_t(1) << 20;

constexpr size_t ALIGNMENT = 64;

struct Free {
    void operator()(void* memory) const { ::operator delete(memory, std::align_val_t(ALIGNMENT)); }
};

// Calls kernel(work, scratch) for every image, head and range of queries. The backward pass keeps a head's queries
// together; the forward pass cuts them further only when there are more threads than heads.
template <typename Real, typename Kernel>
void run(const Problem& problem, const Work<Real>& whole, const Kernels<Real>& kernels, Kernel kernel, int threads) {
    const bool is_backward = whole.grad_output != nullptr;
    const int64_t multiplications =
        problem.batch * problem.queries * problem.heads * whole.points * CORNERS * problem.channels;
    threads = int(std::min<int64_t>(threads, 1 + multiplications / WORTH_A_THREAD));
    const int64_t planes = problem.batch * problem.heads;
    const int64_t wanted = is_backward ? 1 : (threads + planes - 1) / planes;
    const int64_t cuts = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(problem.queries / 64, 1));

    share_tasks(planes * cuts, threads, [&](const Take& take) {
        std::unique_ptr<void, Free> scratch;
        size_t reserved = 0;
        for (int64_t task = take(); task >= 0; task = take()) {
            const int64_t image = task / cuts / problem.heads, head = task / cuts % problem.heads, cut = task % cuts;
            Work<Real> work = whole;
            work.first_query = problem.queries * cut / cuts;
            work.last_query = problem.queries * (cut + 1) / cuts;
            const int64_t value = (image * problem.tokens * problem.heads + head) * problem.channels;
            const int64_t output = (image * problem.queries * problem.heads + head) * problem.channels;
            const int64_t point = (image * problem.queries * problem.heads + head) * whole.points;
            work.value += value;
            work.locations += 2 * point;
            work.weights += point;
            if (is_backward) {
                work.grad_output += output;
                work.grad_value += value;
                work.grad_locations += 2 * point;
                work.grad_weights += point;
            } else {
                work.output += output;
            }
            const size_t needed = kernels.scratch_bytes(work);
            if (needed > reserved) {
                scratch.reset();
                scratch.reset(::operator new(needed, std::align_val_t(ALIGNMENT)));
                reserved = needed;
            }
            kernel(work, scratch.get());
        }
    });
}

template <typename Real>
void fill_with_zeros(Real* numbers, int64_t count, int threads) {
    constexpr int64_t CHUNK = int64_t(1) << 18;
    share_tasks((count + CHUNK - 1) / CHUNK, threads, [&](const Take& take) {
        for (int64_t chunk = take(); chunk >= 0; chunk = take()) {
            std::fill_n(numbers + chunk * CHUNK, std::min(CHUNK, count - chunk * CHUNK), Real(0));
        }
    });
}

// The memory behind PointLevels.
class LevelTable {
public:
    explicit LevelTable(const Problem& problem) {
        for (const Level& level : problem.levels) {
            height.insert(height.end(), size_t(problem.points), level.height);
            width.insert(width.end(), size_t(problem.points), level.width);
            start.insert(start.end(), size_t(problem.points), level.start);
        }
    }
    PointLevels view() const { return {height.data(), width.data(), start.data()}; }

private:
    std::vector<int32_t> height, width, start;
};

template <typename Real>
Work<Real> whole_problem(const Problem& problem, const LevelTable& levels, const void* value, const void* locations,
                         const void* weights) {
    Work<Real> work{};
    work.levels = levels.view();
    work.points = problem.samples();
    work.channels = problem.channels;
    work.tokens = problem.tokens;
    work.value = static_cast<const Real*>(value);
    work.token_stride = work.query_stride = problem.heads * problem.channels;
    work.locations = static_cast<const Real*>(locations);
    work.weights = static_cast<const Real*>(weights);
    work.point_stride = problem.heads * work.points;
    // A copy pays when each row is read several times: with the heads apart the rows would share few cache sets.
    work.pack = problem.queries * work.points * CORNERS > 4 * problem.tokens || problem.channels % LANES<Real> != 0;
    return work;
}

template <typename Real>
void forward(const Problem& problem, const void* value, const void* locations, const void* weights, void* output,
             int threads) {
    Real* results = static_cast<Real*>(output);
    if (problem.empty()) {
        std::fill_n(results, problem.batch * problem.queries * problem.heads * problem.channels, Real(0));
        return;
    }
    const LevelTable levels(problem);
    Work<Real> work = whole_problem<Real>(problem, levels, value, locations, weights);
    work.output = results;
    const Kernels<Real>& kernels = kernels_for<Real>(chosen_instructions());
    run(problem, work, kernels, kernels.forward, threads);
}

template <typename Real>
void backward(const Problem& problem, const void* grad_output, const void* value, const void* locations,
              const void* weights, void* grad_value, void* grad_locations, void* grad_weights, int threads) {
    Real* for_value = static_cast<Real*>(grad_value);
    Real* for_locations = static_cast<Real*>(grad_locations);
    Real* for_weights = static_cast<Real*>(grad_weights);
    if (problem.empty()) {
        const int64_t points = problem.batch * problem.queries * problem.heads * problem.samples();
        std::fill_n(for_value, problem.batch * problem.tokens * problem.heads * problem.channels, Real(0));
        std::fill_n(for_locations, 2 * points, Real(0));
        std::fill_n(for_weights, points, Real(0));
        return;
    }
    const LevelTable levels(problem);
    Work<Real> work = whole_problem<Real>(problem, levels, value, locations, weights);
    work.grad_output = static_cast<const Real*>(grad_output);
    work.grad_value = for_value;
    work.grad_locations = for_locations;
    work.grad_weights = for_weights;
    if (!work.pack) {
        fill_with_zeros(for_value, problem.batch * problem.tokens * problem.heads * problem.channels, threads);
    }
    const Kernels<Real>& kernels = kernels_for<Real>(chosen_instructions());
    run(problem, work, kernels, kernels.backward, threads);
}

[[noreturn]] void refuse_dtype(int dtype) {
    throw Error(MSDA_BAD_ARGUMENT, "the CPU kernels take float32 and float64, got dtype " + std::to_string(dtype));
}

}  // namespace
}  // namespace msda::cpu

const char* msda_cpu_instructions(void) { return msda::cpu::NAMES[int(msda::cpu::chosen_instructions())]; }

int msda_cpu_forward(const msda_problem* problem, int dtype, const void* value, const void* locations,
                     const void* weights, void* output, int threads) {
    return msda::guarded([&] {
        const msda::Problem checked(problem);
        switch (dtype) {
            case MSDA_FLOAT32: return msda::cpu::forward<float>(checked, value, locations, weights, output, threads);
            case MSDA_FLOAT64: return msda::cpu::forward<double>(checked, value, locations, weights, output, threads);
            default: msda::cpu::refuse_dtype(dtype);
        }
    });
}

int msda_cpu_backward(const msda_problem* problem, int dtype, const void* grad_output, const void* value,
                      const void* locations, const void* weights, void* grad_value, void* grad_locations,
                      void* grad_weights, int threads) {
    return msda::guarded([&] {
        const msda::Problem checked(problem);
        switch (dtype) {
            case MSDA_FLOAT32:
                return msda::cpu::backward<float>(checked, grad_output, value, locations, weights, grad_value,
                                                  grad_locations, grad_weights, threads);
            case MSDA_FLOAT64:
                return msda::cpu::backward<double>(checked, grad_output, value, locations, weights, grad_value,
                                                   grad_locations, grad_weights, threads);
            default: msda::cpu::refuse_dtype(dtype);
        }
    });
}
