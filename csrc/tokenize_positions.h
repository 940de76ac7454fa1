// Bit masks to byte positions, and short tokens away: both without a branch per token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sentences.h"

namespace radfast {

struct Positions {
    static constexpr size_t kSlack = 64;  // items beyond the result that may be overwritten

    // Writes 64 * block + bit + base of every set bit of masks[0, blocks), ascending; returns their number.
    size_t (*flatten)(const uint64_t* masks, size_t blocks, uint32_t base, uint32_t* out);

    // Writes first and length of the tokens [starts[i], ends[i]) of at least `shortest` bytes; returns their
    // number. The outputs may be the inputs.
    size_t (*drop_short)(const uint32_t* starts, const uint32_t* ends, size_t count, uint32_t shortest,
                         uint32_t* first, uint32_t* length);

    static constexpr size_t kStride = 32;  // places that rank() looks at in one step

    // Writes to out[i] how many of the ascending places are below bounds[i + 1].first, plus `base`, for
    // `count` ascending bounds behind the first one. Behind the places stand kStride of UINT32_MAX.
    void (*rank)(const uint32_t* places, const Span* bounds, size_t count, int64_t base, int64_t* out);
};

// Every instruction set gives the same positions.
Positions choose_positions();

}  // namespace radfast
