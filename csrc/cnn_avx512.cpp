// AVX-512: register tiles of 14 x 32, 28 sums in 32 registers.
#include "cnn_inner.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#define RADFAST_ISA avx512
#define RADFAST_PIN(x) asm("" : "+v"(x))

// For the functions below only: code of the standard library must not be compiled for this set.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

namespace radfast::cnn::avx512 {

using F = __m512;
constexpr int kLanes = 16, kRows = 14, kVectors = 2;
constexpr int kTurn = 4;
constexpr bool kAsks = true;

RADFAST_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
RADFAST_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
RADFAST_INLINE F splat(float x) { return _mm512_set1_ps(x); }
RADFAST_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
RADFAST_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }

}  // namespace radfast::cnn::avx512

#define RADFAST_MULTIPLY                                                  \
    {nullptr,      multiply<1>,  multiply<2>,  multiply<3>,  multiply<4>, \
     multiply<5>,  multiply<6>,  multiply<7>,  multiply<8>,  multiply<9>, \
     multiply<10>, multiply<11>, multiply<12>, multiply<13>, multiply<14>}
#include "cnn_unit.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
