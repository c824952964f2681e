#include <string>

#include "kernels.cuh"
#include "launch.cuh"

namespace msda::cuda {
namespace {

template <typename Value>
void forward(const Forward& call) {
    constexpr int WIDE = FORWARD_CHANNELS<Value>;
    const auto start = [&](auto kernel, int channels_per_lane) {
        launch(kernel, call.layout, channels_per_lane, call.stream, static_cast<const Value*>(call.value),
               static_cast<const Real<Value>*>(call.locations), static_cast<const Real<Value>*>(call.weights),
               static_cast<Value*>(call.output));
    };
    if (wide_access<Value>(call.layout, {call.value, call.output})) {
        start(forward_kernel<Value, WIDE>, WIDE);
    } else {
        start(forward_kernel<Value, 1>, 1);
    }
}

}  // namespace

void forward_float32(const Forward& call) { forward<float>(call); }
void forward_float64(const Forward& call) { forward<double>(call); }
void forward_float16(const Forward& call) { forward<__half>(call); }
void forward_bfloat16(const Forward& call) { forward<__nv_bfloat16>(call); }

void require_code_for_current_device() {
    cudaFuncAttributes attributes;
    const cudaError_t error = cudaFuncGetAttributes(&attributes, forward_kernel<float, 1>);
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();
    throw Error(MSDA_NO_CUDA, std::string("the library holds no code for this GPU (") + cudaGetErrorString(error) +
                                  "); reinstall msda-ops on this machine");
}

}  // namespace msda::cuda
