// Text to token spans: the rules of radfast.kernels.tokenize, over the masks of tokenize_classify.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenize_classify.h"
#include "tokenize_positions.h"
#include "tokenize_unicode.h"

namespace radfast {

class Scanner {
  public:
    static constexpr size_t kBatch = 1024;  // tokens from which on they are handed out

    explicit Scanner(Pattern pattern, bool placeholders)
        : pattern_(pattern),
          placeholders_(placeholders && pattern == Pattern::radiology),
          classify_(choose_classify(pattern)),
          positions_(choose_positions()) {}

    // Calls sink(starts, ends, count) with the half-open byte ranges of the tokens of a document of less than
    // 2^32 - 1 bytes, in order; the sink may overwrite both arrays, and Positions::kSlack items behind them.
    template <class Sink>
    void run(const uint8_t* text, size_t size, Sink&& sink) {
        text_ = text;
        size_ = size;
        decoded_ = placeholder_first_ = placeholder_last_ = 0;
        carry_word_ = carry_token_ = spill_word_ = spill_token_ = 0;
        n_starts_ = n_ends_ = 0;
        const size_t blocks = (size + 63) / 64;
        if (blocks == 0) return;
        Fixed current = fix(0);
        for (size_t block = 0; block < blocks; ++block) {
            const Fixed next = block + 1 < blocks ? fix(block + 1) : Fixed{};
            mark(block, current, next.word);
            current = next;
            if (block % kAhead == kAhead - 1) flatten(block + 1 - kAhead, kAhead);
            if (n_ends_ >= kBatch) hand_out(sink);
        }
        if (blocks % kAhead) flatten(blocks - blocks % kAhead, blocks % kAhead);
        if (n_ends_ < n_starts_) ends_[n_ends_++] = static_cast<uint32_t>(size);
        hand_out(sink);
    }

    const Positions& positions() const { return positions_; }

    // Replacement characters that Python's errors="replace" would have put in, over all runs.
    uint64_t invalid() const { return invalid_; }

  private:
    static constexpr size_t kAhead = 16;  // blocks classified at a time
    static constexpr size_t kMaxPlaceholder = 200;

    // Masks of a block with the scalar rules applied. token: surely in a token; edge: a token starts or ends
    // here.
    struct Fixed {
        uint64_t word = 0, join = 0, point = 0, token = 0, edge = 0;
    };

    // Blocks come in order.
    Fixed fix(size_t block) {
        const size_t slot = block % kAhead;
        if (slot == 0) classify_ahead(block);
        const Masks& masks = masks_[slot];
        const size_t base = block * 64;
        Fixed fixed{masks.word | spill_word_, masks.join, masks.point, spill_token_, 0};
        spill_word_ = spill_token_ = 0;
        if (masks.high) fix_high(masks.high, base, fixed);
        if (placeholders_) fix_placeholders(masks.rare, base, fixed);
        return fixed;
    }

    void classify_ahead(size_t block) {
        const size_t base = block * 64;
        const size_t whole = std::min((size_ - base) / 64, kAhead);
        classify_(text_ + base, whole, masks_);
        if (whole < kAhead && base + whole * 64 < size_) {
            uint8_t tail[64] = {};
            std::memcpy(tail, text_ + base + whole * 64, size_ - base - whole * 64);
            classify_(tail, 1, masks_ + whole);
            if (pattern_ == Pattern::paper) masks_[whole].word &= (1ULL << (size_ - base - whole * 64)) - 1;
        }
    }

    void fix_high(uint64_t high, size_t base, Fixed& fixed) {
        for (; high; high &= high - 1) {
            const unsigned bit = static_cast<unsigned>(std::countr_zero(high));
            const size_t at = base + bit;
            if (at < decoded_) continue;
            const Decoded here = decode(text_ + at, size_ - at);
            decoded_ = at + here.length;
            invalid_ += !here.valid;
            const bool word = is_word(here);
            if (!word && !joins(here.point, at, here.length)) continue;
            const uint64_t run = (1ULL << here.length) - 1;
            const uint64_t over = bit + here.length > 64 ? run >> (64 - bit) : 0;
            (word ? fixed.word : fixed.token) |= run << bit;
            (word ? spill_word_ : spill_token_) |= over;
        }
    }

    // Typographic apostrophe and hyphens between word characters.
    bool joins(uint32_t point, size_t at, size_t length) const {
        if (pattern_ != Pattern::radiology || (point != 0x2019 && point != 0x2010 && point != 0x2011))
            return false;
        if (at == 0 || at + length >= size_) return false;
        size_t before = at - 1;
        while (before > 0 && at - before < 4 && (text_[before] & 0xC0) == 0x80) --before;
        const Decoded last = decode(text_ + before, at - before);
        return before + last.length == at && is_word(last) &&
               is_word(decode(text_ + at + length, size_ - at - length));
    }

    bool is_word(const Decoded& here) const {
        const uint8_t bits = class_of(here.point);
        switch (pattern_) {
            case Pattern::paper:
                return !(bits & kSpace);
            case Pattern::word:
                return (bits & kWord) != 0;
            default:
                return (bits & (kWord | kMark)) != 0;
        }
    }

    void fix_placeholders(uint64_t rare, size_t base, Fixed& fixed) {
        if (placeholder_last_ >= base && placeholder_last_ > 0) mark_placeholder(base, fixed);
        for (; rare; rare &= rare - 1) {
            const size_t at = base + static_cast<size_t>(std::countr_zero(rare));
            if (at < placeholder_last_) continue;
            const size_t length = placeholder_length(at);
            if (length == 0) continue;
            placeholder_first_ = at;
            placeholder_last_ = at + length;
            mark_placeholder(base, fixed);
        }
    }

    // The part of the placeholder that lies in the block is a token, cut off from its neighbours.
    void mark_placeholder(size_t base, Fixed& fixed) const {
        const size_t first = placeholder_first_ > base ? placeholder_first_ - base : 0;
        const size_t last = placeholder_last_ - base;
        const uint64_t run = (last < 64 ? (1ULL << last) - 1 : ~0ULL) & ~((1ULL << first) - 1);
        fixed.token |= run;
        fixed.edge &= ~run;
        fixed.word &= ~run;
        if (placeholder_first_ >= base) fixed.edge |= 1ULL << first;
        if (last < 64) fixed.edge |= 1ULL << last;
    }

    // Bytes of "___" or "[** ... **]" at `at`, 0 where there is neither.
    size_t placeholder_length(size_t at) const {
        size_t last = at;
        if (text_[at] == '_') {
            while (last < size_ && text_[last] == '_') ++last;
            return last - at >= 3 ? last - at : 0;
        }
        const std::string_view rest(reinterpret_cast<const char*>(text_ + at),
                                    std::min(size_ - at, kMaxPlaceholder));
        if (!rest.starts_with("[**")) return 0;
        const size_t close = rest.find("**]", 3);
        return close == std::string_view::npos ? 0 : close + 3;
    }

    // A full stop between word characters, unless it ends a sentence there ("normal.The"); a colon between
    // digits.
    bool joins_point(size_t at) const {
        const uint8_t before = text_[at - 1], after = text_[at + 1];
        const auto digit = [](uint8_t c) { return c >= '0' && c <= '9'; };
        if (text_[at] == ':') return digit(before) && digit(after);
        if (after < 'A' || after > 'Z') return true;
        const auto lower = [](uint8_t c) { return c >= 'a' && c <= 'z'; };
        return !(lower(before) || (digit(before) && at + 2 < size_ && lower(text_[at + 2])));
    }

    // Where tokens start and end in the block.
    void mark(size_t block, const Fixed& fixed, uint64_t next_word) {
        const size_t base = block * 64;
        const uint64_t between = (fixed.word << 1 | carry_word_) & (fixed.word >> 1 | next_word << 63);
        uint64_t token = fixed.word | (fixed.join & between) | fixed.token;
        for (uint64_t points = fixed.point & between; points; points &= points - 1) {
            if (joins_point(base + static_cast<size_t>(std::countr_zero(points)))) token |= points & -points;
        }
        const uint64_t before = token << 1 | carry_token_;
        start_masks_[block % kAhead] = token & (~before | fixed.edge);
        end_masks_[block % kAhead] = before & (~token | fixed.edge);
        carry_word_ = fixed.word >> 63;
        carry_token_ = token >> 63;
    }

    void flatten(size_t block, size_t blocks) {
        const auto base = static_cast<uint32_t>(block * 64);
        n_starts_ += positions_.flatten(start_masks_, blocks, base, starts_ + n_starts_);
        n_ends_ += positions_.flatten(end_masks_, blocks, base, ends_ + n_ends_);
    }

    template <class Sink>
    void hand_out(Sink& sink) {
        const bool open = n_starts_ > n_ends_;
        const uint32_t first = open ? starts_[n_ends_] : 0;
        if (pattern_ == Pattern::paper) {
            for (size_t i = 0; i < n_ends_; ++i) trim(starts_[i], ends_[i]);
        }
        sink(starts_, ends_, n_ends_);
        starts_[0] = first;
        n_starts_ = open;
        n_ends_ = 0;
    }

    // Takes punctuation off both ends of [first, last).
    void trim(uint32_t& first, uint32_t& last) const {
        while (first < last) {
            const Decoded here = decode(text_ + first, last - first);
            if (class_of(here.point) & (kWord | kMark)) break;
            first += here.length;
        }
        while (last > first) {
            uint32_t at = last - 1;
            while (at > first && last - at < 4 && (text_[at] & 0xC0) == 0x80) --at;
            const Decoded here = decode(text_ + at, last - at);
            if (at + here.length == last && class_of(here.point) & (kWord | kMark)) break;
            last = at + here.length == last ? at : last - 1;
        }
    }

    const Pattern pattern_;
    const bool placeholders_;
    const Classify classify_;
    const Positions positions_;
    const uint8_t* text_ = nullptr;
    size_t size_ = 0;
    Masks masks_[kAhead];
    uint64_t start_masks_[kAhead], end_masks_[kAhead];
    // At most 32 tokens start in a block, and those of kAhead blocks come on top of less than kBatch.
    uint32_t starts_[kBatch + 33 * kAhead + Positions::kSlack];
    uint32_t ends_[kBatch + 33 * kAhead + Positions::kSlack];
    size_t n_starts_ = 0, n_ends_ = 0;
    uint64_t carry_word_ = 0, carry_token_ = 0;  // last bits of the block before
    uint64_t spill_word_ = 0, spill_token_ = 0;  // bits of characters that began in the block before
    size_t decoded_ = 0;                         // bytes before it are decoded
    size_t placeholder_first_ = 0, placeholder_last_ = 0;
    uint64_t invalid_ = 0;
};

}  // namespace radfast
