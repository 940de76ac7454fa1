"""The small template language of the report phrases, and the writer that knows every byte offset.

A template is text with three marks::

    [a|b|c]      one of the alternatives, drawn evenly; may be empty, may hold slots, does not nest
    {slot}       the value of that slot: another template, a drawn value, or a citation
    {-term}      a mention of an ontology term or of a slot that holds one, with its assertion

The sign before a term is its assertion: ``+`` present, ``-`` absent, ``?`` uncertain, ``~`` historical,
``!`` hypothetical, ``&`` family. ``{an}`` before a word becomes "a" or "an".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

ASSERTIONS = {
    "+": "present",
    "-": "absent",
    "?": "uncertain",
    "~": "historical",
    "!": "hypothetical",
    "&": "family",
}

_MARK = re.compile(r"\[([^\[\]]*)\]|\{([-+?~!&]?)([^{}]+)\}")
_ARTICLE = "\0"


@dataclass(frozen=True)
class Mention:
    """An ontology term in the text, with its assertion."""

    term: str
    assertion: str


@dataclass(frozen=True)
class Citation:
    """One reference to images as written: the series and its image numbers, ``groups`` in reading order."""

    series: int | None
    images: tuple[int, ...]
    kind: str = "current"  # current | prior | ambiguous
    date: str = ""  # YYYYMMDD of the prior study, empty when not said


Mark = Mention | tuple[Citation, ...] | None
Piece = tuple[str, Mark]
Filling = str | list[Piece]
Slot = Filling | Callable[[Random], Filling]


@lru_cache(maxsize=8192)
def _parse(template: str) -> tuple[tuple[str, str, str], ...]:
    parts: list[tuple[str, str, str]] = []
    at = 0
    for mark in _MARK.finditer(template):
        if mark.start() > at:
            parts.append(("text", template[at : mark.start()], ""))
        if mark[1] is not None:
            parts.append(("choice", mark[1], ""))
        else:
            parts.append(("slot", mark[3], mark[2]))
        at = mark.end()
    if at < len(template):
        parts.append(("text", template[at:], ""))
    return tuple(parts)


def expand(template: str, slots: Mapping[str, Slot], rng: Random) -> list[Piece]:
    """Draw one sentence from a template: pieces of text, some of them marked."""
    pieces: list[Piece] = []
    for kind, value, sign in _parse(template):
        if kind == "text":
            pieces.append((value, None))
        elif kind == "choice":
            pieces += expand(rng.choice(value.split("|")), slots, rng)
        elif value == "an":
            pieces.append((_ARTICLE, None))
        else:
            filling = slots.get(value, value if sign else None)
            if callable(filling):
                filling = filling(rng)
            if isinstance(filling, list):
                pieces += filling
            elif sign:
                pieces.append((str(filling), Mention(str(filling), ASSERTIONS[sign])))
            elif filling is None:
                raise KeyError(f"no slot '{value}' for template: {template}")
            else:
                pieces += expand(filling, slots, rng)
    return pieces


def settle_articles(pieces: list[Piece]) -> list[Piece]:
    """Turn every ``{an}`` into "a" or "an" after the letter that follows it."""
    settled: list[Piece] = []
    for index, (text, mark) in enumerate(pieces):
        if text != _ARTICLE:
            settled.append((text, mark))
            continue
        following = "".join(later for later, _ in pieces[index + 1 : index + 4]).lstrip()
        settled.append(("an" if following[:1].lower() in "aeiou" or following[:2] == "8 " else "a", None))
    return settled


@dataclass
class MarkedText:
    """A report under dictation, with the byte spans of what is marked in it.

    Attributes
    ----------
    sentences : list of (start, end)
        Byte span of each sentence.
    mentions : list of (Mention, start, end)
        Ontology terms, byte spans.
    citations : list of (Citation, start, end, sentence)
        One entry per reference; `sentence` indexes `sentences`.
    """

    lower: bool = False
    size: int = 0
    words: int = 0
    sentences: list[tuple[int, int]] = field(default_factory=list)
    mentions: list[tuple[Mention, int, int]] = field(default_factory=list)
    citations: list[tuple[Citation, int, int, int]] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The report so far."""
        return "".join(self._parts)

    def write(self, text: str) -> None:
        """Append text that belongs to no sentence: a heading, a number of a list, white space."""
        text = text.lower() if self.lower else text
        self._parts.append(text)
        self.size += len(text.encode())
        self.words += len(text.split())

    def write_sentence(self, pieces: list[Piece]) -> None:
        """Append one sentence and note its span, its mentions and its citations."""
        start = self.size
        first = True
        for text, mark in settle_articles(pieces):
            if first and text and not self.lower:
                text = text[0].upper() + text[1:]
            first = first and not text
            text = text.lower() if self.lower else text
            begin, self.size = self.size, self.size + len(text.encode())
            self._parts.append(text)
            if isinstance(mark, Mention):
                self.mentions.append((mark, begin, self.size))
            elif mark is not None:
                self.citations += [(citation, begin, self.size, len(self.sentences)) for citation in mark]
        self.sentences.append((start, self.size))
        self.words += len("".join(text for text, _ in pieces).split())
