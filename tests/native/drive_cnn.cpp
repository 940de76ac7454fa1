// The CNN engine on small random networks: against plain loops in double, with the same bits at any number of
// threads and of images, on every instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "cnn.h"

using namespace radfast;
using namespace radfast::cnn;

namespace {

struct Maps {
    int channels, height, width;
    std::vector<double> values;
    double at(int c, int y, int x) const {
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        return inside ? values[(static_cast<std::size_t>(c) * height + y) * width + x] : 0;
    }
};

std::vector<float> draw(std::mt19937& random, std::size_t count, float spread) {
    std::uniform_real_distribution<float> uniform(-spread, spread);
    std::vector<float> values(count);
    for (float& value : values) value = uniform(random);
    return values;
}

Maps convolve(const Maps& in, int out, int size, int stride, int padding, const std::vector<float>& weight,
              const std::vector<double>& constant, const std::vector<float>& bias, bool relu) {
    Maps result = {
        out, (in.height + 2 * padding - size) / stride + 1, (in.width + 2 * padding - size) / stride + 1, {}};
    for (int o = 0; o < out; ++o) {
        for (int y = 0; y < result.height; ++y) {
            for (int x = 0; x < result.width; ++x) {
                double sum = bias[o];
                for (int i = 0; i < size; ++i) {
                    for (int j = 0; j < size; ++j) {
                        const int row = y * stride + i - padding, column = x * stride + j - padding;
                        const bool inside = row >= 0 && row < in.height && column >= 0 && column < in.width;
                        if (inside && !constant.empty()) sum += constant[(o * size + i) * size + j];
                        for (int c = 0; c < in.channels; ++c) {
                            sum +=
                                weight[((o * in.channels + c) * size + i) * size + j] * in.at(c, row, column);
                        }
                    }
                }
                result.values.push_back(relu ? std::max(0.0, sum) : sum);
            }
        }
    }
    return result;
}

Maps pool(const Maps& in, int size, int stride) {
    Maps result = {in.channels, (in.height - size) / stride + 1, (in.width - size) / stride + 1, {}};
    for (int c = 0; c < in.channels; ++c) {
        for (int y = 0; y < result.height; ++y) {
            for (int x = 0; x < result.width; ++x) {
                double best = in.at(c, y * stride, x * stride);
                for (int i = 0; i < size * size; ++i) {
                    best = std::max(best, in.at(c, y * stride + i / size, x * stride + i % size));
                }
                result.values.push_back(best);
            }
        }
    }
    return result;
}

constexpr int kChannels = 2, kWidth = 34;

// The last tiles of the 3 x 3 convolution are short across (seed 1), down (0) or both (3).
int height_of(unsigned seed) { return seed < 2 ? 29 : 33; }

// One network: 3 x 3 / 5 x 5 first layer, two convolutions, a pool fused and one not, linear. Returns its
// outputs for `pictures`; the first picture is checked against plain loops.
std::vector<float> run(const std::vector<std::uint8_t>& pictures, int images, int batch, int threads,
                       unsigned seed) {
    const int height = height_of(seed);
    std::mt19937 random(seed);
    const int sizes[2] = {seed % 2 ? 3 : 5, seed % 2 ? 5 : 3};
    const int widths[3] = {7, 33, seed % 2 ? 17 : 64};
    std::vector<float> weight = draw(random, widths[0] * kChannels * sizes[0] * sizes[0], 0.01f);
    std::vector<float> bias = draw(random, widths[0], 1);
    std::vector<double> constant(widths[0] * sizes[0] * sizes[0]);
    for (double& value : constant) value = static_cast<double>(random()) / random.max() - 0.5;

    Network net({kChannels, height, kWidth}, batch, threads);
    net.add_first(widths[0], sizes[0], 1 + seed % 2, 1, weight.data(), constant.data(), bias.data(), true);
    Maps maps = {kChannels, height, kWidth, {}};
    maps.values.assign(pictures.begin(), pictures.begin() + kChannels * height * kWidth);
    maps = convolve(maps, widths[0], sizes[0], 1 + seed % 2, 1, weight, constant, bias, true);
    for (int layer = 1; layer < 3; ++layer) {
        const int size = sizes[layer - 1], padding = size / 2;
        weight = draw(random, widths[layer] * widths[layer - 1] * size * size, 0.1f);
        bias = draw(random, widths[layer], 1);
        net.add_conv(widths[layer], size, padding, weight.data(), bias.data(), true, layer == 1);
        maps = convolve(maps, widths[layer], size, 1, padding, weight, {}, bias, true);
        if (layer == 1) maps = pool(maps, 2, 2);
    }
    net.add_pool(3, 2);
    maps = pool(maps, 3, 2);
    const int classes = 5, depth = static_cast<int>(maps.values.size());
    weight = draw(random, classes * depth, 0.1f);
    bias = draw(random, classes, 1);
    net.add_linear(classes, weight.data(), bias.data(), false);
    net.finish();

    std::vector<float> out(images * classes);
    for (int first = 0; first < images; first += batch) {
        const std::uint8_t* from =
            pictures.data() + static_cast<std::size_t>(first) * kChannels * height * kWidth;
        net.run({from, Pixel::u8}, std::min(batch, images - first), out.data() + first * classes);
    }
    for (int o = 0; o < classes; ++o) {
        double sum = bias[o], scale = std::abs(bias[o]);
        for (int k = 0; k < depth; ++k) {
            sum += weight[o * depth + k] * maps.values[k];
            scale += std::abs(weight[o * depth + k] * maps.values[k]);
        }
        if (!(std::abs(out[o] - sum) <= 2e-5 * scale)) {
            std::printf("output %d is %g, should be %g\n", o, out[o], sum);
            throw std::logic_error("wrong output");
        }
    }
    return out;
}

}  // namespace

int main() {
    constexpr int kImages = 5;
    std::mt19937 random(1);
    std::vector<std::uint8_t> pictures(kImages * kChannels * height_of(3) * kWidth);
    for (auto& value : pictures) value = static_cast<std::uint8_t>(random());
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (lower_simd(simd) != simd) continue;
        for (const unsigned seed : {0, 1, 3}) {
            const std::vector<float> wanted = run(pictures, kImages, kImages, 1, seed);
            for (const int threads : {2, 4}) {
                for (const int batch : {1, 2, kImages}) {
                    if (run(pictures, kImages, batch, threads, seed) != wanted) {
                        std::printf("%s: other bits at %d threads, batch %d\n", name_of(simd), threads,
                                    batch);
                        return 1;
                    }
                }
            }
        }
    }
    try {
        Network({1, 4, 4}, 1, 1).add_mean(2);
    } catch (const std::invalid_argument&) {
        std::puts("cnn: all checks hold");
        return 0;
    }
    return 1;
}
