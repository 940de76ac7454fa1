// How units of work, which are documents or words, are dealt to threads.
//
// What one core writes and another reads costs most where the two share no cache. So the units of a thread
// stand side by side and are the same in every pass, and what belongs to them stays in its cache; those that
// it leaves, others take.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace radfast::gibbs {

// Units first..last-1.
struct Chunk {
    int64_t first, last;
};

// Edges of ranges of units first..last-1 with about `goal` tokens each, of which unit u has
// start[u]..start[u+1]-1.
std::vector<int64_t> cut(const int64_t* start, int64_t first, int64_t last, int64_t goal);

// Units of a pass in chunks, so many for each thread.
class Deal {
  public:
    // Of units first..last-1: about as many tokens to each thread, in chunks of about `goal`.
    Deal(const int64_t* start, int64_t first, int64_t last, int threads, int64_t goal);

    // Threads that are dealt anything, of as many or fewer.
    unsigned n_threads() const { return static_cast<unsigned>(chunks_.size()); }

    // Begins a pass; no thread is in one.
    void begin();

    // The next chunk for a thread: one of its own, then one that another has left; false where there is none.
    bool take(unsigned thread, Chunk& chunk);

  private:
    // In a line of the cache of its own.
    struct alignas(64) Counter {
        std::atomic<size_t> value{0};
    };

    std::vector<std::vector<Chunk>> chunks_;
    std::unique_ptr<Counter[]> taken_;  // of each thread
};

}  // namespace radfast::gibbs
