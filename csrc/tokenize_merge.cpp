// Tables of threads to one vocabulary.
//
// A hash leads to a place of a table by its highest bits, so that the words of a range of hashes lie side by
// side in every table. The ranges are merged one by one, each in a small index that stays in the cache, by
// threads that need no lock. The merged words are put in order by a counting sort of their counts, and words
// of equal count by a radix sort of their first 8 bytes.
#include "tokenize_merge.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <unordered_set>

#include "tokenize_parallel.h"

namespace radfast {

namespace {

constexpr size_t kRangeWords = 4096;  // about as many words are merged at a time
constexpr size_t kCounts = 1024;      // from here on counts share a class
constexpr size_t kFew = 24;           // items that are sorted by comparison

// Bytes in the order of their comparison.
uint64_t reverse(uint64_t bytes) { return __builtin_bswap64(bytes); }

// A word of the vocabulary to be. Short words are their key, reversed: `rest` ends with the length. Longer
// ones have their first bytes as head, and their place among the longer words before a last byte of kLong.
struct Merged {
    static constexpr uint64_t kLong = 16;

    uint64_t head, rest, count, documents;

    bool is_long() const { return (rest & 0xFF) == kLong; }
};

// A word as a table has it.
struct Found {
    WordKey key;
    uint64_t count, documents;
    uint32_t table, number;
};

struct Item {
    uint64_t head;
    uint64_t merged;
};

class Merge {
  public:
    Merge(const std::vector<const WordTable*>& tables, unsigned threads)
        : tables_(tables), threads_(threads), final_of_(tables.size()) {
        size_t most = 0;
        for (const WordTable* table : tables) most += table->size();
        parts_ = std::clamp<size_t>(most / kRangeWords, 1, threads);
        words_ = Region(most * sizeof(Merged));
        range_bits_ = std::min<unsigned>(std::bit_width(most / kRangeWords), WordTable::kMostRangeBits);
    }

    void merge_all() {
        share(tables_.size(), static_cast<unsigned>(parts_),
              [&](unsigned, size_t table) { final_of_[table].resize(tables_[table]->size()); });
        std::vector<Scratch> scratch(threads_);
        share(size_t{1} << range_bits_, threads_,
              [&](unsigned thread, size_t range) { merge(range, scratch[thread]); });
    }

    // The words that stay, in order.
    Buffer<Item> rank(const PruneRules& rules) {
        const std::unordered_set<std::string_view> stop(rules.stop_words.begin(), rules.stop_words.end());
        const auto stays = [&](const Merged& word) {
            if (word.documents < rules.min_documents || word.documents > rules.max_documents) return false;
            return stop.empty() || !stop.contains(Text(*this, word).view());
        };
        using Classes = std::array<size_t, kCounts>;
        std::vector<Classes> places(parts_, Classes{});
        each_part(size_, [&](size_t part, size_t first, size_t last) {
            for (size_t i = first; i < last; ++i) places[part][class_of(words()[i])] += stays(words()[i]);
        });
        size_t kept = 0;
        Classes starts, ends;
        for (size_t of = 0; of < kCounts; ++of) {
            starts[of] = kept;
            for (Classes& place : places) place[of] = std::exchange(kept, kept + place[of]);
            ends[of] = kept;
        }
        Buffer<Item> items, spare;
        items.reserve(kept);
        items.set_size(kept);
        spare.reserve(kept);
        each_part(size_, [&](size_t part, size_t first, size_t last) {
            for (size_t i = first; i < last; ++i) {
                const Merged& word = words()[i];
                if (stays(word)) items[places[part][class_of(word)]++] = {word.head, i};
            }
        });
        // Rare words first: most words are rare, so that their classes take longest.
        share(kCounts, static_cast<unsigned>(parts_), [&](unsigned, size_t back) {
            const size_t of = kCounts - 1 - back, count = ends[of] - starts[of];
            Item* const first = items.data() + starts[of];
            if (of == 0) {
                sort_by_comparison(first, count);
            } else {
                sort_by_head(first, spare.data() + starts[of], count, 56);
            }
        });
        return items;
    }

    // Writes the ranked words and returns the final numbers.
    FinalNumbers number(const Item* ranked, size_t count, TokenCorpus& corpus) {
        corpus.counts.resize(count);
        corpus.document_counts.resize(count);
        std::vector<uint64_t> sizes(parts_ + 1, 0);
        each_part(count, [&](size_t part, size_t first, size_t last) {
            for (size_t i = first; i < last; ++i) sizes[part + 1] += size_of(words()[ranked[i].merged]);
        });
        for (size_t part = 0; part < parts_; ++part) sizes[part + 1] += sizes[part];
        Buffer<int32_t> place;
        place.reserve(size_);
        if (count < size_) std::fill_n(place.data(), size_.load(), -1);
        corpus.vocabulary.resize(count, sizes[parts_]);
        each_part(count, [&](size_t part, size_t first, size_t last) {
            uint64_t at = sizes[part];
            for (size_t i = first; i < last; ++i) {
                const Merged& word = words()[ranked[i].merged];
                corpus.counts[i] = word.count;
                corpus.document_counts[i] = word.documents;
                at = corpus.vocabulary.put(i, at, Text(*this, word).view());
                place[ranked[i].merged] = static_cast<int32_t>(i);
            }
        });
        for (std::vector<int32_t>& numbers : final_of_) {
            each_part(numbers.size(), [&](size_t, size_t first, size_t last) {
                for (size_t i = first; i < last; ++i) numbers[i] = place[static_cast<size_t>(numbers[i])];
            });
        }
        return {std::move(final_of_), count < size_};
    }

  private:
    struct Scratch {
        std::vector<Found> found;
        std::vector<uint32_t> index;  // 1 + item of `first`
        std::vector<uint32_t> first;  // of the found ones, those that are met for the first time
    };

    // Holds the bytes of a short word.
    class Text {
      public:
        Text(const Merge& merge, const Merged& word) {
            if (word.is_long()) {
                view_ = merge.longer_[word.rest >> 8];
                return;
            }
            const uint64_t parts[2] = {reverse(word.head), reverse(word.rest)};
            std::memcpy(bytes_, parts, sizeof parts);
            view_ = {bytes_, static_cast<size_t>(word.rest & 0xFF)};
        }
        Text(const Text&) = delete;
        Text& operator=(const Text&) = delete;
        std::string_view view() const { return view_; }

      private:
        char bytes_[16];
        std::string_view view_;
    };

    Merged* words() const { return reinterpret_cast<Merged*>(words_.data()); }

    size_t size_of(const Merged& word) const {
        return word.is_long() ? longer_[word.rest >> 8].size() : word.rest & 0xFF;
    }

    static size_t class_of(const Merged& word) { return word.count >= kCounts ? 0 : kCounts - word.count; }

    template <class Work>
    void each_part(size_t items, Work&& work) {
        share(parts_, static_cast<unsigned>(parts_),
              [&](unsigned, size_t part) { work(part, items * part / parts_, items * (part + 1) / parts_); });
    }

    void merge(size_t range, Scratch& scratch) {
        std::vector<Found>& found = scratch.found;
        found.clear();
        for (size_t i = 0; i < tables_.size(); ++i) {
            tables_[i]->each_in(
                range, range_bits_,
                [&](uint32_t number, const WordKey& key, uint64_t count, uint64_t documents) {
                    found.push_back({key, count, documents, static_cast<uint32_t>(i), number});
                });
        }
        if (found.empty()) return;
        scratch.index.assign(std::bit_ceil(2 * found.size()), 0);
        scratch.first.clear();
        const size_t mask = scratch.index.size() - 1;
        const int shift = 64 - std::countr_zero(scratch.index.size());
        for (uint32_t i = 0; i < found.size(); ++i) {
            Found& word = found[i];
            size_t at = word.key.hash() << range_bits_ >> shift;
            while (scratch.index[at] != 0 && !(found[scratch.first[scratch.index[at] - 1]].key == word.key)) {
                at = (at + 1) & mask;
            }
            if (scratch.index[at] == 0) {
                scratch.first.push_back(i);
                scratch.index[at] = static_cast<uint32_t>(scratch.first.size());
            } else {
                Found& same = found[scratch.first[scratch.index[at] - 1]];
                same.count += word.count;
                same.documents += word.documents;
            }
            // Among the words of the range; the place of the range is not known yet.
            final_of_[word.table][word.number] = static_cast<int32_t>(scratch.index[at] - 1);
        }
        const size_t start = size_.fetch_add(scratch.first.size());
        if (start + scratch.first.size() > INT32_MAX) {
            throw std::length_error("[Tokenizer] more than 2^31 - 1 words");
        }
        for (const Found& word : found) final_of_[word.table][word.number] += static_cast<int32_t>(start);
        for (size_t i = 0; i < scratch.first.size(); ++i) {
            words()[start + i] = merged(found[scratch.first[i]]);
        }
    }

    Merged merged(const Found& word) {
        const std::string_view longer = word.key.longer;
        if (longer.empty()) return {reverse(word.key.a), reverse(word.key.b), word.count, word.documents};
        uint64_t head;
        std::memcpy(&head, longer.data(), sizeof head);
        const std::lock_guard lock(guard_);
        longer_.push_back(longer);
        return {reverse(head), uint64_t{longer_.size() - 1} << 8 | Merged::kLong, word.count, word.documents};
    }

    bool before(const Item& x, const Item& y) const {
        const Merged &a = words()[x.merged], &b = words()[y.merged];
        if (a.count != b.count) return a.count > b.count;
        if (a.head != b.head) return a.head < b.head;
        if (!a.is_long() && !b.is_long()) return a.rest < b.rest;
        return Text(*this, a).view() < Text(*this, b).view();
    }

    void sort_by_comparison(Item* items, size_t count) const {
        std::sort(items, items + count, [&](const Item& x, const Item& y) { return before(x, y); });
    }

    // Items of equal count whose heads agree above bits [shift, shift + 8).
    void sort_by_head(Item* items, Item* spare, size_t count, int shift) const {
        if (count <= kFew || shift < 0) {
            std::sort(items, items + count, [&](const Item& x, const Item& y) {
                return x.head != y.head ? x.head < y.head : before(x, y);
            });
            return;
        }
        std::array<size_t, 257> ends{};
        for (size_t i = 0; i < count; ++i) ++ends[(items[i].head >> shift & 0xFF) + 1];
        for (size_t digit = 0; digit < 256; ++digit) ends[digit + 1] += ends[digit];
        for (size_t i = 0; i < count; ++i) spare[ends[items[i].head >> shift & 0xFF]++] = items[i];
        std::memcpy(items, spare, count * sizeof(Item));
        for (size_t digit = 0, first = 0; digit < 256; first = ends[digit++]) {
            if (ends[digit] - first > 1)
                sort_by_head(items + first, spare + first, ends[digit] - first, shift - 8);
        }
    }

    const std::vector<const WordTable*>& tables_;
    const unsigned threads_;
    size_t parts_;
    unsigned range_bits_;
    Region words_;  // room for Merged; its order means nothing
    std::atomic<size_t> size_{0};
    std::vector<std::vector<int32_t>> final_of_;
    std::mutex guard_;
    std::vector<std::string_view> longer_;
};

}  // namespace

FinalNumbers merge_words(const std::vector<const WordTable*>& tables, const PruneRules& rules,
                         unsigned threads, TokenCorpus& corpus) {
    Merge merge(tables, threads);
    merge.merge_all();
    const Buffer<Item> ranked = merge.rank(rules);
    const size_t top = std::min<uint64_t>(rules.drop_top, ranked.size());
    return merge.number(ranked.data() + top, std::min<uint64_t>(ranked.size() - top, rules.max_vocabulary),
                        corpus);
}

}  // namespace radfast
