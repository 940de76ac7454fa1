// Networks of the AlexNet and VGG family on the CPU, float32: convolutions by Winograd's method over one
// blocked matrix product, with bias, ReLU and 2 x 2 pooling fused in.
//
//     out (images, classes) = net(pictures (images, channels, height, width))
//
// A network is a list of layers, added in their order. Early layers hold large pictures and few weights, late
// ones the reverse: so the early ones run on a few images at a time, which stay in the cache, and the late
// ones on many, which share one reading of the weights. Every output is computed by the same operations in
// the same order whatever the number of threads and of images, and on AVX2 as on AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cnn_layers.h"

namespace radfast::cnn {

class Network {
  public:
    Network(Shape picture, int max_batch, int threads);

    // Arrays are read during the call only. Throws std::invalid_argument where a layer does not fit.
    void add_first(int out, int size, int stride, int padding, const float* weight, const double* constant,
                   const float* bias, bool relu);
    // size 3 or 5, stride 1; pool: 2 x 2, stride 2.
    void add_conv(int out, int size, int padding, const float* weight, const float* bias, bool relu,
                  bool pool);
    void add_pool(int size, int stride);
    void add_mean(int cells);
    void add_linear(int out, const float* weight, const float* bias, bool relu);
    // Reserves the work buffers; no layer can be added after it.
    void finish();

    // out (images, classes), images <= max_batch. One call at a time works; others wait.
    void run(const Pictures& pictures, int images, float* out);

    const Shape& shape() const;  // of what the last layer returns
    const Shape& picture() const { return picture_; }
    int max_batch() const { return max_batch_; }
    std::size_t weight_bytes() const;
    std::size_t work_bytes() const;

  private:
    // Layers begin to end, on at most `images` at once.
    struct Group {
        int begin, end, images;
        Floats between[2];  // outputs inside the group, in turn
        Floats result;      // outputs of its last layer, for the images of the next group
    };
    void add(std::unique_ptr<Layer> layer);
    const float* compute(Crew& crew, int thread, std::size_t group, int first, int images);

    const Shape picture_;
    const int max_batch_, threads_;
    const Inner& inner_;
    FirstLayer* first_ = nullptr;
    std::vector<std::unique_ptr<Layer>> layers_;
    std::vector<Group> groups_;
    std::vector<Floats> scratch_;
    Floats shared_;
    std::mutex busy_;
};

}  // namespace radfast::cnn
