#include "tokenize_words.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

namespace radfast {

namespace {

constexpr size_t kFirstSlots = 1 << 12, kNextSlots = 1 << 16;  // the latter fill a huge page

inline uint64_t mix(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

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

WordTable::WordTable()
    : memory_(kFirstSlots * sizeof(Slot)), mask_(kFirstSlots - 1), shift_(shift_of(kFirstSlots)) {}

uint32_t WordTable::count_further(const WordKey& key, uint32_t document) {
    Slot& slot = slots()[probe(key)];
    return slot.number == 0 ? insert(slot, key, document) : seen(slot, document);
}

uint32_t WordTable::insert(Slot& slot, const WordKey& key, uint32_t document) {
    if (size_ == kNone - 1) throw std::length_error("[Tokenizer] too many words for one thread");
    const auto number = static_cast<uint32_t>(size_++);
    slot = {key.a, key.b, 1 + (1ULL << 32), number + 1, document};
    if (!key.longer.empty()) {
        slot.b |= arena_.size();
        const uint64_t length = key.longer.size();
        const char* head = reinterpret_cast<const char*>(&length);
        arena_.insert(arena_.end(), head, head + sizeof length);
        arena_.insert(arena_.end(), key.longer.begin(), key.longer.end());
    }
    if (size_ * 4 > mask_ * 3) grow();
    return number;
}

uint32_t WordTable::add(const WordKey& key, uint64_t count, uint64_t documents) {
    Slot& slot = slots()[probe(key)];
    if (slot.number == 0) {
        extra_counts_.push_back(count - 1);  // insert() counts one
        extra_documents_.push_back(documents - 1);
        return insert(slot, key, 0);
    }
    extra_counts_[slot.number - 1] += count;
    extra_documents_[slot.number - 1] += documents;
    return slot.number - 1;
}

void WordTable::flush_counts() {
    extra_counts_.resize(size_, 0);
    extra_documents_.resize(size_, 0);
    for (size_t at = 0; at <= mask_; ++at) {
        Slot& slot = slots()[at];
        if (slot.number == 0) continue;
        extra_counts_[slot.number - 1] += slot.counts & 0xFFFFFFFF;
        extra_documents_[slot.number - 1] += slot.counts >> 32;
        slot.counts = 0;
    }
}

void WordTable::grow() {
    const size_t held = mask_ + 1, wanted = std::max(2 * held, kNextSlots);
    Region memory(wanted * sizeof(Slot));
    Slot* const slots = reinterpret_cast<Slot*>(memory.data());
    mask_ = wanted - 1;
    shift_ = shift_of(wanted);
    for (size_t from = 0; from < held; ++from) {
        const Slot& slot = this->slots()[from];
        if (slot.number == 0) continue;
        size_t at = home(key_of(slot).hash());
        while (slots[at].number != 0) at = (at + 1) & mask_;
        slots[at] = slot;
    }
    memory_ = std::move(memory);
}

std::string_view WordTable::in_arena(const Slot& slot) const {
    const char* place = arena_.data() + (slot.b & ~WordKey::kLong);
    uint64_t length;
    std::memcpy(&length, place, sizeof length);
    return {place + sizeof length, length};
}

WordKey WordTable::key_of(const Slot& slot) const {
    if (slot.b & WordKey::kLong) return {slot.a, WordKey::kLong, in_arena(slot)};
    return {slot.a, slot.b, {}};
}

}  // namespace radfast
