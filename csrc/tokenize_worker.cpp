#include "tokenize_worker.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace radfast {

namespace {

constexpr uint32_t kShortestMask = 3;            // bytes of the shortest token that becomes a mask: "___"
constexpr uint64_t kFlushEvery = 0xF0000000ULL;  // tokens, below what a 32-bit count holds

}  // namespace

Worker::Worker(const TokenRules& rules, const WordTable* vocabulary)
    : rules_(rules),
      vocabulary_(vocabulary),
      folder_(rules),
      scanner_(rules.pattern, rules.placeholders != Keep::keep),
      shortest_(rules.numbers != Keep::keep ? 1 : std::min(rules.min_length, kShortestMask)),
      key_rules_{rules.lowercase, rules.pattern == Pattern::radiology && rules.placeholders != Keep::keep,
                 rules.numbers != Keep::keep},
      make_keys_(choose_make_keys()),
      until_flush_(kFlushEvery) {}

void Worker::process(std::string_view text, Unit& unit) {
    if (text.size() >= UINT32_MAX)
        throw std::length_error("[Tokenizer] a document must be shorter than 2^32 - 1 bytes");
    if (++document_ == 0) throw std::length_error("[Tokenizer] too many documents for one thread");
    const size_t start = unit.numbers.size();
    places_.clear();
    scanner_.run(reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                 [&](uint32_t* starts, uint32_t* ends, size_t count) {
                     const size_t kept =
                         scanner_.positions().drop_short(starts, ends, count, shortest_, starts, ends);
                     if (vocabulary_) {
                         look_up<false>(text, starts, ends, kept, unit);
                     } else {
                         look_up<true>(text, starts, ends, kept, unit);
                     }
                 });
    unit.document_ends.push(static_cast<int64_t>(unit.numbers.size()));
    if (rules_.sentences) close_sentences(text, start, unit);
}

void Worker::close_sentences(std::string_view text, size_t start, Unit& unit) {
    sentences_.clear();
    split_sentences(text.data(), text.size(), *rules_.sentences, sentences_);
    int64_t* ends = unit.sentence_ends.reserve(sentences_.size());
    const size_t tokens = places_.size();
    std::fill_n(places_.reserve(Positions::kStride), Positions::kStride, UINT32_MAX);
    if (!sentences_.empty()) {
        const size_t closed = sentences_.size() - 1;
        scanner_.positions().rank(places_.data(), sentences_.data(), closed, static_cast<int64_t>(start),
                                  ends);
        ends[closed] = static_cast<int64_t>(start + tokens);
    }
    unit.sentence_ends.set_size(unit.sentence_ends.size() + sentences_.size());
    unit.document_sentences.push(static_cast<int64_t>(unit.sentence_ends.size()));
}

uint32_t Worker::number_of(std::string_view token) {
    const std::string_view word = folder_.fold(token);
    if (word.empty()) return WordTable::kNone;
    const WordKey key = WordKey::of(word);
    return vocabulary_ ? vocabulary_->find(key) : words_.count(key, document_);
}

template <bool learns>
void Worker::look_up(std::string_view text, const uint32_t* first, const uint32_t* length, size_t count,
                     Unit& unit) {
    if (until_flush_ < count) {
        words_.flush_counts();
        until_flush_ = kFlushEvery;
    }
    until_flush_ -= count;
    const WordTable& table = learns ? words_ : *vocabulary_;
    const bool check_length = shortest_ < rules_.min_length;
    uint32_t* const numbers = unit.numbers.reserve(count + 1);
    uint32_t* const places = rules_.sentences ? places_.reserve(count + 1) : nullptr;
    uint32_t* const spans = rules_.keep_spans ? unit.spans.reserve(2 * count + 2) : nullptr;
    const bool keep_places = places || spans, plain = !check_length && !spans;
    size_t found = 0;
    for (size_t base = 0; base < count; base += Keys::kMost) {
        const size_t stop = std::min(Keys::kMost, count - base);
        const uint64_t others =
            make_keys_(text, first + base, length + base, stop, key_rules_, table.places(), keys_);
        for (size_t i = 0; i < stop; ++i) {
            if (learns && plain) {
                // Up to the next token that needs a look of its own every one is a word.
                const size_t run = std::min<size_t>(stop, std::countr_zero(others >> i) + i) - i;
                if (places) std::memcpy(places + found, first + base + i, run * sizeof *places);
                for (size_t end = i + run; i < end; ++i) {
                    const uint64_t a = keys_.halves[2 * i], b = keys_.halves[2 * i + 1];
                    numbers[found++] = words_.count(a, b, keys_.hashes[i], document_);
                }
                if (i == stop) break;
            }
            uint32_t number;
            if (others >> i & 1) [[unlikely]] {
                number = number_of(text.substr(first[base + i], length[base + i]));
            } else {
                if (check_length && length[base + i] < rules_.min_length) continue;
                const uint64_t a = keys_.halves[2 * i], b = keys_.halves[2 * i + 1];
                number = learns ? words_.count(a, b, keys_.hashes[i], document_)
                                : vocabulary_->find(a, b, keys_.hashes[i]);
            }
            numbers[found] = number;
            if (keep_places) {
                const uint32_t at = first[base + i];
                if (places) places[found] = at;
                if (spans) {
                    spans[2 * found] = at;
                    spans[2 * found + 1] = at + length[base + i];
                }
            }
            found += number != WordTable::kNone;
        }
    }
    unit.numbers.set_size(unit.numbers.size() + found);
    if (places) places_.set_size(places_.size() + found);
    if (spans) unit.spans.set_size(unit.spans.size() + 2 * found);
}

}  // namespace radfast
