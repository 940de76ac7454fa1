#include "cpu.h"

#include <atomic>
#include <stdexcept>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#endif

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

bool splits_avx512() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    unsigned int a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(0, &a, &b, &c, &d) || c != signature_AMD_ecx) return false;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    return (a >> 8 & 0xF) + (a >> 20 & 0xFF) == 0x19;
#else
    return false;
#endif
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

Simd simd_named(const std::string& name, const char* caller) {
    for (Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (name == name_of(simd)) return simd;
    }
    throw std::invalid_argument("[" + std::string(caller) + "] unknown instruction set '" + name +
                                "': use 'portable', 'avx2' or 'avx512'");
}

}  // namespace radfast
