// AVX-512: tiles of 14 x 32, 28 accumulators, two vectors of B, one broadcast of A.
#include "gemm_x86.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

// From here on only: code of the standard library must not be compiled for this set.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

namespace radfast::gemm {
namespace {

struct Lanes {
    using Vector = __m512;
    static constexpr int kLanes = 16, kRows = 14;
    static constexpr int kSteps = 1, kAhead = 256, kAsked = 16;

    static RADFAST_INLINE Vector zero() { return _mm512_setzero_ps(); }
    static RADFAST_INLINE Vector load(const float* p) { return _mm512_loadu_ps(p); }
    static RADFAST_INLINE Vector load_some(const float* p, int count) {
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
    }
    static RADFAST_INLINE Vector spread(float x) { return _mm512_set1_ps(x); }
    static RADFAST_INLINE void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
    static RADFAST_INLINE void pin(Vector& v) { asm("" : "+v"(v)); }
    static RADFAST_INLINE Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
    static RADFAST_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
        return _mm512_fmadd_ps(a, b, c);
    }
    static RADFAST_INLINE std::uint32_t above(Vector v, Vector limit) {
        return _mm512_cmp_ps_mask(v, limit, _CMP_GT_OQ);
    }
    static RADFAST_INLINE void transpose(Vector (&v)[kLanes]) {
        Vector t[kLanes];
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            t[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m512d p = _mm512_castps_pd(t[4 * i]), q = _mm512_castps_pd(t[4 * i + 1]);
            const __m512d r = _mm512_castps_pd(t[4 * i + 2]), s = _mm512_castps_pd(t[4 * i + 3]);
            v[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, r));
            v[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, r));
            v[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(q, s));
            v[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(q, s));
        }
        // v[4 g + c] now holds, in each quarter l, column 4 l + c of rows 4 g to 4 g + 3.
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
            const Vector p = _mm512_shuffle_f32x4(v[c], v[4 + c], 0x88);       // rows 0-7, columns c, 8 + c
            const Vector q = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0x88);  // rows 8-15
            const Vector r = _mm512_shuffle_f32x4(v[c], v[4 + c], 0xdd);  // rows 0-7, columns 4 + c, 12 + c
            const Vector s = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0xdd);  // rows 8-15
            t[c] = _mm512_shuffle_f32x4(p, q, 0x88);
            t[8 + c] = _mm512_shuffle_f32x4(p, q, 0xdd);
            t[4 + c] = _mm512_shuffle_f32x4(r, s, 0x88);
            t[12 + c] = _mm512_shuffle_f32x4(r, s, 0xdd);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) v[i] = t[i];
    }
};

}  // namespace
}  // namespace radfast::gemm

#include "gemm_tile.h"

namespace radfast::gemm {
namespace {

double squares(const float* row, std::int64_t depth) {
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (std::int64_t d = 0; d < depth; d += kSquareSums) {
        const int left = depth - d < 16 ? static_cast<int>(depth - d) : 16;
        const __m512 v = Lanes::load_some(row + d, left);
        const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
        const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
        low = _mm512_fmadd_pd(a, a, low);
        high = _mm512_fmadd_pd(b, b, high);
    }
    double sums[kSquareSums];
    _mm512_storeu_pd(sums, low);
    _mm512_storeu_pd(sums + 8, high);
    return add_sums(sums);
}

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace {

constexpr Engine kEngine = {
    Simd::avx512,
    Lanes::kRows,
    kColumns,
    Lanes::kAsked,
    {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>, multiply<7>,
     multiply<8>, multiply<9>, multiply<10>, multiply<11>, multiply<12>, multiply<13>, multiply<14>},
    {nullptr, filter<1>, filter<2>, filter<3>, filter<4>, filter<5>, filter<6>, filter<7>, filter<8>,
     filter<9>, filter<10>, filter<11>, filter<12>, filter<13>, filter<14>},
    above,
    pack,
    squares,
    chains,
    pairs};

}  // namespace

const Engine& avx512_engine() { return kEngine; }

}  // namespace radfast::gemm
#endif
