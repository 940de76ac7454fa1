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
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
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

}  // namespace radfast::gibbs::avx512

#include "gibbs_unit.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
