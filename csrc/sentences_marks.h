// Where a sentence may end: one walk over the text, 64 bytes at a time, that leaves bit masks.
//
// The splitter asks for one mark after the other and looks at nothing between them. A mark is . ! ? : or a
// line break; ) after a digit; or a comma that stands for a line break, with an ASCII capital right behind
// it. A full stop between two digits is none.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

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
        if (at >= size_) return size_;
        while (block_ < at / kBlock) step();
        uint64_t marks = marks_ & (~0ULL << at % kBlock);
        while (marks == 0) {
            if (block_ + 1 >= blocks_) return size_;
            step();
            marks = marks_;
        }
        return block_ * kBlock + static_cast<size_t>(std::countr_zero(marks));
    }

    // Position of the last "(" before `at`, which lies in the block of the last answer, + 1; 0 where there is
    // none or ")" follows it.
    size_t find_open(size_t at) const {
        const uint64_t before = (1ULL << at % kBlock) - 1;
        const MarkBytes& bytes = bytes_[block_ % kAhead];
        const size_t base = block_ * kBlock;
        const size_t open = last_of(bytes.open & before, base, open_);
        return open > last_of(bytes.close & before, base, close_) ? open : 0;
    }

  private:
    static constexpr size_t kBlock = 64;
    static constexpr size_t kAhead = 16;  // blocks classified at a time

    // Position of the highest bit + 1, `none` where there is none.
    static size_t last_of(uint64_t mask, size_t base, size_t none) {
        return mask ? base + kBlock - static_cast<size_t>(std::countl_zero(mask)) : none;
    }

    // Goes to the next block.
    void step() {
        const MarkBytes& bytes = bytes_[block_ % kAhead];
        open_ = last_of(bytes.open, block_ * kBlock, open_);
        close_ = last_of(bytes.close, block_ * kBlock, close_);
        digit_ = bytes.digit >> (kBlock - 1);
        ++block_;
        load();
    }

    void load();
    void classify_ahead();

    const ClassifyMarks classify_;
    const uint8_t* const text_;
    const size_t size_, blocks_;
    size_t block_ = 0;
    uint64_t marks_ = 0, digit_ = 0;  // of the block; whether the block before ends with a digit
    size_t open_ = 0, close_ = 0;     // last brackets before the block, + 1
    MarkBytes bytes_[kAhead];
};

}  // namespace radfast
