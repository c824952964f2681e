#include "kernels.cuh"
#include "launch.cuh"

namespace msda::cuda {
namespace {

template <typename Value>
void backward(const Backward& call) {
    constexpr int WIDE = BACKWARD_CHANNELS<Value>;
    const auto start = [&](auto kernel, int channels_per_lane) {
        launch(kernel, call.layout, channels_per_lane, call.stream, static_cast<const Value*>(call.grad_output),
               static_cast<const Value*>(call.value), static_cast<const Real<Value>*>(call.locations),
               static_cast<const Real<Value>*>(call.weights), static_cast<Real<Value>*>(call.grad_value),
               static_cast<Real<Value>*>(call.grad_locations), static_cast<Real<Value>*>(call.grad_weights));
    };
    if (wide_access<Value>(call.layout, {call.grad_output, call.value, call.grad_value})) {
        start(backward_kernel<Value, WIDE>, WIDE);
    } else {
        start(backward_kernel<Value, 1>, 1);
    }
}

}  // namespace

void backward_float32(const Backward& call) { backward<float>(call); }
void backward_float64(const Backward& call) { backward<double>(call); }
void backward_float16(const Backward& call) { backward<__half>(call); }
void backward_bfloat16(const Backward& call) { backward<__nv_bfloat16>(call); }

}  // namespace msda::cuda
