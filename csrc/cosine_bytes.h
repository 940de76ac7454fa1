// Unit rows rounded to bytes, with a bound on what the rounding can do to a score.
//
// Row x of length 1 is held as x = step * b + e, b whole in [-127, 127]. For two rows
//
//     |<x, y> - step_x step_y <b_x, b_y>| <= |e_x| |y| + |x - e_x| |e_y| <= |e_x| + (1 + |e_x|) |e_y|
//
// by Cauchy and Schwarz. A search reads a quarter of the memory, keeps every key that may still be among the
// best, and scores those few by the chain of gemm.h: the answer is that of the plain search, bit for bit.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "cosine.h"
#include "cpu.h"

namespace radfast::cosine {

struct ByteRow {
    float step;
    float error;  // |e|, rounded up
};

// out[d] = row[d] * scale in units of `step`; `scale` makes the row a unit vector, or is 0.
using Quantise = ByteRow (*)(const float* row, float scale, std::int64_t depth, std::int8_t* out);
// sums[i] = <a, rows[ids[i]]> exactly, where a row takes `depth` bytes; depth <= kMostBytes.
using ByteDots = void (*)(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                          std::int64_t count, std::int64_t depth, std::int32_t* sums);
constexpr std::int64_t kMostBytes = 1 << 16;  // 127 * 127 * depth must not leave an int32

Quantise quantise_for(Simd simd);
ByteDots byte_dots_for(Simd simd);

// All keys as bytes.
class ByteKeys {
  public:
    // scales: (keys.count,) as from scale_of.
    ByteKeys(Rows keys, std::int64_t depth, const float* scales, int threads);

    // False where a row is not finite or its scale is kSpecial: then the bytes are of no use.
    bool complete() const { return complete_; }
    const std::int8_t* data() const { return bytes_.data(); }
    const float* steps() const { return steps_.data(); }
    // What a float32 score of a query whose rounding left `query_error` may differ from its bytes' product.
    float margin(float query_error) const;

  private:
    std::int64_t depth_;
    std::vector<std::int8_t> bytes_;
    std::vector<float> steps_;
    float error_ = 0;  // largest of all rows
    std::atomic<bool> complete_{true};
};

}  // namespace radfast::cosine
