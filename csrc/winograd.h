// Winograd convolution of stride 1: a tile of outputs x outputs pixels by points x points products.
//
//     out = A^T [ sum over channels of (G w G^T) * (B^T in B) ] A          points = outputs + taps - 1
//
// S. Winograd, "Arithmetic complexity of computations" (1980); A. Lavin and S. Gray, "Fast algorithms for
// convolutional neural networks" (CVPR 2016). The points are 0, pairs of +p and -p, and infinity, in this
// order. The pairs are exact in binary and were chosen by the error they leave against float64: 6 points with
// 5/8 and 3/2 err half as much as with the usual 1 and 2.
//
// kind   taps  outputs  points  products per output, of taps * taps
// f4x3    3      4        6      2.25 of 9
// f4x5    5      4        8      4.00 of 25
//
// f4x3 has short tiles for a picture's last one or two rows or columns: 2 outputs by 4 points, of the six the
// points 0, the first pair and infinity. A row of G differs from that of the whole tile by a factor alone,
// (point^2 - other^2), which the transform of the input takes; so both share their weights, and a picture of
// 14 x 14 wants 484 products in place of 576. Products of points that a short tile lacks leave it out.
//
// Tiles of 6 x 6 pixels for 3 taps would save another fifth of the products at most, 5 % of a VGG-16's time;
// but one layer of them is enough to leave 4 times the error of a plain convolution, so they are not here.
#pragma once

#include <cstdint>

namespace radfast::cnn {

enum class Tiling { f4x3 = 0, f4x5 = 1 };
constexpr int kTilings = 2;
constexpr int kMostPoints = 8;
constexpr int kShortPoints = 4, kShortOutputs = 2;
constexpr int kForms = 4;  // of a tile: whole, short across, short down, short in both

struct TileSize {
    int taps, outputs, pairs;
    constexpr int points() const { return 2 * pairs + 2; }
    constexpr int products() const { return points() * points(); }
    constexpr bool can_be_short() const { return pairs == 2; }
    // Whether a short tile has this point.
    constexpr bool is_shared(int point) const { return point < kShortPoints - 1 || point == points() - 1; }
};

constexpr TileSize size_of(Tiling tiling) {
    constexpr TileSize kSizes[kTilings] = {{3, 4, 2}, {5, 4, 3}};
    return kSizes[static_cast<int>(tiling)];
}

constexpr float kTwoPairs[2] = {0.625f, 1.5f};
constexpr float kThreePairs[3] = {0.5f, 1.0f, 2.0f};
constexpr const float* pairs_of(int pairs) { return pairs == 2 ? kTwoPairs : kThreePairs; }

// u[i * points + j] = (G w G^T)[i, j] of one kernel w (taps, taps), in double.
void transform_kernel(Tiling tiling, const float* w, double* u);

}  // namespace radfast::cnn
