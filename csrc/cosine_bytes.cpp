#include "cosine_bytes.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cosine_parts.h"

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

// One body each; gcc makes vectors of it for every set.
RADFAST_INLINE ByteRow quantise(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    constexpr int kSums = 16;
    float largest[kSums] = {};
    const auto look = [&](std::int64_t at, int lane) {
        const float x = std::fabs(row[at] * scale);
        largest[lane] = x > largest[lane] ? x : largest[lane];
    };
    std::int64_t d = 0;
    for (; d + kSums <= depth; d += kSums) {
        for (int i = 0; i < kSums; ++i) look(d + i, i);
    }
    for (int i = 0; d < depth; ++d, ++i) look(d, i);
    const float most = *std::max_element(largest, largest + kSums);
    if (!(most > 0)) {
        std::fill_n(out, depth, std::int8_t{0});
        return {0.0f, 0.0f};
    }
    const float step = most / 127, inverse = 127 / most;
    float left[kSums] = {};
    const auto round = [&](std::int64_t at, int lane) {
        const float x = row[at] * scale;
        // Adding 1.5 * 2^23 rounds to the nearest whole number.
        const float whole = (x * inverse + 12582912.0f) - 12582912.0f;
        out[at] = static_cast<std::int8_t>(static_cast<std::int32_t>(whole));
        const float e = x - whole * step;
        left[lane] += e * e;
    };
    for (d = 0; d + kSums <= depth; d += kSums) {
        for (int i = 0; i < kSums; ++i) round(d + i, i);
    }
    for (int i = 0; d < depth; ++d, ++i) round(d, i);
    float sum = 0;
    for (float part : left) sum += part;
    // The roundings of this very sum: far below a thousandth.
    return {step, std::sqrt(sum) * 1.001f + 1e-6f};
}

template <int rows>
RADFAST_INLINE void dot_some(const std::int16_t* a, const std::int8_t* const* from, std::int64_t depth,
                             std::int32_t* sums) {
    std::int32_t sum[rows] = {};
    for (std::int64_t d = 0; d < depth; ++d) {
        for (int r = 0; r < rows; ++r) sum[r] += a[d] * std::int16_t{from[r][d]};
    }
    for (int r = 0; r < rows; ++r) sums[r] = sum[r];
}

RADFAST_INLINE void byte_dots(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                              std::int64_t count, std::int64_t depth, std::int32_t* sums) {
    constexpr int kTogether = 4;
    constexpr std::int64_t kAhead = 16;
    const std::int8_t* from[kTogether];
    std::int64_t i = 0;
    for (; i + kTogether <= count; i += kTogether) {
        for (int r = 0; r < kTogether; ++r) {
            from[r] = rows + ids[i + r] * depth;
            const std::int8_t* next = rows + ids[std::min(i + r + kAhead, count - 1)] * depth;
            for (std::int64_t d = 0; d < depth; d += 64) __builtin_prefetch(next + d, 0, 3);
        }
        dot_some<kTogether>(a, from, depth, sums + i);
    }
    for (; i < count; ++i) {
        from[0] = rows + ids[i] * depth;
        dot_some<1>(a, from, depth, sums + i);
    }
}

ByteRow quantise_portable(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, depth, out);
}
void byte_dots_portable(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                        std::int64_t count, std::int64_t depth, std::int32_t* sums) {
    byte_dots(a, rows, ids, count, depth, sums);
}

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_AVX2 __attribute__((target("avx2,fma")))
#define RADFAST_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))

RADFAST_AVX2 ByteRow quantise_avx2(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, depth, out);
}
RADFAST_AVX2 void byte_dots_avx2(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                                 std::int64_t count, std::int64_t depth, std::int32_t* sums) {
    byte_dots(a, rows, ids, count, depth, sums);
}
RADFAST_AVX512 ByteRow quantise_avx512(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, depth, out);
}
RADFAST_AVX512 void byte_dots_avx512(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                                     std::int64_t count, std::int64_t depth, std::int32_t* sums) {
    byte_dots(a, rows, ids, count, depth, sums);
}
#endif

}  // namespace

Quantise quantise_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return quantise_avx512;
    if (simd == Simd::avx2) return quantise_avx2;
#else
    (void)simd;
#endif
    return quantise_portable;
}

ByteDots byte_dots_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return byte_dots_avx512;
    if (simd == Simd::avx2) return byte_dots_avx2;
#else
    (void)simd;
#endif
    return byte_dots_portable;
}

ByteKeys::ByteKeys(Rows keys, std::int64_t depth, const float* scales, int threads)
    : depth_(depth), bytes_(static_cast<std::size_t>(keys.count) * depth), steps_(keys.count) {
    const Quantise quantise = quantise_for(current_simd());
    constexpr std::int64_t kStep = 256;
    std::atomic<std::int64_t> next{0};
    std::vector<float> errors(threads, 0.0f);
    run_team(threads, [&](int thread) {
        for (std::int64_t at; (at = next.fetch_add(kStep)) < keys.count;) {
            for (std::int64_t n = at; n < std::min(at + kStep, keys.count); ++n) {
                if (!(scales[n] >= 0)) {
                    complete_ = false;
                    continue;
                }
                const ByteRow row =
                    quantise(keys.data + n * keys.stride, scales[n], depth, bytes_.data() + n * depth);
                steps_[n] = row.step;
                errors[thread] = std::max(errors[thread], row.error);
            }
        }
    });
    for (float error : errors) error_ = std::max(error_, error);
}

float ByteKeys::margin(float query_error) const {
    // Unit rows, steps and the chain of a score carry at most about `depth` roundings each; four times that.
    return query_error + (1 + query_error) * error_ + 4.0f * static_cast<float>(depth_ + 16) * 0x1p-24f;
}

}  // namespace radfast::cosine
