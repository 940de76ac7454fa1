#include <algorithm>
#include <cstring>

#include "cnn_layers.h"
#include "tokenize_parallel.h"

namespace radfast::cnn {
namespace {

// Measured on a processor with 1 MB of level-2 cache per core; none of them changes a bit of the result.
constexpr std::int64_t kOwnWeights = 10 << 20;  // bytes of weights up to which a thread takes its own tiles
constexpr std::int64_t kOwnTiles = 28;
constexpr std::int64_t kOwnProducts = 500 * 1000;  // floats of M
constexpr std::int64_t kSharedTiles = 200;

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

WinogradLayer::WinogradLayer(const Site& site, const Shape& in, int out, int size, int padding,
                             const float* weight, const float* bias, bool relu, bool pool, Tiling tiling)
    : Layer(site, in, {out, 0, 0}),
      tiling_(tiling),
      size_(size_of(tiling)),
      padding_(padding),
      relu_(relu),
      pool_(pool) {
    conv_height_ = in.height + 2 * padding - size + 1;
    conv_width_ = in.width + 2 * padding - size + 1;
    out_.height = pool ? conv_height_ / 2 : conv_height_;
    out_.width = pool ? conv_width_ / 2 : conv_width_;
    down_ = (conv_height_ + size_.outputs - 1) / size_.outputs;
    across_ = (conv_width_ + size_.outputs - 1) / size_.outputs;
    const auto ends_short = [&](int length) {
        const int rest = length % size_.outputs;
        return size_.can_be_short() && rest > 0 && rest <= kShortOutputs;
    };
    short_down_ = ends_short(conv_height_);
    short_across_ = ends_short(conv_width_);
    panels_ = (out + site.inner.columns - 1) / site.inner.columns;
    pack(weight, bias);
}

void WinogradLayer::pack(const float* weight, const float* bias) {
    const int columns = site_.inner.columns, products = size_.products(), area = size_.taps * size_.taps;
    const std::int64_t depth = in_.blocks() * kBlock;
    packed_ = Floats(static_cast<std::size_t>(panels_) * products * depth * columns);
    bias_ = Floats(static_cast<std::size_t>(panels_) * columns);
    share(panels_, site_.threads, [&](unsigned, std::size_t panel) {
        float* to = packed_.data() + panel * products * depth * columns;
        std::memset(to, 0, sizeof(float) * products * depth * columns);
        for (int j = 0; j < columns; ++j) {
            const int channel = static_cast<int>(panel) * columns + j;
            bias_.data()[channel] = channel < out_.channels ? bias[channel] : 0.0f;
            if (channel >= out_.channels) continue;
            for (std::int64_t k = 0; k < in_.channels; ++k) {
                double u[kMostPoints * kMostPoints];
                transform_kernel(tiling_,
                                 weight + (channel * static_cast<std::int64_t>(in_.channels) + k) * area, u);
                for (int p = 0; p < products; ++p)
                    to[(p * depth + k) * columns + j] = static_cast<float>(u[p]);
            }
        }
    });
}

// One odd line more than whole panels: equal distances of a large power of two would fall into one set of the
// cache.
std::int64_t WinogradLayer::v_stride(std::int64_t tiles) const {
    return round_up(tiles, site_.inner.rows) * in_.blocks() * kBlock / (2 * kBlock) * (2 * kBlock) +
           3 * kBlock;
}

std::int64_t WinogradLayer::m_stride(const Plan& plan) const {
    return round_up(plan.tiles * plan.panels * site_.inner.columns, 2 * kBlock) + kBlock;
}

WinogradLayer::Plan WinogradLayer::plan(int images) const {
    const std::int64_t tiles = static_cast<std::int64_t>(images) * down_ * across_;
    const int rows = site_.inner.rows;
    const std::int64_t weights =
        static_cast<std::int64_t>(size_.products()) * in_.blocks() * kBlock * out_.channels * sizeof(float);
    Plan plan;
    plan.together = weights > kOwnWeights || tiles < 2 * kOwnTiles * site_.threads;
    const std::int64_t wanted = plan.together ? kSharedTiles : kOwnTiles;
    const std::int64_t parts = (tiles + wanted - 1) / wanted;
    plan.tiles = round_up((tiles + parts - 1) / parts, rows);
    // Alone: as many panels as M has room for. Together: as many as leave two items to each thread, since
    // every further group reads V again.
    const std::int64_t room = kOwnProducts / (size_.products() * plan.tiles * site_.inner.columns);
    const std::int64_t groups = (2 * site_.threads + parts - 1) / parts;
    const std::int64_t most = plan.together ? (panels_ + groups - 1) / groups : room;
    plan.panels = static_cast<int>(std::clamp<std::int64_t>(most, 1, panels_));
    return plan;
}

std::size_t WinogradLayer::scratch(int images) const {
    std::int64_t most = 0;
    for (int n = 1; n <= images; ++n) {
        const Plan now = plan(n);
        most = std::max(most, size_.products() * (m_stride(now) + (now.together ? 0 : v_stride(now.tiles))));
    }
    return most;
}

std::size_t WinogradLayer::shared(int images) const {
    std::int64_t most = 0;
    for (int n = 1; n <= images; ++n) {
        if (plan(n).together)
            most = size_.products() * v_stride(static_cast<std::int64_t>(n) * down_ * across_);
    }
    return most;
}

WinogradLayer::Place WinogradLayer::place(std::int64_t tile, int images) const {
    const int down = down_ - short_down_, across = across_ - short_across_;
    const struct {
        int y, x, height, width, form;
    } parts[kForms] = {{0, across, down, short_across_, 1},
                       {0, 0, down, across, 0},
                       {down, 0, short_down_, across, 2},
                       {down, across, short_down_, short_across_, 3}};
    const auto* part = parts;
    const auto tiles = [&] { return std::int64_t{part->height} * part->width; };
    for (; tile >= tiles() * images; ++part) tile -= tiles() * images;
    const auto in_image = static_cast<int>(tile % tiles());
    return {tile / tiles(), part->y + in_image / part->width, part->x + in_image % part->width, part->form};
}

std::pair<std::int64_t, std::int64_t> WinogradLayer::having(int p, std::int64_t first, std::int64_t count,
                                                            int images) const {
    const int points = size_.points();
    const std::int64_t down = down_ - short_down_, across = across_ - short_across_;
    const std::int64_t begin = size_.is_shared(p % points) ? 0 : down * short_across_;
    const std::int64_t end = size_.is_shared(p / points) ? size_.is_shared(p % points)
                                                               ? std::int64_t{down_} * across_
                                                               : down * short_across_ + down_ * across
                                                         : down * across_;
    return {std::clamp<std::int64_t>(begin * images - first, 0, count),
            std::clamp<std::int64_t>(end * images - first, 0, count)};
}

// v[p * stride + panel * rows * depth + (block * rows + row) * 16 + lane]
void WinogradLayer::transform_in(std::int64_t first, std::int64_t tiles, int images, int block,
                                 const float* in, float* v, std::int64_t stride) const {
    const int rows = site_.inner.rows, outputs = size_.outputs;
    const std::int64_t row = in_.width * kBlock;
    for (std::int64_t t = 0; t < tiles; ++t) {
        const Place tile = place(first + t, images);
        const int y = tile.y * outputs - padding_, x = tile.x * outputs - padding_;
        const int height = tile.form & 2 ? kShortPoints : size_.points();
        const int width = tile.form & 1 ? kShortPoints : size_.points();
        const Inside inside = {std::max(0, -y), std::min(height, in_.height - y), std::max(0, -x),
                               std::min(width, in_.width - x)};
        const float* plane = in + (tile.image * in_.blocks() + block) * in_.pixels() * kBlock;
        float* to = v + t / rows * rows * in_.blocks() * kBlock + (block * rows + t % rows) * kBlock;
        site_.inner.transform_input[static_cast<int>(tiling_)][tile.form](plane, y * row + x * kBlock, row,
                                                                          inside, to, stride);
    }
}

// m[p * m_stride + (panel * plan.tiles + tile) * columns + j]
void WinogradLayer::multiply(const float* v, std::int64_t stride, std::int64_t first, std::int64_t tiles,
                             int images, int panel, int panels, const Plan& plan, float* m) const {
    const int rows = site_.inner.rows, columns = site_.inner.columns, products = size_.products();
    const std::int64_t depth = in_.blocks() * kBlock;
    for (int p = 0; p < products; ++p) {
        const auto [begin, end] = having(p, first, tiles, images);
        for (int q = 0; q < panels; ++q) {
            const float* b =
                packed_.data() + ((panel + q) * static_cast<std::int64_t>(products) + p) * depth * columns;
            float* c = m + p * m_stride(plan) + q * plan.tiles * columns;
            std::int64_t t = begin, row = begin % rows;
            for (std::int64_t count; t < end; t += count, row = 0) {
                count = std::min(rows - row, end - t);
                site_.inner.multiply[count](v + p * stride + (t - row) * depth + row * kBlock, b, depth,
                                            c + t * columns, false);
            }
        }
    }
}

void WinogradLayer::transform_out(std::int64_t first, std::int64_t tiles, int images, int panel, int panels,
                                  const Plan& plan, const float* m, float* out) const {
    const int columns = site_.inner.columns, outputs = size_.outputs, step = pool_ ? outputs / 2 : outputs;
    const std::int64_t row = out_.width * kBlock;
    const int begin = panel * columns / kBlock;
    const int end = std::min((panel + panels) * columns / kBlock, out_.blocks());
    for (int block = begin; block < end; ++block) {
        const int lane = (block - begin) * kBlock;
        const float* from = m + lane / columns * plan.tiles * columns + lane % columns;
        const Finish finish = {bias_.data() + block * kBlock, relu_, pool_};
        for (std::int64_t t = 0; t < tiles; ++t) {
            const Place tile = place(first + t, images);
            float* to = out + ((tile.image * out_.blocks() + block) * out_.height + tile.y * step) * row +
                        tile.x * step * kBlock;
            site_.inner.transform_output[static_cast<int>(tiling_)][tile.form](
                from + t * columns, m_stride(plan), finish, to, row,
                std::min(outputs, conv_height_ - tile.y * outputs),
                std::min(outputs, conv_width_ - tile.x * outputs));
        }
    }
}

void WinogradLayer::run(const Step& step, const float* in, float* out) const {
    const Plan plan = this->plan(step.images);
    const std::int64_t tiles = static_cast<std::int64_t>(step.images) * down_ * across_;
    const std::int64_t parts = (tiles + plan.tiles - 1) / plan.tiles;
    const int groups = (panels_ + plan.panels - 1) / plan.panels;
    float* m = step.scratch;
    const auto finish = [&](const float* v, std::int64_t stride, std::int64_t part, int group) {
        const std::int64_t first = part * plan.tiles, count = std::min(plan.tiles, tiles - first);
        const int panel = group * plan.panels, panels = std::min(plan.panels, panels_ - panel);
        multiply(v, stride, first, count, step.images, panel, panels, plan, m);
        transform_out(first, count, step.images, panel, panels, plan, m, out);
    };
    if (!plan.together) {
        float* v = step.scratch + size_.products() * m_stride(plan);
        const std::int64_t stride = v_stride(plan.tiles);
        step.crew.share(parts, [&](std::int64_t part) {
            const std::int64_t first = part * plan.tiles, count = std::min(plan.tiles, tiles - first);
            for (int block = 0; block < in_.blocks(); ++block) {
                transform_in(first, count, step.images, block, in, v, stride);
            }
            for (int group = 0; group < groups; ++group) finish(v, stride, part, group);
        });
        return;
    }
    const int rows = site_.inner.rows;
    const std::int64_t depth = in_.blocks() * kBlock, stride = v_stride(tiles);
    float* v = step.shared;
    step.crew.share((tiles + rows - 1) / rows * in_.blocks(), [&](std::int64_t item) {
        const std::int64_t first = item / in_.blocks() * rows;
        transform_in(first, std::min<std::int64_t>(rows, tiles - first), step.images,
                     static_cast<int>(item % in_.blocks()), in, v + first * depth, stride);
    });
    step.crew.share(parts * groups, [&](std::int64_t item) {
        const std::int64_t part = item % parts;
        finish(v + part * plan.tiles * depth, stride, part, static_cast<int>(item / parts));
    });
}

}  // namespace radfast::cnn
