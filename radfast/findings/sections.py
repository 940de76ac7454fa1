"""Sections of a report: "INDICATION: ...", "Findings:", a heading on a line of its own."""

from __future__ import annotations

import re
from bisect import bisect_right

_BREAK = re.compile(rb"[\n\r.;,:]")
_LONGEST = 48  # bytes of a heading
_LETTERS = re.compile(rb"[A-Za-z]")


def find_sections(raw: bytes, known: frozenset[str]) -> tuple[list[int], list[str]]:
    """Find the headings of a report.

    A heading is a known one, or one in capitals, that ends with a colon or fills a line. It begins the text,
    a line or a sentence.

    Returns
    -------
    starts : list of int
        Byte where each section's text begins, ascending.
    names : list of str
        Headings in lower case.
    """
    found: dict[int, str] = {}
    at = raw.find(b":")
    while at >= 0:
        before = raw[max(0, at - _LONGEST) : at]
        cut = 0
        for mark in _BREAK.finditer(before):
            cut = mark.end()
        words = before[cut:].strip()
        if words and (cut or at <= _LONGEST):
            name = _name(words)
            if name in known or (
                words.isupper() and len(_LETTERS.findall(words)) > 2 and name.count(" ") < 6
            ):
                found[at + 1] = name
        at = raw.find(b":", at + 1)
    if b"\n" in raw:
        at = 0
        for line in raw.split(b"\n"):
            if 2 < len(line.strip()) <= _LONGEST and (name := _name(line.strip())) in known:
                found.setdefault(at + len(line), name)
            at += len(line) + 1
    starts = sorted(found)
    return starts, [found[start] for start in starts]


def _name(words: bytes) -> str:
    return b" ".join(words.lower().split()).decode("utf-8", "replace")


def section_at(starts: list[int], names: list[str], byte: int) -> str:
    """Return the section that holds a byte, "" before the first heading."""
    row = bisect_right(starts, byte) - 1
    return names[row] if row >= 0 else ""
