#include "cosine_rank.h"

#include <algorithm>
#include <limits>

#include "cosine_best.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

constexpr std::int32_t kNoId = std::numeric_limits<std::int32_t>::max();

// One body each; gcc makes vectors of it for AVX2.

// larger[i]: how many of the values are larger than values[i]; returns their sum, which is that of
// 0 ... count - 1 just where no two are equal. Values have room to a multiple of `width`, filled here.
template <int width, typename Value>
RADFAST_INLINE int rank(Value* values, int count, Value lowest, std::int32_t* larger) {
    for (int i = count; i % width; ++i) values[i] = lowest;
    int sum = 0;
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

RADFAST_INLINE bool differ(int sum, int count) { return sum == count * (count - 1) / 2; }

RADFAST_INLINE float find_kth(const float* values, int count, int k, bool& different) {
    constexpr float kLowest = -std::numeric_limits<float>::infinity();
    float own[kRanked];
    std::int32_t larger[kRanked];
    std::copy_n(values, count, own);
    different = differ(rank<16>(own, count, kLowest, larger), count);
    float kth = -kLowest;
    for (int i = 0; i < count; ++i) kth = std::min(kth, larger[i] < k ? own[i] : -kLowest);
    return kth;
}

RADFAST_INLINE void write(const std::uint64_t* sorted, int k, float* scores, std::int32_t* best) {
    for (int i = 0; i < k; ++i) BestK::decode(sorted[i], scores + i, best + i);
}

RADFAST_INLINE bool order(const float* values, const std::int32_t* ids, int count, int k, float* scores,
                          std::int32_t* best) {
    std::uint64_t items[kRanked], sorted[kRanked];
    for (int i = 0; i < count; ++i) items[i] = BestK::encode(values[i], ids[i]);
    if (k == 1) {
        BestK::decode(*std::max_element(items, items + count), scores, best);
        return true;
    }
    std::int32_t larger[kRanked];
    if (!differ(rank<8>(items, count, std::uint64_t{0}, larger), count)) return false;
    for (int i = 0; i < count; ++i) sorted[larger[i]] = items[i];
    write(sorted, k, scores, best);
    return true;
}

#define RADFAST_FOR(name, ...)                                                                    \
    __VA_ARGS__ float find_kth_##name(const float* values, int count, int k, bool& different) {   \
        return find_kth(values, count, k, different);                                             \
    }                                                                                             \
    __VA_ARGS__ bool order_##name(const float* values, const std::int32_t* ids, int count, int k, \
                                  float* scores, std::int32_t* best) {                            \
        return order(values, ids, count, k, scores, best);                                        \
    }

std::int64_t collect_portable(const float* values, const std::int32_t* ids, std::int64_t count, float limit,
                              float* high, std::int32_t* high_ids) {
    std::int64_t kept = 0;
    // Every place is written and some are kept: no branch to guess wrong.
    for (std::int64_t i = 0; i < count; ++i) {
        high[kept] = values[i];
        high_ids[kept] = ids[i];
        kept += values[i] > limit;
    }
    return kept;
}

RADFAST_INLINE std::int32_t smallest(const std::int32_t* ids, unsigned mask, std::int32_t least) {
    for (; mask; mask &= mask - 1) least = std::min(least, ids[__builtin_ctz(mask)]);
    return least;
}

void highest_portable(const float* values, const std::int32_t* ids, std::int64_t count, float* score,
                      std::int32_t* best) {
    const float most = *std::max_element(values, values + count);
    *best = kNoId;
    for (std::int64_t i = 0; i < count; ++i) *best = values[i] == most ? std::min(*best, ids[i]) : *best;
    *score = most + 0.0f;  // -0 becomes 0
}

RADFAST_FOR(portable)
#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_AVX2 __attribute__((target("avx2,fma")))
RADFAST_FOR(avx2, RADFAST_AVX2)

RADFAST_AVX2 std::int64_t collect_avx2(const float* values, const std::int32_t* ids, std::int64_t count,
                                       float limit, float* high, std::int32_t* high_ids) {
    const __m256 limits = _mm256_set1_ps(limit);
    std::int64_t kept = 0, i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(values + i), limits, _CMP_GT_OQ);
        for (unsigned mask = _mm256_movemask_ps(above); mask; mask &= mask - 1) {
            const std::int64_t at = i + __builtin_ctz(mask);
            high[kept] = values[at];
            high_ids[kept++] = ids[at];
        }
    }
    return kept + collect_portable(values + i, ids + i, count - i, limit, high + kept, high_ids + kept);
}

RADFAST_AVX2 void highest_avx2(const float* values, const std::int32_t* ids, std::int64_t count, float* score,
                               std::int32_t* best) {
    if (count < 8) return highest_portable(values, ids, count, score, best);
    const std::int64_t last = count - 8;  // goes over some values again where 8 does not divide the count
    __m256 most = _mm256_loadu_ps(values + last), other = most;
    for (std::int64_t i = 0; i < last; i += 16) {
        most = _mm256_max_ps(most, _mm256_loadu_ps(values + i));
        other = _mm256_max_ps(other, _mm256_loadu_ps(values + std::min(i + 8, last)));
    }
    most = _mm256_max_ps(most, other);
    most = _mm256_max_ps(most, _mm256_permute2f128_ps(most, most, 1));
    most = _mm256_max_ps(most, _mm256_shuffle_ps(most, most, 0x4e));
    most = _mm256_max_ps(most, _mm256_shuffle_ps(most, most, 0xb1));
    *best = kNoId;
    for (std::int64_t i = 0; i < count; i += 8) {
        const std::int64_t at = std::min(i, last);
        const __m256 same = _mm256_cmp_ps(_mm256_loadu_ps(values + at), most, _CMP_EQ_OQ);
        *best = smallest(ids + at, static_cast<unsigned>(_mm256_movemask_ps(same)), *best);
    }
    *score = _mm256_cvtss_f32(most) + 0.0f;
}

// AVX-512 has an instruction that keeps the lanes of a mask, and counts a comparison in one more; from the
// bodies above gcc makes neither.
#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

RADFAST_AVX512 std::int64_t collect_avx512(const float* values, const std::int32_t* ids, std::int64_t count,
                                           float limit, float* high, std::int32_t* high_ids) {
    const __m512 limits = _mm512_set1_ps(limit);
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < count; i += 16) {
        const __mmask16 there = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
        const __m512 value = _mm512_maskz_loadu_ps(there, values + i);
        const __m512i id = _mm512_maskz_loadu_epi32(there, ids + i);
        const __mmask16 mask = _mm512_mask_cmp_ps_mask(there, value, limits, _CMP_GT_OQ);
        _mm512_storeu_ps(high + kept, _mm512_maskz_compress_ps(mask, value));
        _mm512_storeu_si512(high_ids + kept, _mm512_maskz_compress_epi32(mask, id));
        kept += __builtin_popcount(mask);
    }
    return kept;
}

RADFAST_AVX512 float find_kth_avx512(const float* values, int count, int k, bool& different) {
    const __m512i one = _mm512_set1_epi32(1);
    __m512 kth = _mm512_set1_ps(std::numeric_limits<float>::infinity());
    __m512i sum = _mm512_setzero_si512();
    for (int at = 0; at < count; at += 16) {
        const __mmask16 there = static_cast<__mmask16>(count - at >= 16 ? 0xffff : (1 << (count - at)) - 1);
        const __m512 own = _mm512_maskz_loadu_ps(there, values + at);
        __m512i larger[2] = {};
        for (int r = 0; r < count; ++r) {
            const __mmask16 above = _mm512_cmp_ps_mask(_mm512_set1_ps(values[r]), own, _CMP_GT_OQ);
            larger[r & 1] = _mm512_mask_add_epi32(larger[r & 1], above, larger[r & 1], one);
        }
        const __m512i all = _mm512_add_epi32(larger[0], larger[1]);
        sum = _mm512_mask_add_epi32(sum, there, sum, all);
        const __mmask16 high = _mm512_mask_cmplt_epi32_mask(there, all, _mm512_set1_epi32(k));
        kth = _mm512_mask_min_ps(kth, high, kth, own);
    }
    different = differ(_mm512_reduce_add_epi32(sum), count);
    return _mm512_reduce_min_ps(kth);
}

RADFAST_AVX512 bool order_avx512(const float* values, const std::int32_t* ids, int count, int k,
                                 float* scores, std::int32_t* best) {
    alignas(64) std::uint64_t items[kRanked + 8], sorted[kRanked];
    alignas(64) std::int64_t larger[kRanked + 8];
    for (int i = 0; i < count; ++i) items[i] = BestK::encode(values[i], ids[i]);
    if (k == 1) {
        BestK::decode(*std::max_element(items, items + count), scores, best);
        return true;
    }
    const __m512i one = _mm512_set1_epi64(1);
    __m512i sum = _mm512_setzero_si512();
    for (int at = 0; at < count; at += 8) {
        const __mmask8 there = static_cast<__mmask8>(count - at >= 8 ? 0xff : (1 << (count - at)) - 1);
        const __m512i own = _mm512_maskz_loadu_epi64(there, items + at);
        __m512i own_larger[2] = {};
        for (int r = 0; r < count; ++r) {
            const __mmask8 above =
                _mm512_cmpgt_epu64_mask(_mm512_set1_epi64(static_cast<long long>(items[r])), own);
            own_larger[r & 1] = _mm512_mask_add_epi64(own_larger[r & 1], above, own_larger[r & 1], one);
        }
        const __m512i all = _mm512_add_epi64(own_larger[0], own_larger[1]);
        sum = _mm512_mask_add_epi64(sum, there, sum, all);
        _mm512_store_si512(larger + at, all);
    }
    if (!differ(static_cast<int>(_mm512_reduce_add_epi64(sum)), count)) return false;
    for (int i = 0; i < count; ++i) sorted[larger[i]] = items[i];
    write(sorted, k, scores, best);
    return true;
}

RADFAST_AVX512 void highest_avx512(const float* values, const std::int32_t* ids, std::int64_t count,
                                   float* score, std::int32_t* best) {
    const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    __m512 most = lowest;
    for (std::int64_t i = 0; i < count; i += 16) {
        const __mmask16 there = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
        most = _mm512_max_ps(most, _mm512_mask_loadu_ps(lowest, there, values + i));
    }
    const float high = _mm512_reduce_max_ps(most);
    most = _mm512_set1_ps(high);
    *best = kNoId;
    for (std::int64_t i = 0; i < count; i += 16) {
        const __mmask16 there = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
        const __m512 value = _mm512_maskz_loadu_ps(there, values + i);
        *best = smallest(ids + i, _mm512_mask_cmp_ps_mask(there, value, most, _CMP_EQ_OQ), *best);
    }
    *score = high + 0.0f;
}
#endif
#undef RADFAST_FOR

}  // namespace

Collect collect_for(Simd simd) { return RADFAST_PICK(simd, collect); }
FindKth find_kth_for(Simd simd) { return RADFAST_PICK(simd, find_kth); }
Order order_for(Simd simd) { return RADFAST_PICK(simd, order); }
Highest highest_for(Simd simd) { return RADFAST_PICK(simd, highest); }

}  // namespace radfast::cosine
