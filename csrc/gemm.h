// Single-precision matrix product by register tiles: the inner loop of cosine search and of the CNN engine.
//
//     c[i, j] = sum over d of a[i, d] * b[j, d]        i < rows <= tile.rows, j < tile.columns
//
// Both sides are packed first, depth-major: a panel of A holds tile.rows values per d, a panel of B
// tile.columns. Every c[i, j] is one chain of fused multiply-adds in the order of d, so a pair of vectors
// gives the same bits wherever it stands in a panel, at any block size, any number of threads, and on AVX2 as
// on AVX-512. The portable path multiplies and adds in the same order and differs in the last bits only.
//
// Tiles: AVX-512 14 x 32 (28 accumulators of 32 registers), AVX2 6 x 16 (12 of 16), portable 4 x 8.
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

// `accumulate` goes on from what c holds, so a long depth may be cut anywhere without changing a bit.
using Kernel = void (*)(const float* a, const float* b, std::int64_t depth, float* c, bool accumulate);

// dst[d * width + r] = rows[r][d] * scales[r] for r < count; lanes from count to width become 0.
// Ascending stores may spill into the kPanelSlack floats after the panel.
using Pack = void (*)(const float* const* rows, const float* scales, int count, std::int64_t depth, int width,
                      float* dst);

// Sum of the squares of `depth` floats in double: 16 sums, term d in sum d mod 16, added in pairs. Every
// engine gives the same bits, since the square of a float is exact in double.
using Squares = double (*)(const float* row, std::int64_t depth);
constexpr int kSquareSums = 16;

struct Engine {
    Simd simd;
    int rows;                      // panel width of A
    int columns;                   // panel width of B; also the row length of the tile c
    Kernel kernels[kMaxRows + 1];  // kernels[r] computes the first r rows, 1 <= r <= rows
    Pack pack;
    Squares squares;
};

// The engine of an instruction set that current_simd() allows.
const Engine& engine_for(Simd simd);

// Multiply-adds per second of CPU time that one thread reaches on registers alone; 0 for the portable path.
double measure_peak(Simd simd, double seconds);

// Adds the 16 sums of Squares: the order is part of its definition.
inline double add_sums(const double (&sums)[kSquareSums]) {
    double pairs[kSquareSums / 2];
    for (int i = 0; i < 8; ++i) pairs[i] = sums[i] + sums[i + 8];
    for (int i = 0; i < 4; ++i) pairs[i] += pairs[i + 4];
    return (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]);
}

// Floats that one panel takes.
inline std::size_t panel_floats(std::int64_t depth, int width) {
    return (static_cast<std::size_t>(depth) * width + kPanelSlack + 15) / 16 * 16;
}

}  // namespace radfast::gemm
