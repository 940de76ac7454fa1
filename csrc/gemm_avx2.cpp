// AVX2 + FMA: tiles of 6 x 16, 12 accumulators, two vectors of B, one broadcast of A.
#include "gemm_x86.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define RADFAST_AVX2 __attribute__((target("avx2,fma")))

namespace radfast::gemm {
namespace {

constexpr int kRows = 6, kLanes = 8, kColumns = 2 * kLanes;

template <int rows>
RADFAST_AVX2 void multiply(const float* a, const float* b, std::int64_t depth, float* c, bool accumulate) {
    __m256 left[rows], right[rows];
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) {
        left[i] = accumulate ? _mm256_loadu_ps(c + i * kColumns) : _mm256_setzero_ps();
        right[i] = accumulate ? _mm256_loadu_ps(c + i * kColumns + kLanes) : _mm256_setzero_ps();
    }
    for (std::int64_t d = 0; d < depth; ++d, a += kRows, b += kColumns) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + kLanes);
        // gcc folds loads back into each multiply-add and doubles the load traffic; an empty asm pins the
        // register.
        asm("" : "+x"(b0), "+x"(b1));
#pragma GCC unroll 6
        for (int i = 0; i < rows; ++i) {
            __m256 ai = _mm256_broadcast_ss(a + i);
            asm("" : "+x"(ai));
            left[i] = _mm256_fmadd_ps(ai, b0, left[i]);
            right[i] = _mm256_fmadd_ps(ai, b1, right[i]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) {
        _mm256_storeu_ps(c + i * kColumns, left[i]);
        _mm256_storeu_ps(c + i * kColumns + kLanes, right[i]);
    }
}

RADFAST_AVX2 inline void transpose(__m256 (&v)[kLanes]) {
    __m256 t[kLanes];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        v[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        t[c] = _mm256_permute2f128_ps(v[c], v[4 + c], 0x20);
        t[4 + c] = _mm256_permute2f128_ps(v[c], v[4 + c], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) v[i] = t[i];
}

RADFAST_AVX2 void pack(const float* const* rows, const float* scales, int count, std::int64_t depth,
                       int width, float* dst) {
    for (int lane = 0; lane < width; lane += kLanes) {
        const float* from[kLanes];
        alignas(32) float factor[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            const bool there = lane + i < count;
            from[i] = there ? rows[lane + i] : rows[0];
            factor[i] = there ? scales[lane + i] : 0.0f;
        }
        const __m256 scale = _mm256_load_ps(factor);
        const std::int64_t whole = depth / kLanes * kLanes;
        for (std::int64_t d = 0; d < whole; d += kLanes) {
            __m256 v[kLanes];
#pragma GCC unroll 8
            for (int i = 0; i < kLanes; ++i) v[i] = _mm256_loadu_ps(from[i] + d);
            transpose(v);
            float* out = dst + d * width + lane;
#pragma GCC unroll 8
            for (int i = 0; i < kLanes; ++i) _mm256_storeu_ps(out + i * width, _mm256_mul_ps(v[i], scale));
        }
        for (std::int64_t d = whole; d < depth; ++d) {
            const __m256 v = _mm256_setr_ps(from[0][d], from[1][d], from[2][d], from[3][d], from[4][d],
                                            from[5][d], from[6][d], from[7][d]);
            _mm256_storeu_ps(dst + d * width + lane, _mm256_mul_ps(v, scale));
        }
    }
}

RADFAST_AVX2 double squares(const float* row, std::int64_t depth) {
    __m256d parts[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    std::int64_t d = 0;
    for (; d + kSquareSums <= depth; d += kSquareSums) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(row + d + 4 * i));
            parts[i] = _mm256_fmadd_pd(v, v, parts[i]);
        }
    }
    double sums[kSquareSums];
    for (int i = 0; i < 4; ++i) _mm256_storeu_pd(sums + 4 * i, parts[i]);
    for (int i = 0; d < depth; ++d, ++i) sums[i] += static_cast<double>(row[d]) * row[d];
    return add_sums(sums);
}

constexpr Engine kEngine = {
    Simd::avx2, kRows,
    kColumns,   {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>},
    pack,       squares};

}  // namespace

const Engine& avx2_engine() { return kEngine; }

}  // namespace radfast::gemm
#endif
