#include "problem.h"

#include <cstdint>
#include <limits>
#include <string>

#include "error.h"

namespace msda {
namespace {

int64_t check_count(const char* name, int64_t count) {
    if (count >= 0) return count;
    throw Error(MSDA_BAD_ARGUMENT, std::string(name) + " is " + std::to_string(count) + ", must not be negative");
}

}  // namespace

Problem::Problem(const msda_problem* problem) {
    if (problem == nullptr) throw Error(MSDA_BAD_ARGUMENT, "problem is NULL");
    batch = check_count("batch", problem->batch);
    queries = check_count("queries", problem->queries);
    heads = check_count("heads", problem->heads);
    channels = check_count("channels", problem->channels);
    points = check_count("points", problem->points);
    if (problem->levels < 0 || problem->levels > MSDA_MAX_LEVELS) {
        throw Error(MSDA_BAD_ARGUMENT, "levels is " + std::to_string(problem->levels) + ", must be 0 to " +
                                           std::to_string(MSDA_MAX_LEVELS));
    }
    for (int64_t level = 0; level < problem->levels; ++level) {
        const int64_t height = problem->spatial_shapes[2 * level], width = problem->spatial_shapes[2 * level + 1];
        if (height < 1 || width < 1 || height > MSDA_MAX_SIDE || width > MSDA_MAX_SIDE) {
            throw Error(MSDA_BAD_ARGUMENT, "level " + std::to_string(level) + " is " + std::to_string(height) + " x " +
                                               std::to_string(width) + ", each side must be 1 to " +
                                               std::to_string(MSDA_MAX_SIDE));
        }
        if (tokens + height * width > std::numeric_limits<int32_t>::max()) {
            throw Error(MSDA_BAD_ARGUMENT, "the levels hold more than 2147483647 tokens together");
        }
        levels.push_back({int32_t(height), int32_t(width), int32_t(tokens)});
        tokens += height * width;
    }
}

}  // namespace msda
