// Exact cosine top-k that looks at a prefix of most keys only.
//
// With an orthonormal basis of `prefix` rows, a vector x splits into its coordinates p(x) and a rest of
// length r(x):
//
//     <q, k> <= <p(q), p(k)> + r(q) r(k)                                        Cauchy-Schwarz on the rest
//
// A key whose bound, plus a margin for rounding, does not exceed the query's k-th best score cannot enter.
// The others are looked at by their bytes (cosine_bytes.h), and those that still may enter get the chain of
// gemm.h, so that scores and ids are those of search_dense, bit for bit. The first principal directions of
// the keys make the best basis; where they hold little, nearly every key passes and the plain search is
// faster.
#pragma once

#include <memory>

#include "cosine.h"
#include "cpu.h"

namespace radfast::cosine {

struct PrunedKeys;

// What pruned search runs on where it is free to choose. On AVX2 bounds are taken in whole numbers of 16
// bits, two to a lane; where 512-bit arithmetic takes two steps that is faster than AVX-512, too.
Simd pruned_simd();

class Pruned {
  public:
    // `keys` must stay alive. basis: (prefix, depth) in C order, rows orthonormal to float precision.
    Pruned(Rows keys, std::int64_t depth, const float* basis, int prefix, Simd simd = pruned_simd());
    ~Pruned();

    std::int64_t bad_key() const;  // first row that is not finite, or BadRows::kNone

    // What a search took.
    struct Effort {
        std::int64_t products = 0;  // of single pairs, by bytes and whole; -1 where it was given up
        double pace = 0;  // its CPU time over what tiles of the same pairs would take; 0 where not measured
    };

    // As search_dense. Where a group of queries needs more than `most` of its pairs, the search is given up:
    // the answers are undefined.
    BadRows search(Rows queries, int k, int threads, double most, float* scores, std::int32_t* ids,
                   Effort& effort) const;

  private:
    std::unique_ptr<PrunedKeys> keys_;
};

}  // namespace radfast::cosine
