#include "cosine_pruned_keys.h"

#include <algorithm>
#include <cmath>

namespace radfast::cosine {
namespace {

// Keys of which one is scored whole before bounds are used, and the most of these. On AVX2 bounds cost less
// beside whole products.
constexpr std::int64_t kSeedShare = 16, kSeedShareAvx2 = 32, kMostSeeds = 4096;

}  // namespace

PrunedKeys::PrunedKeys(Rows keys_, std::int64_t depth_, const float* basis_, int prefix_, Simd simd)
    : keys(keys_),
      depth(depth_),
      prefix(prefix_),
      engine(gemm::engine_for(simd)),
      // Unit rows, coordinates and products carry at most about `depth` roundings each; four times that.
      margin(4.0f * static_cast<float>(depth_ + prefix_ + 16) * 0x1p-24f),
      bounds(engine, prefix_),
      query_panel(gemm::panel_floats(depth_, engine.rows)),
      prefix_panel(bounds.panel_floats(engine.rows)),
      key_panel(bounds.panel_floats(engine.columns)),
      basis_panel(gemm::panel_floats(depth_, engine.columns)) {
    const gemm::Engine& e = engine;
    Packer packer(e, depth);
    const std::vector<float> ones(prefix, 1.0f);
    basis.reserve((prefix + e.columns - 1) / e.columns * basis_panel);
    for (int at = 0; at < prefix; at += e.columns) {
        packer.pack({basis_, prefix, depth}, ones.data(), nullptr, at, std::min(e.columns, prefix - at),
                    e.columns, basis.get() + at / e.columns * basis_panel);
    }
    const std::int64_t share = e.simd == Simd::avx2 ? kSeedShareAvx2 : kSeedShare;
    seeds = std::min(keys.count / share, kMostSeeds) / e.columns * e.columns;
    packer.pack(keys, nullptr, nullptr, 0, seeds, e.columns, first.reserve(seeds / e.columns * basis_panel));
    const std::int64_t panels = (keys.count + e.columns - 1) / e.columns;
    float* to = prefixes.reserve(panels * key_panel);
    std::fill_n(to, panels * key_panel, 0.0f);
    scales.assign(keys.count, 0.0f);
    Buffer panel;
    panel.reserve(query_panel);
    std::vector<float> coordinates(static_cast<std::size_t>(e.rows) * prefix);
    float rests[gemm::kMaxRows];
    for (std::int64_t n = 0; n < keys.count; n += e.rows) {
        const int rows = static_cast<int>(std::min<std::int64_t>(e.rows, keys.count - n));
        for (std::int64_t i = n; i < n + rows; ++i) {
            scales[i] = scale_of(e, keys.data + i * keys.stride, depth);
        }
        bad = std::min(bad, packer.pack(keys, scales.data(), nullptr, n, rows, e.rows, panel.get()));
        project(panel.get(), scales.data() + n, rows, coordinates.data(), rests);
        for (int i = 0; i < rows; ++i) {
            bounds.put(coordinates.data() + std::int64_t{i} * prefix, rests[i],
                       static_cast<int>((n + i) % e.columns), e.columns,
                       to + (n + i) / e.columns * key_panel);
        }
    }
    bytes = std::make_unique<ByteKeys>(keys.count, depth);
    bytes->fill(keys, scales.data(), 0, keys.count);
}

void PrunedKeys::project(const float* panel, const float* scale, int rows, float* coordinates,
                         float* rest) const {
    float tile[gemm::kMaxRows * gemm::kMaxColumns];
    for (int p = 0; p < prefix; p += engine.columns) {
        engine.kernels[rows](panel, basis.get() + p / engine.columns * basis_panel, depth, tile,
                             engine.columns, false);
        const int width = std::min(engine.columns, prefix - p);
        for (int i = 0; i < rows; ++i) {
            std::copy_n(tile + i * engine.columns, width, coordinates + std::int64_t{i} * prefix + p);
        }
    }
    for (int i = 0; i < rows; ++i) {
        const double held = engine.squares(coordinates + std::int64_t{i} * prefix, prefix);
        rest[i] = scale[i] == 0 ? 0.0f : static_cast<float>(std::sqrt(std::max(0.0, 1.0 - held) + margin));
    }
}

}  // namespace radfast::cosine
