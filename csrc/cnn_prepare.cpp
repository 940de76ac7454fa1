#include "cnn_prepare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tokenize_parallel.h"

namespace radfast::cnn {
namespace {

// Four floats, which every 64-bit processor has in one register.
typedef float F __attribute__((vector_size(16)));
constexpr int kLanes = 4, kUnroll = 4;

F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
F splat(float x) { return F{x, x, x, x}; }

int round_up(int count, int step) { return (count + step - 1) / step * step; }

// Weights of `count` outputs from `first` on, of `side` outputs over `length` inputs. Zeros fill both up to
// whole vectors.
struct Filter {
    std::vector<int> start, taps;
    std::vector<float> weights;  // (count, most)
    int most;

    Filter(int length, int side, int first, int count) {
        const double step = static_cast<double>(length) / side, reach = std::max(step, 1.0);
        most = round_up(static_cast<int>(2 * std::ceil(reach)) + 1, kLanes);
        weights.assign(static_cast<std::size_t>(round_up(count, kLanes)) * most, 0.0f);
        for (int i = 0; i < count; ++i) {
            const double middle = (first + i + 0.5) * step;
            const int begin = std::max(0, static_cast<int>(middle - reach + 0.5));
            const int end = std::min(length, static_cast<int>(middle + reach + 0.5));
            std::vector<double> values;
            double sum = 0;
            for (int j = begin; j < end; ++j) {
                values.push_back(std::max(0.0, 1 - std::abs((j - middle + 0.5) / reach)));
                sum += values.back();
            }
            for (std::size_t j = 0; j < values.size(); ++j) {
                weights[static_cast<std::size_t>(i) * most + j] = static_cast<float>(values[j] / sum);
            }
            start.push_back(begin);
            taps.push_back(end - begin);
        }
        start.resize(static_cast<std::size_t>(round_up(count, kLanes)), start.back());
    }

    int end() const { return start[taps.size() - 1] + taps.back(); }
};

template <typename T>
void window(const T* row, int width, float low, float scale, float* grey) {
    for (int x = 0; x < width; ++x) {
        const float value = (static_cast<float>(row[x]) - low) * scale;
        const float above = value > 0.0f ? value : 0.0f;
        grey[x] = above < 255.0f ? above : 255.0f;
    }
}

// sums[x] = sum over i of weights[i] * rows[i][x], x below `width`, a multiple of 16.
void sum_rows(const float* const* rows, const float* weights, int taps, int width, float* sums) {
    for (int x = 0; x < width; x += kLanes * kUnroll) {
        F sum[kUnroll] = {};
        for (int i = 0; i < taps; ++i) {
            const F weight = splat(weights[i]);
#pragma GCC unroll 4
            for (int k = 0; k < kUnroll; ++k) sum[k] += weight * load(rows[i] + x + k * kLanes);
        }
        std::memcpy(sums + x, sum, sizeof sum);
    }
}

// Four outputs from `x` on, rounded to whole grey values.
void sum_along(const Filter& across, int left, int x, const float* row, std::uint8_t* out) {
    F a[kLanes] = {};
#pragma GCC unroll 4
    for (int k = 0; k < kLanes; ++k) {
        const float* weights = across.weights.data() + static_cast<std::size_t>(x + k) * across.most;
        const float* from = row + (across.start[static_cast<std::size_t>(x + k)] - left);
        for (int j = 0; j < across.most; j += kLanes) a[k] += load(weights + j) * load(from + j);
    }
    const F p =
        __builtin_shufflevector(a[0], a[1], 0, 4, 2, 6) + __builtin_shufflevector(a[0], a[1], 1, 5, 3, 7);
    const F q =
        __builtin_shufflevector(a[2], a[3], 0, 4, 2, 6) + __builtin_shufflevector(a[2], a[3], 1, 5, 3, 7);
    F sum = __builtin_shufflevector(p, q, 0, 1, 4, 5) + __builtin_shufflevector(p, q, 2, 3, 6, 7);
    // Weights that sum to 1 but for rounding may leave 0..255 by as much.
    sum = sum > 0.0f ? sum : splat(0.0f);
    sum = sum < 255.0f ? sum : splat(255.0f);
    // A float of this size has no room for a fraction: the sum rounds, and its lowest byte is the value.
    const F rounded = sum + 8388608.0f;
    std::uint32_t bits[kLanes];
    std::memcpy(bits, &rounded, sizeof bits);
    for (int k = 0; k < kLanes; ++k) out[k] = static_cast<std::uint8_t>(bits[k]);
}

// Rows are summed first: that runs over whole vectors, and leaves few rows to sum along.
template <typename T>
void prepare_one(const Preparation& how, const Filter& down, const Filter& across, const T* picture,
                 std::vector<float>& work, std::uint8_t* out) {
    const int crop = how.crop, left = across.start.front(), width = across.end() - left;
    const int stride = round_up(width + across.most, kLanes * kUnroll);
    work.assign(static_cast<std::size_t>(down.most + 1) * stride, 0.0f);
    float* sums = work.data() + static_cast<std::size_t>(down.most) * stride;
    const float low = static_cast<float>(how.low), scale = static_cast<float>(255 / (how.high - how.low));
    std::vector<const float*> rows(static_cast<std::size_t>(down.most));
    std::uint8_t last[kLanes];
    int ready = down.start.front();
    for (int y = 0; y < crop; ++y, out += crop) {
        const int start = down.start[y], taps = down.taps[y];
        // Row r waits in place r % most until no output needs it.
        for (int i = 0; i < taps; ++i) {
            float* place = work.data() + static_cast<std::size_t>((start + i) % down.most) * stride;
            if (start + i == ready) {
                window(picture + static_cast<std::int64_t>(ready++) * how.width + left, width, low, scale,
                       place);
            }
            rows[i] = place;
        }
        sum_rows(rows.data(), down.weights.data() + static_cast<std::size_t>(y) * down.most, taps, stride,
                 sums);
        const int whole = crop / kLanes * kLanes;
        for (int x = 0; x < whole; x += kLanes) sum_along(across, left, x, sums, out + x);
        if (whole < crop) {
            sum_along(across, left, whole, sums, last);
            std::copy_n(last, crop - whole, out + whole);
        }
    }
}

}  // namespace

void prepare(const Preparation& how, const void* pictures, Stored type, std::int64_t count, int threads,
             std::uint8_t* out) {
    const int first = (how.side - how.crop) / 2;
    const Filter down(how.height, how.side, first, how.crop), across(how.width, how.side, first, how.crop);
    const std::int64_t pixels = static_cast<std::int64_t>(how.height) * how.width;
    std::vector<std::vector<float>> work(static_cast<std::size_t>(std::max(1, threads)));
    share(static_cast<std::size_t>(count), static_cast<unsigned>(threads),
          [&](unsigned thread, std::size_t n) {
              const auto at = static_cast<std::int64_t>(n);
              std::uint8_t* to = out + at * how.crop * how.crop;
              switch (type) {
                  case Stored::u8:
                      return prepare_one(how, down, across,
                                         static_cast<const std::uint8_t*>(pictures) + at * pixels,
                                         work[thread], to);
                  case Stored::u16:
                      return prepare_one(how, down, across,
                                         static_cast<const std::uint16_t*>(pictures) + at * pixels,
                                         work[thread], to);
                  case Stored::i16:
                      return prepare_one(how, down, across,
                                         static_cast<const std::int16_t*>(pictures) + at * pixels,
                                         work[thread], to);
              }
          });
}

}  // namespace radfast::cnn
