#include "cnn.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tokenize_parallel.h"

namespace radfast::cnn {
namespace {

// Bytes that a layer's pictures, in and out, should take of the last-level cache.
constexpr std::int64_t kCached = 16 << 20;

}  // namespace

Network::Network(Shape picture, int max_batch, int threads)
    : picture_(picture), max_batch_(max_batch), threads_(threads), inner_(inner_for(current_simd())) {
    if (picture.channels < 1 || picture.height < 1 || picture.width < 1) {
        throw std::invalid_argument("the picture must have 1 pixel or more");
    }
    if (max_batch < 1 || threads < 1) throw std::invalid_argument("max_batch and threads must be at least 1");
}

const Shape& Network::shape() const { return layers_.empty() ? picture_ : layers_.back()->out(); }

void Network::add(std::unique_ptr<Layer> layer) {
    if (!groups_.empty()) throw std::invalid_argument("the network is finished");
    if (layer->out().height < 1 || layer->out().width < 1) {
        throw std::invalid_argument("the picture is too small for this layer");
    }
    layers_.push_back(std::move(layer));
}

void Network::add_first(int out, int size, int stride, int padding, const float* weight,
                        const double* constant, const float* bias, bool relu) {
    if (!layers_.empty()) throw std::invalid_argument("only the first layer can read pictures");
    if (picture_.height + 2 * padding < size || picture_.width + 2 * padding < size) {
        throw std::invalid_argument("the picture is too small for this layer");
    }
    auto layer = std::make_unique<FirstLayer>(Site{inner_, threads_}, picture_, out, size, stride, padding,
                                              weight, constant, bias, relu);
    FirstLayer* made = layer.get();
    add(std::move(layer));
    first_ = made;
}

void Network::add_conv(int out, int size, int padding, const float* weight, const float* bias, bool relu,
                       bool pool) {
    if (layers_.empty()) throw std::invalid_argument("the first layer must read pictures");
    if (size != 3 && size != 5) throw std::invalid_argument("a convolution must be 3 x 3 or 5 x 5");
    const Shape in = shape();
    if (in.height + 2 * padding < size || in.width + 2 * padding < size) {
        throw std::invalid_argument("the picture is too small for this layer");
    }
    add(std::make_unique<WinogradLayer>(Site{inner_, threads_}, in, out, size, padding, weight, bias, relu,
                                        pool, size == 3 ? Tiling::f4x3 : Tiling::f4x5));
}

void Network::add_pool(int size, int stride) {
    if (layers_.empty()) throw std::invalid_argument("the first layer must read pictures");
    if (shape().height < size || shape().width < size) {
        throw std::invalid_argument("the picture is too small for this layer");
    }
    add(std::make_unique<PoolLayer>(Site{inner_, threads_}, shape(), size, stride));
}

void Network::add_mean(int cells) {
    if (layers_.empty()) throw std::invalid_argument("the first layer must read pictures");
    add(std::make_unique<MeanLayer>(Site{inner_, threads_}, shape(), cells));
}

void Network::add_linear(int out, const float* weight, const float* bias, bool relu) {
    if (layers_.empty()) throw std::invalid_argument("the first layer must read pictures");
    add(std::make_unique<LinearLayer>(Site{inner_, threads_}, shape(), out, weight, bias, relu));
}

void Network::finish() {
    if (layers_.empty() || !groups_.empty()) throw std::invalid_argument("the network is empty or finished");
    int images = 1;
    for (int i = 0; i < static_cast<int>(layers_.size()); ++i) {
        const Layer& layer = *layers_[i];
        const std::int64_t bytes = sizeof(float) * ((i ? layer.in().floats() : 0) + layer.out().floats());
        // Never fewer than the layer before: a group fills the pictures of the next in whole steps.
        while (2 * images <= max_batch_ && 2 * images * bytes <= kCached) images *= 2;
        if (layer.out().pixels() == 1) images = max_batch_;
        if (groups_.empty() || groups_.back().images != images) groups_.push_back({i, i, images, {}, {}});
        groups_.back().end = i + 1;
    }
    std::size_t scratch = 0, shared = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
        Group& group = groups_[g];
        std::size_t between[2] = {0, 0};
        for (int i = group.begin; i < group.end; ++i) {
            const Layer& layer = *layers_[i];
            scratch = std::max(scratch, layer.scratch(group.images));
            shared = std::max(shared, layer.shared(group.images));
            std::size_t& most = between[(i - group.begin) % 2];
            if (i + 1 < group.end) most = std::max<std::size_t>(most, group.images * layer.out().floats());
        }
        for (int turn = 0; turn < 2; ++turn) group.between[turn] = Floats(between[turn]);
        const int following = g + 1 < groups_.size() ? groups_[g + 1].images : max_batch_;
        group.result = Floats(following * layers_[group.end - 1]->out().floats());
    }
    for (int thread = 0; thread < threads_; ++thread) scratch_.emplace_back(scratch);
    shared_ = Floats(shared);
}

// The outputs of the last layer of `group` for images [first, first + images).
const float* Network::compute(Crew& crew, int thread, std::size_t group, int first, int images) {
    const Group& now = groups_[group];
    for (int start = 0; start < images; start += now.images) {
        const int count = std::min(now.images, images - start);
        const float* in = group ? compute(crew, thread, group - 1, first + start, count) : nullptr;
        for (int i = now.begin; i < now.end; ++i) {
            const Layer& layer = *layers_[i];
            float* out = i + 1 == now.end ? now.result.data() + start * layer.out().floats()
                                          : now.between[(i - now.begin) % 2].data();
            layer.run({crew, scratch_[thread].data(), shared_.data(), first + start, count}, in, out);
            in = out;
        }
    }
    return now.result.data();
}

void Network::run(const Pictures& pictures, int images, float* out) {
    if (groups_.empty()) throw std::invalid_argument("the network is not finished");
    if (images < 0 || images > max_batch_) throw std::invalid_argument("images must be at most max_batch");
    if (images == 0) return;
    const std::lock_guard lock(busy_);
    first_->set_pictures(pictures);
    Crew crew(threads_);
    share(threads_, threads_, [&](unsigned, std::size_t thread) {
        compute(crew, static_cast<int>(thread), groups_.size() - 1, 0, images);
    });
    const Shape& last = shape();
    for (int n = 0; n < images; ++n) {
        std::memcpy(out + static_cast<std::int64_t>(n) * last.channels,
                    groups_.back().result.data() + n * last.floats(), sizeof(float) * last.channels);
    }
}

std::size_t Network::weight_bytes() const {
    std::size_t floats = 0;
    for (const auto& layer : layers_) floats += layer->weights();
    return floats * sizeof(float);
}

std::size_t Network::work_bytes() const {
    std::size_t floats = shared_.size();
    for (const Floats& own : scratch_) floats += own.size();
    for (const Group& group : groups_)
        floats += group.result.size() + group.between[0].size() + group.between[1].size();
    return floats * sizeof(float);
}

}  // namespace radfast::cnn
