// Where a sentence may end: one walk over the text, 64 bytes at a time, that leaves bit masks.
//
// The splitter asks for one mark after the other and looks at nothing between them. A mark is . ! ? : or a
// line break; ) after a digit; or a comma that stands for a line break, with an ASCII capital right behind
// it and neither a full stop nor a comma before it. A full stop between two digits is none.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tokenize_positions.h"

namespace radfast {

// Bit i speaks of byte i of the block.
struct MarkBytes {
    uint64_t stop;   // .
    uint64_t sure;   // ! ? : and line breaks
    uint64_t open;   // (
    uint64_t close;  // )
    uint64_t comma;
    uint64_t digit;
    uint64_t upper;
};

// Classifies `blocks` blocks of 64 bytes. Every instruction set gives the same masks.
using ClassifyMarks = void (*)(const uint8_t* text, size_t blocks, MarkBytes* out);
ClassifyMarks choose_classify_marks();

class Marks {
  public:
    Marks(const char* text, size_t size);

    // First mark from `at` on, which is not before the last answer; at most size.
    size_t find(size_t at) {
        for (;;) {
            while (next_ < count_ && base_ + positions_[next_] < at) ++next_;
            if (next_ < count_) return base_ + positions_[next_];
            if (base_ + kChunk >= size_) return size_;
            base_ += kChunk;
            load();
        }
    }

    // Position of the last "(" before `at`, the last answer, + 1; 0 where there is none within kBehind blocks
    // or ")" follows it.
    size_t find_open(size_t at) const {
        const MarkBytes* const block = bytes_ + kBehind + (at - base_) / kBlock;
        const uint64_t before = (1ULL << at % kBlock) - 1;
        if (((block[0].open & before) | block[-1].open | block[-2].open) == 0) return 0;
        size_t first = at - at % kBlock;
        uint64_t open = block[0].open & before, close = block[0].close & before;
        for (size_t back = 1; back <= kBehind && (open | close) == 0; ++back, first -= kBlock) {
            open = block[-static_cast<ptrdiff_t>(back)].open;
            close = block[-static_cast<ptrdiff_t>(back)].close;
        }
        return open > close ? first + kBlock - static_cast<size_t>(std::countl_zero(open)) : 0;
    }

  private:
    static constexpr size_t kBlock = 64;
    static constexpr size_t kAhead = 16;  // blocks classified at a time
    static constexpr size_t kBehind = 2;  // blocks before them that are kept
    static constexpr size_t kChunk = kAhead * kBlock;

    // Finds the marks of the chunk at base_.
    void load();

    const ClassifyMarks classify_;
    const Positions flatten_;
    const uint8_t* const text_;
    const size_t size_;
    size_t base_ = 0;              // of the chunk
    size_t next_ = 0, count_ = 0;  // of the chunk's marks
    MarkBytes bytes_[kBehind + kAhead + 1] = {};
    uint32_t positions_[kChunk + Positions::kSlack];
};

}  // namespace radfast
