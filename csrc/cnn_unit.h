// Inner loops of the CNN engine, written once in vectors of kLanes floats. Each of cnn_portable.cpp,
// cnn_avx2.cpp and cnn_avx512.cpp includes this with RADFAST_ISA (a namespace) that holds F, kLanes, kRows,
// kVectors and five operations: load, store, splat, fma, max; RADFAST_PIN keeps a vector in its register.
// kTurn is how far a product's loop over 16 channels is unrolled, kAsks whether it asks for lines ahead.
//
// max(a, b) returns b where one of them is no number, so a ReLU written max(0, x) keeps NaN.
#include "cnn_inner.h"

namespace radfast::cnn::RADFAST_ISA {

constexpr int kColumns = kVectors * kLanes;
// Floats read ahead: weights come from memory, transformed pictures from the last-level cache at best.
constexpr int kRightAhead = 2048, kLeftAhead = 4 * kRows * kBlock;
constexpr float kLowest = -__builtin_inff();

// c[i, j] = sum over d of a[i, d] * b[d, j]: `a` as (depth / 16, kRows, 16), `b` as (depth, kColumns), both
// as gemm.h tiles them but with blocks of 16 channels kept together, since that is how pictures are stored.
// A sum is made of chains of kChain terms: shorter chains lose less (kb = 64 against 256 halves the error).
template <int rows>
void multiply(const float* a, const float* b, std::int64_t depth, float* c, bool add) {
    for (std::int64_t start = 0; start < depth; start += kChain) {
        const std::int64_t blocks = (depth - start < kChain ? depth - start : kChain) / kBlock;
        F sums[rows][kVectors];
#pragma GCC unroll 14
        for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) sums[i][j] = splat(0.0f);
        }
        for (std::int64_t block = 0; block < blocks; ++block, a += (kRows - 1) * kBlock) {
#pragma GCC unroll kTurn
            for (int d = 0; d < kBlock; ++d, ++a, b += kColumns) {
                F right[kVectors];
#pragma GCC unroll 4
                for (int j = 0; j < kVectors; ++j) {
                    right[j] = load(b + j * kLanes);
                    RADFAST_PIN(right[j]);
                    if (kAsks && j * kLanes % 16 == 0) {  // a line
                        __builtin_prefetch(b + kRightAhead + j * kLanes);
                    }
                }
                if (kAsks && d < rows) __builtin_prefetch(a + d * kBlock - d + kLeftAhead);
#pragma GCC unroll 14
                for (int i = 0; i < rows; ++i) {
                    F left = splat(a[i * kBlock]);
                    RADFAST_PIN(left);
#pragma GCC unroll 4
                    for (int j = 0; j < kVectors; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
                }
            }
        }
#pragma GCC unroll 14
        for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) {
                float* to = c + i * kColumns + j * kLanes;
                store(to, add ? load(to) + sums[i][j] : sums[i][j]);
            }
        }
        add = true;
    }
}

// The same for pictures as they come in: row i reads in[offsets[d] + i * step], and starts from starts[i].
template <int fixed>
void convolve(const float* in, const std::int32_t* offsets, std::int64_t depth, std::int64_t step,
              const float* b, const float* const* starts, bool relu, float* c) {
    if (fixed) step = fixed;
    F sums[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sums[i][j] = load(starts[i] + j * kLanes);
    }
    for (std::int64_t d = 0; d < depth; ++d, b += kColumns) {
        const float* a = in + offsets[d];
        F right[kVectors];
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) {
            right[j] = load(b + j * kLanes);
            RADFAST_PIN(right[j]);
        }
#pragma GCC unroll 14
        for (int i = 0; i < kRows; ++i) {
            F left = splat(a[i * step]);
            RADFAST_PIN(left);
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
        }
    }
    const F floor = splat(relu ? 0.0f : kLowest);
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) store(c + i * kColumns + j * kLanes, max(floor, sums[i][j]));
    }
}

// The largest of size x size pixels, for one row of `width` outputs.
void pool_row(const float* in, std::int64_t row, int size, int step, int width, float* out) {
    for (int x = 0; x < width; ++x, in += step * kBlock, out += kBlock) {
        for (int part = 0; part < kBlock; part += kLanes) {
            F best = load(in + part);
            for (int i = 0; i < size; ++i) {
                for (int j = 0; j < size; ++j) best = max(best, load(in + i * row + j * kBlock + part));
            }
            store(out + part, best);
        }
    }
}

#include "winograd_unit.h"

extern const Inner kInner;
const Inner kInner = {
    kRows,
    kColumns,
    RADFAST_MULTIPLY,
    {convolve<0>, convolve<1>, convolve<4>},
    pool_row,
    {{transform_input<Three<false>, Three<false>>, transform_input<Three<false>, Three<true>>,
      transform_input<Three<true>, Three<false>>, transform_input<Three<true>, Three<true>>},
     {transform_input<Five, Five>}},
    {{transform_output<Three<false>, Three<false>>, transform_output<Three<false>, Three<true>>,
      transform_output<Three<true>, Three<false>>, transform_output<Three<true>, Three<true>>},
     {transform_output<Five, Five>}},
};

}  // namespace radfast::cnn::RADFAST_ISA
