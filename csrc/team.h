// Threads that stay: a loop over items is shared again and again without starting a thread each time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace radfast {

// Threads wait awake for about as long as a thread takes to start, then asleep.
class Team {
  public:
    explicit Team(unsigned threads) {
        for (unsigned thread = 1; thread < threads; ++thread) {
            others_.emplace_back([this, thread] { serve(thread); });
        }
    }
    ~Team() {
        task_ = nullptr;
        begin();
        for (std::thread& other : others_) other.join();
    }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    // Calls work(thread, item) for every item, the caller being thread 0; items are taken in order, none
    // after an exception.
    template <class Work>
    void share(size_t items, Work&& work) {
        if (others_.empty() || items < 2) {
            for (size_t item = 0; item < items; ++item) work(0, item);
            return;
        }
        std::atomic<size_t> next{0};
        call_each([&](unsigned thread) {
            try {
                for (size_t item = next++; item < items; item = next++) work(thread, item);
            } catch (...) {
                next = items;
                throw;
            }
        });
    }

    // Calls work(thread) once on every thread, the caller being thread 0. The first exception is thrown again
    // here, after all threads have ended.
    template <class Work>
    void call_each(Work&& work) {
        std::exception_ptr failure;
        std::mutex guard;
        task_ = [&](unsigned thread) {
            try {
                work(thread);
            } catch (...) {
                const std::lock_guard lock(guard);
                if (!failure) failure = std::current_exception();
            }
        };
        busy_ = static_cast<uint32_t>(others_.size());
        begin();
        task_(0);
        for (uint32_t left = busy_; left > 0; left = busy_) wait_for_other(busy_, left);
        if (failure) std::rethrow_exception(failure);
    }

  private:
    static constexpr int kGlances = 5000;

    static void wait_for_other(const std::atomic<uint32_t>& value, uint32_t old) {
        for (int i = 0; i < kGlances; ++i) {
            if (value != old) return;
#if defined(__x86_64__) && defined(__GNUC__)
            __builtin_ia32_pause();
#endif
        }
        value.wait(old);
    }

    void begin() {
        ++round_;
        round_.notify_all();
    }

    void serve(unsigned thread) {
        for (uint32_t seen = 0;; ++seen) {
            wait_for_other(round_, seen);
            if (!task_) return;
            task_(thread);
            if (--busy_ == 0) busy_.notify_all();
        }
    }

    std::vector<std::thread> others_;
    std::function<void(unsigned)> task_;
    std::atomic<uint32_t> round_{0}, busy_{0};
};

}  // namespace radfast
