// The kernels of csrc/cuda/kernels.cuh, run by the emulation; `wide` asks for wide accesses instead of one number.
#include "cuda_emulation.h"


#include "cuda/kernels.cuh"
#include "msda.h"

namespace {

using namespace msda;
using namespace msda::cuda;

Layout lay_out(const msda_problem& problem, int per_lane) {
    Layout layout{};
    layout.items = problem.batch * problem.queries * problem.heads;
    layout.queries = problem.queries;
    layout.heads = int(problem.heads);
    layout.channels = int(problem.channels);
    layout.points = int(problem.points);
    layout.samples = int(problem.levels * problem.points);
    layout.group = group_size(problem.channels, per_lane);
    for (int64_t level = 0; level < problem.levels; ++level) {
        const int64_t height = problem.spatial_shapes[2 * level], width = problem.spatial_shapes[2 * level + 1];
        layout.level[level] = {int32_t(height), int32_t(width), int32_t(layout.tokens)};
        layout.tokens += height * width;
    }
    return layout;
}

template <typename Value, int N>
void forward(const msda_problem& problem, const void* value, const void* locations, const void* weights, void* output) {
    const Layout layout = lay_out(problem, N);
    emulation::run(layout.blocks(), THREADS, [&] {
        forward_kernel<Value, N>(layout, static_cast<const Value*>(value), static_cast<const Real<Value>*>(locations),
                                 static_cast<const Real<Value>*>(weights), static_cast<Value*>(output));
    });
}

template <typename Value, int N>
void backward(const msda_problem& problem, const void* grad_output, const void* value, const void* locations,
              const void* weights, void* grad_value, void* grad_locations, void* grad_weights) {
    using Number = Real<Value>;
    const Layout layout = lay_out(problem, N);
    std::fill_n(static_cast<Number*>(grad_value),
                problem.batch * layout.tokens * problem.heads * problem.channels, Number(0));
    emulation::run(layout.blocks(), THREADS, [&] {
        backward_kernel<Value, N>(layout, static_cast<const Value*>(grad_output), static_cast<const Value*>(value),
                                  static_cast<const Number*>(locations), static_cast<const Number*>(weights),
                                  static_cast<Number*>(grad_value), static_cast<Number*>(grad_locations),
                                  static_cast<Number*>(grad_weights));
    });
}

template <typename Run>
int for_dtype(int dtype, Run run) {
    switch (dtype) {
        case MSDA_FLOAT32: run.template operator()<float>(); break;
        case MSDA_FLOAT64: run.template operator()<double>(); break;
        case MSDA_FLOAT16: run.template operator()<__half>(); break;
        case MSDA_BFLOAT16: run.template operator()<__nv_bfloat16>(); break;
        default: return MSDA_BAD_ARGUMENT;
    }
    return MSDA_OK;
}

}  // namespace

extern "C" int emulated_forward(const msda_problem* problem, int dtype, const void* value, const void* locations,
                                const void* weights, void* output, int wide) {
    return for_dtype(dtype, [&]<typename Value>() {
        const auto run = wide ? forward<Value, FORWARD_CHANNELS<Value>> : forward<Value, 1>;
        run(*problem, value, locations, weights, output);
    });
}

extern "C" int emulated_backward(const msda_problem* problem, int dtype, const void* grad_output, const void* value,
                                 const void* locations, const void* weights, void* grad_value, void* grad_locations,
                                 void* grad_weights, int wide) {
    return for_dtype(dtype, [&]<typename Value>() {
        const auto run = wide ? backward<Value, BACKWARD_CHANNELS<Value>> : backward<Value, 1>;
        run(*problem, grad_output, value, locations, weights, grad_value, grad_locations, grad_weights);
    });
}
