// The keys of a pruned search made ready (cosine_pruned.h).
#pragma once

#include <memory>
#include <vector>

#include "cosine.h"
#include "cosine_bytes.h"
#include "cosine_parts.h"
#include "cosine_prefix.h"

namespace radfast::cosine {

struct PrunedKeys {
    PrunedKeys(Rows keys, std::int64_t depth, const float* basis, int prefix, Simd simd);

    // Coordinates of packed unit rows, (rows, prefix) in C order, and the length of what they leave, rounded
    // up. Rows of scale 0 are zero and leave nothing.
    void project(const float* panel, const float* scale, int rows, float* coordinates, float* rest) const;

    Rows keys;
    std::int64_t depth;
    int prefix;
    const gemm::Engine& engine;
    float margin;
    Prefixes bounds;
    std::size_t query_panel, prefix_panel, key_panel, basis_panel;
    Buffer basis, prefixes;
    Buffer first;            // the first `seeds` keys, whole
    std::int64_t seeds = 0;  // a multiple of a panel
    std::vector<float> scales;
    std::unique_ptr<ByteKeys> bytes;
    std::int64_t bad = BadRows::kNone;
};

}  // namespace radfast::cosine
