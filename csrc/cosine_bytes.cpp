#include "cosine_bytes.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

// One body each; gcc makes vectors of it for every set.
template <typename Value>
RADFAST_INLINE ByteRow quantise(const float* row, float scale, float levels, std::int64_t depth, Value* out) {
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
        std::fill_n(out, depth, Value{0});
        return {0.0f, 0.0f};
    }
    const float step = most / levels, inverse = levels / most;
    float left[kSums] = {};
    const auto round = [&](std::int64_t at, int lane) {
        const float x = row[at] * scale;
        // Adding 1.5 * 2^23 rounds to the nearest whole number.
        const float whole = (x * inverse + 12582912.0f) - 12582912.0f;
        out[at] = static_cast<Value>(static_cast<std::int32_t>(whole));
        const float e = x - whole * step;
        left[lane] += e * e;
    };
    for (d = 0; d + kSums <= depth; d += kSums) {
        for (int i = 0; i < kSums; ++i) round(d + i, i);
    }
    for (int i = 0; d < depth; ++d, ++i) round(d, i);
    float sum = 0;
    for (float part : left) sum += part;
    // The roundings of this very sum: far below a thousandth, and those of x below 1e-6.
    return {step, std::sqrt(sum) * 1.001f + 1e-6f};
}

constexpr std::int32_t kByte = 127;  // largest value of a key
// Largest value of a query: products with bytes must fit an int32, and two signed bytes the value itself.
constexpr std::int32_t kFinest = 127 * 128;

RADFAST_INLINE ByteRow quantise_fine(const float* unit, std::int64_t depth, std::int16_t* out) {
    constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
    const std::int64_t levels = std::min<std::int64_t>(kFinest, kLargest / (kByte * depth));
    return quantise(unit, 1.0f, static_cast<float>(levels), depth, out);
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

// Asks for the rows of the keys [from, from + here) of a list.
RADFAST_INLINE void ask(const std::int8_t* rows, const std::int32_t* ids, std::int64_t from, int here,
                        std::int64_t known, std::int64_t depth) {
    for (int r = 0; r < here; ++r) {
        const std::int8_t* next = rows + ids[std::min(from + r, known - 1)] * depth;
        for (std::int64_t d = 0; d < depth; d += kLine) __builtin_prefetch(next + d, 0, 3);
    }
}

RADFAST_INLINE void byte_dots(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                              std::int64_t count, std::int64_t known, std::int64_t depth,
                              std::int32_t* sums) {
    constexpr int kTogether = 4;
    const std::int8_t* from[kTogether];
    std::int64_t i = 0;
    for (; i + kTogether <= count; i += kTogether) {
        ask(rows, ids, i + kByteAhead, kTogether, known, depth);
        for (int r = 0; r < kTogether; ++r) from[r] = rows + ids[i + r] * depth;
        dot_some<kTogether>(a, from, depth, sums + i);
    }
    for (; i < count; ++i) {
        from[0] = rows + ids[i] * depth;
        dot_some<1>(a, from, depth, sums + i);
    }
}

ByteRow quantise_portable(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, kByte, depth, out);
}
ByteRow quantise_fine_portable(const float* unit, std::int64_t depth, std::int16_t* out) {
    return quantise_fine(unit, depth, out);
}
void byte_dots_portable(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                        std::int64_t count, std::int64_t known, std::int64_t depth, std::int32_t* sums) {
    byte_dots(a, rows, ids, count, known, depth, sums);
}

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_AVX2 __attribute__((target("avx2,fma")))
#ifdef __clang__  // takes vectors of 512 bits by itself, and does not know the option
#define RADFAST_WIDE ""
#else
#define RADFAST_WIDE ",prefer-vector-width=512"
#endif
#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma" RADFAST_WIDE)))
#define RADFAST_VNNI \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma" RADFAST_WIDE)))

RADFAST_AVX2 ByteRow quantise_avx2(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, kByte, depth, out);
}
RADFAST_AVX2 ByteRow quantise_fine_avx2(const float* unit, std::int64_t depth, std::int16_t* out) {
    const ByteRow row = quantise_fine(unit, depth, out);
    std::fill(out + depth, out + fine_values(depth), std::int16_t{0});
    return row;
}

// Four rows at a time. What a row has beyond `depth` meets zeros of the query.
RADFAST_AVX2 void byte_dots_avx2(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                                 std::int64_t count, std::int64_t known, std::int64_t depth,
                                 std::int32_t* sums) {
    for (std::int64_t i = 0; i < count; i += 4) {
        ask(rows, ids, i + kByteAhead, 4, known, depth);
        const std::int8_t* from[4];
        __m256i sum[4];
        for (int r = 0; r < 4; ++r) {
            from[r] = rows + ids[std::min(i + r, count - 1)] * depth;
            sum[r] = _mm256_setzero_si256();
        }
        for (std::int64_t d = 0; d < depth; d += 16) {
            const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + d));
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) {
                const __m128i key = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[r] + d));
                sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(_mm256_cvtepi8_epi16(key), x));
            }
        }
        const __m256i halves =
            _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
        const __m128i whole =
            _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        if (i + 4 <= count) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + i), whole);
        } else {
            std::int32_t some[4];
            _mm_storeu_si128(reinterpret_cast<__m128i*>(some), whole);
            std::copy_n(some, count - i, sums + i);
        }
    }
}
RADFAST_AVX512 ByteRow quantise_avx512(const float* row, float scale, std::int64_t depth, std::int8_t* out) {
    return quantise(row, scale, kByte, depth, out);
}

// VNNI multiplies bytes by bytes: a line of values 128 h + l becomes a line of h and one of l, in place.
RADFAST_VNNI ByteRow quantise_fine_vnni(const float* unit, std::int64_t depth, std::int16_t* out) {
    const ByteRow row = quantise_fine(unit, depth, out);
    const std::int64_t padded = fine_values(depth);
    std::fill(out + depth, out + padded, std::int16_t{0});
    for (std::int64_t d = 0; d < padded; d += kLine) {
        __m256i h[2], l[2];
        for (int i = 0; i < 2; ++i) {
            const __m512i value = _mm512_loadu_si512(out + d + 32 * i);
            const __m512i upper = _mm512_srai_epi16(_mm512_add_epi16(value, _mm512_set1_epi16(64)), 7);
            h[i] = _mm512_cvtepi16_epi8(upper);
            l[i] = _mm512_cvtepi16_epi8(_mm512_sub_epi16(value, _mm512_slli_epi16(upper, 7)));
        }
        for (int i = 0; i < 2; ++i) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + d) + i, h[i]);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + d) + 2 + i, l[i]);
        }
    }
    return row;
}

// Sums of four vectors: quarter l of the result holds the sums of quarter l of each.
RADFAST_VNNI inline __m512i add_quarters(const __m512i (&v)[4]) {
    const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

RADFAST_VNNI void byte_dots_vnni(const std::int16_t* a, const std::int8_t* rows, const std::int32_t* ids,
                                 std::int64_t count, std::int64_t known, std::int64_t depth,
                                 std::int32_t* sums) {
    const std::int64_t padded = fine_values(depth);
    const std::int16_t *high = a, *low = a + kLine / 2;
    // The bytes of keys must have no sign: 128 is added to each, and taken off again here.
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i high_sum = _mm512_setzero_si512(), low_sum = high_sum;
    for (std::int64_t d = 0; d < padded; d += kLine) {
        high_sum = _mm512_dpbusd_epi32(high_sum, offset, _mm512_loadu_si512(high + d));
        low_sum = _mm512_dpbusd_epi32(low_sum, offset, _mm512_loadu_si512(low + d));
    }
    const __m512i off = _mm512_add_epi32(_mm512_slli_epi32(high_sum, 7), low_sum);
    for (std::int64_t i = 0; i < count; i += 4) {
        ask(rows, ids, i + kByteAhead, 4, known, depth);
        const std::int8_t* from[4];
        __m512i h[4], l[4];
        for (int r = 0; r < 4; ++r) {
            from[r] = rows + ids[std::min(i + r, count - 1)] * depth;
            h[r] = l[r] = _mm512_setzero_si512();
        }
        for (std::int64_t d = 0; d < padded; d += kLine) {
            const __m512i x = _mm512_loadu_si512(high + d), y = _mm512_loadu_si512(low + d);
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) {
                const __m512i key = _mm512_xor_si512(_mm512_loadu_si512(from[r] + d), offset);
                h[r] = _mm512_dpbusd_epi32(h[r], key, x);
                l[r] = _mm512_dpbusd_epi32(l[r], key, y);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r)
            h[r] = _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(h[r], 7), l[r]), off);
        const __m512i quarters = add_quarters(h);
        const __m256i halves =
            _mm256_add_epi32(_mm512_castsi512_si256(quarters), _mm512_extracti64x4_epi64(quarters, 1));
        const __m128i whole =
            _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        if (i + 4 <= count) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + i), whole);
        } else {
            _mm_mask_storeu_epi32(sums + i, static_cast<__mmask8>((1 << (count - i)) - 1), whole);
        }
    }
}

bool has_vnni() {
    static const bool there = __builtin_cpu_supports("avx512vnni");
    return there;
}
#endif

}  // namespace

Quantise quantise_for(Simd simd) { return RADFAST_PICK(simd, quantise); }

QuantiseFine quantise_fine_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512 && has_vnni()) return quantise_fine_vnni;
    if (simd != Simd::portable) return quantise_fine_avx2;
#else
    (void)simd;
#endif
    return quantise_fine_portable;
}

ByteDots byte_dots_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512 && has_vnni()) return byte_dots_vnni;
    if (simd != Simd::portable) return byte_dots_avx2;
#else
    (void)simd;
#endif
    return byte_dots_portable;
}

ByteKeys::ByteKeys(std::int64_t count, std::int64_t depth)
    : depth_(depth), quantise_(quantise_for(current_simd())), steps_(count) {
    bytes_.reserve((count * depth + kLine + 3) / 4);
    std::fill_n(bytes_.get() + count * depth / 4, kLine / 4, 0.0f);
}

void ByteKeys::fill(Rows keys, const float* scales, std::int64_t from, std::int64_t to) {
    std::int8_t* bytes = reinterpret_cast<std::int8_t*>(bytes_.get());
    float ratio = 0;
    for (std::int64_t n = from; n < to; ++n) {
        if (!(scales[n] >= 0)) {
            complete_ = false;
            std::fill_n(bytes + n * depth_, depth_, std::int8_t{0});
            continue;
        }
        const ByteRow row = quantise_(keys.data + n * keys.stride, scales[n], depth_, bytes + n * depth_);
        steps_[n] = row.step;
        if (row.step > 0) ratio = std::max(ratio, row.error / row.step);
    }
    float seen = ratio_.load(std::memory_order_relaxed);
    while (ratio > seen && !ratio_.compare_exchange_weak(seen, ratio, std::memory_order_relaxed)) {
    }
}

ByteKeys::Margin ByteKeys::margin(float query_error) const {
    // Unit rows, steps, the chain of a score and the sums of a margin carry at most about `depth` roundings
    // each; four times that.
    return {query_error + 4.0f * static_cast<float>(depth_ + 16) * 0x1p-24f, (1 + query_error) * ratio_};
}

}  // namespace radfast::cosine
