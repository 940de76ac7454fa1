// AVX-512: tiles of 14 x 32, 28 accumulators, two vectors of B, one broadcast of A.
#include "gemm_x86.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

// Per function, not per file: code of the standard library must not be compiled for this set.
#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

namespace radfast::gemm {
namespace {

constexpr int kRows = 14, kLanes = 16, kColumns = 2 * kLanes;

template <int rows>
RADFAST_AVX512 void multiply(const float* a, const float* b, std::int64_t depth, float* c, bool accumulate) {
    __m512 left[rows], right[rows];
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        left[i] = accumulate ? _mm512_loadu_ps(c + i * kColumns) : _mm512_setzero_ps();
        right[i] = accumulate ? _mm512_loadu_ps(c + i * kColumns + kLanes) : _mm512_setzero_ps();
    }
    for (std::int64_t d = 0; d < depth; ++d, a += kRows, b += kColumns) {
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + kLanes);
        // gcc folds loads back into each multiply-add and doubles the load traffic; an empty asm pins the
        // register.
        asm("" : "+v"(b0), "+v"(b1));
#pragma GCC unroll 14
        for (int i = 0; i < rows; ++i) {
            __m512 ai = _mm512_set1_ps(a[i]);
            asm("" : "+v"(ai));
            left[i] = _mm512_fmadd_ps(ai, b0, left[i]);
            right[i] = _mm512_fmadd_ps(ai, b1, right[i]);
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        _mm512_storeu_ps(c + i * kColumns, left[i]);
        _mm512_storeu_ps(c + i * kColumns + kLanes, right[i]);
    }
}

RADFAST_AVX512 inline void transpose(__m512 (&v)[kLanes]) {
    __m512 t[kLanes];
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
        const __m512 p = _mm512_shuffle_f32x4(v[c], v[4 + c], 0x88);       // rows 0-7, columns c, 8 + c
        const __m512 q = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0x88);  // rows 8-15
        const __m512 r = _mm512_shuffle_f32x4(v[c], v[4 + c], 0xdd);       // rows 0-7, columns 4 + c, 12 + c
        const __m512 s = _mm512_shuffle_f32x4(v[8 + c], v[12 + c], 0xdd);  // rows 8-15
        t[c] = _mm512_shuffle_f32x4(p, q, 0x88);
        t[8 + c] = _mm512_shuffle_f32x4(p, q, 0xdd);
        t[4 + c] = _mm512_shuffle_f32x4(r, s, 0x88);
        t[12 + c] = _mm512_shuffle_f32x4(r, s, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) v[i] = t[i];
}

RADFAST_AVX512 void pack(const float* const* rows, const float* scales, int count, std::int64_t depth,
                         int width, float* dst) {
    for (int lane = 0; lane < width; lane += kLanes) {
        const float* from[kLanes];
        alignas(64) float factor[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            const bool there = lane + i < count;
            from[i] = there ? rows[lane + i] : rows[0];
            factor[i] = there ? scales[lane + i] : 0.0f;
        }
        const __m512 scale = _mm512_load_ps(factor);
        const std::int64_t whole = depth / kLanes * kLanes;
        for (std::int64_t d = 0; d < depth; d += kLanes) {
            const bool last = d == whole;
            const __mmask16 mask = last ? static_cast<__mmask16>((1u << (depth - whole)) - 1) : 0xffff;
            __m512 v[kLanes];
#pragma GCC unroll 16
            for (int i = 0; i < kLanes; ++i) v[i] = _mm512_maskz_loadu_ps(mask, from[i] + d);
            transpose(v);
            float* out = dst + d * width + lane;
            if (!last) {
#pragma GCC unroll 16
                for (int i = 0; i < kLanes; ++i)
                    _mm512_storeu_ps(out + i * width, _mm512_mul_ps(v[i], scale));
            } else {
                alignas(64) float rest[kLanes][kLanes];
                for (int i = 0; i < kLanes; ++i) _mm512_store_ps(rest[i], _mm512_mul_ps(v[i], scale));
                for (std::int64_t i = 0; i < depth - whole; ++i) {
                    _mm512_storeu_ps(out + i * width, _mm512_load_ps(rest[i]));
                }
            }
        }
    }
}

RADFAST_AVX512 double squares(const float* row, std::int64_t depth) {
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (std::int64_t d = 0; d < depth; d += kSquareSums) {
        const std::int64_t left = depth - d;
        const __mmask16 mask = left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
        const __m512 v = _mm512_maskz_loadu_ps(mask, row + d);
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

constexpr Engine kEngine = {
    Simd::avx512,
    kRows,
    kColumns,
    {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>, multiply<7>,
     multiply<8>, multiply<9>, multiply<10>, multiply<11>, multiply<12>, multiply<13>, multiply<14>},
    pack,
    squares};

}  // namespace

const Engine& avx512_engine() { return kEngine; }

}  // namespace radfast::gemm
#endif
