#include "cnn_prepare.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tokenize_parallel.h"

namespace radfast::cnn {
namespace {

// Weights of `count` outputs from `first` on, of `side` outputs over `length` inputs.
struct Filter {
    std::vector<int> start, taps;
    std::vector<float> weights;  // (count, most)
    int most;

    Filter(int length, int side, int first, int count) {
        const double step = static_cast<double>(length) / side, reach = std::max(step, 1.0);
        most = static_cast<int>(2 * std::ceil(reach)) + 1;
        weights.assign(static_cast<std::size_t>(count) * most, 0.0f);
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
    }
};

template <typename T>
void window(const T* row, int width, float low, float scale, float* grey) {
    for (int x = 0; x < width; ++x) {
        grey[x] = std::clamp((static_cast<float>(row[x]) - low) * scale, 0.0f, 255.0f);
    }
}

template <typename T>
void prepare_one(const Preparation& how, const Filter& down, const Filter& across, const T* picture,
                 std::vector<float>& work, std::uint8_t* out) {
    const int crop = how.crop, top = down.start.front(), bottom = down.start.back() + down.taps.back();
    work.resize(static_cast<std::size_t>(bottom - top) * crop + how.width + crop);
    float* grey = work.data() + static_cast<std::size_t>(bottom - top) * crop;
    float* sums = grey + how.width;
    const float low = static_cast<float>(how.low), scale = static_cast<float>(255 / (how.high - how.low));
    for (int y = top; y < bottom; ++y) {
        window(picture + static_cast<std::int64_t>(y) * how.width, how.width, low, scale, grey);
        float* narrow = work.data() + static_cast<std::size_t>(y - top) * crop;
        for (int x = 0; x < crop; ++x) {
            const float* weight = across.weights.data() + static_cast<std::size_t>(x) * across.most;
            const float* from = grey + across.start[x];
            float sum = 0;
            for (int j = 0; j < across.taps[x]; ++j) sum += weight[j] * from[j];
            narrow[x] = sum;
        }
    }
    for (int y = 0; y < crop; ++y, out += crop) {
        const float* weight = down.weights.data() + static_cast<std::size_t>(y) * down.most;
        std::fill_n(sums, crop, 0.0f);
        for (int i = 0; i < down.taps[y]; ++i) {
            const float* narrow = work.data() + static_cast<std::size_t>(down.start[y] - top + i) * crop;
            for (int x = 0; x < crop; ++x) sums[x] += weight[i] * narrow[x];
        }
        // Weights that sum to 1 but for rounding may leave 0..255 by as much.
        for (int x = 0; x < crop; ++x) {
            out[x] = static_cast<std::uint8_t>(std::lrintf(std::clamp(sums[x], 0.0f, 255.0f)));
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
