// What the processor offers, asked once at run time; kernels dispatch on it.
#pragma once

#include <string>

namespace radfast {

enum class Simd { portable = 0, avx2 = 1, avx512 = 2 };

// The widest set the processor and the operating system both support.
Simd detect_simd();

// The set kernels use: detect_simd(), or less when lower_simd() asked for less.
Simd current_simd();

// Limits dispatch to `limit` (tests run every path with it). Returns the set now in use.
Simd lower_simd(Simd limit);

// Whether 512-bit arithmetic, if there is any, is done in two steps of 256: AMD's family 19h (Zen 3 and 4).
bool splits_avx512();

const char* name_of(Simd simd);

// The set of that name; std::invalid_argument, said to be of `caller`, where there is none.
Simd simd_named(const std::string& name, const char* caller);

// Of the functions name_portable, name_avx2 and name_avx512 the one for a set.
#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_PICK(simd, name)                       \
    ((simd) == ::radfast::Simd::avx512 ? name##_avx512 \
     : (simd) == ::radfast::Simd::avx2 ? name##_avx2   \
                                       : name##_portable)
#else
#define RADFAST_PICK(simd, name) ((void)(simd), name##_portable)
#endif

}  // namespace radfast
