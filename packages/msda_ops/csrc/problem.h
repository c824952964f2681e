// A checked problem: everything the kernels rely on holds once this exists.
#pragma once

#include <cstdint>
#include <vector>

#include "msda.h"
#include "sampling.h"

namespace msda {

struct Problem {
    explicit Problem(const msda_problem* problem);  // throws Error

    int64_t batch, queries, heads, channels, points;  // points per level
    int64_t tokens = 0;
    std::vector<Level> levels;

    bool empty() const { return batch == 0 || queries == 0 || heads == 0 || channels == 0 || points == 0 || levels.empty(); }
    int64_t samples() const { return int64_t(levels.size()) * points; }  // per query and head
};

}  // namespace msda
