// Small steps between scores and answers: which scores exceed a bound, and the best of a few in order.
#pragma once

#include <cstdint>

#include "cpu.h"

namespace radfast::cosine {

constexpr int kRanked = 64;      // most values that are put in order by counting, all compared with all
constexpr int kRankedRoom = 16;  // values that may be written after the last that counts

// Writes the values above `limit` and their ids, in their order, and returns how many. Both places have room
// for count + kRankedRoom.
using Collect = std::int64_t (*)(const float* values, const std::int32_t* ids, std::int64_t count,
                                 float limit, float* high, std::int32_t* high_ids);
Collect collect_for(Simd simd);

// The k-th largest of `count` values, k <= count <= kRanked; `different` says that no two of them are equal.
using FindKth = float (*)(const float* values, int count, int k, bool& different);
FindKth find_kth_for(Simd simd);

// Writes the k best of `count` (value, id), best first, k <= count <= kRanked; false, and nothing of use,
// where two are the same.
using Order = bool (*)(const float* values, const std::int32_t* ids, int count, int k, float* scores,
                       std::int32_t* best);
Order order_for(Simd simd);

// Writes the largest of `count` values and its id, of equal ones the smallest; count >= 1.
using Highest = void (*)(const float* values, const std::int32_t* ids, std::int64_t count, float* score,
                         std::int32_t* best);
Highest highest_for(Simd simd);

}  // namespace radfast::cosine
