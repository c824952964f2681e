// CUDA entry points: check the problem, lay it out, launch.
#include <cstdint>
#include <limits>
#include <string>

#include "../error.h"
#include "../problem.h"
#include "launch.h"

namespace msda::cuda {
namespace {

void make_current(int device) {
    const cudaError_t error = cudaSetDevice(device);
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();
    throw Error(MSDA_NO_CUDA,
                "CUDA device " + std::to_string(device) + " cannot be used: " + cudaGetErrorString(error));
}

int narrow(const char* name, int64_t number) {
    if (number > std::numeric_limits<int>::max()) {
        throw Error(MSDA_BAD_ARGUMENT, std::string(name) + " is " + std::to_string(number) + ", must be below 2^31");
    }
    return int(number);
}

Layout lay_out(const Problem& problem) {
    Layout layout{};
    layout.items = problem.batch * problem.queries * problem.heads;
    layout.tokens = problem.tokens;
    layout.queries = problem.queries;
    layout.heads = narrow("heads", problem.heads);
    layout.channels = narrow("channels", problem.channels);
    narrow("tokens * heads * channels", problem.tokens * problem.heads * problem.channels);
    layout.points = narrow("points", problem.points);
    layout.samples = narrow("levels * points", problem.samples());
    for (size_t i = 0; i < problem.levels.size(); ++i) layout.level[i] = problem.levels[i];
    return layout;
}

int64_t bytes(int64_t count, int dtype) { return count * (dtype == MSDA_FLOAT64 ? 8 : dtype == MSDA_FLOAT32 ? 4 : 2); }

[[noreturn]] void refuse_dtype(int dtype) {
    throw Error(MSDA_BAD_ARGUMENT, "unknown dtype " + std::to_string(dtype));
}

}  // namespace

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // the next call starts clean
    throw Error(MSDA_CUDA_FAILED, std::string(what) + ": " + cudaGetErrorString(error));
}

}  // namespace msda::cuda

int msda_cuda_check(int device) {
    return msda::guarded([&] {
        msda::cuda::make_current(device);
        msda::cuda::require_code_for_current_device();
    });
}

int msda_cuda_forward(const msda_problem* problem, int dtype, const void* value, const void* locations,
                      const void* weights, void* output, int device, void* stream) {
    using namespace msda::cuda;
    return msda::guarded([&] {
        const msda::Problem checked(problem);
        const Forward call{lay_out(checked), value, locations, weights, output, static_cast<cudaStream_t>(stream)};
        make_current(device);
        if (checked.empty()) {
            const int64_t count = call.layout.items * checked.channels;
            if (count > 0) check(cudaMemsetAsync(output, 0, bytes(count, dtype), call.stream), "clearing the output");
            return;
        }
        switch (dtype) {
            case MSDA_FLOAT32: return forward_float32(call);
            case MSDA_FLOAT64: return forward_float64(call);
            case MSDA_FLOAT16: return forward_float16(call);
            case MSDA_BFLOAT16: return forward_bfloat16(call);
            default: refuse_dtype(dtype);
        }
    });
}

int msda_cuda_backward(const msda_problem* problem, int dtype, const void* grad_output, const void* value,
                       const void* locations, const void* weights, void* grad_value, void* grad_locations,
                       void* grad_weights, int device, void* stream) {
    using namespace msda::cuda;
    return msda::guarded([&] {
        const msda::Problem checked(problem);
        const Backward call{lay_out(checked), grad_output,    value,        locations, weights,
                            grad_value,       grad_locations, grad_weights, static_cast<cudaStream_t>(stream)};
        make_current(device);
        const int real = dtype == MSDA_FLOAT64 ? MSDA_FLOAT64 : MSDA_FLOAT32;
        const auto clear = [&](void* numbers, int64_t count) {
            if (count > 0) check(cudaMemsetAsync(numbers, 0, bytes(count, real), call.stream), "clearing a gradient");
        };
        clear(grad_value, checked.batch * checked.tokens * checked.heads * checked.channels);
        if (checked.empty()) {
            clear(grad_locations, 2 * call.layout.items * call.layout.samples);
            clear(grad_weights, call.layout.items * call.layout.samples);
            return;
        }
        switch (dtype) {
            case MSDA_FLOAT32: return backward_float32(call);
            case MSDA_FLOAT64: return backward_float64(call);
            case MSDA_FLOAT16: return backward_float16(call);
            case MSDA_BFLOAT16: return backward_bfloat16(call);
            default: refuse_dtype(dtype);
        }
    });
}
