#include "cosine_reach.h"

#include "gemm.h"

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

std::uint32_t reach_portable(const float* tile, int rows, const float* query_rest, const float* key_rest,
                             const float* limits, std::uint32_t* masks) {
    const int columns = gemm::engine_for(Simd::portable).columns;
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i) {
        std::uint32_t mask = 0;
        for (int j = 0; j < columns; ++j) {
            mask |= std::uint32_t{tile[i * columns + j] + query_rest[i] * key_rest[j] > limits[i]} << j;
        }
        any |= masks[i] = mask;
    }
    return any;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) std::uint32_t reach_avx2(const float* tile, int rows,
                                                             const float* query_rest, const float* key_rest,
                                                             const float* limits, std::uint32_t* masks) {
    const __m256 rest0 = _mm256_loadu_ps(key_rest), rest1 = _mm256_loadu_ps(key_rest + 8);
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i, tile += 16) {
        const __m256 limit = _mm256_set1_ps(limits[i]), rest = _mm256_set1_ps(query_rest[i]);
        const __m256 a = _mm256_fmadd_ps(rest, rest0, _mm256_loadu_ps(tile));
        const __m256 b = _mm256_fmadd_ps(rest, rest1, _mm256_loadu_ps(tile + 8));
        const int low = _mm256_movemask_ps(_mm256_cmp_ps(a, limit, _CMP_GT_OQ));
        const int high = _mm256_movemask_ps(_mm256_cmp_ps(b, limit, _CMP_GT_OQ));
        any |= masks[i] = static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 8;
    }
    return any;
}

#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

RADFAST_AVX512 std::uint32_t reach_avx512(const float* tile, int rows, const float* query_rest,
                                          const float* key_rest, const float* limits, std::uint32_t* masks) {
    const __m512 rest0 = _mm512_loadu_ps(key_rest), rest1 = _mm512_loadu_ps(key_rest + 16);
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i, tile += 32) {
        const __m512 limit = _mm512_set1_ps(limits[i]), rest = _mm512_set1_ps(query_rest[i]);
        const __m512 a = _mm512_fmadd_ps(rest, rest0, _mm512_loadu_ps(tile));
        const __m512 b = _mm512_fmadd_ps(rest, rest1, _mm512_loadu_ps(tile + 16));
        const std::uint32_t low = _mm512_cmp_ps_mask(a, limit, _CMP_GT_OQ);
        const std::uint32_t high = _mm512_cmp_ps_mask(b, limit, _CMP_GT_OQ);
        any |= masks[i] = low | high << 16;
    }
    return any;
}
#endif

}  // namespace

Reach reach_for(Simd simd) { return RADFAST_PICK(simd, reach); }

}  // namespace radfast::cosine
