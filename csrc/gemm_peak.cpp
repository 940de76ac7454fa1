// The machine's own speed of multiply-adds: what a share of peak is a share of.
#include <chrono>
#include <ctime>

#include "gemm.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

namespace radfast::gemm {
namespace {

// 24 chains hide a latency of up to 12 cycles at two multiply-adds a cycle; nothing but registers is touched.
constexpr int kChains = 24;
constexpr std::int64_t kSteps = 20000;

using Burst = void (*)(float* out);

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx512f"))) void burst_avx512(float* out) {
    __m512 sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (std::int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 24
        for (int i = 0; i < kChains; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
        asm volatile("" : "+v"(a), "+v"(b));
    }
    for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    _mm512_storeu_ps(out, sums[0]);
}

// 12 chains: 16 registers hold no more beside the two operands.
__attribute__((target("avx2,fma"))) void burst_avx2(float* out) {
    constexpr int kFew = kChains / 2;
    __m256 sums[kFew];
    for (int i = 0; i < kFew; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (std::int64_t step = 0; step < 2 * kSteps; ++step) {
#pragma GCC unroll 12
        for (int i = 0; i < kFew; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
        asm volatile("" : "+x"(a), "+x"(b));
    }
    for (int i = 1; i < kFew; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    _mm256_storeu_ps(out, sums[0]);
}
#endif

double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

}  // namespace

double measure_peak(Simd simd, double seconds) {
    Burst burst = nullptr;
    int lanes = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) burst = burst_avx512, lanes = 16;
    if (simd == Simd::avx2) burst = burst_avx2, lanes = 8;
#else
    (void)simd;
    (void)seconds;
#endif
    if (!burst) return 0;
    float out[16];
    burst(out);
    std::int64_t bursts = 0;
    const double start = thread_seconds();
    double now;
    do {
        burst(out);
        ++bursts;
    } while ((now = thread_seconds()) - start < seconds);
    return static_cast<double>(bursts) * kSteps * kChains * lanes / (now - start);
}

}  // namespace radfast::gemm
