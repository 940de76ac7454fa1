// Looking around in a text: the questions the sentence splitter asks. All positions are byte offsets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenize_classify.h"
#include "tokenize_unicode.h"

namespace radfast {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_letter(char c) { return is_upper(c) || is_lower(c); }
constexpr char lower_ascii(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }

enum class Kind { upper, lower, digit, space, closing, other };

constexpr auto kAsciiKinds = [] {
    std::array<Kind, 128> kinds{};
    for (unsigned c = 0; c < 128; ++c) {
        const char mark = static_cast<char>(c);
        kinds[c] = is_lower(mark)   ? Kind::lower
                   : is_upper(mark) ? Kind::upper
                   : is_digit(mark) ? Kind::digit
                                    : Kind::other;
        if (mark == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31)) kinds[c] = Kind::space;
    }
    for (const char mark : {',', ';', ':', ')', ']', '}', '/', '=', '+', '%'}) {
        kinds[static_cast<unsigned>(mark)] = Kind::closing;
    }
    return kinds;
}();

// Characters of a word: letters, digits, marks inside words, and all that is not ASCII.
constexpr auto kWordChars = [] {
    std::array<bool, 256> chars{};
    for (unsigned c = 0; c < 256; ++c) {
        const char mark = static_cast<char>(c);
        chars[c] = c >= 0x80 || is_letter(mark) || is_digit(mark);
    }
    for (const char mark : {'.', '-', '/', '\'', '#'}) chars[static_cast<unsigned>(mark)] = true;
    return chars;
}();

class Text {
  public:
    Text(const char* text, size_t size) : text_(text), size_(size) {}

    char operator[](size_t at) const { return text_[at]; }
    const char* data() const { return text_; }
    std::string_view view(size_t first, size_t last) const { return {text_ + first, last - first}; }

    // Bytes of the character at `at`.
    size_t length(size_t at) const { return decoded(at).length; }
    bool is_space(size_t at) const { return kind(at) == Kind::space; }

    Kind kind(size_t at) const {
        const auto c = static_cast<uint8_t>(text_[at]);
        if (c < 0x80) return kAsciiKinds[c];
        const uint8_t bits = class_at(at);
        if (bits & kSpace) return Kind::space;
        if (bits & kLower) return Kind::lower;
        return bits & kUpper ? Kind::upper : Kind::other;
    }

    Kind kind_before(size_t at) const {
        size_t first = at - 1;
        while (first > 0 && at - first < 4 && (text_[first] & 0xC0) == 0x80) --first;
        return kind(first);
    }

    // First position in [first, last) of `mark`, else `last`.
    size_t find(char mark, size_t first, size_t last) const {
        const void* found = first < last ? std::memchr(text_ + first, mark, last - first) : nullptr;
        return found ? static_cast<size_t>(static_cast<const char*>(found) - text_) : last;
    }

    // First position from `at` on that is not white space; at most size.
    size_t skip_space(size_t at) const {
        while (at < size_) {
            const auto c = static_cast<uint8_t>(text_[at]);
            if (c > ' ' && c < 0x80) break;
            if (c == ' ' || c == '\n') {
                ++at;
                continue;
            }
            const Decoded here = decoded(at);
            if (!(class_of(here.point) & kSpace)) break;
            at += here.length;
        }
        return at;
    }

    // As skip_space, but stays on the line.
    size_t skip_blanks(size_t at) const {
        while (at < size_ && (text_[at] == ' ' || text_[at] == '\t')) ++at;
        return at;
    }

    // End of [first, last) without the white space at its end.
    size_t trim_back(size_t first, size_t last) const {
        while (last > first) {
            size_t at = last - 1;
            const auto c = static_cast<uint8_t>(text_[at]);
            if (c > ' ' && c < 0x80) break;
            while (at > first && last - at < 4 && (text_[at] & 0xC0) == 0x80) --at;
            const Decoded here = decode(bytes() + at, last - at);
            if (at + here.length != last || !(class_of(here.point) & kSpace)) break;
            last = at;
        }
        return last;
    }

    // End of "[1]" or "[2, 3]" at `at`, `at` where there is none.
    size_t skip_citation(size_t at) const {
        size_t end = at + 1;
        while (end < size_ && end - at < kMaxCitation &&
               (is_digit(text_[end]) || text_[end] == ',' || text_[end] == ' ' || text_[end] == '-'))
            ++end;
        return end > at + 1 && end < size_ && text_[end] == ']' ? end + 1 : at;
    }

    // Quotes and brackets that close after a terminal mark, and citations.
    size_t skip_closers(size_t at) const {
        while (at < size_) {
            const char c = text_[at];
            if (c == ')' || c == ']' || c == '"' || c == '\'' || c == '}') {
                ++at;
                continue;
            }
            if (c == '[') {
                const size_t end = skip_citation(at);
                if (end == at) break;
                at = end;
                continue;
            }
            if (!(c & 0x80)) break;
            const std::string_view rest = view(at, size_);
            if (rest.starts_with("\u201D") || rest.starts_with("\u2019")) {
                at += 3;
            } else if (rest.starts_with("\u00BB")) {
                at += 2;
            } else {
                break;
            }
        }
        return at;
    }

    // Line breaks in [first, last): "\r\n" is one.
    size_t count_lines(size_t first, size_t last) const {
        size_t lines = 0;
        for (; first < last; ++first) {
            lines += text_[first] == '\n' ||
                     (text_[first] == '\r' && !(first + 1 < last && text_[first + 1] == '\n'));
        }
        return lines;
    }

    size_t line_start(size_t at) const {
        while (at > 0 && text_[at - 1] != '\n' && text_[at - 1] != '\r') --at;
        return at;
    }

    size_t line_end(size_t at) const {
        while (at < size_ && text_[at] != '\n' && text_[at] != '\r') ++at;
        return at;
    }

    bool is_heading_char(size_t at) const {
        const char c = text_[at];
        return is_letter(c) || c == ' ' || c == '/' || c == '&' || c == '-';
    }

    // Bytes of a bullet at `at`, 0 where there is none.
    size_t bullet_length(size_t at) const {
        if (at >= size_) return 0;
        const char c = text_[at];
        if (c == '-' || c == '*') return 1;
        if (!(c & 0x80)) return 0;
        const std::string_view rest = view(at, size_);
        return rest.starts_with("\u2022") || rest.starts_with("\u2013") ? 3 : 0;
    }

    // The word that ends at `at`: letters, digits and marks inside words; at most kMaxWord bytes.
    std::string_view word_before(size_t start, size_t at) const {
        size_t first = at;
        while (first > start && at - first < kMaxWord && is_word_char(text_[first - 1])) --first;
        while (first < at && !is_letter(text_[first]) && !is_digit(text_[first]) && !(text_[first] & 0x80))
            ++first;
        return view(first, at);
    }

    // The letters and digits from `at` on.
    std::string_view word_at(size_t at) const {
        size_t last = at;
        while (last < size_ && last - at < kMaxWord &&
               (is_letter(text_[last]) || is_digit(text_[last]) || (text_[last] & 0x80))) {
            ++last;
        }
        return view(at, last);
    }

    static bool is_word_char(char c) { return kWordChars[static_cast<uint8_t>(c)]; }

    // One letter, full stop, one letter, ...: "p.m", "U.S".
    static bool is_dotted(std::string_view word) {
        if (word.size() < 3 || word.size() % 2 == 0) return false;
        for (size_t i = 0; i < word.size(); ++i) {
            if (i % 2 ? word[i] != '.' : !is_letter(word[i])) return false;
        }
        return true;
    }

    static bool is_letters(std::string_view word) {
        for (const char c : word) {
            if (!is_letter(c) && !(c & 0x80)) return false;
        }
        return true;
    }

    // What follows the number in "2.5cm"; the whole word where it holds no number at its head.
    static std::string_view after_number(std::string_view word) {
        size_t tail = word.size();
        while (tail > 0 && is_letter(word[tail - 1])) --tail;
        for (size_t i = 0; i < tail; ++i) {
            if (!is_digit(word[i]) && word[i] != '.' && word[i] != '-' && word[i] != '/' && word[i] != 'x')
                return word;
        }
        return word.substr(tail);
    }

    // A digit, then white space, then the word.
    bool follows_number(size_t start, std::string_view word) const {
        const size_t at = static_cast<size_t>(word.data() - text_);
        const size_t before = trim_back(start, at);
        return before < at && before > start && is_digit(text_[before - 1]);
    }

    // Letters without any in lower case, at least three of them.
    bool is_capitals(size_t first, size_t last) const {
        size_t letters = 0;
        for (; first < last; ++first) {
            if (is_lower(text_[first])) return false;
            letters += is_upper(text_[first]);
        }
        return letters > 2;
    }

    bool is_roman(size_t first, size_t last) const {
        for (size_t at = first; at < last; ++at) {
            const char c = lower_ascii(text_[at]);
            if (c != 'i' && c != 'v' && c != 'x') return false;
        }
        return true;
    }

  private:
    static constexpr size_t kMaxWord = 40;
    static constexpr size_t kMaxCitation = 20;

    const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(text_); }
    Decoded decoded(size_t at) const {
        const auto c = static_cast<uint8_t>(text_[at]);
        return c < 0x80 ? Decoded{c, 1, true} : decode(bytes() + at, size_ - at);
    }
    uint8_t class_at(size_t at) const { return class_of(decoded(at).point); }

    const char* text_;
    size_t size_;
};

}  // namespace radfast
