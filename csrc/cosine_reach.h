// Who reaches which key: the bounds of cosine_pruned.h against the limits of a tile's queries.
#pragma once

#include <cstdint>

#include "cpu.h"

namespace radfast::cosine {

// Bit j of masks[i] says tile[i][j] + query_rest[i] * key_rest[j] > limits[i]. Returns 0 when no bit is set.
using Reach = std::uint32_t (*)(const float* tile, int rows, const float* query_rest, const float* key_rest,
                                const float* limits, std::uint32_t* masks);

Reach reach_for(Simd simd);

}  // namespace radfast::cosine
