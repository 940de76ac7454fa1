// The threads of one run: all of them walk through the same layers and share the items of each step.
#pragma once

#include <atomic>
#include <cstdint>

namespace radfast::cnn {

class Crew {
  public:
    explicit Crew(int threads) : threads_(threads) {}

    int threads() const { return threads_; }

    // Called by every thread: work(item) runs once for each item, on whichever thread is free; returns when
    // all items are done.
    template <class Work>
    void share(std::int64_t items, Work&& work) {
        for (std::int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < items;
             i = next_.fetch_add(1, std::memory_order_relaxed)) {
            work(i);
        }
        wait();
    }

  private:
    void wait() {
        const std::uint32_t step = step_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            next_.store(0, std::memory_order_relaxed);
            arrived_.store(0, std::memory_order_relaxed);
            step_.store(step + 1, std::memory_order_release);
            step_.notify_all();
            return;
        }
        // Steps are short: look for a while before going to sleep.
        for (int look = 0; look < kLooks; ++look) {
            if (step_.load(std::memory_order_acquire) != step) return;
        }
        while (step_.load(std::memory_order_acquire) == step) step_.wait(step, std::memory_order_acquire);
    }

    static constexpr int kLooks = 20000;
    const int threads_;
    alignas(64) std::atomic<std::int64_t> next_{0};
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> step_{0};
};

}  // namespace radfast::cnn
