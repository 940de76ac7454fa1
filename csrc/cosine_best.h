// The k best (score, id) of each query, kept while scores stream by.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace radfast::cosine {

// Order: higher score, equal scores by smaller id. An item is one integer in that order.
//
// Up to kFew places are an array kept in order, which makes every threshold the true k-th score; more are a
// buffer that is cut back to the best k when it is full.
class BestK {
  public:
    static constexpr int kFew = 32;

    // `ascending`: the ids offered to a query rise, so an offer that only equals the k-th loses. Without it
    // k is at most kFew, and an id may come twice.
    BestK(int k, bool ascending)
        : k_(k), capacity_(k <= kFew ? k : k + std::max(k / 2, kFew)), ascending_(ascending) {}

    // Items and what they stand for. Adding 0 turns -0 into 0.
    static std::uint64_t encode(float score, std::int32_t id) {
        std::uint32_t bits = std::bit_cast<std::uint32_t>(score + 0.0f);
        bits = (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
        return (static_cast<std::uint64_t>(bits) << 32) | ~static_cast<std::uint32_t>(id);
    }
    static void decode(std::uint64_t item, float* score, std::int32_t* id) {
        *score = score_of(item);
        *id = static_cast<std::int32_t>(~static_cast<std::uint32_t>(item));
    }
    static float score_of(std::uint64_t item) {
        std::uint32_t bits = static_cast<std::uint32_t>(item >> 32);
        bits = (bits & 0x80000000u) ? bits & 0x7fffffffu : ~bits;
        return std::bit_cast<float>(bits);
    }
    void reset(std::int64_t queries) {
        items_.assign(static_cast<std::size_t>(queries) * capacity_, kFree);
        if (k_ > kFew) counts_.assign(queries, 0);
        thresholds_.assign(queries, kLowest);
    }
    static std::int64_t bytes_per_query(int k) {
        return std::int64_t{8} * (k <= kFew ? k : k + std::max(k / 2, kFew)) + 8;
    }

    // Scores at or below it can no longer enter.
    const float* thresholds(std::int64_t query) const { return thresholds_.data() + query; }

    void offer(std::int64_t query, float score, std::int32_t id) {
        if (!(score > thresholds_[query])) return;
        std::uint64_t* items = items_.data() + query * capacity_;
        const std::uint64_t item = encode(score, id);
        if (k_ > kFew) {
            items[counts_[query]++] = item;
            if (counts_[query] == capacity_) shrink(query);
            return;
        }
        if (!ascending_) {
            bool there = false;  // no way out of the loop: a branch that is often guessed wrong costs more
            for (int i = 0; i < k_; ++i) there |= items[i] == item;
            if (there) return;
        }
        // Every place takes the middle of its own, the one before and the new: no branch to guess wrong,
        // which would cost more than the places.
        std::uint64_t before = ~std::uint64_t{0};
        for (int i = 0; i < k_; ++i) {
            const std::uint64_t own = items[i];
            items[i] = std::max(own, std::min(before, item));
            before = own;
        }
        if (items[k_ - 1] != kFree) set_threshold(query, score_of(items[k_ - 1]));
    }

    // Asks for what offers to `count` queries will touch. (gcc drops calls of a function that only
    // prefetches.)
    __attribute__((always_inline)) void prefetch(std::int64_t query, std::int64_t count) const {
        if (k_ > kFew || query + count > static_cast<std::int64_t>(thresholds_.size())) return;
        const std::uint64_t* items = items_.data() + query * capacity_;
        for (std::int64_t i = 0; i < count * capacity_; i += 8) __builtin_prefetch(items + i, 1, 2);
    }

    // Brings the threshold up to date.
    void tighten(std::int64_t query) {
        if (k_ > kFew && counts_[query] >= k_) shrink(query);
    }

    // Writes the k best of what `parts` found for a query, best first; free places are minus infinity and -1.
    static void drain(std::vector<BestK*>& parts, std::int64_t query, std::vector<std::uint64_t>& scratch,
                      float* scores, std::int32_t* ids) {
        const int k = parts[0]->k_;
        if (k <= kFew && parts.size() == 1) {  // in order already
            const std::uint64_t* items = parts[0]->items_.data() + query * parts[0]->capacity_;
            for (int i = 0; i < k; ++i) {
                const bool there = items[i] != kFree;
                decode(items[i], scores + i, ids + i);
                scores[i] = there ? scores[i] : kLowest;
                ids[i] = there ? ids[i] : -1;
            }
            return;
        }
        scratch.clear();
        for (const BestK* part : parts) {
            const std::uint64_t* items = part->items_.data() + query * part->capacity_;
            const int room = k > kFew ? part->counts_[query] : k;
            scratch.insert(scratch.end(), items, std::find(items, items + room, kFree));
        }
        const int found = static_cast<int>(std::min<std::size_t>(scratch.size(), k));
        std::partial_sort(scratch.begin(), scratch.begin() + found, scratch.end(), std::greater<>());
        for (int i = 0; i < found; ++i) decode(scratch[i], scores + i, ids + i);
        std::fill(scores + found, scores + k, kLowest);
        std::fill(ids + found, ids + k, -1);
    }

  private:
    static constexpr std::uint64_t kFree = 0;  // below every item: ids are not negative
    static constexpr float kLowest = -std::numeric_limits<float>::infinity();

    void set_threshold(std::int64_t query, float last) {
        thresholds_[query] = ascending_ ? last : std::nextafterf(last, kLowest);
    }
    void shrink(std::int64_t query) {
        std::uint64_t* items = items_.data() + query * capacity_;
        std::nth_element(items, items + k_ - 1, items + counts_[query], std::greater<>());
        counts_[query] = k_;
        set_threshold(query, score_of(items[k_ - 1]));
    }

    int k_, capacity_;
    bool ascending_;
    std::vector<std::uint64_t> items_;
    std::vector<int> counts_;
    std::vector<float> thresholds_;
};

}  // namespace radfast::cosine
