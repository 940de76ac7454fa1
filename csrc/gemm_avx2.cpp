// AVX2 + FMA: tiles of 6 x 16, 12 accumulators, two vectors of B, one broadcast of A.
#include "gemm_x86.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace radfast::gemm {
namespace {

struct Lanes {
    using Vector = __m256;
    static constexpr int kLanes = 8, kRows = 6;
    static constexpr int kSteps = 8, kAhead = 0, kAsked = 6;

    static RADFAST_INLINE Vector zero() { return _mm256_setzero_ps(); }
    static RADFAST_INLINE Vector load(const float* p) { return _mm256_loadu_ps(p); }
    static RADFAST_INLINE Vector load_some(const float* p, int count) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
    }
    static RADFAST_INLINE Vector spread(float x) { return _mm256_set1_ps(x); }
    static RADFAST_INLINE void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
    static RADFAST_INLINE void pin(Vector& v) { asm("" : "+x"(v)); }
    static RADFAST_INLINE Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
    static RADFAST_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
        return _mm256_fmadd_ps(a, b, c);
    }
    static RADFAST_INLINE std::uint32_t above(Vector v, Vector limit) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(v, limit, _CMP_GT_OQ)));
    }
    static RADFAST_INLINE void transpose(Vector (&v)[kLanes]) {
        Vector t[kLanes];
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
};

}  // namespace
}  // namespace radfast::gemm

#include "gemm_tile.h"

namespace radfast::gemm {
namespace {

double squares(const float* row, std::int64_t depth) {
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

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace {

constexpr Engine kEngine = {
    Simd::avx2,
    Lanes::kRows,
    kColumns,
    Lanes::kAsked,
    {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>},
    {nullptr, filter<1>, filter<2>, filter<3>, filter<4>, filter<5>, filter<6>},
    above,
    pack,
    squares,
    chains,
    pairs};

}  // namespace

const Engine& avx2_engine() { return kEngine; }

}  // namespace radfast::gemm
#endif
