#include "cosine_lists.h"

#include <algorithm>

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

// Keys of one query from which they are scored with it alone, and not with pairs of any queries: its values
// then need no turning.
constexpr std::size_t kTogether = 9;
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
    // Rows that were found for the query before are asked for little by little meanwhile: a memory that is
    // asked for all at once lets the asker wait.
    constexpr std::int64_t kStep = 16;
    const std::size_t waiting = ends_.size() > 1 ? ends_[ends_.size() - 2] : 0;
    const std::int64_t row_lines = (depth_ + 15) / 16;
    const std::int64_t lines = static_cast<std::int64_t>(key_of_.size() - waiting) * row_lines;
    const std::int64_t share = (lines * kStep + length - 1) / length;
    std::int64_t line = 0;
    for (std::int64_t i = 0; i < length; i += kStep) {
        byte_dots_(fine_.data(), bytes_.data(), list_.data() + i, std::min(kStep, length - i),
                   length + next_length - i, depth_, sums_.data() + i);
        for (std::int64_t end = std::min(line + share, lines); line < end; ++line)
            __builtin_prefetch(
                keys_.data + key_of_[waiting + line / row_lines] * keys_.stride + line % row_lines * 16, 0,
                2);
    }
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
    key_of_.insert(key_of_.end(), kept_.begin(), kept_.begin() + kept);
    unit_of_.insert(unit_of_.end(), kept, unit);
    rows_.push_back(query);
    ends_.push_back(key_of_.size());
    if (scored_ + 1 < ends_.size()) score_next();
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

void ListSearch::score_next() {
    std::size_t at = scored_ ? ends_[scored_ - 1] : 0;
    const std::size_t end = ends_[scored_++];
    score_of_.resize(std::max(score_of_.size(), end));
    if (end - at >= kTogether) {
        const int here = static_cast<int>(std::min<std::size_t>(end - at, gemm::kPairs));
        follow_chains(engine_, unit_of_[at], keys_, scales_, key_of_.data() + at, here, depth_,
                      score_of_.data() + at);
        at += here;
    }
    for (; at < end; ++at) {
        apart_.push_back(at);
        if (apart_.size() == gemm::kPairs) score_apart();
    }
}

void ListSearch::score_apart() {
    const float *units[gemm::kPairs], *rows[gemm::kPairs];
    float factors[gemm::kPairs], found[gemm::kPairs];
    for (std::size_t i = 0; i < apart_.size(); ++i) {
        units[i] = unit_of_[apart_[i]];
        rows[i] = keys_.data + key_of_[apart_[i]] * keys_.stride;
        factors[i] = scales_[key_of_[apart_[i]]];
    }
    engine_.pairs(units, rows, factors, static_cast<int>(apart_.size()), depth_, found);
    for (std::size_t i = 0; i < apart_.size(); ++i) score_of_[apart_[i]] = found[i];
    apart_.clear();
}

void ListSearch::finish(float* scores, std::int32_t* ids) {
    while (scored_ < ends_.size()) score_next();
    if (!apart_.empty()) score_apart();
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
