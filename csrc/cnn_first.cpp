#include <algorithm>
#include <cstring>
#include <map>

#include "cnn_layers.h"

namespace radfast::cnn {
namespace {

// Which taps of one output lie inside, as one number per output; numbers count from 0.
std::vector<int> classify(int outputs, int length, int size, int stride, int padding,
                          std::vector<std::pair<int, int>>& taps) {
    std::map<std::pair<int, int>, int> known;
    std::vector<int> classes(outputs);
    for (int y = 0; y < outputs; ++y) {
        const int origin = y * stride - padding;
        const std::pair<int, int> inside = {std::max(0, -origin), std::min(size, length - origin)};
        const auto [place, fresh] = known.try_emplace(inside, static_cast<int>(known.size()));
        if (fresh) taps.push_back(inside);
        classes[y] = place->second;
    }
    return classes;
}

template <typename T>
void widen(const void* from, std::int64_t start, int count, float* to) {
    const T* pixels = static_cast<const T*>(from) + start;
    for (int x = 0; x < count; ++x) to[x] = static_cast<float>(pixels[x]);
}

}  // namespace

FirstLayer::FirstLayer(const Site& site, const Shape& in, int out, int size, int stride, int padding,
                       const float* weight, const double* constant, const float* bias, bool relu)
    : Layer(
          site, in,
          {out, (in.height + 2 * padding - size) / stride + 1, (in.width + 2 * padding - size) / stride + 1}),
      stride_(stride),
      padding_(padding),
      relu_(relu) {
    const int columns = site.inner.columns, area = size * size;
    panels_ = (out + columns - 1) / columns;
    // The last register tile of a row may run over its end: what it reads there is thrown away.
    padded_width_ = in.width + 2 * padding + (site.inner.rows - 1) * stride;
    padded_height_ = in.height + 2 * padding;
    for (int c = 0; c < in.channels; ++c) {
        for (int tap = 0; tap < area; ++tap) {
            offsets_.push_back((c * padded_height_ + tap / size) * padded_width_ + tap % size);
        }
    }
    std::vector<std::pair<int, int>> row_taps, column_taps;
    row_class_ = classify(out_.height, in.height, size, stride, padding, row_taps);
    column_class_ = classify(out_.width, in.width, size, stride, padding, column_taps);
    column_classes_ = static_cast<int>(column_taps.size());

    const std::int64_t depth = static_cast<std::int64_t>(in.channels) * area;
    packed_ = Floats(static_cast<std::size_t>(panels_) * depth * columns);
    starts_ = Floats(row_taps.size() * column_taps.size() * panels_ * columns);
    for (int channel = 0; channel < panels_ * columns; ++channel) {
        const int panel = channel / columns, lane = channel % columns;
        for (std::int64_t d = 0; d < depth; ++d) {
            packed_.data()[(panel * depth + d) * columns + lane] =
                channel < out ? weight[channel * depth + d] : 0.0f;
        }
        for (std::size_t r = 0; r < row_taps.size(); ++r) {
            for (std::size_t c = 0; c < column_taps.size(); ++c) {
                double sum = channel < out ? bias[channel] : 0.0;
                for (int y = row_taps[r].first; channel < out && y < row_taps[r].second; ++y) {
                    for (int x = column_taps[c].first; x < column_taps[c].second; ++x) {
                        sum += constant[channel * area + y * size + x];
                    }
                }
                const std::size_t place = (r * column_taps.size() + c) * panels_ + panel;
                starts_.data()[place * columns + lane] = static_cast<float>(sum);
            }
        }
    }
}

std::int64_t FirstLayer::padded_floats() const {
    return static_cast<std::int64_t>(in_.channels) * padded_height_ * padded_width_;
}

std::size_t FirstLayer::scratch(int) const { return site_.inner.rows * site_.inner.columns; }

std::size_t FirstLayer::shared(int images) const { return images * padded_floats(); }

void FirstLayer::fill(std::int64_t picture, int channel, int row, float* to) const {
    const int y = row - padding_;
    std::memset(to, 0, sizeof(float) * padded_width_);
    if (y < 0 || y >= in_.height) return;
    const std::int64_t start = ((picture * in_.channels + channel) * in_.height + y) * in_.width;
    switch (pictures_.type) {
        case Pixel::u8:
            return widen<std::uint8_t>(pictures_.data, start, in_.width, to + padding_);
        case Pixel::u16:
            return widen<std::uint16_t>(pictures_.data, start, in_.width, to + padding_);
        case Pixel::f32:
            return widen<float>(pictures_.data, start, in_.width, to + padding_);
    }
}

void FirstLayer::compute(std::int64_t item, const float* padded, float* tile, float* out) const {
    const int rows = site_.inner.rows, columns = site_.inner.columns;
    const std::int64_t image = item / out_.height;
    const int y = static_cast<int>(item % out_.height);
    const auto depth = static_cast<std::int64_t>(offsets_.size());
    const auto convolve = site_.inner.convolve[stride_ == 1 ? 1 : stride_ == 4 ? 2 : 0];
    const float* in =
        padded + image * padded_floats() + static_cast<std::int64_t>(y) * stride_ * padded_width_;
    const float* row_starts =
        starts_.data() + static_cast<std::int64_t>(row_class_[y]) * column_classes_ * panels_ * columns;
    for (int panel = 0; panel < panels_; ++panel) {
        const float* weights = packed_.data() + panel * depth * columns;
        for (int x = 0; x < out_.width; x += rows) {
            const int count = std::min(rows, out_.width - x);
            const float* starts[kMaxRows];
            for (int i = 0; i < rows; ++i) {
                const int kind = column_class_[x + std::min(i, count - 1)];
                starts[i] = row_starts + (static_cast<std::int64_t>(kind) * panels_ + panel) * columns;
            }
            convolve(in + x * stride_, offsets_.data(), depth, stride_, weights, starts, relu_, tile);
            for (int lane = 0; lane < columns; lane += kBlock) {
                const int block = (panel * columns + lane) / kBlock;
                if (block >= out_.blocks()) break;
                float* to =
                    out + ((image * out_.blocks() + block) * out_.pixels() + y * out_.width + x) * kBlock;
                for (int i = 0; i < count; ++i, to += kBlock) {
                    std::memcpy(to, tile + i * columns + lane, sizeof(float) * kBlock);
                }
            }
        }
    }
}

void FirstLayer::run(const Step& step, const float*, float* out) const {
    step.crew.share(step.images * in_.channels, [&](std::int64_t item) {
        float* plane = step.shared + item * padded_height_ * padded_width_;
        for (int row = 0; row < padded_height_; ++row) {
            fill(step.first + item / in_.channels, static_cast<int>(item % in_.channels), row,
                 plane + static_cast<std::int64_t>(row) * padded_width_);
        }
    });
    step.crew.share(static_cast<std::int64_t>(step.images) * out_.height,
                    [&](std::int64_t item) { compute(item, step.shared, step.scratch, out); });
}

}  // namespace radfast::cnn
