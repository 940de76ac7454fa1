// Single-precision matrix product by register tiles: the inner loop of cosine search and of the CNN engine.
//
//     c[i, j] = sum over d of a[i, d] * b[j, d]        i < rows <= tile.rows, j < tile.columns
//
// Both sides are packed first, depth-major: a panel of A holds tile.rows values per d, a panel of B
// tile.columns. Every c[i, j] is one chain of fused multiply-adds in the order of d, so a pair of vectors
// gives the same bits wherever it stands in a panel, at any block size, any number of threads, and on AVX2 as
// on AVX-512. The portable path multiplies and adds in the same order and differs in the last bits only.
//
// Tiles: AVX-512 14 x 32 (28 accumulators of 32 registers), AVX2 6 x 16 (12 of 16), portable 4 x 8. Measured
// on a Zen 5 core with panels in the second cache: 14 x 32 0.96 to 0.98 of the peak of its multiply-adds,
// 9 x 48 and 8 x 48 the same; on a Zen 3 core 6 x 16 0.95 in turns of eight steps (gemm_tile.h), 0.89 step by
// step.
//
// The interface is stable: a kernel of one tile (kernels), the same with a comparison in place of the store
// (filters), packing of rows (pack), and multiply_block() for blocks of panels of any size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu.h"

namespace radfast::gemm {

constexpr int kMaxRows = 14;
constexpr int kMaxColumns = 32;
// Panels of A are stored with vectors wider than tile.rows: what runs over lands in this many floats after
// them.
constexpr int kPanelSlack = 16;

// Writes c[i * stride + j] for i < rows and every j < tile.columns. `accumulate` goes on from what c holds,
// so a long depth may be cut anywhere without changing a bit.
using Kernel = void (*)(const float* a, const float* b, std::int64_t depth, float* c, std::int64_t stride,
                        bool accumulate);

// Bit j of masks[i] says c[i, j] > thresholds[i]; returns all masks or'ed. The tile is written to `c`, rows
// of tile.columns, only where some bit is set. About engine.asked * depth floats from `ahead` on are asked
// into the second cache meanwhile; any address may be given.
using Filter = std::uint32_t (*)(const float* a, const float* b, std::int64_t depth, const float* thresholds,
                                 const float* ahead, float* c, std::uint32_t* masks);

// Bit j % 32 of masks[j / 32] says row[j] > limit, j < count; bits beyond `count` are 0.
using Above = void (*)(const float* row, std::int64_t count, float limit, std::uint32_t* masks);

// dst[d * width + r] = rows[r][d] * scales[r] for r < count; lanes from count to width become 0.
// Ascending stores may spill into the kPanelSlack floats after the panel. The rows of `next` (`count` of
// them; `rows` again where nothing follows) are asked into the cache meanwhile.
using Pack = void (*)(const float* const* rows, const float* const* next, const float* scales, int count,
                      std::int64_t depth, int width, float* dst);

// Sum of the squares of `depth` floats in double: 16 sums, term d in sum d mod 16, added in pairs. Every
// engine gives the same bits, since the square of a float is exact in double.
using Squares = double (*)(const float* row, std::int64_t depth);
constexpr int kSquareSums = 16;

// sums[i] = sum over d of a[d] * (rows[i][d] * scales[i]), i < count <= kMaxColumns, each the chain of a
// tile: for few rows that stand apart.
using Chains = void (*)(const float* a, const float* const* rows, const float* scales, int count,
                        std::int64_t depth, float* sums);

// sums[i] = sum over d of a[i][d] * (rows[i][d] * scales[i]), i < count, each the chain of a tile: pairs that
// have nothing in common.
using Pairs = void (*)(const float* const* a, const float* const* rows, const float* scales, int count,
                       std::int64_t depth, float* sums);
// Pairs that are computed together by the widest engine.
constexpr int kPairs = 16;

struct Engine {
    Simd simd;
    int rows;                      // panel width of A
    int columns;                   // panel width of B
    int asked;                     // floats per step that a filter asks for, at least `rows`
    Kernel kernels[kMaxRows + 1];  // kernels[r] computes the first r rows, 1 <= r <= rows
    Filter filters[kMaxRows + 1];
    Above above;
    Pack pack;
    Squares squares;
    Chains chains;
    Pairs pairs;
};

// The engine of an instruction set that current_simd() allows.
const Engine& engine_for(Simd simd);

// Floats that one panel takes.
inline std::size_t panel_floats(std::int64_t depth, int width) {
    return (static_cast<std::size_t>(depth) * width + kPanelSlack + 15) / 16 * 16;
}

// c[i * stride + j] of a whole block, i < rows, j < columns. Panel p of A starts at
// a + p * panel_floats(depth, engine.rows), of B at b + p * panel_floats(depth, engine.columns). Nothing
// outside the block is written. A stays in the second cache when it is below half of it; each panel of B is
// read once.
void multiply_block(const Engine& engine, const float* a, std::int64_t rows, const float* b,
                    std::int64_t columns, std::int64_t depth, float* c, std::int64_t stride, bool accumulate);

// Multiply-adds per second of CPU time that one thread reaches on registers alone; 0 for the portable path.
double measure_peak(Simd simd, double seconds);

// Adds the 16 sums of Squares: the order is part of its definition.
inline double add_sums(const double (&sums)[kSquareSums]) {
    double pairs[kSquareSums / 2];
    for (int i = 0; i < 8; ++i) pairs[i] = sums[i] + sums[i + 8];
    for (int i = 0; i < 4; ++i) pairs[i] += pairs[i + 4];
    return (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]);
}

}  // namespace radfast::gemm
