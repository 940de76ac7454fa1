"""Text to folded words: what the ontology, the cues and the reports have in common.

A word is a run of letters and digits; hyphens and apostrophes separate. Punctuation marks are words too, so
that no phrase runs across a comma that it does not have. Folding makes the plural equal to the singular and
British spelling to American; it is applied to both sides, so it need not be a dictionary form.
"""

from __future__ import annotations

import re

_WORD = re.compile(rb"[a-z0-9\x80-\xff]+|[^\x00-\x20\x7f]")
# General punctuation, no-break spaces and the like are not letters.
_MARKS = re.compile(rb"\xe2[\x80-\x82][\x80-\xbf]|\xc2[\x80-\xbf]|\xc3\x97")
_KNOWN_LIMIT = 1 << 18

#: Endings of plurals and what stands for them; the first that fits wins.
_ENDINGS = (
    ("thoraces", "thorax"),
    ("omata", "oma"),
    ("stases", "stasis"),
    ("ctases", "ctasis"),
    ("oses", "osis"),
    ("yses", "ysis"),
    ("eses", "esis"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ies", "y"),
    ("chi", "chus"),
    ("bi", "bus"),
    ("li", "lus"),
    ("ae", "a"),
)
_KEPT = ("ss", "us", "is")
_SPELLINGS = (
    ("oedema", "edema"),
    ("haem", "hem"),
    ("tumour", "tumor"),
    ("oesoph", "esoph"),
    ("ischaem", "ischem"),
)


def fold(word: str) -> str:
    """Return the form that plural and spelling variants of a lower-case word share."""
    for british, american in _SPELLINGS:
        word = word.replace(british, american)
    if len(word) > 4:
        for plural, singular in _ENDINGS:
            if word.endswith(plural):
                return word[: -len(plural)] + singular
    if len(word) > 3 and word.endswith("s") and not word.endswith(_KEPT):
        return word[:-1]
    return word


def split_words(raw: bytes) -> list[tuple[int, int, bytes]]:
    """Split UTF-8 text into words and marks.

    Returns
    -------
    list of (start, end, word)
        Byte spans and lower-case bytes, in reading order.
    """
    return [(*found.span(), found[0]) for found in _WORD.finditer(lower(raw))]


def lower(raw: bytes) -> bytes:
    """Return UTF-8 text with A-Z in lower case and typographic marks blank, byte for byte in place."""
    low = raw.lower()
    return low if low.isascii() else _MARKS.sub(lambda found: b" " * len(found[0]), low)


class Vocabulary:
    """Numbers of folded words; words that no phrase has are -1."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._seen: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._number)

    def add_phrase(self, text: str) -> tuple[int, ...]:
        """Return the numbers of a phrase's words; new words get the next numbers."""
        words = [fold(word.decode("utf-8", "replace").lower()) for _, _, word in split_words(text.encode())]
        self._seen.clear()
        return tuple(self._number.setdefault(word, len(self._number)) for word in words)

    def number(self, word: bytes) -> int:
        """Return the number of a lower-case word as `split_words` gives it, -1 when no phrase has it."""
        found = self._seen.get(word)
        if found is None:
            if len(self._seen) >= _KNOWN_LIMIT:
                self._seen.clear()
            found = self._number.get(fold(word.decode("utf-8", "replace").lower()), -1)
            self._seen[word] = found
        return found
