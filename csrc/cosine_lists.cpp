#include "cosine_lists.h"

#include <algorithm>

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr int kRanked = 64;  // most values that are put in order by counting, all with all

// One body each; gcc makes vectors of it for every set.

// at_least[i], at_most[i]: what the score of key ids[i] lies between, up to Margin::fixed.
RADFAST_INLINE void bound(const std::int32_t* sums, const std::int32_t* ids, const float* steps,
                          std::int64_t count, float step, float margin, float* at_least, float* at_most) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float own = steps[ids[i]], about = static_cast<float>(sums[i]) * step;
        at_least[i] = own * (about - margin);
        at_most[i] = own * (about + margin);
    }
}

// larger[i]: how many of the values are larger than values[i]. Up to kRanked; room to a multiple of `width`.
template <int width, typename Value>
RADFAST_INLINE std::int64_t rank(Value* values, int count, Value lowest, std::int32_t* larger) {
    for (int i = count; i % width; ++i) values[i] = lowest;
    std::int64_t sum = 0;
    for (int at = 0; at < count; at += width) {
        std::int32_t own[width] = {};
        for (int r = 0; r < count; ++r) {
            for (int c = 0; c < width; ++c) own[c] += values[r] > values[at + c];
        }
        for (int c = 0; c < width; ++c) {
            larger[at + c] = own[c];
            sum += at + c < count ? own[c] : 0;
        }
    }
    return sum;
}

// The k-th largest value; `different` says that no two of the largest are equal.
RADFAST_INLINE float find_kth(float* values, int count, int k, bool& different) {
    if (count > kRanked) {
        std::partial_sort(values, values + k, values + count, std::greater<>());
        const float kth = values[k - 1];
        const auto end = std::partition(values + k, values + count, [&](float x) { return x == kth; });
        different = std::adjacent_find(values, end) == end;
        return kth;
    }
    std::int32_t larger[kRanked];
    different = rank<16>(values, count, kLowest, larger) == std::int64_t{count} * (count - 1) / 2;
    float kth = -kLowest;
    for (int i = 0; i < count; ++i) kth = std::min(kth, larger[i] < k ? values[i] : -kLowest);
    return kth;
}

RADFAST_INLINE std::int64_t sieve(const Seen& seen, const ByteKeys::Margin& margin, Floor floor, int k,
                                  bool different, const SieveRoom& room) {
    bound(seen.sums, seen.ids, seen.steps, seen.count, seen.step, margin.per_step, room.at_least,
          room.at_most);
    float kth = kLowest;
    if (seen.count > k) {
        kth = floor(room.at_least, seen.count, k);
        int high = 0;
        // Every place is written and some are kept: no branch to guess wrong.
        for (std::int64_t i = 0; k > 1 && i < seen.count; ++i) {
            room.high[high] = room.at_least[i];
            high += room.at_least[i] > kth;
        }
        bool all_differ = true;
        if (k > 1) kth = find_kth(room.high, high, k, all_differ);
        if (!different && !all_differ) return -1;
    }
    const float limit = kth - 2 * margin.fixed;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < seen.count; ++i) {
        room.kept[kept] = seen.ids[i];
        kept += room.at_most[i] > limit;
    }
    return kept;
}

// Writes the k best of `count` items in order; false where two are equal.
RADFAST_INLINE bool order(std::uint64_t* items, int count, int k, float* scores, std::int32_t* ids) {
    if (k == 1) {
        BestK::decode(*std::max_element(items, items + count), scores, ids);
        return true;
    }
    std::int32_t larger[kRanked];
    if (rank<8>(items, count, std::uint64_t{0}, larger) != std::int64_t{count} * (count - 1) / 2)
        return false;
    for (int i = 0; i < count; ++i) {
        if (larger[i] < k) BestK::decode(items[i], scores + larger[i], ids + larger[i]);
    }
    return true;
}

#define RADFAST_FOR(name, ...)                                                                           \
    __VA_ARGS__ std::int64_t sieve_##name(const Seen& seen, const ByteKeys::Margin& margin, Floor floor, \
                                          int k, bool different, const SieveRoom& room) {                \
        return sieve(seen, margin, floor, k, different, room);                                           \
    }                                                                                                    \
    __VA_ARGS__ bool order_##name(std::uint64_t* items, int count, int k, float* scores,                 \
                                  std::int32_t* ids) {                                                   \
        return order(items, count, k, scores, ids);                                                      \
    }

RADFAST_FOR(portable)
#if defined(__x86_64__) && defined(__GNUC__)
RADFAST_FOR(avx2, __attribute__((target("avx2,fma"))))
RADFAST_FOR(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))))
#endif
#undef RADFAST_FOR

}  // namespace

ListSearch::ListSearch(Rows queries, Rows keys, const float* scales, const ByteKeys& bytes,
                       std::int64_t depth, int k)
    : queries_(queries),
      keys_(keys),
      scales_(scales),
      bytes_(bytes),
      depth_(depth),
      k_(k),
      engine_(gemm::engine_for(current_simd())),
      quantise_(quantise_fine_for(engine_.simd)),
      byte_dots_(byte_dots_for(engine_.simd)),
      floor_(floor_for(engine_.simd)),
      sieve_(RADFAST_PICK(engine_.simd, sieve)),
      order_(RADFAST_PICK(engine_.simd, order)),
      packer_(engine_, depth),
      fine_(fine_values(depth)) {
    units_.reserve(kQueries * depth);
}

void ListSearch::add(std::int64_t query, const std::int32_t* list, std::int64_t length,
                     const std::int32_t* next, std::int64_t next_length) {
    float* unit = units_.get() + static_cast<std::int64_t>(rows_.size()) * depth_;
    if (packer_.unit(queries_.data + query * queries_.stride, unit) != 0)
        bad_query = std::min(bad_query, query);
    const ByteRow own = quantise_(unit, depth_, fine_.data());
    // The next list follows soon.
    for (std::int64_t i = 0; i < next_length; i += kLine / 4) __builtin_prefetch(next + i, 0, 3);
    next_length = std::min(next_length, kByteAhead);
    list_.resize(length + next_length);
    std::copy_n(list, length, list_.begin());
    std::copy_n(next, next_length, list_.begin() + length);
    const std::size_t room = length + kRanked;
    if (sums_.size() < room) {
        sums_.resize(room);
        at_least_.resize(room);
        at_most_.resize(room);
        high_.resize(room);
        kept_.resize(room);
    }
    byte_dots_(fine_.data(), bytes_.data(), list_.data(), length, length + next_length, depth_, sums_.data());
    const ByteKeys::Margin margin = bytes_.margin(own.error);
    const SieveRoom places = {at_least_.data(), at_most_.data(), high_.data(), kept_.data()};
    Seen seen = {sums_.data(), list_.data(), bytes_.steps(), length, own.step};
    std::int64_t kept = sieve_(seen, margin, floor_, k_, false, places);
    if (kept < 0) {
        // Equal values may be those of one key that stands twice, which counts once.
        list_.resize(length);
        std::sort(list_.begin(), list_.end());
        list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
        seen.count = static_cast<std::int64_t>(list_.size());
        byte_dots_(fine_.data(), bytes_.data(), list_.data(), seen.count, seen.count, depth_, sums_.data());
        kept = sieve_(seen, margin, floor_, k_, true, places);
    }
    const std::size_t before = key_of_.size();
    for (std::int64_t i = 0; i < kept; ++i) {
        const float* row = keys_.data + kept_[i] * keys_.stride;
        for (std::int64_t d = 0; d < depth_; d += 16) __builtin_prefetch(row + d, 0, 2);
    }
    key_of_.insert(key_of_.end(), kept_.begin(), kept_.begin() + kept);
    unit_of_.insert(unit_of_.end(), kept, unit);
    rows_.push_back(query);
    ends_.push_back(key_of_.size());
    while (scored_ + gemm::kPairs <= before) score(scored_ + gemm::kPairs);
}

void ListSearch::score(std::size_t until) {
    const float* rows[gemm::kPairs];
    float factors[gemm::kPairs];
    score_of_.resize(std::max(score_of_.size(), until));
    for (std::size_t i = scored_; i < until; ++i) {
        rows[i - scored_] = keys_.data + key_of_[i] * keys_.stride;
        factors[i - scored_] = scales_[key_of_[i]];
    }
    engine_.pairs(unit_of_.data() + scored_, rows, factors, static_cast<int>(until - scored_), depth_,
                  score_of_.data() + scored_);
    scored_ = until;
}

void ListSearch::finish(float* scores, std::int32_t* ids) {
    while (scored_ < key_of_.size()) score(std::min(scored_ + gemm::kPairs, key_of_.size()));
    std::size_t from = 0;
    for (std::size_t q = 0; q < rows_.size(); from = ends_[q++]) {
        items_.clear();
        for (std::size_t i = from; i < ends_[q]; ++i)
            items_.push_back(BestK::encode(score_of_[i], key_of_[i]));
        write(scores + rows_[q] * k_, ids + rows_[q] * k_);
    }
    rows_.clear();
    ends_.clear();
    unit_of_.clear();
    key_of_.clear();
    scored_ = 0;
}

void ListSearch::write(float* scores, std::int32_t* ids) {
    std::int64_t count = static_cast<std::int64_t>(items_.size());
    if (count <= kRanked) {
        items_.resize(kRanked);
        if (count >= k_ && order_(items_.data(), static_cast<int>(count), k_, scores, ids)) return;
        items_.resize(count);
    }
    std::sort(items_.begin(), items_.end(), std::greater<>());
    items_.erase(std::unique(items_.begin(), items_.end()), items_.end());
    count = std::min<std::int64_t>(items_.size(), k_);
    for (std::int64_t i = 0; i < count; ++i) BestK::decode(items_[i], scores + i, ids + i);
    std::fill(scores + count, scores + k_, kLowest);
    std::fill(ids + count, ids + k_, -1);
}

}  // namespace radfast::cosine
