#include "gibbs_pass.h"

#define RADFAST_ISA portable
#define RADFAST_LANES 4

namespace radfast::gibbs::portable {

typedef uint32_t U __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
typedef float F __attribute__((vector_size(16)));

RADFAST_INLINE U even_of(U a, U b) { return U{a[0], a[2], b[0], b[2]}; }
RADFAST_INLINE U odd_of(U a, U b) { return U{a[1], a[3], b[1], b[3]}; }
RADFAST_INLINE U low_pairs(U a, U b) { return U{a[0], b[0], a[1], b[1]}; }
RADFAST_INLINE U high_pairs(U a, U b) { return U{a[2], b[2], a[3], b[3]}; }

template <typename T>
RADFAST_INLINE U gather(const T* table, U i) {
    return U{static_cast<uint32_t>(table[i[0]]), static_cast<uint32_t>(table[i[1]]),
             static_cast<uint32_t>(table[i[2]]), static_cast<uint32_t>(table[i[3]])};
}
RADFAST_INLINE F gather(const float* table, U i) {
    return F{table[i[0]], table[i[1]], table[i[2]], table[i[3]]};
}

// The high words of the products: a number below `bound`.
RADFAST_INLINE U scale(U random, U bound) {
    U high;
    for (int j = 0; j < RADFAST_LANES; ++j) high[j] = (static_cast<uint64_t>(random[j]) * bound[j]) >> 32;
    return high;
}

}  // namespace radfast::gibbs::portable

#include "gibbs_unit.h"
