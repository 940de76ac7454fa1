"""Endless report text for the text stages: any number of words, never held.

The sentences of the archive's dictation are rendered once into pools, one per kind of examination and
finding, with holes where tail words, names and numbers go. A report is a draw from the pools with its holes
filled: the statistics of `radfast.synthetic.reports` at a small part of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np
from numpy.typing import NDArray

from radfast.errors import UsageError
from radfast.synthetic import phrases
from radfast.synthetic.catalog import EXAMS
from radfast.synthetic.citations import cite
from radfast.synthetic.exams import Exam
from radfast.synthetic.grammar import Piece, Slot, expand, settle_articles
from radfast.synthetic.lesions import Lesion
from radfast.synthetic.reports import MAX_WORDS, base_slots, finding_slots
from radfast.synthetic.vocabulary import Tail, tail_names, tail_words

_LENGTH = (4.60, 0.68)  # of the logarithm of the words per report
_BLOCK = 512  # reports drawn at once
_FINDING_SHARE = 0.2  # of the sentences of a report speak of its finding
_POOL = 220  # sentences per pool
_WORD, _OWN, _NAME, _NUMBER = "\1", "\2", "\3", "\4"  # holes: common tail, own tail, name, number


@dataclass(frozen=True)
class _Pool:
    """Rendered sentences with %s holes.

    Attributes
    ----------
    texts : list of str
        Sentences with %s for every hole.
    holes : list of tuple of int
        Kind of each hole: 0 common tail, 1 own tail, 2 name, 3 number.
    words : int64 (S,)
        Words of each sentence.
    """

    texts: list[str]
    holes: list[tuple[int, ...]]
    words: NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """One examination with one dominant finding."""

    field: int
    opening: _Pool
    normal: _Pool
    finding: _Pool


def stream_reports(n_words: int, seed: int = 0) -> Iterator[str]:
    """Yield synthetic reports until they hold `n_words` words together.

    Parameters
    ----------
    n_words : int
        Words in all, blanks between them; the last report is cut so that the total is exact.
    seed : int
        The same seed gives the same reports; a longer stream begins with the shorter one.

    Yields
    ------
    str
        One report, UTF-8 clean. Words per report: log-normal, mean about 131, sd about 96, at most 1502;
        vocabulary about 29,000 words at 10^8 words and beyond.

    Raises
    ------
    UsageError
        If a parameter is negative.
    """
    if n_words < 0 or seed < 0:
        raise UsageError(f"[stream_reports] n_words and seed must be 0 or more, are {n_words} and {seed}")
    return _stream(n_words, seed)


def _stream(n_words: int, seed: int) -> Iterator[str]:
    kinds, weights = _build_kinds()
    holes = [_Holes(seed, 0), *(_Holes(seed, field) for field in range(1, len(EXAMS) + 1))]
    left = n_words
    block = 0
    while left > 0:
        rng = np.random.default_rng([seed, block])
        for report, words in _draw_block(rng, kinds, weights, holes):
            if words >= left:
                yield " ".join(report.split()[:left])
                return
            left -= words
            yield report
        block += 1


def _draw_block(
    rng: np.random.Generator, kinds: list[_Kind], weights: NDArray[np.float64], holes: list[_Holes]
) -> Iterator[tuple[str, int]]:
    targets = np.clip(np.rint(rng.lognormal(*_LENGTH, _BLOCK)), 14, MAX_WORDS - 30).astype(np.int64)
    chosen = rng.choice(len(kinds), _BLOCK, p=weights)
    for target, kind_row in zip(targets.tolist(), chosen.tolist(), strict=True):
        kind = kinds[kind_row]
        room = target // 4 + 3
        is_finding = rng.random(room) < _FINDING_SHARE
        draws = rng.random(room)
        parts: list[str] = []
        fill = holes[kind.field].fill
        words = 0
        for row, (draw, of_finding) in enumerate(zip(draws.tolist(), is_finding.tolist(), strict=True)):
            pool = kind.opening if row == 0 else kind.finding if of_finding else kind.normal
            at = int(draw * len(pool.texts))
            parts.append(pool.texts[at] % fill(pool.holes[at]) if pool.holes[at] else pool.texts[at])
            words += int(pool.words[at])
            if words >= target:
                break
        yield "".join(parts).rstrip(), words


class _Holes:
    """Words for the holes, drawn ahead in blocks."""

    def __init__(self, seed: int, field: int) -> None:
        self._rng = np.random.default_rng([seed, 1 << 20, field])
        self._tails: tuple[Tail, ...] = (tail_words(0), tail_words(field), tail_names())
        self._laws = [np.array(tail.cumulative) / tail.cumulative[-1] for tail in self._tails]
        self._ready: list[list[str]] = [[], [], [], []]

    def _refill(self, kind: int) -> list[str]:
        draws = self._rng.random(4096)
        if kind == 3:
            words = [str(int(draw * 8) + 2) for draw in draws.tolist()]
        else:
            tail = self._tails[kind].words
            words = [tail[row] for row in np.searchsorted(self._laws[kind], draws, "right").tolist()]
        self._ready[kind] = words
        return words

    def fill(self, kinds: tuple[int, ...]) -> tuple[str, ...]:
        """Return a word for every hole."""
        return tuple([(self._ready[kind] or self._refill(kind)).pop() for kind in kinds])


def _hole_slots(exam: Exam, rng: Random) -> dict[str, Slot]:
    slots = base_slots(exam, rng)
    slots["T"] = lambda r: _OWN if r.random() < 0.7 else _WORD
    slots["S"] = _NAME
    slots["n"] = _NUMBER
    return slots


def _cite_any(last_image: int, rng: Random) -> list[Piece]:
    return cite(rng, [(rng.randint(1, 12), [rng.randint(1, last_image)])])


def _render(templates: list[tuple[str, dict[str, Slot]]], rng: Random, count: int, ends: str) -> _Pool:
    texts, holes, words = [], [], []
    for _ in range(count):
        template, slots = rng.choice(templates)
        text = "".join(piece for piece, _ in settle_articles(expand(template, slots, rng)))
        text = text[:1].upper() + text[1:] + ends
        kinds = tuple(ord(letter) - 1 for letter in text if letter <= _NUMBER)
        text = text.replace("%", "%%") if kinds else text
        for hole in (_WORD, _OWN, _NAME, _NUMBER):
            text = text.replace(hole, "%s")
        texts.append(text)
        holes.append(kinds)
        words.append(len(text.split()))
    return _Pool(texts, holes, np.array(words))


def _build_kinds() -> tuple[list[_Kind], NDArray[np.float64]]:
    """Render the pools of every examination and finding; the same for every seed."""
    rng = Random("pools")
    kinds: list[_Kind] = []
    weights: list[float] = []
    for field, exam in enumerate(EXAMS, 1):
        slots = _hole_slots(exam, rng)
        reasons = [f"EXAM: {title}\nINDICATION: {reason}" for title in exam.titles for reason in exam.reasons]
        techniques = [f"{reason}\nTECHNIQUE: {text}" for reason in reasons for text in exam.techniques]
        opening = _render([(text, slots) for text in reasons + techniques], rng, _POOL, "\nFINDINGS: ")
        plain = [*exam.normals, *phrases.PARTS, *phrases.FILLER[::2], *phrases.HISTORY[::2]]
        clauses = [
            text[:-1] + clause + "." for text in plain if text.endswith(".") for clause in phrases.CLAUSES
        ]
        normal = _render([(text, slots) for text in plain + clauses], rng, 4 * _POOL, " ")
        for finding in exam.findings:
            templates = []
            for place in finding.places:
                own = slots | finding_slots(Lesion(finding, place), rng)
                own["cite"] = partial(_cite_any, exam.last_image)
                table = phrases.AFFIRMED_SIZED if finding.mm else phrases.AFFIRMED
                quiet = own | {"cite": ""}
                templates += [(text, own) for text in (*table, *phrases.NEGATED, *phrases.UNCERTAIN)]
                templates += [(text, quiet) for text in (*table, *finding.details, *finding.advice)]
            kinds.append(_Kind(field, opening, normal, _render(templates, rng, _POOL, " ")))
            weights.append(exam.weight * finding.weight / sum(f.weight for f in exam.findings))
    total = sum(weights)
    return kinds, np.array([weight / total for weight in weights])
