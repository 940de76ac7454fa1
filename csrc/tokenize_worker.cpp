#include "tokenize_worker.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace radfast {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;
constexpr uint64_t kHighBits = 0x80 * kOnes;
constexpr uint64_t kCrosses = 0x78787878;
constexpr uint32_t kShortestMask = 3;            // bytes of the shortest token that becomes a mask: "___"
constexpr size_t kBytesPerToken = 7;             // of usual text, so that vectors seldom grow
constexpr size_t kStride = 32;                   // look-ups under way at once
constexpr uint64_t kFlushEvery = 0xF0000000ULL;  // tokens, below what a 32-bit count holds

// Eight ASCII characters in lower case.
uint64_t lower_eight(uint64_t text) {
    const uint64_t from_a = text + (0x80 - 'A') * kOnes;
    const uint64_t after_z = text + (0x7F - 'Z') * kOnes;
    return text | ((from_a ^ after_z) & kHighBits) >> 2;
}

uint64_t low_bytes(size_t count) { return count >= 8 ? ~0ULL : (1ULL << 8 * count) - 1; }

}  // namespace

Worker::Worker(const TokenRules& rules, const WordTable* vocabulary)
    : rules_(rules),
      vocabulary_(vocabulary),
      folder_(rules),
      scanner_(rules.pattern, rules.placeholders != Keep::keep),
      until_flush_(kFlushEvery) {
    if (rules.pattern == Pattern::radiology && rules.placeholders != Keep::keep)
        special_['_'] = special_['['] = true;
    if (rules.numbers != Keep::keep) std::fill(special_ + '0', special_ + '9' + 1, true);
}

void Worker::process(const std::string_view* texts, size_t count, Unit& unit) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) bytes += texts[i].size();
    unit.numbers.reserve(bytes / kBytesPerToken);
    for (size_t i = 0; i < count; ++i) document(texts[i], unit);
}

void Worker::document(std::string_view text, Unit& unit) {
    if (text.size() >= UINT32_MAX)
        throw std::length_error("[Tokenizer] a document must be shorter than 2^32 - 1 bytes");
    if (++document_ == 0) throw std::length_error("[Tokenizer] too many documents for one thread");
    start_ = unit.numbers.size();
    if (rules_.sentences) {
        sentences_.clear();
        sentence_ = 0;
        sentence_start_ = 0;
        split_sentences(text.data(), text.size(), *rules_.sentences, sentences_);
        next_sentence_ = start_after(0);
    }
    scanner_.run(reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                 [&](const TokenSpan* tokens, size_t count) { look_up(text, tokens, count, unit); });
    const auto found = static_cast<uint32_t>(unit.numbers.size() - start_);
    unit.document_tokens.push_back(found);
    if (rules_.sentences) {
        close_sentences(UINT32_MAX, found, unit);
        unit.document_sentences.push_back(static_cast<uint32_t>(sentences_.size()));
    }
}

// Ends the sentences before the one that byte `before` lies in; all of them for UINT32_MAX.
void Worker::close_sentences(uint32_t before, uint32_t tokens, Unit& unit) {
    while (sentence_ < sentences_.size() && (before == UINT32_MAX || before >= next_sentence_)) {
        unit.sentence_tokens.push_back(tokens - sentence_start_);
        sentence_start_ = tokens;
        ++sentence_;
        next_sentence_ = start_after(sentence_);
    }
}

// First byte of the sentence after number `sentence`, UINT32_MAX where it is the last.
uint32_t Worker::start_after(size_t sentence) const {
    return sentence + 1 < sentences_.size() ? static_cast<uint32_t>(sentences_[sentence + 1].first)
                                            : UINT32_MAX;
}

// The key of a short ASCII token without a rule of its own; false for all others.
inline bool Worker::make_key(std::string_view text, TokenSpan token, Key& key) const {
    const size_t length = token.last - token.first;
    const char* from = text.data() + token.first;
    if (length > WordKey::kShort || special_[static_cast<uint8_t>(*from)]) return false;
    uint64_t parts[2] = {0, 0};
    if (token.first + 16 <= text.size()) {
        std::memcpy(parts, from, 16);
        parts[0] &= low_bytes(length);
        parts[1] &= length > 8 ? low_bytes(length - 8) : 0;
    } else {
        std::memcpy(parts, from, length);
    }
    if ((parts[0] | parts[1]) & kHighBits) return false;
    if (rules_.lowercase) {
        parts[0] = lower_eight(parts[0]);
        parts[1] = lower_eight(parts[1]);
    }
    const uint64_t head = parts[0] | 0x20202020;
    if (static_cast<uint32_t>(head) == kCrosses) return false;
    key.a = parts[0];
    key.b = parts[1] | static_cast<uint64_t>(length) << 56;
    key.hash = WordKey{key.a, key.b, {}}.hash();
    return true;
}

inline uint32_t Worker::number_of(const WordKey& key, uint64_t hash) {
    return vocabulary_ ? vocabulary_->find(key, hash) : words_.count(key, hash, document_);
}

void Worker::look_up(std::string_view text, const TokenSpan* tokens, size_t count, Unit& unit) {
    if (until_flush_ < count) {
        words_.flush_counts();
        until_flush_ = kFlushEvery;
    }
    until_flush_ -= count;
    // Tokens that are surely too short go first, without a branch.
    TokenSpan kept[Scanner::kBatch];
    size_t found = 0;
    const uint32_t shortest = std::min(rules_.min_length, kShortestMask);
    for (size_t i = 0; i < count; ++i) {
        const TokenSpan token = tokens[i];
        kept[found] = token;
        found += token.last - token.first >= shortest || special_[static_cast<uint8_t>(text[token.first])];
    }
    const WordTable& table = vocabulary_ ? *vocabulary_ : words_;
    Key keys[kStride];
    bool simple[kStride];
    for (size_t base = 0; base < found; base += kStride) {
        const size_t stop = std::min(kStride, found - base);
        for (size_t i = 0; i < stop; ++i) {
            simple[i] = make_key(text, kept[base + i], keys[i]);
            if (simple[i]) table.prefetch(keys[i].hash);
        }
        for (size_t i = 0; i < stop; ++i) {
            const TokenSpan token = kept[base + i];
            uint32_t number = WordTable::kNone;
            if (simple[i]) {
                if (token.last - token.first < rules_.min_length) continue;
                number = number_of({keys[i].a, keys[i].b, {}}, keys[i].hash);
            } else {
                const std::string_view word =
                    folder_.fold(text.substr(token.first, token.last - token.first));
                if (word.empty()) continue;
                const WordKey key = WordKey::of(word);
                number = number_of(key, key.hash());
            }
            if (number == WordTable::kNone) continue;
            if (token.first >= next_sentence_) {
                close_sentences(token.first, static_cast<uint32_t>(unit.numbers.size() - start_), unit);
            }
            unit.numbers.push_back(number);
            if (rules_.keep_spans) unit.spans.insert(unit.spans.end(), {token.first, token.last});
        }
    }
}

}  // namespace radfast
