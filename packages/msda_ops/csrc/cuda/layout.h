// How a problem is laid out over warps. Passed to the kernels by value.
#pragma once

#include <stdint.h>

#include "../msda.h"
#include "../sampling.h"

namespace msda::cuda {

constexpr int WARP = 32;
constexpr int THREADS = 256;         // of a block
constexpr int ACCESS_BYTES = 16;     // the widest access of a lane

// Channels of a lane: as many as its widest access holds; backward no more than it adds to memory in one access, or
// the additions of neighbouring lanes lie apart.
template <typename Value>
constexpr int FORWARD_CHANNELS = ACCESS_BYTES / int(sizeof(Value));
template <typename Value>
constexpr int BACKWARD_CHANNELS = FORWARD_CHANNELS<Value> < 4 ? FORWARD_CHANNELS<Value> : 4;

struct Layout {
    int64_t items;  // batch * queries * heads
    int64_t tokens;
    int64_t queries;
    int heads;
    int channels;  // per head
    int points;    // per level
    int samples;   // levels * points
    int group;     // lanes that share an item: 1, 2, 4, ..., 32
    Level level[MSDA_MAX_LEVELS];

    int64_t blocks() const {
        const int64_t items_per_block = THREADS / group;
        return (items + items_per_block - 1) / items_per_block;
    }
};

// The smallest group whose lanes cover all channels with `per_lane` channels each, or a whole warp.
inline int group_size(int64_t channels, int per_lane) {
    int group = 1;
    while (group < WARP && int64_t(group) * per_lane < channels) group *= 2;
    return group;
}

}  // namespace msda::cuda
