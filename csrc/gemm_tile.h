// The frame of a tile for one instruction set. gemm_avx2.cpp and gemm_avx512.cpp include it where their set
// is switched on, with Lanes, their vector and its operations: kLanes, kRows, Vector, zero(), load(),
// spread(), load_some(), store(), multiply(), multiply_add(), above(), pin(), transpose(), squares(); and the
// pace of the inner loop: kSteps steps of depth in one turn, B asked for kAhead floats ahead (0: not at all),
// kAsked floats a step of what a filter is told to ask for.

namespace radfast::gemm {
namespace {

constexpr int kColumns = 2 * Lanes::kLanes;

RADFAST_INLINE void prefetch_near(const float* p) { __builtin_prefetch(p, 0, 3); }
RADFAST_INLINE void prefetch_far(const float* p) { __builtin_prefetch(p, 0, 2); }

template <int rows>
RADFAST_INLINE void add_step(const float* a, const float* b, Lanes::Vector (&left)[rows],
                             Lanes::Vector (&right)[rows]) {
    Lanes::Vector b0 = Lanes::load(b), b1 = Lanes::load(b + Lanes::kLanes);
    if constexpr (Lanes::kAhead > 0) {
        for (int line = 0; line < kColumns; line += 16) prefetch_near(b + Lanes::kAhead + line);
    }
    // gcc folds loads back into each multiply-add and doubles the load traffic; an empty asm pins the
    // register.
    Lanes::pin(b0);
    Lanes::pin(b1);
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        Lanes::Vector ai = Lanes::spread(a[i]);
        Lanes::pin(ai);
        left[i] = Lanes::multiply_add(ai, b0, left[i]);
        right[i] = Lanes::multiply_add(ai, b1, right[i]);
    }
}

template <int rows, bool with_ahead>
RADFAST_INLINE void add_products(const float* a, const float* b, std::int64_t depth, const float* ahead,
                                 Lanes::Vector (&left)[rows], Lanes::Vector (&right)[rows]) {
    constexpr int steps = Lanes::kSteps, lines = steps * Lanes::kAsked / 16;
    std::int64_t d = 0;
    for (; d + steps <= depth; d += steps) {
        if constexpr (with_ahead) {
            for (int line = 0; line < lines; ++line) prefetch_far(ahead + 16 * line);
            ahead += 16 * lines;
        }
#pragma GCC unroll 8
        for (int step = 0; step < steps; ++step, a += Lanes::kRows, b += kColumns)
            add_step<rows>(a, b, left, right);
    }
    for (; d < depth; ++d, a += Lanes::kRows, b += kColumns) add_step<rows>(a, b, left, right);
}

template <int rows>
void multiply(const float* a, const float* b, std::int64_t depth, float* c, std::int64_t stride,
              bool accumulate) {
    constexpr int n = Lanes::kLanes;
    Lanes::Vector left[rows], right[rows];
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        left[i] = accumulate ? Lanes::load(c + i * stride) : Lanes::zero();
        right[i] = accumulate ? Lanes::load(c + i * stride + n) : Lanes::zero();
    }
    add_products<rows, false>(a, b, depth, nullptr, left, right);
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        Lanes::store(c + i * stride, left[i]);
        Lanes::store(c + i * stride + n, right[i]);
    }
}

template <int rows>
std::uint32_t filter(const float* a, const float* b, std::int64_t depth, const float* thresholds,
                     const float* ahead, float* c, std::uint32_t* masks) {
    constexpr int n = Lanes::kLanes;
    Lanes::Vector left[rows], right[rows];
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) left[i] = right[i] = Lanes::zero();
    add_products<rows, true>(a, b, depth, ahead, left, right);
    std::uint32_t any = 0;
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        const Lanes::Vector limit = Lanes::spread(thresholds[i]);
        any |= masks[i] = Lanes::above(left[i], limit) | Lanes::above(right[i], limit) << n;
    }
    if (!any) return 0;
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
        Lanes::store(c + i * kColumns, left[i]);
        Lanes::store(c + i * kColumns + n, right[i]);
    }
    return any;
}

void above(const float* row, std::int64_t count, float limit, std::uint32_t* masks) {
    constexpr int n = Lanes::kLanes;
    const Lanes::Vector limits = Lanes::spread(limit);
    for (std::int64_t j = 0; j < count; j += 32, ++masks) {
        *masks = 0;
        for (int i = 0; i < 32 && j + i < count; i += n) {
            const std::int64_t left = count - j - i;
            const std::uint32_t bits =
                left >= n ? Lanes::above(Lanes::load(row + j + i), limits)
                          : Lanes::above(Lanes::load_some(row + j + i, static_cast<int>(left)), limits) &
                                ((1u << left) - 1);
            *masks |= bits << i;
        }
    }
}

void pack(const float* const* rows, const float* const* next, const float* scales, int count,
          std::int64_t depth, int width, float* dst) {
    constexpr int n = Lanes::kLanes;
    for (int lane = 0; lane < width; lane += n) {
        const float *from[n], *after[n];
        float factor[n];
        for (int i = 0; i < n; ++i) {
            const bool there = lane + i < count;
            from[i] = there ? rows[lane + i] : rows[0];
            after[i] = there ? next[lane + i] : next[0];
            factor[i] = there ? scales[lane + i] : 0.0f;
        }
        const Lanes::Vector scale = Lanes::load(factor);
        float* out = dst + lane;
        const std::int64_t whole = depth / n * n;
        for (std::int64_t d = 0; d < whole; d += n, out += static_cast<std::int64_t>(n) * width) {
            Lanes::Vector v[n];
#pragma GCC unroll 16
            for (int i = 0; i < n; ++i) v[i] = Lanes::load(from[i] + d);
            if (d % 16 == 0) {
                for (int i = 0; i < n; ++i) prefetch_near(after[i] + d);
            }
            Lanes::transpose(v);
#pragma GCC unroll 16
            for (int i = 0; i < n; ++i) Lanes::store(out + i * width, Lanes::multiply(v[i], scale));
        }
        if (whole == depth) continue;
        Lanes::Vector v[n];
        for (int i = 0; i < n; ++i) v[i] = Lanes::load_some(from[i] + whole, static_cast<int>(depth - whole));
        Lanes::transpose(v);
        for (int i = 0; i < depth - whole; ++i) Lanes::store(out + i * width, Lanes::multiply(v[i], scale));
    }
}

// `groups` times kLanes rows, turned in registers so that every lane follows the chain of one.
template <int groups>
RADFAST_INLINE void follow_rows(const float* a, const float* const* rows, const float* scales,
                                std::int64_t depth, float* sums) {
    constexpr int n = Lanes::kLanes;
    const std::int64_t whole = depth / n * n;
    Lanes::Vector sum[groups], scale[groups], v[n];
    for (int g = 0; g < groups; ++g) {
        sum[g] = Lanes::zero();
        scale[g] = Lanes::load(scales + g * n);
    }
    for (std::int64_t d = 0; d < whole; d += n) {
#pragma GCC unroll 2
        for (int g = 0; g < groups; ++g) {
#pragma GCC unroll 16
            for (int i = 0; i < n; ++i) v[i] = Lanes::load(rows[g * n + i] + d);
            Lanes::transpose(v);
#pragma GCC unroll 16
            for (int i = 0; i < n; ++i)
                sum[g] =
                    Lanes::multiply_add(Lanes::spread(a[d + i]), Lanes::multiply(v[i], scale[g]), sum[g]);
        }
    }
    const int left = static_cast<int>(depth - whole);
    for (int g = 0; g < groups; ++g) {
        if (left) {
            for (int i = 0; i < n; ++i) v[i] = Lanes::load_some(rows[g * n + i] + whole, left);
            Lanes::transpose(v);
        }
        for (int i = 0; i < left; ++i)
            sum[g] =
                Lanes::multiply_add(Lanes::spread(a[whole + i]), Lanes::multiply(v[i], scale[g]), sum[g]);
        Lanes::store(sums + g * n, sum[g]);
    }
}

void chains(const float* a, const float* const* rows, const float* scales, int count, std::int64_t depth,
            float* sums) {
    for (int at = 0; at < count; at += kColumns) {
        const float* from[kColumns];
        float factors[kColumns], found[kColumns];
        const int here = count - at < kColumns ? count - at : kColumns;
        for (int i = 0; i < kColumns; ++i) {
            from[i] = rows[at + (i < here ? i : 0)];
            factors[i] = i < here ? scales[at + i] : 0.0f;
        }
        if (here > Lanes::kLanes) {
            follow_rows<2>(a, from, factors, depth, found);
        } else {
            follow_rows<1>(a, from, factors, depth, found);
        }
        for (int i = 0; i < here; ++i) sums[at + i] = found[i];
    }
}

// kLanes pairs, both sides turned in registers.
RADFAST_INLINE void follow_pairs(const float* const* a, const float* const* rows, const float* scales,
                                 std::int64_t depth, float* sums) {
    constexpr int n = Lanes::kLanes;
    alignas(64) float turned[n * n];
    const Lanes::Vector scale = Lanes::load(scales);
    Lanes::Vector sum = Lanes::zero(), v[n];
    for (std::int64_t d = 0; d < depth; d += n) {
        const int here = depth - d < n ? static_cast<int>(depth - d) : n;
        const auto turn = [&](const float* const* from) {
            if (here == n) {
#pragma GCC unroll 16
                for (int i = 0; i < n; ++i) v[i] = Lanes::load(from[i] + d);
            } else {
                for (int i = 0; i < n; ++i) v[i] = Lanes::load_some(from[i] + d, here);
            }
            Lanes::transpose(v);
        };
        turn(a);
#pragma GCC unroll 16
        for (int i = 0; i < n; ++i) Lanes::store(turned + i * n, v[i]);
        turn(rows);
        if (here == n) {
#pragma GCC unroll 16
            for (int i = 0; i < n; ++i)
                sum = Lanes::multiply_add(Lanes::load(turned + i * n), Lanes::multiply(v[i], scale), sum);
        } else {
            for (int i = 0; i < here; ++i)
                sum = Lanes::multiply_add(Lanes::load(turned + i * n), Lanes::multiply(v[i], scale), sum);
        }
    }
    Lanes::store(sums, sum);
}

void pairs(const float* const* a, const float* const* rows, const float* scales, int count,
           std::int64_t depth, float* sums) {
    constexpr int n = Lanes::kLanes;
    for (int at = 0; at < count; at += n) {
        const float *left[n], *right[n];
        float factors[n], found[n];
        const int here = count - at < n ? count - at : n;
        for (int i = 0; i < n; ++i) {
            left[i] = a[at + (i < here ? i : 0)];
            right[i] = rows[at + (i < here ? i : 0)];
            factors[i] = i < here ? scales[at + i] : 0.0f;
        }
        follow_pairs(left, right, factors, depth, found);
        for (int i = 0; i < here; ++i) sums[at + i] = found[i];
    }
}

}  // namespace
}  // namespace radfast::gemm
