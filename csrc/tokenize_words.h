// Words to numbers: an open-addressing table that counts as it numbers.
//
// A slot is 32 bytes. A word of at most 15 bytes lies in its slot, zero padded, with its length in the last
// byte; a longer one lies in the arena. Two slots share a cache line, and a hash leads to a line: a hit
// seldom touches another, and which slot of the line it is costs no branch.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tokenize_memory.h"

namespace radfast {

// A word as the table compares it.
struct WordKey {
    static constexpr size_t kShort = 15;
    static constexpr uint64_t kLong = 1ULL << 63;

    uint64_t a, b;            // a short word and its length << 56; of a longer one its hash and kLong
    std::string_view longer;  // empty for a short word

    static WordKey of(std::string_view word) {
        if (word.size() > kShort) return {hash_of(word), kLong, word};
        uint64_t parts[2] = {0, 0};
        std::memcpy(parts, word.data(), word.size());
        return {parts[0], parts[1] | uint64_t{word.size()} << 56, {}};
    }

    // Multiply-add hashing: its high bits depend on every bit of the key.
    static constexpr uint64_t kFactorA = 0x9E3779B97F4A7C15ULL, kFactorB = 0xD6E8FEB86659FD93ULL;
    static uint64_t hash(uint64_t a, uint64_t b) { return a * kFactorA + b * kFactorB; }
    uint64_t hash() const { return hash(a, b); }

    bool operator==(const WordKey&) const = default;

  private:
    static uint64_t hash_of(std::string_view word);
};

class WordTable {
    struct Slot {
        uint64_t a, b;    // longer words: hash, place in the arena | kLong
        uint64_t counts;  // tokens, and documents << 32
        uint32_t number;  // of the word, + 1; 0 is a free slot
        uint32_t last;    // document it was seen in
    };

    static constexpr size_t kLine = 64;  // bytes

  public:
    static constexpr uint32_t kNone = 0xFFFFFFFF;

    WordTable();

    // Of a short word, whose key is (a, b) and has this hash: its number, old or new. The word is counted,
    // once more in the document if it is new there. Documents are numbered from 1.
    uint32_t count(uint64_t a, uint64_t b, uint64_t hash, uint32_t document) {
        Slot& slot = in_line(a, b, hash);
        if (slot.a == a && slot.b == b) [[likely]]
            return seen(slot, document);
        return count_further({a, b, {}}, document);
    }

    // The same for any word.
    uint32_t count(const WordKey& key, uint32_t document) { return count_further(key, document); }

    // Number of the word, kNone where it is absent.
    uint32_t find(uint64_t a, uint64_t b, uint64_t hash) const {
        const Slot& slot = in_line(a, b, hash);
        if (slot.a == a && slot.b == b) [[likely]]
            return slot.number - 1;
        return find({a, b, {}});
    }
    uint32_t find(const WordKey& key) const { return slots()[probe(key)].number - 1; }

    // Adds a word with counts of its own; returns its number.
    uint32_t add(const WordKey& key, uint64_t count, uint64_t documents);

    // Where words lie, until the next word is added.
    struct Places {
        const char* slots;
        unsigned shift;
        const char* line(uint64_t hash) const { return slots + (hash >> shift & ~uint64_t{kLine - 1}); }
        // The next line, too: in a full table many words found their own line taken.
        void prefetch(uint64_t hash) const {
            __builtin_prefetch(line(hash), 1);
            __builtin_prefetch(line(hash) + kLine, 1);
        }
    };
    Places places() const { return {memory_.data(), shift_}; }

    size_t size() const { return size_; }

    static constexpr unsigned kMostRangeBits = 11;  // the smallest table has as many lines

    // Calls visit(number, key, count, documents) for every word whose hash has these highest bits, of which
    // there are at most kMostRangeBits. A longer word lives until the next word is added.
    template <class Visit>
    void each_in(uint64_t range, unsigned bits, Visit&& visit) const {
        const size_t slots = mask_ + 1, first = slots * range >> bits, last = slots * (range + 1) >> bits;
        // The words that found their lines taken lie behind them, without a gap.
        for (size_t at = first; at < first + slots; ++at) {
            const Slot& slot = this->slots()[at & mask_];
            if (slot.number == 0) {
                if (at >= last) break;
                continue;
            }
            const WordKey key = key_of(slot);
            if (bits > 0 && key.hash() >> (64 - bits) != range) continue;
            const uint32_t number = slot.number - 1;
            visit(number, key, (slot.counts & 0xFFFFFFFF) + extra(extra_counts_, number),
                  (slot.counts >> 32) + extra(extra_documents_, number));
        }
    }

    // Moves the 32-bit counts out of the slots; to be called before 2^32 further words are counted.
    void flush_counts();

  private:
    static uint64_t extra(const std::vector<uint64_t>& counts, uint32_t number) {
        return number < counts.size() ? counts[number] : 0;
    }

    Slot* slots() const { return reinterpret_cast<Slot*>(memory_.data()); }

    static uint32_t seen(Slot& slot, uint32_t document) {
        slot.counts += 1 + (uint64_t{slot.last != document} << 32);
        slot.last = document;
        return slot.number - 1;
    }

    // The slot of the hash's line that holds the key; the second one where neither does.
    Slot& in_line(uint64_t a, uint64_t b, uint64_t hash) const {
        char* const line = memory_.data() + (hash >> shift_ & ~uint64_t{kLine - 1});
        Slot* const slot = reinterpret_cast<Slot*>(line);
        const uint64_t differs = (slot->a ^ a) | (slot->b ^ b);
        return slot[differs != 0];
    }

    // The slot that holds the key or is free for it.
    size_t probe(const WordKey& key) const {
        for (size_t at = home(key.hash());; at = (at + 1) & mask_) {
            const Slot& slot = slots()[at];
            if (slot.number == 0 || (slot.a == key.a && matches(slot, key))) return at;
        }
    }

    static unsigned shift_of(size_t slots) {
        return static_cast<unsigned>(64 - std::countr_zero(slots * sizeof(Slot)));
    }
    // Where the search for a hash begins.
    size_t home(uint64_t hash) const { return (hash >> shift_ & ~uint64_t{kLine - 1}) / sizeof(Slot); }

    uint32_t count_further(const WordKey& key, uint32_t document);

    bool matches(const Slot& slot, const WordKey& key) const {
        if (key.longer.empty()) return slot.b == key.b;
        return (slot.b & WordKey::kLong) != 0 && in_arena(slot) == key.longer;
    }

    uint32_t insert(Slot& slot, const WordKey& key, uint32_t document);
    void grow();
    std::string_view in_arena(const Slot& slot) const;
    WordKey key_of(const Slot& slot) const;

    Region memory_;   // of the slots
    size_t mask_;     // number of slots less one
    unsigned shift_;  // brings the high bits of a hash down to a byte of the memory
    size_t size_ = 0;
    std::vector<char> arena_;
    std::vector<uint64_t> extra_counts_, extra_documents_;
};

}  // namespace radfast
