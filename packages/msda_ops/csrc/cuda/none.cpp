// The CUDA part of the C interface in a library built without CUDA.
#include "../error.h"

namespace {
int refuse() { return msda::report(MSDA_NO_CUDA, "this library was built without CUDA"); }
}  // namespace

int msda_cuda_check(int) { return refuse(); }

int msda_cuda_forward(const msda_problem*, int, const void*, const void*, const void*, void*, int, void*) {
    return refuse();
}

int msda_cuda_backward(const msda_problem*, int, const void*, const void*, const void*, const void*, void*, void*,
                       void*, int, void*) {
    return refuse();
}
