#include <cstring>

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

// Topics of a short unit.
class Members {
  public:
    explicit Members(const uint16_t* topics) { std::memcpy(&topics_, topics, sizeof topics_); }

    // A vector, since gcc 12 at -O3 makes wrong sums of a loop over an array here.
    RADFAST_INLINE uint32_t count_others(uint32_t topic, uint32_t i) const {
        Topics same = reinterpret_cast<Topics>(topics_ == Topics{} + static_cast<uint16_t>(topic)) & 1;
        same[i] = 0;
        uint32_t equal = 0;
        for (uint32_t j = 0; j < kInOrder; ++j) equal += same[j];
        return equal;
    }
    RADFAST_INLINE void set(uint32_t i, uint32_t topic) { topics_[i] = static_cast<uint16_t>(topic); }

  private:
    typedef uint16_t Topics __attribute__((vector_size(2 * kInOrder)));
    Topics topics_;
};

// Two of the four steps of sum_lanes().
RADFAST_INLINE F sum_part(F x) {
    x += F{0, x[0], 0, x[2]};
    return x + F{0, 0, x[1], x[1]};
}

RADFAST_INLINE uint32_t count_at_most(F x, float bound) {
    return (x[0] <= bound) + (x[1] <= bound) + (x[2] <= bound) + (x[3] <= bound);
}

}  // namespace radfast::gibbs::portable

#include "gibbs_unit.h"
// The one above comes first: it has the streams.
#include "gibbs_dense_unit.h"
// And this one has the lanes.
#include "gibbs_sparse_unit.h"
