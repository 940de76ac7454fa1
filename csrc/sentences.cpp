#include "sentences.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "sentences_marks.h"
#include "sentences_text.h"

namespace radfast {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101ULL;
constexpr uint64_t kHighBits = 0x80 * kOnes;

// The high bits of those of eight bytes that are a to z.
constexpr uint64_t lower_bits(uint64_t bytes) {
    const uint64_t ascii = bytes & ~kHighBits;
    const uint64_t from_a = ascii + (0x80 - 'a') * kOnes;
    const uint64_t after_z = ascii + (0x7F - 'z') * kOnes;
    return from_a & ~after_z & ~bytes & kHighBits;
}

class Splitter {
  public:
    Splitter(const char* text, size_t size, const SentenceRules& rules, std::vector<Span>& spans)
        : text_{text, size}, marks_(text, size), size_(size), rules_(rules), spans_(spans) {}

    void run() {
        start_ = text_.skip_space(0);
        for (size_t at = start_; (at = marks_.find(at)) < size_;) {
            if (text_[at] == '.') {
                at = cut_plain(at) ? start_ : at_terminal(at);
                continue;
            }
            switch (text_[at]) {
                case '!':
                case '?':
                    at = at_terminal(at);
                    break;
                case ':':
                    at = at_colon(at);
                    break;
                case ')':
                    at = at_bracket(at);
                    break;
                case ',':
                    at = at_line_comma(at);
                    break;
                default:
                    at = at_line_break(at);
            }
        }
        cut(size_);
    }

  private:
    // Ends the sentence before `end`; the next one starts at the first character after it that is not white
    // space.
    size_t cut(size_t end) {
        const size_t last = text_.trim_back(start_, end);
        if (last > start_) spans_.push_back({static_cast<int64_t>(start_), static_cast<int64_t>(last)});
        return start_ = text_.skip_space(end);
    }

    bool is(std::string_view word, uint16_t tables) const { return (rules_.find(word) & tables) != 0; }

    // "1. " or "2) " or "- " at `at`.
    bool is_list_item(size_t at) const {
        size_t digits = at;
        while (digits < size_ && digits < at + 2 && is_digit(text_[digits])) ++digits;
        if (digits > at) {
            return digits + 1 < size_ && (text_[digits] == '.' || text_[digits] == ')') &&
                   text_.is_space(digits + 1);
        }
        const size_t bullet = text_.bullet_length(at);
        return bullet > 0 && at + bullet < size_ && text_.is_space(at + bullet);
    }

    // A list item whose number, if any, is 1: "stones: 3. The" is none.
    bool opens_list(size_t at) const {
        return !is_digit(text_[at]) || (text_[at] == '1' && !is_digit(text_[at + 1]));
    }

    // A heading with its colon at `at`: capitals, or the name of a section in any case.
    bool is_heading(size_t at) const {
        size_t end = at;
        bool lower = false;
        while (end < size_ && end < at + kMaxHeading && text_.is_heading_char(end))
            lower |= is_lower(text_[end++]);
        if (end == at || end >= size_ || text_[end] != ':') return false;
        const std::string_view words = text_.view(at, text_.trim_back(at, end));
        return is(words, kSection) || (!lower && words.size() > 2 && is_upper(words[0]));
    }

    // Few words that begin with a capital and hold no full stop.
    bool looks_like_heading(size_t first, size_t last) const {
        if (last - first > kMaxHeading || text_.kind(first) != Kind::upper) return false;
        size_t spaces = 0;
        for (size_t at = first; at < last; ++at) {
            if (text_[at] == '.' || text_[at] == '\n') return false;
            spaces += text_[at] == ' ';
        }
        return spaces < 7;
    }

    // Start of the heading in capitals that ends at `end` within the sentence, `start_` where there is none:
    // a section name after other text, or any capitals after a comma that stands for a line break.
    size_t find_heading(size_t end) const {
        size_t best = start_, word = end;
        while (word > start_ && end - word < kMaxHeading) {
            size_t first = word;
            while (first > start_ && is_upper(text_[first - 1])) --first;
            if (first == word || first == start_) return first == word ? best : start_;
            if (text_[first - 1] == ',') return end - first > 1 ? first : best;
            if (text_[first - 1] != ' ') return best;
            if (is(text_.view(first, end), kSection)) best = first;
            word = first - 1;
        }
        return best;
    }

    // Whether the mark at `at` stands between "(" and ")" of its sentence.
    bool in_brackets(size_t at) const {
        const size_t open = marks_.find_open(at);  // + 1
        if (open <= start_ + 1 || at - open >= kMaxBracket) return false;
        const size_t end = std::min(size_, at + kMaxBracket);
        const size_t close = text_.find(')', at, end);
        return close < end && text_.find('(', at, close) == close;
    }

    // A number that ends at `at` and heads a list item. Where the item starts inside the sentence, ends it
    // there.
    bool take_marker(size_t at) {
        size_t first = at;
        int number = 0;
        while (first > start_ && at - first < 2 && is_digit(text_[first - 1])) --first;
        if (first == at) {
            const bool letter = at == start_ + 1 && is_letter(text_[start_]);
            return letter || (at > start_ && at - start_ <= 4 && text_.is_roman(start_, at));
        }
        for (size_t digit = first; digit < at; ++digit) number = number * 10 + (text_[digit] - '0');
        if (first == start_) {
            marker_ = number;
            return true;
        }
        const size_t before = text_.trim_back(start_, first);
        const char mark = text_[before - 1];
        const std::string_view word = text_.word_before(start_, before);
        const bool glued = mark == ',' && before == first;
        const bool after_colon =
            mark == ':' && number == 1 && !(before > start_ + 1 && is_digit(text_[before - 2]));
        const bool after_section = is(text_.view(start_, before), kSection);
        const bool next_in_list = number == marker_ + 1 && marker_ > 0 && before < first && mark != ',' &&
                                  !is(word, kNumbered | kBeforeNumber) && !is_digit(mark) && !in_brackets(at);
        if (!(glued || after_colon || after_section || next_in_list)) return false;
        cut(first);
        marker_ = number;
        return true;
    }

    size_t at_bracket(size_t at) {
        if (at > start_ && is_digit(text_[at - 1]) && at + 1 < size_ && text_.is_space(at + 1) &&
            !in_brackets(at)) {
            take_marker(at);
        }
        return at + 1;
    }

    // "MRI LEFT KNEE,This is": a comma that stands for a line break.
    size_t at_line_comma(size_t at) {
        const bool begins = at > start_ && at + 2 < size_ && is_lower(text_[at + 2]);
        if (!begins) return at + 1;
        return text_.kind_before(at) == Kind::space || in_brackets(at) ? at + 1 : cut(at + 1);
    }

    size_t at_colon(size_t at) {
        const size_t heading = find_heading(at);
        if (heading > start_) cut(heading);
        size_t next = text_.skip_blanks(at + 1);
        const bool comma = next < size_ && text_[next] == ',';  // it stands for the line break
        const bool list = next > at + 1 && is_list_item(next) && opens_list(next);
        if (!(comma || list) || !looks_like_heading(start_, at)) return at + 1;
        if (!comma) return is_digit(text_[at - 1]) ? at + 1 : cut(at + 1);
        size_t end = next;
        while (next < size_ && text_[next] == ',') next = text_.skip_blanks(end = next + 1);
        return cut(end);
    }

    size_t at_line_break(size_t at) {
        const size_t next = text_.skip_space(at);
        const size_t end = text_.trim_back(start_, at);
        if (next >= size_ || end <= start_) return next;
        if (text_.count_lines(at, next) > 1 || is_list_item(next) || is_heading(next)) return cut(at);
        const size_t line = std::max(start_, text_.line_start(at));
        const Kind kind = text_.kind(next);
        if (text_[end - 1] == ':') {
            return looks_like_heading(line, end) || kind == Kind::upper ? cut(at) : next;
        }
        const std::string_view words = text_.view(line, end);
        if (is(words, kSection)) return cut(at);
        const bool capitals = text_.is_capitals(line, end);
        if (capitals && words.size() < 40 && !text_.is_capitals(next, text_.line_end(next))) return cut(at);
        if (kind == Kind::lower || kind == Kind::digit || text_[end - 1] == ',') return next;
        if (is(text_.word_before(start_, end), kContinuing)) return next;
        return end - line >= rules_.min_wrap ? next : cut(at);
    }

    // The common case of at_terminal(), without a look into the tables: a lower-case word that is surely no
    // abbreviation before the full stop, blanks or a comma after it, then a capital. False where the case is
    // another one.
    bool cut_plain(size_t at) {
        if (at < start_ + kWindow + 1 || at + 3 >= size_) return false;
        uint64_t bytes;
        std::memcpy(&bytes, text_.data() + at - kWindow, kWindow);
        const uint64_t others = ~lower_bits(bytes) & kHighBits;
        const size_t letters = static_cast<size_t>(std::countl_zero(others)) / 8;
        if (letters < 2) return false;
        if (letters == kWindow
                ? rules_.longest() >= kWindow
                : Text::is_word_char(text_[at - letters - 1]) || rules_.may_abbreviate(bytes, letters))
            return false;
        const bool comma = text_[at + 1] == ',';
        const size_t next = at + 2 + (!comma && text_[at + 2] == ' ');
        if (!is_upper(text_[next]) || !(comma || (text_[at + 1] == ' ' && !in_brackets(at)))) return false;
        spans_.push_back({static_cast<int64_t>(start_), static_cast<int64_t>(at + 1 + comma)});
        start_ = next;
        return true;
    }

    size_t at_terminal(size_t at) {
        if (text_[at] == '.' && at > 0 && at + 1 < size_ && is_digit(text_[at - 1]) &&
            is_digit(text_[at + 1])) {
            return at + 1;
        }
        size_t run = at;
        bool asks = false;
        while (run < size_ && (text_[run] == '.' || text_[run] == '!' || text_[run] == '?'))
            asks |= text_[run++] != '.';
        const size_t closed = text_.skip_closers(run);
        const size_t next = text_.skip_space(closed);
        if (next >= size_) return size_;
        const Mark mark{at, run, closed, next, asks};
        if (text_[next] == ',') return at_comma(mark);
        if (next == closed) return ends_glued(mark) ? cut(closed) : run;
        const size_t lines = text_.count_lines(closed, next);
        if (lines > 1) return cut(closed);
        if (run == at + 1 && closed == run && !asks && lines == 0 && take_marker(at)) return next;
        if (lines == 1 && (is_list_item(next) || is_heading(next))) return cut(closed);
        return ends(mark) ? cut(closed) : (lines ? next : run);
    }

    struct Mark {
        size_t at, run, closed, next;
        bool asks;
    };

    // ".,Next" or ". , ,Next": transcriptions that lost their line breaks.
    size_t at_comma(const Mark& mark) {
        const std::string_view word = text_.word_before(start_, mark.at);
        if (mark.next == mark.closed && !mark.asks) {
            const bool spaced = mark.next + 1 < size_ && text_.is_space(mark.next + 1);
            const uint16_t tables = kNeverLast | kNotBeforeLower | (spaced ? kUnit : 0);
            const bool bracket = mark.at > start_ && text_[mark.at - 1] == ')';
            if (!bracket && (word.size() < 2 || text_.is_dotted(word) || is(word, tables))) return mark.run;
        }
        size_t end = mark.next, next = end;
        while (next < size_ && text_[next] == ',') next = text_.skip_space(end = next + 1);
        if (next >= size_) return size_;
        const Kind kind = text_.kind(next);
        const bool tight = kind == Kind::digit && next == end;  // after a comma of its own there is a space
        return kind == Kind::upper || tight || is_list_item(next) ? cut(end) : mark.run;
    }

    // No white space after the mark: "normal.The".
    bool ends_glued(const Mark& mark) const {
        const Kind next = text_.kind(mark.next);
        if (mark.asks && mark.closed == mark.run && in_brackets(mark.at)) return false;
        if (mark.asks || mark.closed > mark.run) return next == Kind::upper && mark.at > start_;
        if (mark.run > mark.at + 1 || mark.at == start_ || is_number(start_, mark.at)) return false;
        const std::string_view word = text_.word_before(start_, mark.at);
        const size_t after = mark.next + text_.length(mark.next);
        const Kind third = after < size_ ? text_.kind(after) : Kind::space;
        const Kind before = text_.kind_before(mark.at);
        const bool known = word.size() < 2 || text_.is_dotted(word) ||
                           is(word, kNeverLast | kNotBeforeLower | kBeforeNumber);
        if (next == Kind::upper) {
            if (before == Kind::lower) {  // "Ph.D." is none
                return !known && (third == Kind::lower || third == Kind::space || word.size() > 2);
            }
            if (before == Kind::upper) return !known && third == Kind::lower;
            return third == Kind::lower || third == Kind::space;
        }
        if (next == Kind::digit) {
            return before != Kind::digit && !known && (word.size() > 3 || is_list_item(mark.next));
        }
        if (next != Kind::lower || before != Kind::lower || known) return false;
        const std::string_view follow = text_.word_at(mark.next);
        if (is(word, kUnit) && text_.follows_number(start_, word)) return is(follow, kStarter);
        if (word.size() < 3) return false;
        if (follow.size() < 2 || is(follow, kSuffix)) return false;
        return text_.is_letters(word) && text_.is_letters(follow) && ends_word(mark.next + follow.size());
    }

    // No host name goes on at `at`: "clear.heart size", "clear.heart." but not "www.site.org".
    bool ends_word(size_t at) const {
        if (at < size_ && text_[at] == '.') ++at;
        return at >= size_ || text_[at] == ',' || text_.is_space(at);
    }

    // White space after the mark, at most one line break in it.
    bool ends(const Mark& mark) const {
        if (mark.at == start_) return false;
        const Kind next = text_.kind(mark.next);
        if (mark.asks) return text_[mark.at - 1] != '(';
        if (next == Kind::closing) return false;
        if (mark.run > mark.at + 1) return next == Kind::upper;
        if (mark.closed == mark.run && in_brackets(mark.at)) return false;
        const std::string_view word = text_.word_before(start_, mark.at);
        if (word.empty() && text_[mark.at - 1] == ')')
            return true;  // no abbreviation ends so: "(2/1). absent"
        const uint16_t tables = rules_.find(word);
        const auto begins = [&] { return is(text_.word_at(mark.next), kStarter); };
        const bool capital = next != Kind::lower && next != Kind::digit;
        const std::string_view unit = Text::after_number(word);
        const bool whole = unit.size() == word.size();
        if (unit.empty() && is_label(word)) return false;
        if (unit.empty() || (((whole ? tables : rules_.find(unit)) & kUnit) &&
                             (!whole || text_.follows_number(start_, word)))) {
            return next != Kind::lower || begins();
        }
        if (tables & kNeverLast) return false;
        const char first = text_[mark.next];
        if ((tables & kBeforeNumber) && (is_digit(first) || first == '[' || first == '(')) return false;
        if (tables & kNotBeforeLower) return capital && word.data() != text_.data() + start_;  // "Max. AP"
        if (text_.is_dotted(word)) return capital;
        if (word.size() == 1) return capital && is_upper(word[0]) && (begins() || ends_letter(word));
        if (next != Kind::lower) return true;
        return word.size() > 3 || !text_.is_letters(word) || text_.kind(start_) == Kind::lower || begins();
    }

    // One or two digits: "1.Normal" is a list item.
    bool is_number(size_t first, size_t last) const {
        return last - first <= 2 && is_digit(text_[first]) && is_digit(text_[last - 1]);
    }

    // "Fig. 1" and no more in the sentence.
    bool is_label(std::string_view number) const {
        const size_t at = static_cast<size_t>(number.data() - text_.data());
        size_t end = text_.trim_back(start_, at);
        if (end == at || end - start_ > kMaxLabel) return false;
        if (text_[end - 1] == '.') --end;
        return is(text_.view(start_, end), kBeforeNumber);
    }

    // "J. Smith" goes on, "hepatitis C. The" does not.
    bool ends_letter(std::string_view letter) const {
        const size_t at = static_cast<size_t>(letter.data() - text_.data());
        const size_t before = text_.trim_back(start_, at);
        if (before == start_ || before == at) return false;
        const std::string_view word = text_.word_before(start_, before);
        if (word.empty() || is(word, kContinuing)) return false;  // "by J. Smith"
        return !is_upper(word[0]) || is(word, kNumbered);
    }

    static constexpr size_t kWindow = 8;
    static constexpr size_t kMaxLabel = 10;
    static constexpr size_t kMaxHeading = 60;
    static constexpr size_t kMaxBracket = 120;

    const Text text_;
    Marks marks_;
    const size_t size_;
    const SentenceRules& rules_;
    std::vector<Span>& spans_;
    size_t start_ = 0;
    int marker_ = 0;  // number of the last list item
};

}  // namespace

void split_sentences(const char* text, size_t size, const SentenceRules& rules, std::vector<Span>& spans) {
    Splitter(text, size, rules, spans).run();
}

}  // namespace radfast
