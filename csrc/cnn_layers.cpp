#include "cnn_layers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "tokenize_parallel.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace radfast::cnn {
namespace {

constexpr std::size_t kPage = std::size_t{1} << 21;
constexpr std::int64_t kSlice = 1024;  // depth of a linear layer whose weights are read once for all rows

}  // namespace

Floats::Floats(std::size_t count) : size_(count) {
    const std::size_t unit = count * sizeof(float) < kPage ? 64 : kPage;
    const std::size_t bytes = (count * sizeof(float) + unit - 1) / unit * unit;
    if (bytes == 0) return;
    data_.reset(static_cast<float*>(std::aligned_alloc(unit, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (unit == kPage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // advice: nothing is lost without
#endif
}

void Floats::Free::operator()(float* p) const { std::free(p); }

PoolLayer::PoolLayer(const Site& site, const Shape& in, int size, int stride)
    : Layer(site, in, {in.channels, (in.height - size) / stride + 1, (in.width - size) / stride + 1}),
      size_(size),
      stride_(stride) {}

void PoolLayer::run(const Step& step, const float* in, float* out) const {
    const std::int64_t row = in_.width * kBlock;
    step.crew.share(static_cast<std::int64_t>(step.images) * in_.blocks(), [&](std::int64_t plane) {
        const float* from = in + plane * in_.pixels() * kBlock;
        float* to = out + plane * out_.pixels() * kBlock;
        for (int y = 0; y < out_.height; ++y, to += out_.width * kBlock) {
            site_.inner.pool_row(from + y * stride_ * row, row, size_, stride_, out_.width, to);
        }
    });
}

MeanLayer::MeanLayer(const Site& site, const Shape& in, int cells)
    : Layer(site, in, {in.channels, cells, cells}) {}

void MeanLayer::run(const Step& step, const float* in, float* out) const {
    const int cells = out_.height;
    step.crew.share(static_cast<std::int64_t>(step.images) * in_.blocks(), [&](std::int64_t plane) {
        const float* from = in + plane * in_.pixels() * kBlock;
        float* to = out + plane * out_.pixels() * kBlock;
        for (int y = 0; y < cells; ++y) {
            const int top = y * in_.height / cells, bottom = ((y + 1) * in_.height + cells - 1) / cells;
            for (int x = 0; x < cells; ++x, to += kBlock) {
                const int left = x * in_.width / cells, right = ((x + 1) * in_.width + cells - 1) / cells;
                float sums[kBlock] = {};
                for (int i = top; i < bottom; ++i) {
                    for (int j = left; j < right; ++j) {
                        const float* pixel = from + (static_cast<std::int64_t>(i) * in_.width + j) * kBlock;
                        for (int lane = 0; lane < kBlock; ++lane) sums[lane] += pixel[lane];
                    }
                }
                const float area = static_cast<float>((bottom - top) * (right - left));
                for (int lane = 0; lane < kBlock; ++lane) to[lane] = sums[lane] / area;
            }
        }
    });
}

LinearLayer::LinearLayer(const Site& site, const Shape& in, int out, const float* weight, const float* bias,
                         bool relu)
    : Layer(site, in, {out, 1, 1}), relu_(relu) {
    const int columns = site.inner.columns;
    const std::int64_t depth = in.floats(), pixels = in.pixels(), row = in.channels * pixels;
    panels_ = (out + columns - 1) / columns;
    packed_ = Floats(static_cast<std::size_t>(panels_) * depth * columns);
    bias_ = Floats(static_cast<std::size_t>(panels_) * columns);
    share(panels_, site.threads, [&](unsigned, std::size_t panel) {
        float* to = packed_.data() + panel * depth * columns;
        std::memset(to, 0, sizeof(float) * depth * columns);
        for (int j = 0; j < columns; ++j) {
            const std::int64_t i = static_cast<std::int64_t>(panel) * columns + j;
            bias_.data()[i] = i < out ? bias[i] : 0.0f;
            if (i >= out) continue;
            for (std::int64_t k = 0; k < row; ++k) {
                const std::int64_t channel = k / pixels, pixel = k % pixels;
                const std::int64_t place = (channel / kBlock * pixels + pixel) * kBlock + channel % kBlock;
                to[place * columns + j] = weight[i * row + k];
            }
        }
    });
}

std::size_t LinearLayer::scratch(int images) const {
    return (images + site_.inner.rows - 1) / site_.inner.rows * site_.inner.rows * site_.inner.columns;
}

std::size_t LinearLayer::shared(int images) const {
    return (images + site_.inner.rows - 1) / site_.inner.rows * site_.inner.rows * in_.floats();
}

void LinearLayer::run(const Step& step, const float* in, float* out) const {
    const int rows = site_.inner.rows, columns = site_.inner.columns;
    const std::int64_t depth = in_.floats();
    step.crew.share(step.images, [&](std::int64_t image) {
        const float* from = in + image * depth;
        float* to = step.shared + image / rows * rows * depth + image % rows * kBlock;
        for (std::int64_t d = 0; d < depth; d += kBlock) {
            std::memcpy(to + d * rows, from + d, sizeof(float) * kBlock);
        }
    });
    step.crew.share(panels_, [&](std::int64_t panel) {
        float* c = step.scratch;
        for (std::int64_t d = 0; d < depth; d += kSlice) {
            const float* b = packed_.data() + (panel * depth + d) * columns;
            for (int n = 0; n < step.images; n += rows) {
                site_.inner.multiply[std::min(rows, step.images - n)](step.shared + n * depth + d * rows, b,
                                                                      std::min(kSlice, depth - d),
                                                                      c + n * columns, d > 0);
            }
        }
        const int width = std::min<std::int64_t>(columns, out_.floats() - panel * columns);
        for (int n = 0; n < step.images; ++n) {
            float* to = out + n * out_.floats() + panel * columns;
            for (int j = 0; j < width; ++j) {
                const float value = c[n * columns + j] + bias_.data()[panel * columns + j];
                to[j] = relu_ && value < 0 ? 0.0f : value;
            }
        }
    });
}

}  // namespace radfast::cnn
