// Any processor: register tiles of 2 x 16 in vectors of 4 floats, which every 64-bit processor has.
#include <cstring>

#include "cnn_inner.h"

#define RADFAST_ISA portable
#define RADFAST_PIN(x) (void)(x)

namespace radfast::cnn::portable {

typedef float F __attribute__((vector_size(16)));
constexpr int kLanes = 4, kRows = 2, kVectors = 4;
constexpr int kTurn = 4;
constexpr bool kAsks = true;

RADFAST_INLINE F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
RADFAST_INLINE void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
RADFAST_INLINE F splat(float x) { return F{x, x, x, x}; }
RADFAST_INLINE F fma(F a, F b, F c) { return a * b + c; }
RADFAST_INLINE F max(F a, F b) { return a > b ? a : b; }

}  // namespace radfast::cnn::portable

#define RADFAST_MULTIPLY {nullptr, multiply<1>, multiply<2>}
#include "cnn_unit.h"

namespace radfast::cnn {

#if defined(__x86_64__) && defined(__GNUC__)
namespace avx2 {
extern const Inner kInner;
}
namespace avx512 {
extern const Inner kInner;
}
#endif

const Inner& inner_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return avx512::kInner;
    if (simd == Simd::avx2) return avx2::kInner;
#else
    (void)simd;
#endif
    return portable::kInner;
}

}  // namespace radfast::cnn
