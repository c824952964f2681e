// Starting a kernel.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <limits>

#include "../error.h"
#include "launch.h"

namespace msda::cuda {

// Whether lanes may use their widest access: whole numbers of them per row, all pointers aligned.
template <typename Value>
bool wide_access(const Layout& layout, std::initializer_list<const void*> pointers) {
    bool aligned = layout.channels % (ACCESS_BYTES / sizeof(Value)) == 0;
    for (const void* pointer : pointers) aligned &= reinterpret_cast<uintptr_t>(pointer) % ACCESS_BYTES == 0;
    return aligned;
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Layout, Parameters...), Layout layout, int channels_per_lane, cudaStream_t stream,
            Arguments... arguments) {
    layout.group = group_size(layout.channels, channels_per_lane);
    if (layout.blocks() > std::numeric_limits<int32_t>::max()) {
        throw Error(MSDA_BAD_ARGUMENT, "batch * queries * heads is too large for one launch");
    }
    kernel<<<unsigned(layout.blocks()), THREADS, 0, stream>>>(layout, static_cast<Parameters>(arguments)...);
    check(cudaGetLastError(), "starting a kernel");
}

}  // namespace msda::cuda
