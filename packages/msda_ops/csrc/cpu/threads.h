#pragma once

#include <cstdint>
#include <functional>

namespace msda::cpu {

// Calls `work(take)` on up to `threads` threads, the calling one included. Each worker asks `take` for its next task
// until it gives -1; every task in [0, tasks) is given out once. The first exception of a worker is thrown here after
// all have ended. Threads live for this call only, so there is nothing to break in a forked process.
using Take = std::function<int64_t()>;
void share_tasks(int64_t tasks, int threads, const std::function<void(const Take&)>& work);

}  // namespace msda::cpu
