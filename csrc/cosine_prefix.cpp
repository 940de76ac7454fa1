#include "cosine_prefix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

// S: coordinates and rests of unit rows stay far inside 16 bits, their sums of products inside 32.
constexpr float kWhole = 1 << 14;
constexpr float kLargest = std::numeric_limits<std::int16_t>::max();

// The order of the arguments also takes a NaN in.
std::int16_t to_whole(float x) {
    return static_cast<std::int16_t>(std::max(-kLargest, std::min(kLargest, x)));
}

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_AVX2 __attribute__((target("avx2,fma")))

// 6 x 16 bounds in 12 accumulators; a step is a pair of coordinates of each row.
template <int rows>
RADFAST_AVX2 std::uint32_t reach_whole(const float* queries, const float* keys, std::int64_t steps,
                                       const float* limits, std::uint32_t* masks) {
    constexpr int kRows = 6, kColumns = 16;
    __m256i left[rows], right[rows];
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) left[i] = right[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (std::int64_t d = 0; d < steps; ++d, queries += kRows, keys += kColumns) {
        __m256i b0 = _mm256_castps_si256(_mm256_loadu_ps(keys));
        __m256i b1 = _mm256_castps_si256(_mm256_loadu_ps(keys + 8));
        // Else gcc loads them anew for every row.
        asm("" : "+x"(b0), "+x"(b1));
#pragma GCC unroll 6
        for (int i = 0; i < rows; ++i) {
            const __m256i a = _mm256_castps_si256(_mm256_broadcast_ss(queries + i));
            left[i] = _mm256_add_epi32(left[i], _mm256_madd_epi16(a, b0));
            right[i] = _mm256_add_epi32(right[i], _mm256_madd_epi16(a, b1));
        }
    }
    std::uint32_t any = 0;
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) {
        const __m256i limit = _mm256_castps_si256(_mm256_broadcast_ss(limits + i));
        const int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(left[i], limit)));
        const int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(right[i], limit)));
        any |= masks[i] = static_cast<std::uint32_t>(low | high << 8);
    }
    return any;
}
#endif

}  // namespace

const Prefixes::Reach* Prefixes::whole_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    static constexpr Reach kReach[] = {nullptr,        reach_whole<1>, reach_whole<2>, reach_whole<3>,
                                       reach_whole<4>, reach_whole<5>, reach_whole<6>};
    return simd == Simd::avx2 ? kReach : nullptr;
#else
    (void)simd;
    return nullptr;
#endif
}

Prefixes::Prefixes(const gemm::Engine& engine, int prefix)
    : engine_(engine),
      prefix_(prefix),
      whole_(whole_for(engine.simd)),
      steps_(whole_ ? prefix / 2 + 1 : prefix + 1),
      allowed_(0) {
    // A little more, for unit rows whose length is only nearly 1 and for the rounding to S.
    const double error = 1.01 * std::sqrt(static_cast<double>(prefix)) / (2 * kWhole);
    if (whole_) allowed_ = 1.01 * (2 * error + error * error);
}

void Prefixes::put(const float* coordinates, float rest, int lane, int width, float* panel) const {
    if (!whole_) {
        for (int d = 0; d < prefix_; ++d) panel[std::int64_t{d} * width + lane] = coordinates[d];
        panel[std::int64_t{prefix_} * width + lane] = rest;
        return;
    }
    for (int d = 0; d <= prefix_; d += 2) {
        std::int16_t pair[2] = {0, 0};
        for (int i = 0; i < 2 && d + i <= prefix_; ++i) {
            pair[i] = d + i < prefix_ ? to_whole(std::nearbyint(coordinates[d + i] * kWhole))
                                      : to_whole(std::ceil(rest * kWhole));
        }
        std::memcpy(panel + std::int64_t{d} / 2 * width + lane, pair, sizeof pair);
    }
}

float Prefixes::limit(float score) const {
    if (!whole_) return score;
    constexpr double kLeast = std::numeric_limits<std::int32_t>::min(),
                     kMost = std::numeric_limits<std::int32_t>::max();
    const double whole = std::floor((score - allowed_) * kWhole * kWhole);
    return std::bit_cast<float>(static_cast<std::int32_t>(std::clamp(whole, kLeast, kMost)));
}

std::uint32_t Prefixes::reach(const float* queries, const float* keys, int rows, const float* limits,
                              std::uint32_t* masks) const {
    if (whole_) return whole_[rows](queries, keys, steps_, limits, masks);
    alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
    return engine_.filters[rows](queries, keys, steps_, limits, queries, tile, masks);
}

}  // namespace radfast::cosine
