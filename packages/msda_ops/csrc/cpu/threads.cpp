#include "threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace msda::cpu {

void share_tasks(int64_t tasks, int threads, const std::function<void(const Take&)>& work) {
    std::atomic<int64_t> next{0};
    const Take take = [&] {
        const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
        return task < tasks ? task : -1;
    };
    std::mutex mutex;
    std::exception_ptr failure;
    const auto worker = [&] {
        try {
            work(take);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex);
            if (!failure) failure = std::current_exception();
        }
    };

    std::vector<std::thread> helpers;
    const int64_t wanted = std::min<int64_t>(tasks, threads) - 1;
    helpers.reserve(size_t(std::max<int64_t>(wanted, 0)));
    for (int64_t i = 0; i < wanted; ++i) {
        try {
            helpers.emplace_back(worker);
        } catch (const std::system_error&) {
            break;  // the system gives no more threads; those there are do all tasks
        }
    }
    worker();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace msda::cpu
