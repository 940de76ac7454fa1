// The inner loops of the CNN engine as one table per instruction set: see cnn_unit.h and winograd.h.
//
// Pictures between layers are blocks of 16 channels: (images, blocks, height, width, 16), so that every loop
// runs over whole vectors whatever the width of a picture. Channels beyond the last hold zeros.
#pragma once

#include <cstdint>

#include "cpu.h"
#include "winograd.h"

#if defined(__GNUC__)
#define RADFAST_INLINE __attribute__((always_inline)) inline
#else
#define RADFAST_INLINE inline
#endif

namespace radfast::cnn {

constexpr int kBlock = 16;
constexpr int kMaxRows = 14;
constexpr int kMaxColumns = 32;
constexpr int kChain = 64;

// Which part of a tile lies in the picture: rows top to bottom, columns left to right, ends excluded.
struct Inside {
    int top, bottom, left, right;
};

// What follows a convolution.
struct Finish {
    const float* bias;  // of the block of 16 channels
    bool relu, pool;
};

struct Inner {
    int rows, columns;  // of a register tile
    // multiply[r] computes the first r rows of a panel.
    void (*multiply[kMaxRows + 1])(const float* a, const float* b, std::int64_t depth, float* c, bool add);
    // For any step, 1, and 4.
    void (*convolve[3])(const float* in, const std::int32_t* offsets, std::int64_t depth, std::int64_t step,
                        const float* b, const float* const* starts, bool relu, float* c);
    void (*pool_row)(const float* in, std::int64_t row, int size, int step, int width, float* out);
    void (*transform_input[kTilings][kForms])(const float* plane, std::int64_t origin, std::int64_t row,
                                              const Inside& inside, float* v, std::int64_t stride);
    void (*transform_output[kTilings][kForms])(const float* m, std::int64_t stride, const Finish& finish,
                                               float* to, std::int64_t row, int height, int width);
};

// The table of an instruction set that current_simd() allows.
const Inner& inner_for(Simd simd);

}  // namespace radfast::cnn
