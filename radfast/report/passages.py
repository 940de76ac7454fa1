"""A piece of report text cut where its marks begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Mark:
    """A marked byte span: kind is a CSS class, tip its spoken form."""

    start: int
    end: int
    kind: str
    tip: str = ""


@dataclass(frozen=True)
class Piece:
    """Text that carries the same marks throughout."""

    text: str
    kinds: str
    tip: str


def cut_passage(text: bytes, start: int, end: int, marks: Sequence[Mark]) -> list[Piece]:
    """Cut ``text[start:end]`` into pieces by the marks that cover them.

    Parameters
    ----------
    text : bytes
        The whole report, UTF-8.
    start, end : int
        Bytes; clipped to the text.
    marks : sequence of Mark
        Byte spans of the whole report; they may overlap and reach beyond the passage.

    Returns
    -------
    list of Piece
        In order; together they are the passage. Bytes that are no UTF-8 become U+FFFD.
    """
    start, end = max(start, 0), min(end, len(text))
    inside = [mark for mark in marks if mark.start < end and start < mark.end and mark.start < mark.end]
    edges = {start, end}
    for mark in inside:
        edges |= {max(mark.start, start), min(mark.end, end)}
    cuts = sorted(edges)
    pieces = []
    for a, b in pairwise(cuts):
        over = [mark for mark in inside if mark.start <= a and b <= mark.end]
        kinds = " ".join(dict.fromkeys(mark.kind for mark in over))
        tip = "; ".join(dict.fromkeys(mark.tip for mark in over if mark.tip))
        pieces.append(Piece(text[a:b].decode("utf-8", "replace"), kinds, tip))
    return pieces
