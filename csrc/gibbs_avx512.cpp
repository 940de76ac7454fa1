#include "gibbs_pass.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 takes the undefined lanes of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstring>

#define RADFAST_ISA avx512
#define RADFAST_LANES 16

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prfchw"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prfchw")
#endif

namespace radfast::gibbs::avx512 {

typedef uint32_t U __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef float F __attribute__((vector_size(64)));

RADFAST_INLINE U even_of(U a, U b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
RADFAST_INLINE U odd_of(U a, U b) {
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
RADFAST_INLINE U low_pairs(U a, U b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
RADFAST_INLINE U high_pairs(U a, U b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

template <typename T>
RADFAST_INLINE U gather(const T* table, U i) {
    return reinterpret_cast<U>(_mm512_i32gather_epi32(reinterpret_cast<__m512i>(i), table, 4));
}
RADFAST_INLINE F gather(const float* table, U i) {
    return reinterpret_cast<F>(_mm512_i32gather_ps(reinterpret_cast<__m512i>(i), table, 4));
}

// The high words of the products: a number below `bound`.
RADFAST_INLINE U scale(U random, U bound) {
    const __m512i a = reinterpret_cast<__m512i>(random), b = reinterpret_cast<__m512i>(bound);
    const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    return reinterpret_cast<U>(_mm512_mask_mov_epi32(even, 0xAAAA, odd));
}

// Topics of a short unit.
class Members {
  public:
    explicit Members(const uint16_t* topics)
        : topics_(_mm_load_si128(reinterpret_cast<const __m128i*>(topics))) {}

    RADFAST_INLINE uint32_t count_others(uint32_t topic, uint32_t i) const {
        const uint32_t equal = _mm_cmpeq_epi16_mask(topics_, _mm_set1_epi16(static_cast<int16_t>(topic)));
        return __builtin_popcount(equal & ~(1u << i));
    }
    RADFAST_INLINE void set(uint32_t i, uint32_t topic) {
        topics_ = _mm_mask_mov_epi16(topics_, static_cast<__mmask8>(1u << i),
                                     _mm_set1_epi16(static_cast<int16_t>(topic)));
    }

  private:
    static_assert(kInOrder == 8);
    __m128i topics_;
};

// Three of the four steps of sum_lanes(); the fourth joins the halves.
RADFAST_INLINE F sum_part(F x) {
    const __m512i odd = _mm512_set_epi32(14, 14, 12, 12, 10, 10, 8, 8, 6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i fours = _mm512_set_epi32(13, 13, 13, 12, 9, 9, 9, 8, 5, 5, 5, 4, 1, 1, 1, 0);
    const __m512i eights = _mm512_set_epi32(11, 11, 11, 11, 8, 8, 8, 8, 3, 3, 3, 3, 0, 0, 0, 0);
    const __m512i whole = _mm512_set1_epi32(7);
    x += _mm512_maskz_permutexvar_ps(0xAAAA, odd, x);
    x += _mm512_maskz_permutexvar_ps(0xCCCC, fours, x);
    x += _mm512_maskz_permutexvar_ps(0xF0F0, eights, x);
    return x + _mm512_maskz_permutexvar_ps(0xFF00, whole, x);
}

RADFAST_INLINE uint32_t count_at_most(F x, float bound) {
    return __builtin_popcount(_mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_LE_OQ));
}

}  // namespace radfast::gibbs::avx512

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
