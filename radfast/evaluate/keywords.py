"""Keywords of an image against the words of the window that cites it.

The published "recall-at-1" of 0.56 (Shin et al. 2015, section 5) can be read in several ways, so all are
computed under names of their own, each beside three answers that need no picture or no vector.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.evaluate.intervals import estimate_ratios

#: Words of one predicted topic, heaviest first, each with its score (NaN: the word has no vector).
Candidates = Sequence[tuple[str, float]]

FILTERS = ("ontology", "unfiltered")
METHODS = ("radfast", "frequent_words", "topic_top_word", "random_candidate")


@dataclass(frozen=True)
class _Marks:
    """What one image earns: sums over it are the measures."""

    hit: float
    precise: float  # disease words of the answer that stand in the window
    offered: float  # disease words of the answer
    levels: list[float]
    answered: list[float]  # 1 where the level gave a word
    found: list[float]  # >= 1 of the first K
    recall: list[float]  # share of the window's words among the first K


def score_keywords(
    candidates: Mapping[str, Sequence[Candidates]],
    given: Mapping[str, Sequence[Sequence[str | None]]],
    windows: Sequence[Collection[str] | None],
    disease_words: Collection[str],
    frequent: Sequence[str],
    *,
    groups: Sequence[Any] | ArrayLike | None = None,
    ranks: Sequence[int] = (1, 5, 10, 20),
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the keywords of N images: definitions A, B, C and recall@K, with baselines and intervals.

    The keywords are those `given`, one per level, each once per image. Then

    - A ``image_hit_rate``: share of images with at least one keyword in the window;
      ``image_hit_rate_possible`` the same over images whose window holds a word that could be hit at all;
    - B ``word_precision``: keywords that are disease words and stand in the window / keywords that are
      disease words;
    - C ``level_recall``: per level, the share of its keywords that stand in the window;
    - ``hit_at`` K and ``recall_at`` K over the union of the levels' words ordered by score: share of images
      with one of the first K in the window, and mean share of the window's words among the first K (images
      with such a word only).

    Baselines: ``frequent_words`` gives every image the most frequent disease words; ``topic_top_word`` gives
    the heaviest word of each predicted topic that no earlier level has given, no vector;
    ``random_candidate`` draws evenly, its expectation is computed exactly. Each is scored ``ontology``
    (candidates and window words that are disease words only) and ``unfiltered``.

    Parameters
    ----------
    candidates : mapping of level to N lists of (word, score)
        Words of the topic predicted at that level, heaviest first; the list may be empty.
    given : mapping of "ontology" and "unfiltered" to N lists of str
        Keywords of each image, one per level in the order of `candidates`, None for none: chosen among
        disease words and among all.
    windows : sequence of N collections of str
        Words of the citing window; None where no sentence cites the image, which then takes no part.
    disease_words : collection of str
        Words of names and synonyms of the ontology.
    frequent : sequence of str
        Words of the training windows, most frequent first; of these the disease words are used.
    groups : sequence, shape (N,), optional
        Patient of each image.
    ranks : sequence of int
        K.
    draws, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    dict
        ``n_images``, ``n_with_disease_word``, ``levels``, ``ranks``; under ``ontology`` and ``unfiltered``
        one dict per method of `METHODS` with the measures above as ``{value, low, high, n}``; for
        ``radfast`` also ``gain``: its A less that of each baseline, paired.

    Raises
    ------
    UsageError
        If lengths differ or a rank is below 1.
    """
    levels = list(candidates)
    n = len(windows)
    if not levels or any(len(lists) != n for lists in candidates.values()):
        raise UsageError(f"[score_keywords] every level needs one list for each of the {n} windows")
    for name in FILTERS:
        if len(given[name]) != n or any(len(words) != len(levels) for words in given[name]):
            raise UsageError(
                f"[score_keywords] given {name!r} needs {n} lists of {len(levels)} words, one per level"
            )
    if not ranks or min(ranks) < 1:
        raise UsageError(f"[score_keywords] ranks must be whole numbers from 1, are {list(ranks)}")
    if groups is not None and len(np.asarray(groups)) != n:
        raise UsageError(f"[score_keywords] groups must have length {n}, has {len(np.asarray(groups))}")
    disease = frozenset(disease_words)
    rows = [row for row, window in enumerate(windows) if window is not None]
    patients = None if groups is None else np.asarray(groups)[rows]
    seen = [frozenset(windows[row] or ()) for row in rows]
    result: dict[str, Any] = {
        "n_images": len(rows),
        "n_with_disease_word": sum(not disease.isdisjoint(window) for window in seen),
        "levels": levels,
        "ranks": [int(k) for k in ranks],
    }
    usual = [word for word in frequent if word in disease]
    for name, allowed in zip(FILTERS, (disease, None), strict=True):
        marks: dict[str, list[_Marks]] = {method: [] for method in METHODS}
        possible = []
        for row, window in zip(rows, seen, strict=True):
            words = window if allowed is None else window & allowed
            lists = [
                [pair for pair in candidates[level][row] if allowed is None or pair[0] in allowed]
                for level in levels
            ]
            possible.append(bool(words))
            images = _mark_image(lists, list(given[name][row]), usual, words, disease, ranks)
            for method, image in zip(METHODS, images, strict=True):
                marks[method].append(image)
        result[name] = _estimate(marks, np.array(possible, bool), levels, ranks, patients, draws, seed)
    return result


def _mark_image(
    lists: list[list[tuple[str, float]]],
    ours: list[str | None],
    usual: list[str],
    window: frozenset[str],
    disease: frozenset[str],
    ranks: Sequence[int],
) -> tuple[_Marks, ...]:
    top = _choose(lists)
    score: dict[str, tuple[float, int]] = {}
    first: dict[str, int] = {}
    for words in lists:
        for place, (word, value) in enumerate(words):
            key = (-value if value == value else np.inf, place)
            score[word] = min(key, score.get(word, key))
            first[word] = min(place, first.get(word, place))
    union = sorted(score, key=lambda word: (score[word], word))
    by_weight = sorted(first, key=lambda word: (first[word], word))
    constant: list[str | None] = [*usual[: len(lists)], *[None] * (len(lists) - len(usual))]
    return (
        _mark(ours, union, window, disease, ranks),
        _mark(constant, usual, window, disease, ranks),
        _mark(top, by_weight, window, disease, ranks),
        _expect(lists, union, window, disease, ranks),
    )


def _choose(lists: list[list[tuple[str, float]]]) -> list[str | None]:
    """Take the first word of each level's list that no earlier level has given."""
    taken: list[str | None] = []
    for words in lists:
        taken.append(next((word for word, _ in words if word not in taken), None))
    return taken


def _mark(
    chosen: list[str | None],
    order: list[str],
    window: frozenset[str],
    disease: frozenset[str],
    ranks: Sequence[int],
) -> _Marks:
    given = [word for word in chosen if word is not None]
    offered = [word for word in dict.fromkeys(given) if word in disease]
    held = [len(window.intersection(order[:k])) for k in ranks]
    return _Marks(
        hit=float(any(word in window for word in given)),
        precise=float(sum(word in window for word in offered)),
        offered=float(len(offered)),
        levels=[float(word is not None and word in window) for word in chosen],
        answered=[float(word is not None) for word in chosen],
        found=[float(count > 0) for count in held],
        recall=[count / len(window) if window else 0.0 for count in held],
    )


def _expect(
    lists: list[list[tuple[str, float]]],
    union: list[str],
    window: frozenset[str],
    disease: frozenset[str],
    ranks: Sequence[int],
) -> _Marks:
    """Return the expectation of one even draw per level, and of a random order of the union."""
    share = [sum(word in window for word, _ in words) / len(words) if words else 0.0 for words in lists]
    precise = offered = 0.0
    for words in lists:
        if words:
            known = [word for word, _ in words if word in disease]
            offered += len(known) / len(words)
            precise += sum(word in window for word in known) / len(words)
    size, good = len(union), len(window.intersection(union))
    found = [1 - comb(size - good, min(k, size)) / comb(size, min(k, size)) for k in ranks]
    expected = [min(k, size) * good / size if size else 0.0 for k in ranks]
    return _Marks(
        hit=1 - float(np.prod([1 - value for value in share])),
        precise=precise,
        offered=offered,
        levels=share,
        answered=[float(bool(words)) for words in lists],
        found=found,
        recall=[count / len(window) if window else 0.0 for count in expected],
    )


def _estimate(
    marks: dict[str, list[_Marks]],
    possible: NDArray[np.bool_],
    levels: list[str],
    ranks: Sequence[int],
    patients: NDArray[Any] | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    n = len(possible)
    tops, bottoms = [], []
    for method in METHODS:
        rows = marks[method]
        tops.append([[m.hit, m.hit, m.precise, *m.levels, *m.found, *m.recall] for m in rows])
        bottoms.append(
            [
                [1.0, float(p), m.offered, *m.answered, *[1.0] * len(ranks), *[float(p)] * len(ranks)]
                for m, p in zip(rows, possible, strict=True)
            ]
        )
    width = 3 + len(levels) + 2 * len(ranks)
    top = np.concatenate([np.array(part, np.float64).reshape(n, width) for part in tops], axis=1)
    bottom = np.concatenate([np.array(part, np.float64).reshape(n, width) for part in bottoms], axis=1)
    gaps = [(0, i * width) for i in range(1, len(METHODS))]
    estimates, gains = estimate_ratios(
        np.where(bottom > 0, top, 0.0), bottom, patients, differences=gaps, draws=draws, seed=seed
    )
    result: dict[str, Any] = {}
    for i, method in enumerate(METHODS):
        hit, possible_hit, precision, *rest = estimates[i * width : (i + 1) * width]
        result[method] = {
            "image_hit_rate": hit,
            "image_hit_rate_possible": possible_hit,
            "word_precision": precision,
            "level_recall": dict(zip(levels, rest, strict=False)),
            "hit_at": _by_rank(ranks, rest[len(levels) :]),
            "recall_at": _by_rank(ranks, rest[len(levels) + len(ranks) :]),
        }
    result["radfast"]["gain"] = dict(zip(METHODS[1:], gains, strict=True))
    return result


def _by_rank(ranks: Sequence[int], estimates: list[dict[str, Any]]) -> dict[str, Any]:
    return {str(int(k)): value for k, value in zip(ranks, estimates, strict=False)}
