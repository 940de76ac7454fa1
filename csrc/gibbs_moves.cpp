#include "gibbs_moves.h"

namespace radfast::gibbs {

MovePool::MovePool(int64_t tokens, int64_t writers, int64_t parts)
    : blocks_(new MoveBlock[tokens / MoveBlock::kMoves + 1 + writers * (parts + kStock)]),
      lines_((parts + Ends::kParts - 1) / Ends::kParts),
      ends_(new Ends[writers * lines_]) {}

void MovePool::clear(uint32_t parts) {
    parts_ = parts;
    n_blocks_ = 0;
}

uint32_t MovePool::parts() const { return parts_; }

Move** MovePool::ends(int64_t writer) const { return ends_[writer * lines_].of_part; }

MoveBlock* MovePool::take_stock() { return &blocks_[n_blocks_.fetch_add(kStock)]; }

const MoveBlock* MovePool::begin() const { return blocks_.get(); }

const MoveBlock* MovePool::end() const { return blocks_.get() + n_blocks_; }

}  // namespace radfast::gibbs
