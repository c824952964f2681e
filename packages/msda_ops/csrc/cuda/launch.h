// Between the entry points and the files that hold the kernels' code, one per direction.
#pragma once

#include <cuda_runtime_api.h>

#include "layout.h"

namespace msda::cuda {

struct Forward {
    Layout layout;  // the group is chosen at launch
    const void *value, *locations, *weights;
    void* output;
    cudaStream_t stream;
};

struct Backward {
    Layout layout;
    const void *grad_output, *value, *locations, *weights;
    void *grad_value, *grad_locations, *grad_weights;
    cudaStream_t stream;
};

void check(cudaError_t error, const char* what);  // throws Error
void require_code_for_current_device();           // throws Error

void forward_float32(const Forward& call);
void forward_float64(const Forward& call);
void forward_float16(const Forward& call);
void forward_bfloat16(const Forward& call);

void backward_float32(const Backward& call);
void backward_float64(const Backward& call);
void backward_float16(const Backward& call);
void backward_bfloat16(const Backward& call);

}  // namespace msda::cuda
