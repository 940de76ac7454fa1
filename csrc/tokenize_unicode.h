// Character classes and lower case of Unicode code points, and UTF-8 decoding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace radfast {

// Bits of a class. word is Python's str.isalnum, space its str.isspace, mark is category M*.
enum CharClass : uint8_t { kWord = 1, kMark = 2, kSpace = 4, kUpper = 8, kLower = 16, kDigit = 32 };

// Class of a code point; 0 for all other characters and for values that are no code point.
uint8_t class_of(uint32_t point);

// Lower case of a code point, one to one: Python's chr(point).lower()[0].
uint32_t fold(uint32_t point);

struct Decoded {
    uint32_t point;   // U+FFFD where invalid
    uint32_t length;  // bytes consumed, at least 1
    bool valid;
};

// Decodes the character at text[0], size > 0. An invalid sequence consumes its longest valid prefix, at least
// one byte, as Python's errors="replace" does.
Decoded decode(const uint8_t* text, size_t size);

// Writes the UTF-8 of a code point to out (4 bytes of room) and returns its length.
uint32_t encode(uint32_t point, uint8_t* out);

}  // namespace radfast
