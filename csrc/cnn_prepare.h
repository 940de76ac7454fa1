// Stored pictures to the network's grey values in one pass: window, resize, cut, round.
//
//     out[y, x] = round( sum over i, j of wy[y, i] * wx[x, j] * grey(in[i, j]) )
//     grey(p)   = clamp((p - low) * 255 / (high - low), 0, 255)
//
// in (pictures, height, width) uint8, uint16 or int16; out (pictures, crop, crop) uint8, the middle of the
// picture resized to side x side. wx and wy are triangles as wide as the step where it shrinks and one pixel
// where it grows, so a small picture is no sieve of a large one; at the edges they are cut and made to sum to
// 1. This is the bilinear filter with antialiasing of Pillow and torch. Only the rows and columns that the
// cut needs are computed. The result is the same at any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace radfast::cnn {

enum class Stored { u8, u16, i16 };

struct Preparation {
    int height, width;  // of the pictures, pixels
    int side, crop;     // crop <= side
    double low, high;   // stored values that become 0 and 255; low < high
};

void prepare(const Preparation& how, const void* pictures, Stored type, std::int64_t count, int threads,
             std::uint8_t* out);

}  // namespace radfast::cnn
