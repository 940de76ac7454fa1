#include "tokenize_worker.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace radfast {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;
constexpr uint64_t kHighBits = 0x80 * kOnes;
constexpr uint64_t kHeadInLower = 0xDFDFDFDF;    // takes the case off the first four letters
constexpr uint64_t kCrosses = 0x58585858;        // "XXXX"
constexpr uint32_t kShortestMask = 3;            // bytes of the shortest token that becomes a mask: "___"
constexpr uint64_t kFlushEvery = 0xF0000000ULL;  // tokens, below what a 32-bit count holds

// Bit 5 of those of eight ASCII characters that are capitals: what lower case adds.
inline uint64_t upper_bits(uint64_t text) {
    const uint64_t from_a = text + (0x80 - 'A') * kOnes;
    const uint64_t after_z = text + (0x7F - 'Z') * kOnes;
    return ((from_a ^ after_z) & kHighBits) >> 2;
}

// The bytes of the two halves of a key that belong to a word of so many bytes.
struct Halves {
    uint64_t low, high;
};
constexpr uint64_t low_bytes(size_t count) { return count >= 8 ? ~0ULL : (1ULL << 8 * count) - 1; }
constexpr auto kHalves = [] {
    struct {
        Halves of[16];
    } halves{};
    for (size_t i = 0; i < 16; ++i) halves.of[i] = {low_bytes(i), i > 8 ? low_bytes(i - 8) : 0};
    return halves;
}();

}  // namespace

Worker::Worker(const TokenRules& rules, const WordTable* vocabulary)
    : rules_(rules),
      vocabulary_(vocabulary),
      folder_(rules),
      scanner_(rules.pattern, rules.placeholders != Keep::keep),
      shortest_(rules.numbers != Keep::keep ? 1 : std::min(rules.min_length, kShortestMask)),
      crosses_(rules.pattern == Pattern::radiology && rules.placeholders != Keep::keep ? kCrosses : ~0ULL),
      until_flush_(kFlushEvery) {
    if (rules.pattern == Pattern::radiology && rules.placeholders != Keep::keep)
        special_['_'] = special_['['] = true;
    if (rules.numbers != Keep::keep) std::fill(special_ + '0', special_ + '9' + 1, true);
}

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
                     look_up(text, starts, ends, kept, unit);
                 });
    unit.document_ends.push(static_cast<int64_t>(unit.numbers.size()));
    if (rules_.sentences) close_sentences(text, start, unit);
}

void Worker::close_sentences(std::string_view text, size_t start, Unit& unit) {
    sentences_.clear();
    split_sentences(text.data(), text.size(), *rules_.sentences, sentences_);
    int64_t* ends = unit.sentence_ends.reserve(sentences_.size());
    const size_t tokens = places_.size();
    *places_.reserve(1) = UINT32_MAX;
    size_t token = 0;
    for (size_t i = 1; i < sentences_.size(); ++i) {
        const auto next = static_cast<uint32_t>(sentences_[i].first);
        while (places_[token] < next) ++token;
        *ends++ = static_cast<int64_t>(start + token);
    }
    if (!sentences_.empty()) *ends = static_cast<int64_t>(start + tokens);
    unit.sentence_ends.set_size(unit.sentence_ends.size() + sentences_.size());
    unit.document_sentences.push(static_cast<int64_t>(unit.sentence_ends.size()));
}

// Fills keys_ for the short ASCII tokens without a rule of their own; returns a bit for each of the others.
uint64_t Worker::make_keys(std::string_view text, const uint32_t* first, const uint32_t* length,
                           size_t count) {
    const uint64_t upper = rules_.lowercase ? kHighBits >> 2 : 0;
    const uint64_t crosses = crosses_;
    const WordTable::Places table = (vocabulary_ ? *vocabulary_ : words_).places();
    const char* const data = text.data();
    const size_t size = text.size();
    Key* const keys = keys_;
    uint64_t others = 0;
    for (size_t i = 0; i < count; ++i) {
        const char* const from = data + first[i];
        const uint64_t bytes = length[i];
        uint64_t low, high;
        if (first[i] + uint64_t{16} <= size) {
            std::memcpy(&low, from, 8);
            std::memcpy(&high, from + 8, 8);
        } else {
            uint64_t parts[2] = {0, 0};
            std::memcpy(parts, from, size - first[i]);
            low = parts[0];
            high = parts[1];
        }
        const Halves mask = kHalves.of[bytes & WordKey::kShort];
        low &= mask.low;
        high &= mask.high;
        const bool other = (bytes > WordKey::kShort) | (((low | high) & kHighBits) != 0) |
                           special_[static_cast<uint8_t>(low)] | ((low & kHeadInLower) == crosses);
        low |= upper_bits(low) & upper;
        high |= (upper_bits(high) & upper) | bytes << 56;
        const uint64_t hash = WordKey::hash(low, high);
        keys[i] = {low, high, hash};
        table.prefetch(hash);
        others |= uint64_t{other} << i;
    }
    return others;
}

inline uint32_t Worker::number_of(const Key& key) {
    return vocabulary_ ? vocabulary_->find(key.a, key.b, key.hash)
                       : words_.count(key.a, key.b, key.hash, document_);
}

uint32_t Worker::number_of(std::string_view token) {
    const std::string_view word = folder_.fold(token);
    if (word.empty()) return WordTable::kNone;
    const WordKey key = WordKey::of(word);
    return vocabulary_ ? vocabulary_->find(key) : words_.count(key, document_);
}

void Worker::look_up(std::string_view text, const uint32_t* first, const uint32_t* length, size_t count,
                     Unit& unit) {
    if (until_flush_ < count) {
        words_.flush_counts();
        until_flush_ = kFlushEvery;
    }
    until_flush_ -= count;
    uint32_t* const numbers = unit.numbers.reserve(count + 1);
    uint32_t* const places = rules_.sentences ? places_.reserve(count + 1) : nullptr;
    uint32_t* const spans = rules_.keep_spans ? unit.spans.reserve(2 * count + 2) : nullptr;
    size_t found = 0;
    for (size_t base = 0; base < count; base += kStride) {
        const size_t stop = std::min(kStride, count - base);
        const uint64_t others = make_keys(text, first + base, length + base, stop);
        for (size_t i = 0; i < stop; ++i) {
            const uint32_t at = first[base + i], bytes = length[base + i];
            uint32_t number;
            if (others >> i & 1) {
                number = number_of(text.substr(at, bytes));
            } else {
                if (bytes < rules_.min_length) continue;
                number = number_of(keys_[i]);
            }
            numbers[found] = number;
            if (places) places[found] = at;
            if (spans) {
                spans[2 * found] = at;
                spans[2 * found + 1] = at + bytes;
            }
            found += number != WordTable::kNone;
        }
    }
    unit.numbers.set_size(unit.numbers.size() + found);
    if (places) places_.set_size(places_.size() + found);
    if (spans) unit.spans.set_size(unit.spans.size() + 2 * found);
}

}  // namespace radfast
