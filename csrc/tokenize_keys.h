// Tokens to the keys by which the word table knows them: the step that every token pays for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenize_words.h"

namespace radfast {

// What makes a key of a token, beside its bytes.
struct KeyRules {
    bool lowercase = true;
    bool placeholders = false;  // tokens that may be placeholders are not for a key
    bool numbers = false;       // nor are those that begin with a digit
};

struct Keys {
    static constexpr size_t kMost = 64;  // tokens at a time

    alignas(64) uint64_t halves[2 * kMost];  // WordKey's a and b of each token
    alignas(64) uint64_t hashes[kMost];
};

// Makes the keys of `count` <= Keys::kMost tokens [first[i], first[i] + length[i]) of the text, ascending,
// and prefetches their places. Returns a bit for each token that needs a look of its own: longer than
// WordKey::kShort, not ASCII, or singled out by the rules. Every instruction set gives the same keys.
using MakeKeys = uint64_t (*)(std::string_view text, const uint32_t* first, const uint32_t* length,
                              size_t count, const KeyRules& rules, WordTable::Places places, Keys& keys);
MakeKeys choose_make_keys();

}  // namespace radfast
