// Unit rows rounded to bytes, with a bound on what the rounding can do to a score.
//
// Row x of length 1 is held as x = step * b + e, b whole. Keys take bytes, b in [-127, 127]; a query is
// rounded more finely. For a query x and a key y
//
//     |<x, y> - step_x step_y <b_x, b_y>| <= |e_x| |y| + |x - e_x| |e_y| <= |e_x| + (1 + |e_x|) |e_y|
//
// by Cauchy and Schwarz, and |e_y| <= ratio * step_y with one ratio for all keys. A search reads a quarter of
// the memory, keeps every key that may still be among the best, and scores those few by the chain of gemm.h:
// the answer is that of the plain search, bit for bit.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "cosine.h"
#include "cosine_parts.h"
#include "cpu.h"

namespace radfast::cosine {

struct ByteRow {
    float step;
    float error;  // |e|, rounded up
};

// out[d] = row[d] * scale in units of `step`; `scale` makes the row a unit vector, or is 0.
using Quantise = ByteRow (*)(const float* row, float scale, std::int64_t depth, std::int8_t* out);
// The same of a unit query, in steps as fine as int32 sums of its products with bytes allow. The layout of
// the fine_values(depth) values is known to the products of the same instruction set only.
using QuantiseFine = ByteRow (*)(const float* unit, std::int64_t depth, std::int16_t* out);
constexpr std::int64_t kLine = 64;
inline std::int64_t fine_values(std::int64_t depth) { return (depth + kLine - 1) / kLine * kLine; }
// sums[i] = <a, rows[ids[i]]> exactly for i < count, where a row takes `depth` bytes and the last kLine more
// may be read; depth <= kMostBytes. The rows of ids[count .. known) are asked into the cache meanwhile.
using ByteDots = void (*)(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                          std::int64_t count, std::int64_t known, std::int64_t depth, std::int32_t* sums);
constexpr std::int64_t kMostBytes = 1 << 16;  // 127 * 127 * depth must not leave an int32
constexpr std::int64_t kByteAhead = 16;       // keys that products ask for ahead

Quantise quantise_for(Simd simd);
QuantiseFine quantise_fine_for(Simd simd);
ByteDots byte_dots_for(Simd simd);

// All keys as bytes.
class ByteKeys {
  public:
    ByteKeys(std::int64_t count, std::int64_t depth);

    // Rounds the keys [from, to); any number of threads may call it, each for keys of its own. scales:
    // (keys.count,) as from scale_of.
    void fill(Rows keys, const float* scales, std::int64_t from, std::int64_t to);
    // False where a row is not finite or its scale is kSpecial: then the bytes are of no use.
    bool complete() const { return complete_; }
    const std::int8_t* data() const { return reinterpret_cast<const std::int8_t*>(bytes_.get()); }
    const float* steps() const { return steps_.data(); }

    // What a float32 score may differ from step_x step_y <b_x, b_y>: by fixed + per_step * step_y.
    struct Margin {
        float fixed, per_step;
    };
    Margin margin(float query_error) const;

  private:
    std::int64_t depth_;
    Quantise quantise_;
    Buffer bytes_;
    std::vector<float> steps_;
    std::atomic<float> ratio_{0};
    std::atomic<bool> complete_{true};
};

}  // namespace radfast::cosine
