#include "tokenize_classify.h"

#include <array>
#include <bit>

#include "cpu.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_X86 1
#include <immintrin.h>
#endif

namespace radfast {

namespace {

// Classes of a byte, one bit each.
constexpr uint8_t kWordBit = 1, kJoinBit = 2, kPointBit = 4, kRareBit = 8, kHighBit = 16;

constexpr uint8_t class_of_byte(Pattern pattern, unsigned c) {
    if (c >= 0x80) return kHighBit;
    if (pattern == Pattern::paper) {
        return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31) ? 0 : kWordBit;
    }
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return kWordBit;
    if (pattern == Pattern::word) return c == '_' ? kWordBit : 0;
    if (c == '-' || c == '/' || c == '\'') return kJoinBit;
    if (c == '.' || c == ':') return kPointBit;
    return c == '_' || c == '[' ? kRareBit : 0;
}

template <Pattern pattern>
constexpr std::array<uint8_t, 256> make_table() {
    std::array<uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c) table[c] = class_of_byte(pattern, c);
    return table;
}

template <Pattern pattern>
void classify_portable(const uint8_t* text, size_t blocks, Masks* out) {
    static constexpr std::array<uint8_t, 256> table = make_table<pattern>();
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        Masks masks{};
        for (unsigned i = 0; i < 64; ++i) {
            const uint64_t bits = table[text[i]];
            masks.word |= (bits & 1) << i;
            masks.join |= (bits >> 1 & 1) << i;
            masks.point |= (bits >> 2 & 1) << i;
            masks.rare |= (bits >> 3 & 1) << i;
            masks.high |= (bits >> 4 & 1) << i;
        }
        out[block] = masks;
    }
}

#ifdef RADFAST_X86

// Half-byte tables: a byte is of a class where the entries of its two halves share the class's bit.
// ' - / : 1 . : 2, 4 (point) _ [ : 8.
constexpr char kLow[16] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4, 8, 0, 1, 2, 9};
constexpr char kHigh[16] = {0, 0, 3, 4, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

// Bytes of v in [first, first + count), as 0xFF.
__attribute__((target("avx2"))) inline __m256i in_range(__m256i v, char first, int count) {
    const __m256i shifted = _mm256_add_epi8(v, _mm256_set1_epi8(static_cast<char>(-128 - first)));
    return _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(-128 + count)), shifted);
}

__attribute__((target("avx2"))) inline uint64_t to_bits(__m256i v) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(v));
}

template <Pattern pattern>
__attribute__((target("avx2"))) void classify_avx2(const uint8_t* text, size_t blocks, Masks* out) {
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLow)));
    const __m256i high =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kHigh)));
    const __m256i half = _mm256_set1_epi8(15);
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        Masks masks{};
        for (int part = 0; part < 2; ++part) {
            const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32 * part));
            const int shift = 32 * part;
            masks.high |= to_bits(v) << shift;
            if constexpr (pattern == Pattern::paper) {
                const __m256i space =
                    _mm256_or_si256(_mm256_or_si256(in_range(v, 9, 5), in_range(v, 28, 5)), v);
                masks.word |= (~to_bits(space) & 0xFFFFFFFF) << shift;
            } else {
                const __m256i lower = _mm256_or_si256(v, _mm256_set1_epi8(0x20));
                __m256i word = _mm256_or_si256(in_range(lower, 'a', 26), in_range(v, '0', 10));
                if constexpr (pattern == Pattern::word) {
                    word = _mm256_or_si256(word, _mm256_cmpeq_epi8(v, _mm256_set1_epi8('_')));
                }
                masks.word |= to_bits(word) << shift;
            }
            if constexpr (pattern == Pattern::radiology) {
                const __m256i halves = _mm256_and_si256(
                    _mm256_shuffle_epi8(low, _mm256_and_si256(v, half)),
                    _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), half)));
                masks.join |= to_bits(_mm256_slli_epi16(halves, 7)) << shift;
                masks.point |= (to_bits(_mm256_slli_epi16(halves, 6)) | to_bits(_mm256_slli_epi16(halves, 5)))
                               << shift;
                masks.rare |= to_bits(_mm256_slli_epi16(halves, 4)) << shift;
            }
        }
        out[block] = masks;
    }
}

template <Pattern pattern>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void classify_avx512(const uint8_t* text,
                                                                                   size_t blocks,
                                                                                   Masks* out) {
    // With a mask: gcc 12 warns of the plain form, which starts from a register left undefined.
    const __m512i low =
        _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kLow)));
    const __m512i high =
        _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kHigh)));
    const __m512i half = _mm512_set1_epi8(15);
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        Masks masks{};
        const __m512i v = _mm512_loadu_si512(text);
        masks.high = _mm512_movepi8_mask(v);
        if constexpr (pattern == Pattern::paper) {
            const uint64_t controls =
                _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8(9)), _mm512_set1_epi8(5));
            const uint64_t spaces =
                _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8(28)), _mm512_set1_epi8(5));
            masks.word = ~(controls | spaces | masks.high);
        } else {
            const __m512i lower = _mm512_or_si512(v, _mm512_set1_epi8(0x20));
            masks.word =
                _mm512_cmplt_epu8_mask(_mm512_sub_epi8(lower, _mm512_set1_epi8('a')), _mm512_set1_epi8(26)) |
                _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8('0')), _mm512_set1_epi8(10));
            if constexpr (pattern == Pattern::word)
                masks.word |= _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('_'));
        }
        if constexpr (pattern == Pattern::radiology) {
            const __m512i halves =
                _mm512_and_si512(_mm512_shuffle_epi8(low, _mm512_and_si512(v, half)),
                                 _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16(v, 4), half)));
            masks.join = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(1));
            masks.point = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(6));
            masks.rare = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(8));
        }
        out[block] = masks;
    }
}

#endif

template <Pattern pattern>
Classify choose(Simd simd) {
#ifdef RADFAST_X86
    switch (simd) {
        case Simd::avx512:
            return classify_avx512<pattern>;
        case Simd::avx2:
            return classify_avx2<pattern>;
        default:
            break;
    }
#endif
    (void)simd;
    return classify_portable<pattern>;
}

}  // namespace

Classify choose_classify(Pattern pattern) {
    const Simd simd = current_simd();
    switch (pattern) {
        case Pattern::paper:
            return choose<Pattern::paper>(simd);
        case Pattern::word:
            return choose<Pattern::word>(simd);
        default:
            return choose<Pattern::radiology>(simd);
    }
}

}  // namespace radfast
