// Transforms of one tile for one block of 16 channels: see winograd.h. Included by cnn_unit.h per instruction
// set; the operations and their order are the same in each.

// B^T d: `d` holds points values of one row or column.
template <int pairs>
RADFAST_INLINE void go_to_points(const F* d, F* v) {
    constexpr const float* p = pairs_of(pairs);
    constexpr int last = 2 * pairs + 1;
    if constexpr (pairs == 2) {
        constexpr float a = p[0] * p[0], b = p[1] * p[1];
        for (int odd = 0; odd < 2; ++odd) {
            const F ends = fma(splat(a * b), d[odd], fma(splat(-(a + b)), d[2 + odd], d[4 + odd]));
            v[odd ? last : 0] = ends;
        }
        for (int q = 0; q < 2; ++q) {
            const F other = splat(q ? -a : -b);
            const F even = fma(other, d[2], d[4]), odd = fma(other, d[1], d[3]);
            v[1 + 2 * q] = fma(splat(p[q]), odd, even);
            v[2 + 2 * q] = fma(splat(-p[q]), odd, even);
        }
    } else {
        constexpr float a = p[0] * p[0], b = p[1] * p[1], c = p[2] * p[2];
        constexpr float sums[3] = {b + c, a + c, a + b}, products[3] = {b * c, a * c, a * b};
        for (int odd = 0; odd < 2; ++odd) {
            const F high = fma(splat(-(a + b + c)), d[4 + odd], d[6 + odd]);
            const F low = fma(splat(a * b + a * c + b * c), d[2 + odd], high);
            v[odd ? last : 0] = fma(splat(-a * b * c), d[odd], low);
        }
        for (int q = 0; q < 3; ++q) {
            const F even = fma(splat(products[q]), d[2], fma(splat(-sums[q]), d[4], d[6]));
            const F odd = fma(splat(products[q]), d[1], fma(splat(-sums[q]), d[3], d[5]));
            v[1 + 2 * q] = fma(splat(p[q]), odd, even);
            v[2 + 2 * q] = fma(splat(-p[q]), odd, even);
        }
    }
}

// The same of a short tile: points 0, the first pair, infinity.
RADFAST_INLINE void go_to_short(const F* d, F* v) {
    constexpr float p = kTwoPairs[0], a = p * p, b = kTwoPairs[1] * kTwoPairs[1];
    const F even = splat(a - b) * d[2];
    v[0] = fma(splat(a * b), d[0], splat(-b) * d[2]);
    v[1] = fma(splat((a - b) * p), d[1], even);
    v[2] = fma(splat((b - a) * p), d[1], even);
    v[3] = fma(splat(-a), d[1], d[3]);
}

RADFAST_INLINE void come_from_short(const F* m, F* y) {
    y[0] = (m[1] + m[2]) + m[0];
    y[1] = fma(splat(kTwoPairs[0]), m[1] - m[2], m[3]);
}

// A^T m: `m` holds points values, `y` gets outputs values.
template <int pairs, int outputs>
RADFAST_INLINE void come_from_points(const F* m, F* y) {
    constexpr const float* p = pairs_of(pairs);
    F sum[pairs], difference[pairs];
    for (int q = 0; q < pairs; ++q) {
        sum[q] = m[1 + 2 * q] + m[2 + 2 * q];
        difference[q] = m[1 + 2 * q] - m[2 + 2 * q];
    }
    float power[pairs];
    for (int q = 0; q < pairs; ++q) power[q] = 1;
#pragma GCC unroll 4
    for (int k = 0; k < outputs; ++k) {
        const F* terms = k % 2 ? difference : sum;
        F value = power[0] == 1 ? terms[0] : splat(power[0]) * terms[0];
#pragma GCC unroll 3
        for (int q = 1; q < pairs; ++q) value = fma(splat(power[q]), terms[q], value);
        if (k == 0) value = value + m[0];
        if (k == outputs - 1) value = value + m[2 * pairs + 1];
        y[k] = value;
#pragma GCC unroll 3
        for (int q = 0; q < pairs; ++q) power[q] *= p[q];
    }
}

// One direction of a tile: how many points and outputs it has, and where its points stand among all.
template <int pairs, int outputs, bool is_short>
struct Along {
    static constexpr int kAll = 2 * pairs + 2;
    static constexpr int kPoints = is_short ? kShortPoints : kAll;
    static constexpr int kOutputs = is_short ? kShortOutputs : outputs;
    static constexpr int place(int i) { return is_short && i == kShortPoints - 1 ? kAll - 1 : i; }
    static RADFAST_INLINE void go(const F* d, F* v) {
        if constexpr (is_short) {
            go_to_short(d, v);
        } else {
            go_to_points<pairs>(d, v);
        }
    }
    static RADFAST_INLINE void come(const F* m, F* y) {
        if constexpr (is_short) {
            come_from_short(m, y);
        } else {
            come_from_points<pairs, outputs>(m, y);
        }
    }
};

template <class Down, class Across>
RADFAST_INLINE void transform_whole(const float* pixels, std::int64_t row, float* v, std::int64_t stride) {
    for (int part = 0; part < kBlock; part += kLanes) {
        F half[Down::kPoints][Across::kPoints];
        for (int x = 0; x < Across::kPoints; ++x) {
            F d[Down::kPoints], out[Down::kPoints];
#pragma GCC unroll 8
            for (int y = 0; y < Down::kPoints; ++y) d[y] = load(pixels + y * row + x * kBlock + part);
            Down::go(d, out);
#pragma GCC unroll 8
            for (int i = 0; i < Down::kPoints; ++i) half[i][x] = out[i];
        }
        for (int i = 0; i < Down::kPoints; ++i) {
            F out[Across::kPoints];
            Across::go(half[i], out);
#pragma GCC unroll 8
            for (int j = 0; j < Across::kPoints; ++j) {
                store(v + (Down::place(i) * Across::kAll + Across::place(j)) * stride + part, out[j]);
            }
        }
    }
}

template <class Down, class Across>
void transform_input(const float* plane, std::int64_t origin, std::int64_t row, const Inside& inside,
                     float* v, std::int64_t stride) {
    constexpr int height = Down::kPoints, width = Across::kPoints;
    if (inside.top == 0 && inside.left == 0 && inside.bottom == height && inside.right == width) {
        transform_whole<Down, Across>(plane + origin, row, v, stride);
        return;
    }
    alignas(64) float copy[height * width * kBlock];
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const bool here = y >= inside.top && y < inside.bottom && x >= inside.left && x < inside.right;
            float* to = copy + (y * width + x) * kBlock;
            for (int part = 0; part < kBlock; part += kLanes) {
                store(to + part, here ? load(plane + (origin + y * row + x * kBlock + part)) : splat(0.0f));
            }
        }
    }
    transform_whole<Down, Across>(copy, width * kBlock, v, stride);
}

// Bias, ReLU and 2 x 2 pooling ride along; `height` x `width` pixels (before pooling) are written.
template <class Down, class Across>
void transform_output(const float* m, std::int64_t stride, const Finish& finish, float* to, std::int64_t row,
                      int height, int width) {
    for (int part = 0; part < kBlock; part += kLanes) {
        F half[Down::kOutputs][Across::kPoints];
        for (int j = 0; j < Across::kPoints; ++j) {
            F in[Down::kPoints], out[Down::kOutputs];
#pragma GCC unroll 8
            for (int i = 0; i < Down::kPoints; ++i) {
                in[i] = load(m + (Down::place(i) * Across::kAll + Across::place(j)) * stride + part);
            }
            Down::come(in, out);
#pragma GCC unroll 4
            for (int k = 0; k < Down::kOutputs; ++k) half[k][j] = out[k];
        }
        const F bias = load(finish.bias + part), floor = splat(finish.relu ? 0.0f : kLowest);
        if (finish.pool) {
            for (int k = 0; k + 1 < height; k += 2) {
                F one[Across::kOutputs], two[Across::kOutputs];
                Across::come(half[k], one);
                Across::come(half[k + 1], two);
#pragma GCC unroll 2
                for (int x = 0; x < Across::kOutputs; x += 2) {
                    const F best = max(max(one[x], one[x + 1]), max(two[x], two[x + 1]));
                    if (x + 1 < width) {
                        store(to + (k / 2) * row + (x / 2) * kBlock + part, max(floor, best + bias));
                    }
                }
            }
        } else {
            for (int k = 0; k < height; ++k) {
                F out[Across::kOutputs];
                Across::come(half[k], out);
#pragma GCC unroll 4
                for (int x = 0; x < Across::kOutputs; ++x) {
                    if (x < width) store(to + k * row + x * kBlock + part, max(floor, out[x] + bias));
                }
            }
        }
    }
}

template <bool is_short>
using Three = Along<2, 4, is_short>;
using Five = Along<3, 4, false>;
