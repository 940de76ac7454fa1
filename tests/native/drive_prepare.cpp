// The preparation of stored pictures: against plain loops in double, with the same bits at any number of
// threads.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "cnn_prepare.h"

using namespace radfast::cnn;

namespace {

// weights[j] of input j for output `i` of `side` over `length`: triangles, cut at the edges, of sum 1.
std::vector<double> weigh(int length, int side, int i) {
    const double step = static_cast<double>(length) / side, reach = std::max(step, 1.0);
    std::vector<double> weights(static_cast<std::size_t>(length));
    double sum = 0;
    for (int j = 0; j < length; ++j) {
        weights[j] = std::max(0.0, 1 - std::abs(j + 0.5 - (i + 0.5) * step) / reach);
        sum += weights[j];
    }
    for (double& weight : weights) weight /= sum;
    return weights;
}

template <typename T>
double compute(const Preparation& how, const T* picture, int y, int x) {
    const int first = (how.side - how.crop) / 2;
    const std::vector<double> down = weigh(how.height, how.side, first + y),
                              across = weigh(how.width, how.side, first + x);
    double sum = 0;
    for (int i = 0; i < how.height; ++i) {
        for (int j = 0; j < how.width; ++j) {
            if (down[i] == 0 || across[j] == 0) continue;
            const double grey = (picture[i * how.width + j] - how.low) * 255 / (how.high - how.low);
            sum += down[i] * across[j] * std::clamp(grey, 0.0, 255.0);
        }
    }
    return sum;
}

// Draws pictures of exactly the size that is promised, so that a read beyond them is seen.
template <typename T>
bool check(Preparation how, Stored type, unsigned seed) {
    constexpr int kPictures = 3;
    std::mt19937 random(seed);
    const std::size_t pixels = static_cast<std::size_t>(how.height) * how.width;
    std::vector<T> pictures(kPictures * pixels);
    for (T& value : pictures) value = static_cast<T>(random());
    const std::size_t area = static_cast<std::size_t>(how.crop) * how.crop;
    std::vector<std::uint8_t> found(kPictures * area);
    prepare(how, pictures.data(), type, kPictures, 1, found.data());
    for (int n = 0; n < kPictures; ++n) {
        for (int y = 0; y < how.crop; ++y) {
            for (int x = 0; x < how.crop; ++x) {
                const double wanted = compute(how, pictures.data() + n * pixels, y, x);
                const int got = found[n * area + y * how.crop + x];
                if (!(std::abs(got - wanted) <= 0.5 + 2e-3)) {
                    std::printf("%d x %d to %d, cut %d: pixel (%d, %d) is %d, should be %g\n", how.height,
                                how.width, how.side, how.crop, y, x, got, wanted);
                    return false;
                }
            }
        }
    }
    for (const int threads : {2, 5}) {
        std::vector<std::uint8_t> again(found.size());
        prepare(how, pictures.data(), type, kPictures, threads, again.data());
        if (again != found) {
            std::printf("%d x %d: other bits at %d threads\n", how.height, how.width, threads);
            return false;
        }
    }
    return true;
}

}  // namespace

int main() {
    unsigned seed = 0;
    // Pictures that shrink and grow, wide and high, of a width that fills no vector, of one pixel.
    const int sizes[][4] = {{1, 1, 5, 3},   {2, 37, 16, 16},  {40, 3, 16, 12},  {24, 24, 24, 24},
                            {33, 50, 9, 8}, {130, 67, 20, 7}, {70, 131, 24, 1}, {15, 20, 1, 1}};
    for (const auto& size : sizes) {
        const Preparation narrow = {size[0], size[1], size[2], size[3], -20.5, 300},
                          wide = {size[0], size[1], size[2], size[3], -30000, 29999.5};
        for (const Preparation& how : {narrow, wide}) {
            if (!check<std::uint8_t>(how, Stored::u8, ++seed) ||
                !check<std::uint16_t>(how, Stored::u16, ++seed) ||
                !check<std::int16_t>(how, Stored::i16, ++seed)) {
                return 1;
            }
        }
    }
    std::puts("prepare: all checks hold");
    return 0;
}
