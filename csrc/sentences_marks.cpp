#include "sentences_marks.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define RADFAST_X86 1
#endif

namespace radfast {

namespace {

// Classes as bits of a byte; a capital has none.
enum : uint8_t { kStop = 1, kAsks = 2, kBreak = 4, kOpen = 8, kClose = 16, kComma = 32, kDigit = 64 };
constexpr uint8_t kSure = kAsks | kBreak;

constexpr uint8_t class_of_byte(unsigned c) {
    switch (c) {
        case '.':
            return kStop;
        case '!':
        case '?':
        case ':':
            return kAsks;
        case '\n':
        case '\r':
            return kBreak;
        case '(':
            return kOpen;
        case ')':
            return kClose;
        case ',':
            return kComma;
        default:
            return c >= '0' && c <= '9' ? kDigit : 0;
    }
}

void classify_portable(const uint8_t* text, size_t blocks, MarkBytes* out) {
    static constexpr auto table = [] {
        std::array<uint8_t, 256> classes{};
        for (unsigned c = 0; c < 256; ++c) classes[c] = class_of_byte(c);
        return classes;
    }();
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        MarkBytes bytes{};
        for (unsigned i = 0; i < 64; ++i) {
            const uint8_t c = text[i], bits = table[c];
            bytes.stop |= uint64_t{(bits & kStop) != 0} << i;
            bytes.sure |= uint64_t{(bits & kSure) != 0} << i;
            bytes.open |= uint64_t{(bits & kOpen) != 0} << i;
            bytes.close |= uint64_t{(bits & kClose) != 0} << i;
            bytes.comma |= uint64_t{(bits & kComma) != 0} << i;
            bytes.digit |= uint64_t{(bits & kDigit) != 0} << i;
            bytes.upper |= uint64_t{c >= 'A' && c <= 'Z'} << i;
        }
        out[block] = bytes;
    }
}

#ifdef RADFAST_X86

// Half-byte tables: a byte is of a class where the entries of its two halves share the class's bit. The marks
// of kAsks stand in two rows: "!" takes the bit that is free, 128.
constexpr char kLow[16] = {
    64, static_cast<char>(64 | 128), 64, 64, 64, 64, 64, 64, 64 | 8, 64 | 16, 2 | 4, 0, 32, 4, 1, 2};
constexpr char kHigh[16] = {
    4, 0, static_cast<char>(1 | 8 | 16 | 32 | 128), 2 | 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

__attribute__((target("avx2"))) inline uint64_t to_bits(__m256i v) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(v));
}

__attribute__((target("avx2"))) void classify_avx2(const uint8_t* text, size_t blocks, MarkBytes* out) {
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kLow)));
    const __m256i high =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kHigh)));
    const __m256i half = _mm256_set1_epi8(15);
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        MarkBytes bytes{};
        for (int part = 0; part < 2; ++part) {
            const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32 * part));
            const int shift = 32 * part;
            const __m256i halves =
                _mm256_and_si256(_mm256_shuffle_epi8(low, _mm256_and_si256(v, half)),
                                 _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), half)));
            const uint64_t asks = to_bits(_mm256_slli_epi16(halves, 6)) | to_bits(halves);
            bytes.stop |= to_bits(_mm256_slli_epi16(halves, 7)) << shift;
            bytes.sure |= (asks | to_bits(_mm256_slli_epi16(halves, 5))) << shift;
            bytes.open |= to_bits(_mm256_slli_epi16(halves, 4)) << shift;
            bytes.close |= to_bits(_mm256_slli_epi16(halves, 3)) << shift;
            bytes.comma |= to_bits(_mm256_slli_epi16(halves, 2)) << shift;
            bytes.digit |= to_bits(_mm256_slli_epi16(halves, 1)) << shift;
            const __m256i from_a = _mm256_add_epi8(v, _mm256_set1_epi8(static_cast<char>(-128 - 'A')));
            bytes.upper |= to_bits(_mm256_cmpgt_epi8(_mm256_set1_epi8(-128 + 26), from_a)) << shift;
        }
        out[block] = bytes;
    }
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void classify_avx512(const uint8_t* text,
                                                                                   size_t blocks,
                                                                                   MarkBytes* out) {
    // With a mask: gcc 12 warns of the plain form, which starts from a register left undefined.
    const __m512i low =
        _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kLow)));
    const __m512i high =
        _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kHigh)));
    const __m512i half = _mm512_set1_epi8(15);
    for (size_t block = 0; block < blocks; ++block, text += 64) {
        const __m512i v = _mm512_loadu_si512(text);
        const __m512i halves =
            _mm512_and_si512(_mm512_shuffle_epi8(low, _mm512_and_si512(v, half)),
                             _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16(v, 4), half)));
        MarkBytes bytes;
        bytes.stop = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(kStop));
        bytes.sure = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(static_cast<char>(kSure | 128)));
        bytes.open = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(kOpen));
        bytes.close = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(kClose));
        bytes.comma = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(kComma));
        bytes.digit = _mm512_test_epi8_mask(halves, _mm512_set1_epi8(kDigit));
        bytes.upper = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8('A')), _mm512_set1_epi8(26));
        out[block] = bytes;
    }
}

#endif

}  // namespace

ClassifyMarks choose_classify_marks() {
#ifdef RADFAST_X86
    switch (current_simd()) {
        case Simd::avx512:
            return classify_avx512;
        case Simd::avx2:
            return classify_avx2;
        default:
            break;
    }
#endif
    return classify_portable;
}

Marks::Marks(const char* text, size_t size)
    : classify_(choose_classify_marks()),
      flatten_(choose_positions()),
      text_(reinterpret_cast<const uint8_t*>(text)),
      size_(size) {
    load();
}

void Marks::load() {
    const size_t left = size_ - base_, whole = std::min(left / kBlock, kAhead);
    const size_t blocks = std::min((left + kBlock - 1) / kBlock, kAhead);
    std::copy(bytes_ + kAhead, bytes_ + kAhead + kBehind, bytes_);
    MarkBytes* const bytes = bytes_ + kBehind;
    classify_(text_ + base_, whole, bytes);
    if (whole < blocks) {
        uint8_t tail[kBlock] = {};
        std::memcpy(tail, text_ + base_ + whole * kBlock, left - whole * kBlock);
        classify_(tail, 1, bytes + whole);
    }
    const uint8_t next = left > kChunk ? text_[base_ + kChunk] : 0;
    bytes[blocks] = {};
    bytes[blocks].digit = next >= '0' && next <= '9';
    bytes[blocks].upper = next >= 'A' && next <= 'Z';
    uint64_t marks[kAhead];
    for (size_t i = 0; i < blocks; ++i) {
        const MarkBytes &before = bytes_[kBehind - 1 + i], &here = bytes[i], &after = bytes[i + 1];
        const uint64_t digit_before = here.digit << 1 | before.digit >> (kBlock - 1);
        const uint64_t digit_after = here.digit >> 1 | after.digit << (kBlock - 1);
        const uint64_t upper_after = here.upper >> 1 | after.upper << (kBlock - 1);
        const uint64_t comma_before =
            (here.stop | here.comma) << 1 | (before.stop | before.comma) >> (kBlock - 1);
        marks[i] = (here.stop & ~(digit_before & digit_after)) | here.sure | (here.close & digit_before) |
                   (here.comma & upper_after & ~comma_before);
    }
    next_ = 0;
    count_ = flatten_.flatten(marks, blocks, 0, positions_);
}

}  // namespace radfast
