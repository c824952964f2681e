// A checked problem: everything the kernels rely on holds once this exists.
#pragma once

#include <algorithm>
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

    bool empty() const { return std::min({batch, queries, heads, channels, samples()}) == 0; }
    int64_t samples() const { return int64_t(levels.size()) * points; }  // per query and head
};

}  // namespace msda
