#include "tokenize_unicode.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "tokenize_unicode_data.h"

namespace radfast {

namespace {

constexpr uint32_t kPoints = 0x110000;

struct Classes {
    // One byte per code point: pages that hold nothing are never touched.
    std::unique_ptr<uint8_t[]> table{new uint8_t[kPoints]()};
    Classes() {
        for (const UnicodeRun& run : kClassRuns) {
            std::fill(table.get() + run.first, table.get() + run.last, static_cast<uint8_t>(run.value));
        }
    }
};

}  // namespace

uint8_t class_of(uint32_t point) {
    static const Classes classes;
    return point < kPoints ? classes.table[point] : 0;
}

uint32_t fold(uint32_t point) {
    const UnicodeRun* run = std::upper_bound(std::begin(kFoldRuns), std::end(kFoldRuns), point,
                                             [](uint32_t p, const UnicodeRun& r) { return p < r.last; });
    if (run == std::end(kFoldRuns) || point < run->first) return point;
    return point + static_cast<uint32_t>(run->value);
}

Decoded decode(const uint8_t* text, size_t size) {
    const uint32_t lead = text[0];
    if (lead < 0x80) return {lead, 1, true};
    uint32_t wanted = 0, point = 0;
    uint8_t low = 0x80, high = 0xBF;  // limits of the second byte
    if (lead >= 0xC2 && lead <= 0xDF) {
        wanted = 1;
        point = lead & 0x1F;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        wanted = 2;
        point = lead & 0x0F;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        wanted = 3;
        point = lead & 0x07;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return {0xFFFD, 1, false};
    }
    for (uint32_t i = 1; i <= wanted; ++i) {
        if (i >= size || text[i] < low || text[i] > high) return {0xFFFD, i, false};
        point = point << 6 | (text[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    return {point, wanted + 1, true};
}

uint32_t encode(uint32_t point, uint8_t* out) {
    if (point < 0x80) {
        out[0] = static_cast<uint8_t>(point);
        return 1;
    }
    if (point < 0x800) {
        out[0] = static_cast<uint8_t>(0xC0 | point >> 6);
        out[1] = static_cast<uint8_t>(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = static_cast<uint8_t>(0xE0 | point >> 12);
        out[1] = static_cast<uint8_t>(0x80 | (point >> 6 & 0x3F));
        out[2] = static_cast<uint8_t>(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = static_cast<uint8_t>(0xF0 | point >> 18);
    out[1] = static_cast<uint8_t>(0x80 | (point >> 12 & 0x3F));
    out[2] = static_cast<uint8_t>(0x80 | (point >> 6 & 0x3F));
    out[3] = static_cast<uint8_t>(0x80 | (point & 0x3F));
    return 4;
}

}  // namespace radfast
