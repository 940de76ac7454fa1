#include "tokenize_positions.h"

#include <array>
#include <bit>

#include "cpu.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_X86 1
#include <immintrin.h>
#endif

namespace radfast {

namespace {

size_t flatten_portable(const uint64_t* masks, size_t blocks, uint32_t base, uint32_t* out) {
    uint32_t* const begin = out;
    for (size_t block = 0; block < blocks; ++block, base += 64) {
        for (uint64_t bits = masks[block]; bits; bits &= bits - 1) {
            *out++ = base + static_cast<uint32_t>(std::countr_zero(bits));
        }
    }
    return static_cast<size_t>(out - begin);
}

size_t drop_short_portable(const uint32_t* starts, const uint32_t* ends, size_t count, uint32_t shortest,
                           uint32_t* first, uint32_t* length) {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
        const uint32_t start = starts[i], bytes = ends[i] - start;
        first[found] = start;
        length[found] = bytes;
        found += bytes >= shortest;
    }
    return found;
}

void rank_portable(const uint32_t* places, const Span* bounds, size_t count, int64_t base, int64_t* out) {
    size_t below = 0;
    for (size_t i = 0; i < count; ++i) {
        const auto bound = static_cast<uint32_t>(bounds[i + 1].first);
        // A sentence of usual length is one step, without a branch per token.
        uint32_t less;
        do {
            less = 0;
            for (size_t j = 0; j < Positions::kStride; ++j) less += places[below + j] < bound;
            below += less;
        } while (less == Positions::kStride);
        out[i] = base + static_cast<int64_t>(below);
    }
}

#ifdef RADFAST_X86

// Twelve at a time: a block of usual text holds about ten tokens, so the loop is seldom mispredicted.
__attribute__((target("avx2,bmi,popcnt"))) size_t flatten_avx2(const uint64_t* masks, size_t blocks,
                                                               uint32_t base, uint32_t* out) {
    uint32_t* const begin = out;
    for (size_t block = 0; block < blocks; ++block, base += 64) {
        uint64_t bits = masks[block];
        uint32_t* const next = out + _mm_popcnt_u64(bits);
        do {
            for (int i = 0; i < 12; ++i) {
                out[i] = base + static_cast<uint32_t>(_tzcnt_u64(bits));
                bits = _blsr_u64(bits);
            }
            out += 12;
        } while (bits);
        out = next;
    }
    return static_cast<size_t>(out - begin);
}

#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt")))

RADFAST_AVX512 size_t flatten_avx512(const uint64_t* masks, size_t blocks, uint32_t base, uint32_t* out) {
    uint32_t* const begin = out;
    const __m512i ramp = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i at = _mm512_add_epi32(ramp, _mm512_set1_epi32(static_cast<int>(base)));
    const __m512i step = _mm512_set1_epi32(16);
    for (size_t block = 0; block < blocks; ++block) {
        const uint64_t bits = masks[block];
        for (unsigned part = 0; part < 64; part += 16) {
            const auto quarter = static_cast<__mmask16>(bits >> part);
            _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(quarter, at));
            out += _mm_popcnt_u32(quarter);
            at = _mm512_add_epi32(at, step);
        }
    }
    return static_cast<size_t>(out - begin);
}

// The same where bytes can be compressed: one step for the sixteen tokens that a block seldom exceeds.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi2,popcnt"))) size_t
flatten_vbmi2(const uint64_t* masks, size_t blocks, uint32_t base, uint32_t* out) {
    alignas(64) static constexpr auto kRamp = [] {
        std::array<uint8_t, 64> ramp{};
        for (unsigned i = 0; i < 64; ++i) ramp[i] = static_cast<uint8_t>(i);
        return ramp;
    }();
    uint32_t* const begin = out;
    const __m512i ramp = _mm512_load_si512(kRamp.data());
    __m512i at = _mm512_set1_epi32(static_cast<int>(base));
    const __m512i step = _mm512_set1_epi32(64);
    for (size_t block = 0; block < blocks; ++block) {
        const uint64_t bits = masks[block];
        const auto count = static_cast<size_t>(_mm_popcnt_u64(bits));
        const __m512i bytes = _mm512_maskz_compress_epi8(bits, ramp);
        const __m128i low = _mm512_maskz_extracti32x4_epi32(0xF, bytes, 0);
        _mm512_storeu_si512(out, _mm512_add_epi32(at, _mm512_maskz_cvtepu8_epi32(0xFFFF, low)));
        if (count > 16) {
            const __m128i next = _mm512_maskz_extracti32x4_epi32(0xF, bytes, 1);
            _mm512_storeu_si512(out + 16, _mm512_add_epi32(at, _mm512_maskz_cvtepu8_epi32(0xFFFF, next)));
            if (count > 32) flatten_avx512(masks + block, 1, static_cast<uint32_t>(base + 64 * block), out);
        }
        out += count;
        at = _mm512_add_epi32(at, step);
    }
    return static_cast<size_t>(out - begin);
}

RADFAST_AVX512 size_t drop_short_avx512(const uint32_t* starts, const uint32_t* ends, size_t count,
                                        uint32_t shortest, uint32_t* first, uint32_t* length) {
    const __m512i least = _mm512_set1_epi32(static_cast<int>(shortest));
    size_t found = 0;
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 live = count - i >= 16 ? 0xFFFF : static_cast<__mmask16>((1U << (count - i)) - 1);
        const __m512i start = _mm512_maskz_loadu_epi32(live, starts + i);
        const __m512i bytes = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(live, ends + i), start);
        const __mmask16 stay = _mm512_mask_cmpge_epu32_mask(live, bytes, least);
        _mm512_storeu_si512(first + found, _mm512_maskz_compress_epi32(stay, start));
        _mm512_storeu_si512(length + found, _mm512_maskz_compress_epi32(stay, bytes));
        found += static_cast<size_t>(_mm_popcnt_u32(stay));
    }
    return found;
}

RADFAST_AVX512 void rank_avx512(const uint32_t* places, const Span* bounds, size_t count, int64_t base,
                                int64_t* out) {
    size_t below = 0;
    for (size_t i = 0; i < count; ++i) {
        const __m512i bound = _mm512_set1_epi32(static_cast<int>(bounds[i + 1].first));
        uint32_t less;
        do {
            const __mmask16 low = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(places + below), bound);
            const __mmask16 high = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(places + below + 16), bound);
            less = low | static_cast<uint32_t>(high) << 16;
            below += static_cast<size_t>(_mm_popcnt_u32(less));
        } while (less == UINT32_MAX);
        out[i] = base + static_cast<int64_t>(below);
    }
}

#endif

}  // namespace

Positions choose_positions() {
#ifdef RADFAST_X86
    switch (current_simd()) {
        case Simd::avx512:
            return {__builtin_cpu_supports("avx512vbmi2") ? flatten_vbmi2 : flatten_avx512, drop_short_avx512,
                    rank_avx512};
        case Simd::avx2:
            return {flatten_avx2, drop_short_portable, rank_portable};
        default:
            break;
    }
#endif
    return {flatten_portable, drop_short_portable, rank_portable};
}

}  // namespace radfast
