// AVX2 + FMA: register tiles of 6 x 16, 12 sums in 16 registers.
#include "cnn_inner.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define RADFAST_ISA avx2
#define RADFAST_PIN(x) asm("" : "+x"(x))

// For the functions below only: code of the standard library must not be compiled for this set.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace radfast::cnn::avx2 {

using F = __m256;
constexpr int kLanes = 8, kRows = 6, kVectors = 2;
// 12 multiply-adds want 8 loads: what is left of a core whose other thread is busy goes to them alone.
constexpr int kTurn = 16;
constexpr bool kAsks = false;

RADFAST_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
RADFAST_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
RADFAST_INLINE F splat(float x) { return _mm256_set1_ps(x); }
RADFAST_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
RADFAST_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }

}  // namespace radfast::cnn::avx2

#define RADFAST_MULTIPLY \
    {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>}
#include "cnn_unit.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
