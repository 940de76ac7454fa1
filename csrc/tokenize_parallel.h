// A loop over items that threads share.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace radfast {

// Calls work(thread, item) for every item, on at most `threads` threads; items are taken in order. The first
// exception is thrown again here, after all threads have ended.
template <class Work>
void share(size_t items, unsigned threads, Work&& work) {
    const unsigned count = static_cast<unsigned>(std::min<size_t>(std::max(1U, threads), items));
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::mutex guard;
    const auto run = [&](unsigned thread) {
        try {
            for (size_t item = next++; item < items; item = next++) work(thread, item);
        } catch (...) {
            next = items;
            const std::lock_guard lock(guard);
            if (!failure) failure = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    for (unsigned thread = 1; thread < count; ++thread) others.emplace_back(run, thread);
    if (count > 0) run(0);
    for (std::thread& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace radfast
