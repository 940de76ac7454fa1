// Tokens of a batch that moved, sorted by the thread that will bring the counts of their rows up to date.
//
// Walkers write (MoveWriter in gibbs_dense_unit.h), counting threads read. All memory is taken beforehand, in
// blocks which walkers open one by one: nothing can fail halfway, and no two threads write to one line of the
// cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "gibbs_pass.h"

namespace radfast::gibbs {

// A token of word `row` left topic `old` for `now`.
struct Move {
    int32_t row;
    uint16_t old, now;
};

struct alignas(512) MoveBlock {
    static constexpr uint32_t kMoves = 63;
    static constexpr uint32_t kNoPart = ~0u;  // of a block that was not needed

    uint32_t part, size;
    Move moves[kMoves];
};
static_assert(sizeof(MoveBlock) == 512);

// Which of the parts a row is in.
RADFAST_INLINE uint32_t part_of(int32_t row, uint32_t parts) {
    return static_cast<uint64_t>(static_cast<uint32_t>(row) * 0x9E3779B1u) * parts >> 32;
}

// Its functions are not compiled in the units: the linker could take the instance made for another
// instruction set.
class MovePool {
  public:
    static constexpr uint32_t kStock = 8;  // blocks that a writer takes at a time

    // Room for `tokens` moves, written by `writers` to `parts` parts each.
    MovePool(int64_t tokens, int64_t writers, int64_t parts);

    // Begins a batch; moves are sorted into `parts` parts.
    void clear(uint32_t parts);

    uint32_t parts() const;

    // Where the moves of a writer end, for each part: a place in memory of its own.
    Move** ends(int64_t writer) const;

    MoveBlock* take_stock();

    // All blocks taken. All writers have ended.
    const MoveBlock* begin() const;
    const MoveBlock* end() const;

  private:
    struct alignas(64) Ends {
        static constexpr int64_t kParts = 8;

        Move* of_part[kParts];
    };

    const std::unique_ptr<MoveBlock[]> blocks_;
    const int64_t lines_;
    const std::unique_ptr<Ends[]> ends_;
    std::atomic<uint32_t> n_blocks_{0};
    uint32_t parts_ = 1;
};

}  // namespace radfast::gibbs
