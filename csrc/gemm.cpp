#include "gemm.h"

#include <algorithm>

#include "gemm_x86.h"

namespace radfast::gemm {
namespace {

constexpr int kRows = 4, kColumns = 8;

template <int rows>
void multiply(const float* a, const float* b, std::int64_t depth, float* c, std::int64_t stride,
              bool accumulate) {
    float sums[rows][kColumns] = {};
    if (accumulate) {
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < kColumns; ++j) sums[i][j] = c[i * stride + j];
    }
    for (std::int64_t d = 0; d < depth; ++d, a += kRows, b += kColumns) {
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < kColumns; ++j) sums[i][j] += a[i] * b[j];
    }
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < kColumns; ++j) c[i * stride + j] = sums[i][j];
}

template <int rows>
std::uint32_t filter(const float* a, const float* b, std::int64_t depth, const float* thresholds,
                     const float*, float* c, std::uint32_t* masks) {
    multiply<rows>(a, b, depth, c, kColumns, false);
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i) {
        masks[i] = 0;
        for (int j = 0; j < kColumns; ++j) {
            masks[i] |= std::uint32_t{c[i * kColumns + j] > thresholds[i]} << j;
        }
        any |= masks[i];
    }
    return any;
}

void above(const float* row, std::int64_t count, float limit, std::uint32_t* masks) {
    for (std::int64_t j = 0; j < count; ++j) {
        if (j % 32 == 0) masks[j / 32] = 0;
        masks[j / 32] |= std::uint32_t{row[j] > limit} << j % 32;
    }
}

void pack(const float* const* rows, const float* const*, const float* scales, int count, std::int64_t depth,
          int width, float* dst) {
    for (std::int64_t d = 0; d < depth; ++d, dst += width) {
        for (int r = 0; r < count; ++r) dst[r] = rows[r][d] * scales[r];
        for (int r = count; r < width; ++r) dst[r] = 0.0f;
    }
}

double squares(const float* row, std::int64_t depth) {
    double sums[kSquareSums] = {};
    std::int64_t d = 0;
    for (; d + kSquareSums <= depth; d += kSquareSums) {
        for (int i = 0; i < kSquareSums; ++i) sums[i] += static_cast<double>(row[d + i]) * row[d + i];
    }
    for (int i = 0; d < depth; ++d, ++i) sums[i] += static_cast<double>(row[d]) * row[d];
    return add_sums(sums);
}

void chains(const float* a, const float* const* rows, const float* scales, int count, std::int64_t depth,
            float* sums) {
    for (int i = 0; i < count; ++i) {
        sums[i] = 0;
        for (std::int64_t d = 0; d < depth; ++d) sums[i] += a[d] * (rows[i][d] * scales[i]);
    }
}

void pairs(const float* const* a, const float* const* rows, const float* scales, int count,
           std::int64_t depth, float* sums) {
    for (int i = 0; i < count; ++i) chains(a[i], rows + i, scales + i, 1, depth, sums + i);
}

constexpr Engine kPortable = {Simd::portable,
                              kRows,
                              kColumns,
                              kRows,
                              {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>},
                              {nullptr, filter<1>, filter<2>, filter<3>, filter<4>},
                              above,
                              pack,
                              squares,
                              chains,
                              pairs};

}  // namespace

const Engine& engine_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return avx512_engine();
    if (simd == Simd::avx2) return avx2_engine();
#else
    (void)simd;
#endif
    return kPortable;
}

void multiply_block(const Engine& engine, const float* a, std::int64_t rows, const float* b,
                    std::int64_t columns, std::int64_t depth, float* c, std::int64_t stride,
                    bool accumulate) {
    const std::size_t a_panel = panel_floats(depth, engine.rows),
                      b_panel = panel_floats(depth, engine.columns);
    alignas(64) float edge[kMaxRows * kMaxColumns] = {};
    for (std::int64_t j = 0; j < columns; j += engine.columns, b += b_panel) {
        const std::int64_t width = std::min<std::int64_t>(engine.columns, columns - j);
        const float* panel = a;
        for (std::int64_t i = 0; i < rows; i += engine.rows, panel += a_panel) {
            const int height = static_cast<int>(std::min<std::int64_t>(engine.rows, rows - i));
            float* to = c + i * stride + j;
            if (width == engine.columns) {
                engine.kernels[height](panel, b, depth, to, stride, accumulate);
                continue;
            }
            // A whole tile would write beyond the block.
            if (accumulate) {
                for (int r = 0; r < height; ++r)
                    std::copy_n(to + r * stride, width, edge + r * engine.columns);
            }
            engine.kernels[height](panel, b, depth, edge, engine.columns, accumulate);
            for (int r = 0; r < height; ++r) std::copy_n(edge + r * engine.columns, width, to + r * stride);
        }
    }
}

}  // namespace radfast::gemm
