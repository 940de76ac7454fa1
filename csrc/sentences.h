// Sentences of clinical text: a rule-based splitter whose words come as tables.
//
// It looks only at terminal marks, colons, closing brackets and line breaks, and decides each from the words
// around it, so that its cost is that of the scan plus a few table look-ups per sentence. Spans are half-open
// byte ranges, ascending, disjoint, without white space at either end; together they cover every byte that is
// not white space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize_words.h"

namespace radfast {

// One bit per table of radfast.kernels.tokenize.rules.SentenceRules.
enum SentenceWord : uint16_t {
    kNeverLast = 1,
    kBeforeNumber = 2,
    kNotBeforeLower = 4,
    kUnit = 8,
    kStarter = 16,
    kContinuing = 32,
    kNumbered = 64,
    kSection = 128,
    kSuffix = 256,
};

class SentenceRules {
  public:
    // Adds lower-case words to a table.
    void add(SentenceWord table, const std::vector<std::string>& words);
    // Tables that hold the word, compared in ASCII lower case.
    uint16_t find(std::string_view word) const;

    // Whether an abbreviation or a unit may be the lower-case word in the last `size` < 8 bytes of `bytes`,
    // the last highest; surely none is, where the answer is false.
    bool may_abbreviate(uint64_t bytes, size_t size) const {
        const size_t bit = filter_bit(bytes >> (64 - 8 * size));
        return (filter_[bit / 64] >> bit % 64 & 1) != 0;
    }
    // Bytes of the longest abbreviation or unit.
    size_t longest() const { return longest_; }

    size_t min_wrap = 50;

  private:
    static constexpr size_t kMaxEntry = 40;
    static constexpr size_t kFilterBits = 13;

    static size_t filter_bit(uint64_t word) { return (word * 0x9E3779B97F4A7C15ULL) >> (64 - kFilterBits); }

    WordTable words_;
    std::vector<uint16_t> tables_;  // by number of the word
    uint64_t lengths_[256] = {};    // by first byte: lengths of the words, one bit each
    uint64_t lengths_by_last_[256] = {};
    uint64_t filter_[(1 << kFilterBits) / 64] = {};
    size_t longest_ = 0;
};

struct Span {
    int64_t first, last;
};

// Appends the sentences of text[0, size) to spans.
void split_sentences(const char* text, size_t size, const SentenceRules& rules, std::vector<Span>& spans);

}  // namespace radfast
