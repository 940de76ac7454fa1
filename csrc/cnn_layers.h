// Layers of the CNN engine: each holds its weights as its inner loop reads them, and works on a few images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cnn_crew.h"
#include "cnn_inner.h"

namespace radfast::cnn {

// Floats on huge pages where the system gives them, not initialised. Throws std::bad_alloc.
class Floats {
  public:
    Floats() = default;
    explicit Floats(std::size_t count);

    float* data() const { return data_.get(); }
    std::size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(float* p) const;
    };
    std::unique_ptr<float, Free> data_;
    std::size_t size_ = 0;
};

struct Shape {
    int channels, height, width;
    int blocks() const { return (channels + kBlock - 1) / kBlock; }
    std::int64_t pixels() const { return static_cast<std::int64_t>(height) * width; }
    std::int64_t floats() const { return blocks() * pixels() * kBlock; }
};

// What all layers of a network are told.
struct Site {
    const Inner& inner;
    int threads;
};

enum class Pixel { u8, u16, f32 };

// Pictures as they come in: (images, channels, height, width).
struct Pictures {
    const void* data;
    Pixel type;
};

// The step of one thread: `scratch` is its own, `shared` belongs to all.
struct Step {
    Crew& crew;
    float* scratch;
    float* shared;
    int first;  // number of the first image in its batch
    int images;
};

class Layer {
  public:
    Layer(const Site& site, const Shape& in, const Shape& out) : site_(site), in_(in), out_(out) {}
    virtual ~Layer() = default;

    // in (images, blocks, height, width, 16) to out; called by every thread of the crew.
    virtual void run(const Step& step, const float* in, float* out) const = 0;
    // Floats of scratch per thread, and shared, for `images` at once.
    virtual std::size_t scratch(int images) const = 0;
    virtual std::size_t shared(int images) const = 0;
    virtual std::size_t weights() const { return 0; }

    const Shape& in() const { return in_; }
    const Shape& out() const { return out_; }

  protected:
    const Site site_;
    const Shape in_;
    Shape out_;
};

// The first convolution, on pictures: products with every tap, no transform. The normalisation of the
// pictures is folded in: `weight` (out, channels, size, size) multiplies pixels as they are, and `constant`
// (out, size, size), in double, is what each tap adds where it lies inside the picture. Outside both are
// zero, so the border is exact: an output starts from the bias and the taps that are inside.
class FirstLayer final : public Layer {
  public:
    FirstLayer(const Site& site, const Shape& in, int out, int size, int stride, int padding,
               const float* weight, const double* constant, const float* bias, bool relu);

    void set_pictures(const Pictures& pictures) { pictures_ = pictures; }
    void run(const Step& step, const float* in, float* out) const override;
    std::size_t scratch(int images) const override;
    std::size_t shared(int images) const override;
    std::size_t weights() const override { return packed_.size() + starts_.size(); }

  private:
    void fill(std::int64_t picture, int channel, int row, float* to) const;
    void compute(std::int64_t item, const float* padded, float* tile, float* out) const;
    std::int64_t padded_floats() const;

    const int stride_, padding_;
    const bool relu_;
    int panels_, padded_height_, padded_width_;
    Pictures pictures_{};
    std::vector<std::int32_t> offsets_;          // of the taps in the padded picture
    std::vector<int> row_class_, column_class_;  // outputs of one class have the same taps inside
    int column_classes_;
    Floats packed_, starts_;  // starts_: (row classes, column classes, panels, columns)
};

class WinogradLayer final : public Layer {
  public:
    WinogradLayer(const Site& site, const Shape& in, int out, int size, int padding, const float* weight,
                  const float* bias, bool relu, bool pool, Tiling tiling);

    void run(const Step& step, const float* in, float* out) const override;
    std::size_t scratch(int images) const override;
    std::size_t shared(int images) const override;
    std::size_t weights() const override { return packed_.size() + bias_.size(); }

  private:
    // How many tiles and panels of output channels go together, and whether all threads share V.
    struct Plan {
        std::int64_t tiles;
        int panels;
        bool together;
    };
    // Where a tile stands. Tiles are counted by their form: short across, whole, short down, short in both;
    // so the tiles that have a product are neighbours, whichever of the points they lack.
    struct Place {
        std::int64_t image;
        int y, x, form;
    };
    Place place(std::int64_t tile, int images) const;
    // Which of the `count` tiles from `first` on have product p: begin and end, counted from `first`.
    std::pair<std::int64_t, std::int64_t> having(int p, std::int64_t first, std::int64_t count,
                                                 int images) const;
    Plan plan(int images) const;
    std::int64_t v_stride(std::int64_t tiles) const;
    std::int64_t m_stride(const Plan& plan) const;
    void pack(const float* weight, const float* bias);
    void transform_in(std::int64_t first, std::int64_t tiles, int images, int block, const float* in,
                      float* v, std::int64_t stride) const;
    void multiply(const float* v, std::int64_t stride, std::int64_t first, std::int64_t tiles, int images,
                  int panel, int panels, const Plan& plan, float* m) const;
    void transform_out(std::int64_t first, std::int64_t tiles, int images, int panel, int panels,
                       const Plan& plan, const float* m, float* out) const;

    const Tiling tiling_;
    const TileSize size_;
    const int padding_;
    const bool relu_, pool_;
    int conv_height_, conv_width_, down_, across_, panels_;
    int short_down_, short_across_;  // 1 where the last row, or column, of tiles is short
    Floats packed_;                  // (panels, products, in channels, columns)
    Floats bias_;
};

// The largest of size x size pixels.
class PoolLayer final : public Layer {
  public:
    PoolLayer(const Site& site, const Shape& in, int size, int stride);
    void run(const Step& step, const float* in, float* out) const override;
    std::size_t scratch(int) const override { return 0; }
    std::size_t shared(int) const override { return 0; }

  private:
    const int size_, stride_;
};

// The mean over cells x cells parts of a picture, of equal size where they divide it.
class MeanLayer final : public Layer {
  public:
    MeanLayer(const Site& site, const Shape& in, int cells);
    void run(const Step& step, const float* in, float* out) const override;
    std::size_t scratch(int) const override { return 0; }
    std::size_t shared(int) const override { return 0; }
};

// out[n, i] = bias[i] + sum of weight[i, k] * in[n, k]; k counts (channel, row, column) as torch flattens.
class LinearLayer final : public Layer {
  public:
    LinearLayer(const Site& site, const Shape& in, int out, const float* weight, const float* bias,
                bool relu);
    void run(const Step& step, const float* in, float* out) const override;
    std::size_t scratch(int images) const override;
    std::size_t shared(int images) const override;
    std::size_t weights() const override { return packed_.size() + bias_.size(); }

  private:
    const bool relu_;
    int panels_;
    Floats packed_;  // (panels, depth, columns)
    Floats bias_;
};

}  // namespace radfast::cnn
