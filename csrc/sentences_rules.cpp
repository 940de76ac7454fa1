#include <algorithm>
#include <cstring>

#include "sentences.h"
#include "sentences_text.h"

namespace radfast {

namespace {

// Tables that decide about a word before a full stop.
constexpr uint16_t kAbbreviations = kNeverLast | kBeforeNumber | kNotBeforeLower | kUnit;

}  // namespace

void SentenceRules::add(SentenceWord table, const std::vector<std::string>& words) {
    for (const std::string& word : words) {
        const uint32_t number = words_.add(WordKey::of(word), 0, 0);
        tables_.resize(words_.size());
        tables_[number] |= table;
        if (!word.empty() && word.size() <= kMaxEntry) {
            lengths_[static_cast<uint8_t>(word[0])] |= 1ULL << word.size();
            lengths_by_last_[static_cast<uint8_t>(word.back())] |= 1ULL << word.size();
        }
        if (table & kAbbreviations) {
            uint64_t bytes = 0;
            std::memcpy(&bytes, word.data(), std::min<size_t>(word.size(), 8));
            const size_t bit = filter_bit(bytes);
            filter_[bit / 64] |= 1ULL << bit % 64;
            longest_ = std::max(longest_, word.size());
        }
    }
}

uint16_t SentenceRules::find(std::string_view word) const {
    if (word.empty() || word.size() > kMaxEntry) return 0;
    const auto head = static_cast<uint8_t>(lower_ascii(word[0]));
    const auto last = static_cast<uint8_t>(lower_ascii(word.back()));
    if (!((lengths_[head] & lengths_by_last_[last]) >> word.size() & 1)) return 0;
    char lower[kMaxEntry];
    for (size_t i = 0; i < word.size(); ++i) lower[i] = lower_ascii(word[i]);
    const uint32_t number = words_.find(WordKey::of({lower, word.size()}));
    return number == WordTable::kNone ? 0 : tables_[number];
}

}  // namespace radfast
