#include "winograd.h"

namespace radfast::cnn {
namespace {

// Row i of G: the powers of point i over the product of its distances to the other finite points.
void make_rows(const TileSize& size, double (&rows)[kMostPoints][5]) {
    double points[kMostPoints] = {0};
    for (int q = 0; q < size.pairs; ++q) {
        points[1 + 2 * q] = pairs_of(size.pairs)[q];
        points[2 + 2 * q] = -points[1 + 2 * q];
    }
    const int finite = size.points() - 1;
    for (int i = 0; i < finite; ++i) {
        double value = 1;
        for (int j = 0; j < finite; ++j) {
            if (j != i) value /= points[i] - points[j];
        }
        for (int k = 0; k < size.taps; ++k, value *= points[i]) rows[i][k] = value;
    }
    for (int k = 0; k < size.taps; ++k) rows[finite][k] = k == size.taps - 1;
}

}  // namespace

void transform_kernel(Tiling tiling, const float* w, double* u) {
    const TileSize size = size_of(tiling);
    const int points = size.points(), taps = size.taps;
    double rows[kMostPoints][5], half[kMostPoints][5];
    make_rows(size, rows);
    for (int i = 0; i < points; ++i) {
        for (int x = 0; x < taps; ++x) {
            half[i][x] = 0;
            for (int y = 0; y < taps; ++y) half[i][x] += rows[i][y] * w[y * taps + x];
        }
    }
    for (int i = 0; i < points; ++i) {
        for (int j = 0; j < points; ++j) {
            double sum = 0;
            for (int x = 0; x < taps; ++x) sum += rows[j][x] * half[i][x];
            u[i * points + j] = sum;
        }
    }
}

}  // namespace radfast::cnn
