#include "cpu.h"

#include <atomic>

namespace radfast {

Simd detect_simd() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return Simd::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Simd::avx2;
#endif
    return Simd::portable;
}

namespace {
std::atomic<int> limit{static_cast<int>(Simd::avx512)};
}

Simd current_simd() {
    static const Simd detected = detect_simd();
    const Simd wanted = static_cast<Simd>(limit.load(std::memory_order_relaxed));
    return wanted < detected ? wanted : detected;
}

Simd lower_simd(Simd wanted) {
    limit.store(static_cast<int>(wanted), std::memory_order_relaxed);
    return current_simd();
}

const char* name_of(Simd simd) {
    switch (simd) {
        case Simd::avx512:
            return "avx512";
        case Simd::avx2:
            return "avx2";
        default:
            return "portable";
    }
}

}  // namespace radfast
