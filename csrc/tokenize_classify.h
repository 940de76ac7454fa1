// Bytes to bit masks, 64 at a time: the step of the tokenizer that is bound by instructions per byte.
#pragma once

#include <cstddef>
#include <cstdint>

namespace radfast {

enum class Pattern : uint8_t { radiology, paper, word };

// Bit i speaks of byte i of the block. Only ASCII is decided here; `high` bytes are left to the scanner.
struct Masks {
    uint64_t word;   // part of a token: letters and digits; paper: all but white space; word: also '_'
    uint64_t join;   // radiology: - / ' which join two word characters
    uint64_t point;  // radiology: . : which join by what stands around them
    uint64_t rare;   // radiology: _ [ which may begin a placeholder
    uint64_t high;   // bytes of 0x80 and above
};

// Classifies `blocks` blocks of 64 bytes. Every instruction set gives the same masks.
using Classify = void (*)(const uint8_t* text, size_t blocks, Masks* out);
Classify choose_classify(Pattern pattern);

}  // namespace radfast
