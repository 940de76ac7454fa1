#include "tokenize_fold.h"

#include <algorithm>
#include <array>

#include "sentences_text.h"

namespace radfast {

namespace {

constexpr std::string_view kDeid = "<deid>", kNumber = "<number>", kDate = "<date>", kTime = "<time>",
                           kMeasure = "<measure>";

constexpr std::array<std::string_view, 28> kUnits = {
    "cc", "cgy", "cm",  "dl",  "g",  "gm",  "gy",  "hu", "hz", "kg",   "khz", "kv",  "kvp", "l",
    "m",  "mas", "mci", "mcg", "mg", "mgy", "mhz", "ml", "mm", "mmhg", "ms",  "msv", "sec", "t"};

bool is_unit(std::string_view word) { return std::find(kUnits.begin(), kUnits.end(), word) != kUnits.end(); }

// Lengths of the digit runs of a word of digits and single separators; count is 0 where it is no such word.
struct Runs {
    size_t count = 0;
    std::array<size_t, 3> length{};
    std::array<char, 2> separator{};

    explicit Runs(std::string_view word) {
        size_t run = 0;
        for (const char c : word) {
            if (is_digit(c)) {
                ++run;
                continue;
            }
            if (count == 2 || run == 0) {
                count = 0;
                return;
            }
            length[count] = run;
            separator[count++] = c;
            run = 0;
        }
        if (run == 0) {
            count = 0;
            return;
        }
        length[count++] = run;
    }
};

// "3/4/2012", "2012-03-04", "3.4.2012".
bool is_date(const Runs& runs) {
    if (runs.count != 3 || runs.separator[0] != runs.separator[1]) return false;
    const char mark = runs.separator[0];
    const auto [a, b, c] = runs.length;
    if (mark != '/' && mark != '-' && mark != '.') return false;
    if (a == 4) return mark != '.' && b <= 2 && c <= 2;
    return a <= 2 && b <= 2 && (c == 4 || (c == 2 && mark != '.'));
}

// "10:30", "10:30:59".
bool is_time(const Runs& runs) {
    if (runs.count < 2 || runs.separator[0] != ':' || runs.length[0] > 2 || runs.length[1] != 2) return false;
    return runs.count == 2 || (runs.separator[1] == ':' && runs.length[2] == 2);
}

// The class of a word that begins with a digit; empty where it is none of numbers.
std::string_view class_of_number(std::string_view token) {
    std::string word(token);
    std::transform(word.begin(), word.end(), word.begin(), lower_ascii);
    size_t tail = word.size();
    while (tail > 0 && is_lower(word[tail - 1])) --tail;
    bool times = false;
    for (size_t i = 0; i < tail; ++i) {
        const char c = word[i];
        const bool cross = c == 'x' && is_digit(word[i - 1]) && is_digit(word[i + 1]);
        times |= cross;
        if (!is_digit(c) && !cross && std::string_view("-/.,':").find(c) == std::string_view::npos) return {};
    }
    if (!is_digit(word[tail - 1])) return {};
    if (tail < word.size())
        return is_unit(std::string_view(word).substr(tail)) ? kMeasure : std::string_view{};
    if (times) return kMeasure;
    const Runs runs(word);
    return is_date(runs) ? kDate : is_time(runs) ? kTime : kNumber;
}

bool is_crosses(std::string_view word) {
    return word.size() >= 4 &&
           std::all_of(word.begin(), word.end(), [](char c) { return c == 'x' || c == 'X'; });
}

}  // namespace

std::string_view Folder::apply(std::string_view word, size_t characters) const {
    if (rules_.pattern == Pattern::radiology && rules_.placeholders != Keep::keep) {
        if (word[0] == '_' || word[0] == '[' || is_crosses(word)) {
            return rules_.placeholders == Keep::mask ? kDeid : std::string_view{};
        }
    }
    if (rules_.numbers != Keep::keep && is_digit(word[0])) {
        const std::string_view kind = class_of_number(word);
        if (!kind.empty()) return rules_.numbers == Keep::mask ? kind : std::string_view{};
    }
    return characters < rules_.min_length ? std::string_view{} : word;
}

std::string_view Folder::fold(std::string_view token) {
    word_.resize(token.size());
    uint8_t high = 0;
    for (size_t i = 0; i < token.size(); ++i) {
        high |= static_cast<uint8_t>(token[i]);
        word_[i] = rules_.lowercase ? lower_ascii(token[i]) : token[i];
    }
    return high & 0x80 ? fold_long(token) : apply(word_, word_.size());
}

std::string_view Folder::fold_long(std::string_view token) {
    const auto* text = reinterpret_cast<const uint8_t*>(token.data());
    size_t characters = 0;
    word_.clear();
    for (size_t at = 0; at < token.size(); ++characters) {
        const Decoded here = decode(text + at, token.size() - at);
        uint32_t point = rules_.lowercase ? radfast::fold(here.point) : here.point;
        if (rules_.pattern == Pattern::radiology) {
            if (point == 0x2019) point = '\'';
            if (point == 0x2010 || point == 0x2011) point = '-';
        }
        uint8_t bytes[4];
        const uint32_t length = encode(point, bytes);
        word_.append(reinterpret_cast<const char*>(bytes), length);
        at += here.length;
    }
    return apply(word_, characters);
}

}  // namespace radfast
