#include "tokenize_keys.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define RADFAST_X86 1
#include <immintrin.h>
#endif

namespace radfast {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;
constexpr uint64_t kHighBits = 0x80 * kOnes;
constexpr uint32_t kHeadInLower = 0xDFDFDFDF;  // takes the case off the first four letters
constexpr uint32_t kCrosses = 0x58585858;      // "XXXX"
constexpr uint8_t kCase = 0x20;

// Bit 5 of those of eight ASCII characters that are capitals: what lower case adds.
inline uint64_t upper_bits(uint64_t text) {
    const uint64_t from_a = text + (0x80 - 'A') * kOnes;
    const uint64_t after_z = text + (0x7F - 'Z') * kOnes;
    return ((from_a ^ after_z) & kHighBits) >> 2;
}

constexpr uint64_t low_bytes(size_t count) { return count >= 8 ? ~0ULL : (1ULL << 8 * count) - 1; }

// A token that begins with these bytes may be a placeholder, or a number where the rules ask for them.
inline bool is_special(uint32_t head, const KeyRules& rules) {
    const uint32_t first = head & 0xFF;
    return (rules.placeholders && (first == '_' || first == '[' || (head & kHeadInLower) == kCrosses)) ||
           (rules.numbers && first - '0' < 10);
}

// Tokens [begin, count); may read up to the end of the text.
uint64_t make_some(std::string_view text, const uint32_t* first, const uint32_t* length, size_t begin,
                   size_t count, const KeyRules& rules, WordTable::Places places, Keys& keys) {
    const uint64_t upper = rules.lowercase ? kHighBits >> 2 : 0;
    uint64_t others = 0;
    for (size_t i = begin; i < count; ++i) {
        const uint64_t bytes = length[i];
        uint64_t parts[2] = {0, 0};
        const size_t rest = text.size() - first[i];
        if (rest >= sizeof parts) {
            std::memcpy(parts, text.data() + first[i], sizeof parts);
        } else {
            std::memcpy(parts, text.data() + first[i], rest);
        }
        parts[0] &= low_bytes(bytes);
        parts[1] &= bytes > 8 ? low_bytes(bytes - 8) : 0;
        const bool other = bytes > WordKey::kShort || ((parts[0] | parts[1]) & kHighBits) != 0 ||
                           is_special(static_cast<uint32_t>(parts[0]), rules);
        others |= uint64_t{other} << i;
        const uint64_t a = parts[0] | (upper_bits(parts[0]) & upper);
        const uint64_t b = parts[1] | (upper_bits(parts[1]) & upper) | bytes << 56;
        keys.halves[2 * i] = a;
        keys.halves[2 * i + 1] = b;
        keys.hashes[i] = WordKey::hash(a, b);
        places.prefetch(keys.hashes[i]);
    }
    return others;
}

uint64_t make_keys_portable(std::string_view text, const uint32_t* first, const uint32_t* length,
                            size_t count, const KeyRules& rules, WordTable::Places places, Keys& keys) {
    return make_some(text, first, length, 0, count, rules, places, keys);
}

#ifdef RADFAST_X86

// Tokens from the first on of which 16 bytes can be read.
inline size_t count_whole(std::string_view text, const uint32_t* first, size_t count) {
    while (count > 0 && first[count - 1] + uint64_t{16} > text.size()) --count;
    return count;
}

// 16 bytes from kFirstBytes + 16 - n on: n of them are set.
constexpr auto kFirstBytes = [] {
    std::array<uint8_t, 32> bytes{};
    for (size_t i = 0; i < 16; ++i) bytes[i] = 0xFF;
    return bytes;
}();

__attribute__((target("avx2"))) uint64_t make_keys_avx2(std::string_view text, const uint32_t* first,
                                                        const uint32_t* length, size_t count,
                                                        const KeyRules& rules, WordTable::Places places,
                                                        Keys& keys) {
    const size_t whole = count_whole(text, first, count);
    const __m128i to_bottom = _mm_set1_epi8(static_cast<char>(-128 - 'A'));
    const __m128i letters = _mm_set1_epi8(-128 + 26);
    const __m128i lower = _mm_set1_epi8(rules.lowercase ? kCase : 0);
    uint64_t others = 0;
    for (size_t i = 0; i < whole; ++i) {
        const uint64_t bytes = length[i];
        const uint8_t* const mask = kFirstBytes.data() + 16 - (bytes & WordKey::kShort);
        const __m128i token =
            _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + first[i])),
                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask)));
        const __m128i capital = _mm_cmpgt_epi8(letters, _mm_add_epi8(token, to_bottom));
        const __m128i word = _mm_add_epi8(token, _mm_and_si128(capital, lower));
        const bool other = (bytes > WordKey::kShort) | (_mm_movemask_epi8(token) != 0) |
                           is_special(static_cast<uint32_t>(_mm_cvtsi128_si32(token)), rules);
        others |= uint64_t{other} << i;
        const auto a = static_cast<uint64_t>(_mm_cvtsi128_si64(word));
        const uint64_t b = static_cast<uint64_t>(_mm_extract_epi64(word, 1)) | bytes << 56;
        keys.halves[2 * i] = a;
        keys.halves[2 * i + 1] = b;
        keys.hashes[i] = WordKey::hash(a, b);
        places.prefetch(keys.hashes[i]);
    }
    return others | make_some(text, first, length, whole, count, rules, places, keys);
}

#define RADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

// Eight tokens at a time, four to a register.
class KeyMaker {
  public:
    RADFAST_AVX512 explicit KeyMaker(const KeyRules& rules)
        : place_(repeat(_mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))),
          bottom_(repeat(_mm_set_epi8(12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0))),
          spread_{_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0),
                  _mm512_set_epi32(7, 7, 7, 7, 6, 6, 6, 6, 5, 5, 5, 5, 4, 4, 4, 4)},
          even_(_mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0)),
          odd_(_mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1)),
          case_(_mm512_set1_epi8(rules.lowercase ? kCase : 0)),
          factors_(repeat(_mm_set_epi64x(static_cast<int64_t>(WordKey::kFactorB),
                                         static_cast<int64_t>(WordKey::kFactorA)))),
          rules_(rules) {}

    // Returns a bit for each token that needs a look of its own. 16 bytes from text_of(k) on can be read.
    template <class TextOf>
    RADFAST_AVX512 uint64_t run(TextOf&& text_of, __m256i lengths, uint64_t* halves, uint64_t* hashes) const {
        uint64_t found = _mm256_cmpgt_epu32_mask(lengths, _mm256_set1_epi32(WordKey::kShort));
        __m512i products[2];
        for (unsigned half = 0; half < 2; ++half) {
            __m512i token = repeat(load(text_of(4 * half)));
            token = _mm512_maskz_inserti64x2(0xFF, token, load(text_of(4 * half + 1)), 1);
            token = _mm512_maskz_inserti64x2(0xFF, token, load(text_of(4 * half + 2)), 2);
            token = _mm512_maskz_inserti64x2(0xFF, token, load(text_of(4 * half + 3)), 3);
            const __m512i sizes =
                _mm512_maskz_permutexvar_epi32(0xFFFF, spread_[half], _mm512_castsi256_si512(lengths));
            const __mmask64 inside = _mm512_cmplt_epu8_mask(place_, _mm512_shuffle_epi8(sizes, bottom_));
            token = _mm512_maskz_mov_epi8(inside, token);
            uint64_t apart = _mm512_movepi8_mask(token);
            if (rules_.placeholders) apart |= find_placeholders(token);
            if (rules_.numbers) {
                apart |= _mm512_mask_cmplt_epu8_mask(kHeads, _mm512_sub_epi8(token, _mm512_set1_epi8('0')),
                                                     _mm512_set1_epi8(10));
            }
            for (unsigned k = 0; apart && k < 4; ++k, apart >>= 16) {
                found |= uint64_t{(apart & 0xFFFF) != 0} << (4 * half + k);
            }
            const __mmask64 capital =
                _mm512_cmplt_epu8_mask(_mm512_sub_epi8(token, _mm512_set1_epi8('A')), _mm512_set1_epi8(26));
            __m512i key = _mm512_mask_add_epi8(token, capital, token, case_);
            // The length goes to the last byte, which is free in a short token.
            key = _mm512_or_si512(key, _mm512_maskz_slli_epi32(0x8888, sizes, 24));
            _mm512_store_si512(halves + 8 * half, key);
            products[half] = _mm512_mullo_epi64(key, factors_);
        }
        _mm512_store_si512(hashes,
                           _mm512_add_epi64(_mm512_permutex2var_epi64(products[0], even_, products[1]),
                                            _mm512_permutex2var_epi64(products[0], odd_, products[1])));
        return found;
    }

  private:
    static constexpr __mmask64 kHeads = 0x0001000100010001ULL;  // first bytes of the tokens

    // With masks: gcc 12 warns of the plain forms, which start from registers left undefined.
    RADFAST_AVX512 static __m512i repeat(__m128i quarter) {
        return _mm512_maskz_broadcast_i32x4(0xFFFF, quarter);
    }
    RADFAST_AVX512 static __m128i load(const char* text) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
    }

    // A bit at the first byte of the tokens that may be placeholders.
    RADFAST_AVX512 static uint64_t find_placeholders(__m512i token) {
        uint64_t found = _mm512_mask_cmpeq_epi8_mask(kHeads, token, _mm512_set1_epi8('_')) |
                         _mm512_mask_cmpeq_epi8_mask(kHeads, token, _mm512_set1_epi8('['));
        const __m512i cased = _mm512_and_si512(token, _mm512_set1_epi32(static_cast<int>(kHeadInLower)));
        uint64_t crosses =
            _mm512_mask_cmpeq_epi32_mask(0x1111, cased, _mm512_set1_epi32(static_cast<int>(kCrosses)));
        for (unsigned k = 0; crosses; ++k, crosses >>= 4) found |= (crosses & 1) << 16 * k;
        return found;
    }

    __m512i place_, bottom_, spread_[2], even_, odd_, case_, factors_;
    const KeyRules& rules_;
};

RADFAST_AVX512 uint64_t make_keys_avx512(std::string_view text, const uint32_t* first, const uint32_t* length,
                                         size_t count, const KeyRules& rules, WordTable::Places places,
                                         Keys& keys) {
    const KeyMaker maker(rules);
    const size_t whole = count_whole(text, first, count) / 8 * 8;
    uint64_t others = 0;
    size_t i = 0;
    for (; i < whole; i += 8) {
        others |= maker.run([&](size_t k) { return text.data() + first[i + k]; },
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(length + i)),
                            keys.halves + 2 * i, keys.hashes + i)
                  << i;
        for (size_t k = 0; k < 8; ++k) places.prefetch(keys.hashes[i + k]);
    }
    if (i == count) return others;
    // The last tokens of a text are read from a copy of its end, behind which there are bytes.
    char end[48];
    const size_t held = std::min<size_t>(text.size(), 32);
    const char* const from = text.data() + text.size() - held;
    std::memcpy(end, from, held);
    for (; i < count; i += 8) {
        const size_t some = std::min<size_t>(8, count - i);
        alignas(32) uint32_t lengths[8] = {};
        std::memcpy(lengths, length + i, some * sizeof lengths[0]);
        const auto text_of = [&](size_t k) {
            if (k >= some) return static_cast<const char*>(end);
            const char* const at = text.data() + first[i + k];
            return at + 16 <= text.data() + text.size() ? at : end + (at - from);
        };
        others |= maker.run(text_of, _mm256_load_si256(reinterpret_cast<const __m256i*>(lengths)),
                            keys.halves + 2 * i, keys.hashes + i)
                  << i;
        for (size_t k = 0; k < some; ++k) places.prefetch(keys.hashes[i + k]);
    }
    return others;
}

#endif

}  // namespace

MakeKeys choose_make_keys() {
#ifdef RADFAST_X86
    switch (current_simd()) {
        case Simd::avx512:
            return make_keys_avx512;
        case Simd::avx2:
            return make_keys_avx2;
        default:
            break;
    }
#endif
    return make_keys_portable;
}

}  // namespace radfast
