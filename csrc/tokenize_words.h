// Words to numbers: an open-addressing table that counts as it numbers.
//
// A slot is 32 bytes. A word of at most 15 bytes lies in its slot, zero padded, with its length in the last
// byte, so that a hit touches one cache line; a longer one lies in the arena.
#pragma once

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

    static uint64_t hash(uint64_t a, uint64_t b) {
        return mix(a ^ 0x9E3779B97F4A7C15ULL, b ^ 0xD6E8FEB86659FD93ULL);
    }
    uint64_t hash() const { return hash(a, b); }

  private:
    static uint64_t mix(uint64_t a, uint64_t b) {
        __extension__ using Wide = unsigned __int128;
        const Wide product = static_cast<Wide>(a) * b;
        return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    }
    static uint64_t hash_of(std::string_view word);
};

class WordTable {
    struct Slot {
        uint64_t a, b;    // longer words: hash, place in the arena | kLong
        uint64_t counts;  // tokens, and documents << 32
        uint32_t number;  // of the word, + 1; 0 is a free slot
        uint32_t last;    // document it was seen in
    };

  public:
    static constexpr uint32_t kNone = 0xFFFFFFFF;

    WordTable();

    // `hash` is the key's hash throughout; the key (a, b) is that of a short word.
    //
    // Number of the word, which is new or old, counted once in a document. Documents are numbered from 1.
    uint32_t count(uint64_t a, uint64_t b, uint64_t hash, uint32_t document) {
        size_t at = hash & mask_;
        Slot* const slots = this->slots();
        while (slots[at].a != a || slots[at].b != b) {
            if (slots[at].number == 0) return insert(slots[at], {a, b, {}}, document);
            at = (at + 1) & mask_;
        }
        return seen(slots[at], document);
    }

    // The same for any word.
    uint32_t count(const WordKey& key, uint32_t document) {
        Slot& slot = slots()[probe(key, key.hash())];
        return slot.number == 0 ? insert(slot, key, document) : seen(slot, document);
    }

    // Number of the word, kNone where it is absent.
    uint32_t find(uint64_t a, uint64_t b, uint64_t hash) const {
        size_t at = hash & mask_;
        const Slot* const slots = this->slots();
        while ((slots[at].a != a || slots[at].b != b) && slots[at].number != 0) at = (at + 1) & mask_;
        return slots[at].number - 1;
    }
    uint32_t find(const WordKey& key) const { return slots()[probe(key, key.hash())].number - 1; }

    // Adds a word with counts of its own; returns its number.
    uint32_t add(const WordKey& key, uint64_t count, uint64_t documents);

    // Where words lie, until the next word is added.
    struct Places {
        const char* slots;
        size_t mask;
        void prefetch(uint64_t hash) const { __builtin_prefetch(slots + (hash & mask) * sizeof(Slot), 1); }
    };
    Places places() const { return {memory_.data(), mask_}; }

    size_t size() const { return size_; }

    // Calls visit(number, word, count, documents) for every word, in no order. `word` lives for the call.
    template <class Visit>
    void each(Visit&& visit) const {
        for (size_t at = 0; at <= mask_; ++at) {
            const Slot& slot = slots()[at];
            if (slot.number == 0) continue;
            const uint32_t number = slot.number - 1;
            visit(number, word_of(slot), (slot.counts & 0xFFFFFFFF) + extra(extra_counts_, number),
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

    // The slot that holds the key or is free for it.
    size_t probe(const WordKey& key, uint64_t hash) const {
        for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
            const Slot& slot = slots()[at];
            if (slot.number == 0 || (slot.a == key.a && matches(slot, key))) return at;
        }
    }

    bool matches(const Slot& slot, const WordKey& key) const {
        if (key.longer.empty()) return slot.b == key.b;
        return (slot.b & WordKey::kLong) != 0 && in_arena(slot) == key.longer;
    }

    uint32_t insert(Slot& slot, const WordKey& key, uint32_t document);
    void grow();
    std::string_view in_arena(const Slot& slot) const;
    std::string_view word_of(const Slot& slot) const;

    Region memory_;  // of the slots
    size_t mask_, size_ = 0;
    std::vector<char> arena_;
    std::vector<uint64_t> extra_counts_, extra_documents_;
};

}  // namespace radfast
