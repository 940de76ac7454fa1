#include "gibbs_pass.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include <cstring>

#define RADFAST_ISA avx2
#define RADFAST_LANES 8

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,prfchw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,prfchw")
#endif

namespace radfast::gibbs::avx2 {

typedef uint32_t U __attribute__((vector_size(32)));
typedef int32_t I __attribute__((vector_size(32)));
typedef float F __attribute__((vector_size(32)));

RADFAST_INLINE U even_of(U a, U b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
RADFAST_INLINE U odd_of(U a, U b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
RADFAST_INLINE U low_pairs(U a, U b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
RADFAST_INLINE U high_pairs(U a, U b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }

template <typename T>
RADFAST_INLINE U gather(const T* table, U i) {
    return reinterpret_cast<U>(
        _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), reinterpret_cast<__m256i>(i), 4));
}
RADFAST_INLINE F gather(const float* table, U i) {
    return reinterpret_cast<F>(_mm256_i32gather_ps(table, reinterpret_cast<__m256i>(i), 4));
}

// The high words of the products: a number below `bound`.
RADFAST_INLINE U scale(U random, U bound) {
    const __m256i a = reinterpret_cast<__m256i>(random), b = reinterpret_cast<__m256i>(bound);
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return reinterpret_cast<U>(_mm256_blend_epi32(even, odd, 0xAA));
}

// Topics of a short unit.
class Members {
  public:
    explicit Members(const uint16_t* topics)
        : topics_(_mm_load_si128(reinterpret_cast<const __m128i*>(topics))) {}

    RADFAST_INLINE uint32_t count_others(uint32_t topic, uint32_t i) const {
        const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(topic));
        // Two bits for each token.
        const uint32_t equal = _mm_movemask_epi8(_mm_cmpeq_epi16(topics_, wanted));
        return static_cast<uint32_t>(__builtin_popcount(equal & ~(3u << (2 * i)))) / 2;
    }
    RADFAST_INLINE void set(uint32_t i, uint32_t topic) {
        const __m128i at =
            _mm_cmpeq_epi16(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7), _mm_set1_epi16(static_cast<int16_t>(i)));
        topics_ = _mm_blendv_epi8(topics_, _mm_set1_epi16(static_cast<int16_t>(topic)), at);
    }

  private:
    static_assert(kInOrder == 8);
    __m128i topics_;
};

// Three of the four steps of sum_lanes(); the fourth joins the halves.
RADFAST_INLINE F sum_part(F x) {
    const __m256 zero{};
    x += reinterpret_cast<F>(_mm256_slli_epi64(reinterpret_cast<__m256i>(x), 32));
    x += reinterpret_cast<F>(_mm256_shuffle_ps(zero, reinterpret_cast<__m256>(x), 0x50));
    const __m256 low = _mm256_permute2f128_ps(reinterpret_cast<__m256>(x), zero, 0x08);
    return x + reinterpret_cast<F>(_mm256_permute_ps(low, 0xFF));
}

RADFAST_INLINE uint32_t count_at_most(F x, float bound) {
    return __builtin_popcount(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(bound), _CMP_LE_OQ)));
}

}  // namespace radfast::gibbs::avx2

#include "gibbs_unit.h"
// The one above comes first: it has the streams.
#include "gibbs_dense_unit.h"
// And this one has the lanes.
#include "gibbs_sparse_unit.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
