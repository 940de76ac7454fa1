"""The sentence splitter in plain Python, from the rules in docs/tokenizer.md: regular expressions over bytes.

It shares nothing with csrc/sentences*.cpp but the word tables, and takes any time it likes.
"""

from __future__ import annotations

import re
import unicodedata

from radfast.kernels.tokenize import SentenceRules

_SPACES = "".join(chr(c) for c in range(0x3001) if chr(c).isspace())
_SPACE = b"(?:" + b"|".join(re.escape(char.encode()) for char in _SPACES) + b")"
_HEAD = re.compile(_SPACE + b"*")
_TAIL = re.compile(_SPACE + rb"+\Z")
_MARK = re.compile(rb"(?<![0-9])\.|\.(?![0-9])|[!?:\n\r]|\)|,(?=[A-Z])")
_CLOSERS = re.compile(rb"(?:[)\]}\"']|\xe2\x80[\x9d\x99]|\xc2\xbb|\[[0-9, -]{1,19}\])*")
_WORD_END = re.compile(rb"[A-Za-z0-9./'#\x80-\xff-]{0,40}\Z")
_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]{0,40}")
_DOTTED = re.compile(rb"[A-Za-z](?:\.[A-Za-z])+")
_ITEM = re.compile(rb"[0-9]{1,2}[.)]" + _SPACE + rb"|(?:[-*]|\xe2\x80[\xa2\x93])" + _SPACE)
_HEADING = re.compile(rb"([A-Za-z /&-]{1,60}):")
_BREAK = re.compile(rb"\r\n|\n|\r")
_BLANKS = re.compile(rb"[ \t]*")
_LINE = re.compile(rb"[^\r\n]*")
_LETTERS = re.compile(rb"[A-Za-z\x80-\xff]*")


def _kind(data: bytes, at: int) -> str:
    char = data[at : at + 4].decode("utf-8", "replace")[:1]
    category = unicodedata.category(char)
    if char.isspace():
        return "space"
    if category in ("Lu", "Lt"):
        return "upper"
    if category == "Ll":
        return "lower"
    if char in "0123456789":
        return "digit"
    return "closing" if char in ",;:)]}/=+%" else "other"


class Oracle:
    """One text."""

    def __init__(self, data: bytes, rules: SentenceRules) -> None:
        self.data, self.rules = data, rules
        self.start = self.skip(0)
        self.marker = 0
        self.spans: list[tuple[int, int]] = []

    def run(self) -> list[tuple[int, int]]:
        at = self.start
        while found := _MARK.search(self.data, at):
            at = found.start()
            match self.data[at : at + 1]:
                case b"." | b"!" | b"?":
                    at = self.terminal(at)
                case b":":
                    at = self.colon(at)
                case b")":
                    at = self.bracket(at)
                case b",":
                    at = self.line_comma(at)
                case _:
                    at = self.line_break(at)
        self.cut(len(self.data))
        return self.spans

    # Looking around.

    def skip(self, at: int) -> int:
        found = _HEAD.match(self.data, at)
        assert found
        return found.end()

    def trim(self, first: int, last: int) -> int:
        found = _TAIL.search(self.data[first:last])
        return first + found.start() if found else last

    def kind(self, at: int) -> str:
        return _kind(self.data, at)

    def holds(self, word: bytes, *tables: str) -> bool:
        text = word.lower().decode("utf-8", "surrogateescape")
        return 0 < len(word) <= 40 and any(text in getattr(self.rules, table) for table in tables)

    def word_before(self, at: int) -> bytes:
        found = _WORD_END.search(self.data[max(self.start, at - 40) : at])
        assert found
        return found[0].lstrip(b".-/'#")

    def word_at(self, at: int) -> bytes:
        found = _WORD.match(self.data, at)
        return found[0] if found else b""

    def spaced(self, at: int) -> bool:
        return at < len(self.data) and self.kind(at) == "space"

    def is_item(self, at: int) -> bool:
        return _ITEM.match(self.data, at) is not None

    def is_heading(self, at: int) -> bool:
        found = _HEADING.match(self.data, at)
        if not found:
            return False
        words = self.data[at : self.trim(at, found.end(1))]
        return self.holds(words, "sections") or (
            re.search(rb"[a-z]", found[1]) is None and len(words) > 2 and words[:1].isupper()
        )

    def in_brackets(self, at: int) -> bool:
        before = self.data[max(self.start, at - 120) : at]
        open_ = before.rfind(b"(")
        if open_ < 0 or before.rfind(b")") > open_ or at - len(before) + open_ == self.start:
            return False
        return re.match(rb"[^()]*\)", self.data[at : at + 120]) is not None

    def after_number(self, word: bytes) -> bytes:
        letters = re.search(rb"[A-Za-z]*\Z", word)
        assert letters
        return word if re.search(rb"[^0-9./x-]", word[: letters.start()]) else letters[0]

    def follows_number(self, at: int) -> bool:
        before = self.trim(self.start, at)
        return self.start < before < at and self.data[before - 1 : before].isdigit()

    def is_capitals(self, first: int, last: int) -> bool:
        part = self.data[first:last]
        return re.search(rb"[a-z]", part) is None and len(re.findall(rb"[A-Z]", part)) > 2

    # What a mark does.

    def cut(self, end: int) -> int:
        last = self.trim(self.start, end)
        if last > self.start:
            self.spans.append((self.start, last))
        self.start = self.skip(end)
        return self.start

    def marks_item(self, at: int) -> bool:
        sentence = self.data[self.start : at]
        digits = re.search(rb"[0-9]{1,2}\Z", sentence)
        if not digits:
            letter = re.fullmatch(rb"[A-Za-z]", sentence)
            return bool(letter or re.fullmatch(rb"[ivxIVX]{1,4}", sentence))
        number, first = int(digits[0]), self.start + digits.start()
        if first > self.start:
            before = self.trim(self.start, first)
            sentence = self.data[self.start : before]
            glued = sentence.endswith(b",") and before == first
            after_colon = sentence.endswith(b":") and number == 1 and not re.search(rb"[0-9]:\Z", sentence)
            after_section = self.holds(sentence, "sections")
            next_in_list = (
                number == self.marker + 1 > 1
                and before < first
                and not re.search(rb"[,0-9]\Z", sentence)
                and not self.holds(self.word_before(before), "numbered", "before_number")
                and not self.in_brackets(at)
            )
            if not (glued or after_colon or after_section or next_in_list):
                return False
            self.cut(first)
        self.marker = number
        return True

    def bracket(self, at: int) -> int:
        digit = at > self.start and self.data[at - 1 : at].isdigit()
        if digit and self.spaced(at + 1) and not self.in_brackets(at):
            self.marks_item(at)
        return at + 1

    def line_comma(self, at: int) -> int:
        tail = re.match(rb",[A-Z][a-z]", self.data[at:])
        if at == self.start or not tail or self.data[at - 1 : at] in (b".", b","):
            return at + 1
        if _TAIL.search(self.data[:at]) or self.in_brackets(at):
            return at + 1
        return self.cut(at + 1)

    def heading_before(self, end: int) -> int:
        best = word = self.start
        word = end
        while word > self.start and end - word < 60:
            capitals = re.search(rb"[A-Z]*\Z", self.data[self.start : word])
            assert capitals
            first = self.start + capitals.start()
            if first == word:
                return best
            if first == self.start:
                return self.start
            mark = self.data[first - 1 : first]
            if mark == b",":
                return first if end - first > 1 else best
            if mark != b" ":
                return best
            if self.holds(self.data[first:end], "sections"):
                best = first
            word = first - 1
        return best

    def looks_like_heading(self, first: int, last: int) -> bool:
        if last - first > 60 or self.kind(first) != "upper":
            return False
        part = self.data[first:last]
        return b"." not in part and b"\n" not in part and part.count(b" ") < 7

    def colon(self, at: int) -> int:
        heading = self.heading_before(at)
        if heading > self.start:
            self.cut(heading)
        if not self.looks_like_heading(self.start, at):
            return at + 1
        commas = re.compile(rb"[ \t]*(?:,[ \t]*)+").match(self.data, at + 1)
        if commas:
            return self.cut(at + 1 + commas[0].rindex(b",") + 1)
        blanks = _BLANKS.match(self.data, at + 1)
        assert blanks
        opens = re.match(rb"1[.)]|[^0-9]", self.data[blanks.end() :], re.S)
        if blanks[0] and self.is_item(blanks.end()) and opens and not self.data[at - 1 : at].isdigit():
            return self.cut(at + 1)
        return at + 1

    def line_break(self, at: int) -> int:
        after, end = self.skip(at), self.trim(self.start, at)
        if after >= len(self.data) or end <= self.start:
            return after
        lines = len(_BREAK.findall(self.data[at:after]))
        if lines > 1 or self.is_item(after) or self.is_heading(after):
            return self.cut(at)
        begin = max(self.data.rfind(b"\n", 0, at), self.data.rfind(b"\r", 0, at)) + 1
        line = max(self.start, begin)
        if self.data[end - 1 : end] == b":":
            heading = self.looks_like_heading(line, end) or self.kind(after) == "upper"
            return self.cut(at) if heading else after
        words = self.data[line:end]
        next_line = _LINE.match(self.data, after)
        assert next_line
        title = self.is_capitals(line, end) and len(words) < 40
        if self.holds(words, "sections") or (title and not self.is_capitals(*next_line.span())):
            return self.cut(at)
        if self.kind(after) in ("lower", "digit") or words.endswith(b","):
            return after
        if self.holds(self.word_before(end), "continuing"):
            return after
        return after if end - line >= self.rules.min_wrap else self.cut(at)

    def terminal(self, at: int) -> int:
        found = re.compile(rb"[.!?]+").match(self.data, at)
        assert found
        run, asks = found.end(), re.search(rb"[!?]", found[0]) is not None
        closers = _CLOSERS.match(self.data, run)
        assert closers
        closed = closers.end()
        after = self.skip(closed)
        if after >= len(self.data):
            return after
        if self.data[after : after + 1] == b",":
            return self.comma(at, run, closed, after, asks)
        if after == closed:
            return self.cut(closed) if self.ends_glued(at, run, closed, asks) else run
        lines = len(_BREAK.findall(self.data[closed:after]))
        if lines > 1:
            return self.cut(closed)
        if self.data[at:closed] == b"." and lines == 0 and self.marks_item(at):
            return after
        if lines == 1 and (self.is_item(after) or self.is_heading(after)):
            return self.cut(closed)
        if self.ends(at, run, closed, after, asks):
            return self.cut(closed)
        return after if lines else run

    def comma(self, at: int, run: int, closed: int, after: int, asks: bool) -> int:
        word = self.word_before(at)
        if after == closed and not asks and not (at > self.start and self.data[at - 1 : at] == b")"):
            tables = ["never_last", "not_before_lower"] + ["units"] * self.spaced(after + 1)
            if len(word) < 2 or _DOTTED.fullmatch(word) or self.holds(word, *tables):
                return run
        end = after
        while self.data[after : after + 1] == b",":
            end = after + 1
            after = self.skip(end)
        if after >= len(self.data):
            return after
        kind = self.kind(after)
        begins = kind == "upper" or (kind == "digit" and after == end) or self.is_item(after)
        return self.cut(end) if begins else run

    def ends_glued(self, at: int, run: int, closed: int, asks: bool) -> bool:
        after = self.kind(closed)
        if asks and closed == run and self.in_brackets(at):
            return False
        if asks or closed > run:
            return after == "upper" and at > self.start
        if run > at + 1 or at == self.start or re.fullmatch(rb"[0-9]{1,2}", self.data[self.start : at]):
            return False
        word = self.word_before(at)
        known = (
            len(word) < 2
            or _DOTTED.fullmatch(word) is not None
            or self.holds(word, "never_last", "not_before_lower", "before_number")
        )
        first = self.data[closed : closed + 4].decode("utf-8", "replace")[:1]
        third = closed + len(first.encode())
        third_kind = self.kind(third) if third < len(self.data) else "space"
        before = _last_kind(self.data[:at], self.data[at:])
        if after == "upper":
            if before == "lower":
                return not known and (third_kind in ("lower", "space") or len(word) > 2)
            if before == "upper":
                return not known and third_kind == "lower"
            return third_kind in ("lower", "space")
        if after == "digit":
            return before != "digit" and not known and (len(word) > 3 or self.is_item(closed))
        if after != "lower" or before != "lower" or known:
            return False
        follow = self.word_at(closed)
        if self.holds(word, "units") and self.follows_number(at - len(word)):
            return self.holds(follow, "starters")
        if len(word) < 3 or len(follow) < 2 or self.holds(follow, "suffixes"):
            return False
        if not (_LETTERS.fullmatch(word) and _LETTERS.fullmatch(follow)):
            return False
        end = closed + len(follow)
        end += self.data[end : end + 1] == b"."
        return end >= len(self.data) or self.data[end : end + 1] == b"," or self.spaced(end)

    def ends(self, at: int, run: int, closed: int, after: int, asks: bool) -> bool:
        kind = self.kind(after)
        if at == self.start:
            return False
        if asks:
            return self.data[at - 1 : at] != b"("
        if kind == "closing":
            return False
        if run > at + 1:
            return kind == "upper"
        if closed == run and self.in_brackets(at):
            return False
        word = self.word_before(at)
        if not word and self.data[at - 1 : at] == b")":
            return True
        first = at - len(word)
        small, capital = kind == "lower", kind not in ("lower", "digit")
        begins = self.holds(self.word_at(after), "starters")
        unit = self.after_number(word)
        if not unit and self.is_label(first):
            return False
        if not unit or (self.holds(unit, "units") and (unit != word or self.follows_number(first))):
            return not small or begins
        if self.holds(word, "never_last"):
            return False
        if (
            self.holds(word, "before_number")
            and self.data[after : after + 1] in b"0 1 2 3 4 5 6 7 8 9 [ (".split()
        ):
            return False
        if self.holds(word, "not_before_lower"):
            return capital and first != self.start
        if _DOTTED.fullmatch(word):
            return capital
        if len(word) == 1:
            return capital and word.isupper() and (begins or self.ends_letter(first))
        if not small:
            return True
        return len(word) > 3 or not _LETTERS.fullmatch(word) or self.kind(self.start) == "lower" or begins

    def is_label(self, first: int) -> bool:
        end = self.trim(self.start, first)
        if end == first or end - self.start > 10:
            return False
        return self.holds(self.data[self.start : end].removesuffix(b"."), "before_number")

    def ends_letter(self, first: int) -> bool:
        before = self.trim(self.start, first)
        if before in (self.start, first):
            return False
        word = self.word_before(before)
        if not word or self.holds(word, "continuing"):
            return False
        return not word[:1].isupper() or self.holds(word, "numbered")


def _last_kind(head: bytes, rest: bytes) -> str:
    first = len(head) - 1
    while first > 0 and len(head) - first < 5 and head[first] & 0xC0 == 0x80:
        first -= 1
    return _kind(head + rest, first)


def split_sentences(data: bytes, rules: SentenceRules) -> list[tuple[int, int]]:
    """Return the byte spans of the sentences."""
    return Oracle(data, rules).run()
