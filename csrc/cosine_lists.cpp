#include "cosine_lists.h"

#include <algorithm>

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// One body; gcc makes vectors of it for every set.
RADFAST_INLINE void bound(const std::int32_t* sums, const std::int32_t* ids, const float* steps,
                          std::int64_t count, float step, float margin, float* at_least, float* at_most) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float own = steps[ids[i]], about = static_cast<float>(sums[i]) * step;
        at_least[i] = own * (about - margin);
        at_most[i] = own * (about + margin);
    }
}

#define RADFAST_FOR(name, ...)                                                                           \
    __VA_ARGS__ void bound_##name(const std::int32_t* sums, const std::int32_t* ids, const float* steps, \
                                  std::int64_t count, float step, float margin, float* at_least,         \
                                  float* at_most) {                                                      \
        bound(sums, ids, steps, count, step, margin, at_least, at_most);                                 \
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
      bound_(RADFAST_PICK(engine_.simd, bound)),
      collect_(collect_for(engine_.simd)),
      find_kth_(find_kth_for(engine_.simd)),
      order_(order_for(engine_.simd)),
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
    const std::size_t room = length + kRankedRoom;
    if (sums_.size() < room) {
        sums_.resize(room);
        at_least_.resize(room);
        at_most_.resize(room);
        high_.resize(room);
        kept_.resize(room);
    }
    byte_dots_(fine_.data(), bytes_.data(), list_.data(), length, length + next_length, depth_, sums_.data());
    std::int64_t kept = sieve(own, length, false);
    if (kept < 0) {
        // Equal values may be those of one key that stands twice, which counts once.
        list_.resize(length);
        std::sort(list_.begin(), list_.end());
        list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
        const std::int64_t count = static_cast<std::int64_t>(list_.size());
        byte_dots_(fine_.data(), bytes_.data(), list_.data(), count, count, depth_, sums_.data());
        kept = sieve(own, count, true);
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

std::int64_t ListSearch::sieve(const ByteRow& own, std::int64_t count, bool different) {
    const ByteKeys::Margin margin = bytes_.margin(own.error);
    bound_(sums_.data(), list_.data(), bytes_.steps(), count, own.step, margin.per_step, at_least_.data(),
           at_most_.data());
    float kth = kLowest;
    if (count > k_) {
        kth = floor_(at_least_.data(), count, k_);
        if (k_ > 1) {
            bool all_differ;
            kth = find_kth(collect_(at_least_.data(), list_.data(), count, kth, high_.data(), kept_.data()),
                           all_differ);
            if (!different && !all_differ) return -1;
        }
    }
    return collect_(at_most_.data(), list_.data(), count, kth - 2 * margin.fixed, high_.data(), kept_.data());
}

// The k-th largest of the values in high_; `different` says that no two of the largest are equal.
float ListSearch::find_kth(std::int64_t high, bool& different) {
    if (high <= kRanked) return find_kth_(high_.data(), static_cast<int>(high), k_, different);
    float* values = high_.data();
    std::partial_sort(values, values + k_, values + high, std::greater<>());
    const float kth = values[k_ - 1];
    const auto end = std::partition(values + k_, values + high, [&](float x) { return x == kth; });
    different = std::adjacent_find(values, end) == end;
    return kth;
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
    for (std::size_t q = 0; q < rows_.size(); from = ends_[q++])
        write(from, ends_[q], scores + rows_[q] * k_, ids + rows_[q] * k_);
    rows_.clear();
    ends_.clear();
    unit_of_.clear();
    key_of_.clear();
    scored_ = 0;
}

void ListSearch::write(std::size_t from, std::size_t to, float* scores, std::int32_t* ids) {
    const float* values = score_of_.data() + from;
    const std::int32_t* keys = key_of_.data() + from;
    std::int64_t count = static_cast<std::int64_t>(to - from);
    if (count >= k_ && count <= kRanked && order_(values, keys, static_cast<int>(count), k_, scores, ids))
        return;
    items_.clear();
    for (std::int64_t i = 0; i < count; ++i) items_.push_back(BestK::encode(values[i], keys[i]));
    std::sort(items_.begin(), items_.end(), std::greater<>());
    items_.erase(std::unique(items_.begin(), items_.end()), items_.end());
    count = std::min<std::int64_t>(items_.size(), k_);
    for (std::int64_t i = 0; i < count; ++i) BestK::decode(items_[i], scores + i, ids + i);
    std::fill(scores + count, scores + k_, kLowest);
    std::fill(ids + count, ids + k_, -1);
}

}  // namespace radfast::cosine
