#include "tokenize_words.h"

#include <utility>

namespace radfast {

namespace {

constexpr size_t kFirstSlots = 1 << 12;

}  // namespace

uint64_t WordKey::hash_of(std::string_view word) {
    uint64_t hash = word.size();
    size_t at = 0;
    for (; at + 16 <= word.size(); at += 16) {
        uint64_t parts[2];
        std::memcpy(parts, word.data() + at, 16);
        hash = mix(hash ^ parts[0] ^ 0xA0761D6478BD642FULL, parts[1] ^ 0xE7037ED1A0B428DBULL);
    }
    uint64_t rest[2] = {0, 0};
    std::memcpy(rest, word.data() + at, word.size() - at);
    return mix(hash ^ rest[0] ^ 0xA0761D6478BD642FULL, rest[1] ^ 0xE7037ED1A0B428DBULL);
}

WordTable::WordTable() : slots_(kFirstSlots, Slot{0, 0, kNone, 0, 0, 0}), mask_(kFirstSlots - 1) {}

uint32_t WordTable::insert(Slot& slot, const WordKey& key, uint32_t document) {
    const uint32_t number = static_cast<uint32_t>(size_++);
    slot = {key.a, key.b, number, 1, 1, document};
    if (!key.longer.empty()) {
        slot.b |= arena_.size();
        const uint64_t length = key.longer.size();
        const char* head = reinterpret_cast<const char*>(&length);
        arena_.insert(arena_.end(), head, head + sizeof length);
        arena_.insert(arena_.end(), key.longer.begin(), key.longer.end());
    }
    if (size_ * 3 > slots_.size() * 2) grow();
    return number;
}

uint32_t WordTable::add(const WordKey& key, uint64_t count, uint64_t documents) {
    Slot& slot = slots_[probe(key, key.hash())];
    uint32_t number = slot.number;
    if (number == kNone) {
        slot.last = 0;
        number = insert(slot, key, 0);
        extra_counts_.push_back(0);
        extra_documents_.push_back(0);
        extra_counts_[number] = static_cast<uint64_t>(-1);  // insert() has counted one
        extra_documents_[number] = static_cast<uint64_t>(-1);
    }
    extra_counts_[number] += count;
    extra_documents_[number] += documents;
    return number;
}

void WordTable::flush_counts() {
    extra_counts_.resize(size_, 0);
    extra_documents_.resize(size_, 0);
    for (Slot& slot : slots_) {
        if (slot.number == kNone) continue;
        extra_counts_[slot.number] += std::exchange(slot.count, 0);
        extra_documents_[slot.number] += std::exchange(slot.documents, 0);
    }
}

void WordTable::grow() {
    std::vector<Slot> old(slots_.size() * 2, Slot{0, 0, kNone, 0, 0, 0});
    old.swap(slots_);
    mask_ = slots_.size() - 1;
    for (const Slot& slot : old) {
        if (slot.number == kNone) continue;
        const WordKey key{slot.a, (slot.b & WordKey::kLong) ? WordKey::kLong : slot.b, {}};
        size_t at = key.hash() & mask_;
        while (slots_[at].number != kNone) at = (at + 1) & mask_;
        slots_[at] = slot;
    }
}

std::string_view WordTable::in_arena(const Slot& slot) const {
    const char* place = arena_.data() + (slot.b & ~WordKey::kLong);
    uint64_t length;
    std::memcpy(&length, place, sizeof length);
    return {place + sizeof length, length};
}

std::string_view WordTable::word_of(const Slot& slot) const {
    if (slot.b & WordKey::kLong) return in_arena(slot);
    return {reinterpret_cast<const char*>(&slot.a), static_cast<size_t>(slot.b >> 56)};
}

}  // namespace radfast
