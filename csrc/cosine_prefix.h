// Who reaches which key: the bounds of cosine_pruned.h, a panel of queries against a panel of keys.
//
//     bound(q, k) = <p(q), p(k)> + r(q) r(k)
//
// The rest is one more coordinate, so a bound is one product. AVX-512 and the portable path compute it in
// floats, by the chains of gemm.h. AVX2 has few lanes for that and takes whole numbers of 16 bits, twice as
// many at a time: a prefix x is held as b / S, each coordinate rounded to the nearest b, so that
// e = sqrt(prefix) / (2 S) is the most that |x - b / S| can be, and for two prefixes of length 1 or less
//
//     <x, y> - <b_x, b_y> / S^2 <= |e_x| |y| + |x - e_x| |e_y| <= 2 e + e^2              Cauchy-Schwarz
//
// which limits allow for. Rests are rounded up.
#pragma once

#include <cstdint>

#include "gemm.h"

namespace radfast::cosine {

class Prefixes {
  public:
    Prefixes(const gemm::Engine& engine, int prefix);

    // Floats of a panel of `width` rows: engine.rows queries or engine.columns keys.
    std::size_t panel_floats(int width) const { return gemm::panel_floats(steps_, width); }

    // Writes one row of a panel; rest: what the row has beyond its prefix, rounded up. A row that is never
    // written must be all zero.
    void put(const float* coordinates, float rest, int lane, int width, float* panel) const;

    // A limit in the unit of the bounds, as reach() takes it.
    float limit(float score) const;

    // Bit j of masks[i] is set where the bound of query i with key j exceeds the limit, i < rows; a set bit
    // may also be a rounding. Returns 0 when no bit is set.
    std::uint32_t reach(const float* queries, const float* keys, int rows, const float* limits,
                        std::uint32_t* masks) const;

  private:
    using Reach = std::uint32_t (*)(const float* queries, const float* keys, std::int64_t steps,
                                    const float* limits, std::uint32_t* masks);
    static const Reach* whole_for(Simd simd);  // by rows; null where floats are taken

    const gemm::Engine& engine_;
    int prefix_;
    const Reach* whole_;
    std::int64_t steps_;  // values of 4 bytes per row: coordinates, or pairs of them
    double allowed_;
};

}  // namespace radfast::cosine
