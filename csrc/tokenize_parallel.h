// Threads that share work: a loop over items, and a crew that takes tasks as they come.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
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

// Threads that run tasks in the order in which they were submitted. With one thread, submit() runs the task.
class Crew {
  public:
    using Task = std::function<void(unsigned thread)>;

    // `on_failure` is called once a task has thrown; tasks that have not begun are dropped then.
    Crew(unsigned threads, std::function<void()> on_failure) : on_failure_(std::move(on_failure)) {
        for (unsigned thread = 0; threads > 1 && thread < threads; ++thread) {
            threads_.emplace_back([this, thread] { run(thread); });
        }
    }
    ~Crew() {
        {
            const std::lock_guard lock(guard_);
            closed_ = true;
            tasks_.clear();
        }
        changed_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    void submit(Task task) {
        if (threads_.empty()) {
            task(0);
            return;
        }
        {
            const std::lock_guard lock(guard_);
            tasks_.push_back(std::move(task));
        }
        changed_.notify_all();
    }

    // Waits until no task is left; throws what a task has thrown.
    void wait() {
        std::unique_lock lock(guard_);
        changed_.wait(lock, [&] { return running_ == 0 && (tasks_.empty() || failure_); });
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    void run(unsigned thread) {
        std::unique_lock lock(guard_);
        for (;;) {
            changed_.wait(lock, [&] { return closed_ || !tasks_.empty(); });
            if (closed_) return;
            const Task task = std::move(tasks_.front());
            tasks_.pop_front();
            if (failure_) continue;
            ++running_;
            lock.unlock();
            std::exception_ptr failure;
            try {
                task(thread);
            } catch (...) {
                failure = std::current_exception();
            }
            lock.lock();
            if (failure && !failure_) {
                failure_ = failure;
                on_failure_();
            }
            --running_;
            changed_.notify_all();
        }
    }

    const std::function<void()> on_failure_;
    std::vector<std::thread> threads_;
    std::mutex guard_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    size_t running_ = 0;
    std::exception_ptr failure_;
    bool closed_ = false;
};

}  // namespace radfast
