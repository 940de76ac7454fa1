"""Keywords of an image: of the words of its predicted topics, those nearest to its predicted vector.

A network predicts one topic per level and a vector of 2F features, two words side by side. Of each topic's
top words the one with the highest cosine to either half is given: three words per image at one per level.

- A topic's words compete only if they have a vector and, with `disease_only`, stand in a name of the
  ontology.
- A word is given once per image. Levels choose in the order document, second, sentence; where a word was
  taken by an earlier level the next best follows.
- Near-synonyms of one word say little more than the word. So from the second word on the choice is by
  cosine - diversity * max(0, highest cosine to a word already given); diversity 0 is the original rule.
- A level without a topic (-1) or whose topic has no word left gives nothing.

Source: Shin et al., CVPR 2015; diversity: Carbonell and Goldstein, SIGIR 1998 (maximal marginal relevance).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from radfast.errors import UsageError
from radfast.kernels.cosine import as_rows
from radfast.kernels.cosine.halves import cosine_topk_halves
from radfast.types import DESCRIPTIONS, LEVELS, Progress, no_progress

_BATCH = 1 << 16  # images scored at a time: bounds the memory beside the table
_GATHERED_BYTES = 1 << 25  # vectors of candidate words in memory at a time


@dataclass(frozen=True)
class Evidence:
    """The citing window of an image, as it stands in the report."""

    report_id: str
    window: str  # text from the previous to the following sentence, unchanged
    window_start: int  # its first byte in the report
    sentence: str  # the citing sentence


@dataclass(frozen=True)
class Keywords:
    """Words chosen for N images, per level in order; ids are rows of the word vectors."""

    ids: npt.NDArray[np.int32]  # (N, 3, per_level), -1 in free places
    scores: npt.NDArray[np.float32]  # (N, 3, per_level), cosine to the nearer half, minus infinity where free
    half: npt.NDArray[np.int8]  # (N, 3, per_level), -1 where free


def describe_images(
    image_ids: Sequence[str],
    topics: Any,
    predicted: Any,
    topic_words: Sequence[Sequence[Sequence[str]]],
    words: Sequence[str],
    vectors: Any,
    disease: Collection[str],
    evidence: Mapping[str, Evidence],
    *,
    run_id: str,
    model_hash: str,
    per_level: int = 1,
    diversity: float = 0.5,
    disease_only: bool = True,
    threads: int = 0,
    progress: Progress = no_progress,
) -> pa.Table:
    """Describe images by keywords, each with its evidence.

    Parameters
    ----------
    image_ids : sequence of str
        N images.
    topics : int32 (N, 3)
        Predicted topic at the levels document, second, sentence; -1 for none.
    predicted : float32 (N, 2F)
        Predicted vectors, two words side by side.
    topic_words : three sequences of lists of str
        For each level the top words of each of its topics.
    words : sequence of str
        V words that have vectors.
    vectors : float32 (V, F)
        Their vectors.
    disease : set of str
        Words of the ontology.
    evidence : mapping of image id to Evidence
        Of the images with a link; others get null evidence.
    run_id, model_hash : str
        Provenance of every row.
    per_level : int
        Words per level, at least 1.
    diversity : float
        How much nearness to words already given counts against a word, at least 0.
    disease_only : bool
        Take words of the ontology only.
    threads : int
        0 takes all cores.
    progress : Progress
        Told in images.

    Returns
    -------
    pyarrow.Table
        `radfast.types.DESCRIPTIONS`: images in the order given, levels in order, best word first.
        `in_window` is true where the word stands in the window with no letter or digit beside it, in upper
        or lower case; `span_start` and `span_end` are the bytes of its first occurrence there.

    Raises
    ------
    UsageError
        If shapes disagree or a topic has no list of words.
    """
    columns: dict[str, list[Any]] = {name: [] for name in DESCRIPTIONS.names}
    is_disease = [word in disease for word in words]
    levels, rows = np.asarray(topics, dtype=np.int32), as_rows(predicted, "[describe_images] predicted")
    if not len(levels) == len(rows) == len(image_ids):
        raise UsageError(
            f"[describe_images] topics and predicted need a row for each of the {len(image_ids)} images, "
            f"have {len(levels)} and {len(rows)}"
        )
    for start in range(0, len(rows), _BATCH):
        batch = slice(start, start + _BATCH)
        chosen = choose_keywords(
            levels[batch],
            rows[batch],
            topic_words,
            words,
            vectors,
            keep=disease if disease_only else None,
            per_level=per_level,
            diversity=diversity,
            threads=threads,
        )
        for n, image_id in enumerate(image_ids[batch]):
            found = evidence.get(image_id)
            for place, level in enumerate(LEVELS):
                for j, word_id in enumerate(chosen.ids[n, place].tolist()):
                    if word_id < 0:
                        continue
                    span = None if found is None else _locate(words[word_id], found)
                    values = (
                        image_id,
                        level,
                        words[word_id],
                        float(chosen.scores[n, place, j]),
                        int(chosen.half[n, place, j]),
                        is_disease[word_id],
                        None if found is None else span is not None,
                        None if found is None else found.report_id,
                        None if span is None else span[0],
                        None if span is None else span[1],
                        None if found is None else found.sentence,
                        run_id,
                        model_hash,
                    )
                    for name, value in zip(DESCRIPTIONS.names, values, strict=True):
                        columns[name].append(value)
        progress(min(start + _BATCH, len(rows)), len(rows))
    return pa.Table.from_pydict(columns, schema=DESCRIPTIONS)


def choose_keywords(
    topics: Any,
    predicted: Any,
    topic_words: Sequence[Sequence[Sequence[str]]],
    words: Sequence[str],
    vectors: Any,
    *,
    keep: Collection[str] | None = None,
    per_level: int = 1,
    diversity: float = 0.5,
    threads: int = 0,
) -> Keywords:
    """Choose the keywords of N images.

    Parameters
    ----------
    topics, predicted, topic_words, words, vectors, per_level, diversity
        As in `describe_images`.
    keep : set of str, optional
        Candidates must be among these, for example the words of the ontology.
    threads : int
        0 takes all cores.

    Returns
    -------
    Keywords
        Of words of equal standing the one with the higher cosine, then the smaller row.

    Raises
    ------
    UsageError
        If shapes disagree, a topic has no list of words, or an option is out of range.
    """
    if per_level < 1:
        raise UsageError(f"[choose_keywords] per_level must be at least 1, is {per_level}")
    if not 0 <= diversity < np.inf:
        raise UsageError(f"[choose_keywords] diversity must be at least 0, is {diversity}")
    levels, rows, keys = _check(topics, predicted, topic_words, words, vectors)
    units = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    diversity *= len(units) > 0  # without a vector there is nothing to be near to
    shape = (len(rows), len(LEVELS) * per_level)
    chosen = Keywords(
        np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int8)
    )
    for place, level in enumerate(topic_words):
        indptr, ids = _lists(level, words, keep)
        # Without diversity only words taken earlier can stand before the best free ones.
        k = int(np.diff(indptr).max(initial=1)) if diversity else per_level * (place + 1)
        found = cosine_topk_halves(
            rows, keys, max(k, 1), candidates=(indptr, ids, levels[:, place]), threads=threads
        )
        step = max(_GATHERED_BYTES // (k * units.itemsize * units.shape[1]), 1) if units.size else len(rows)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            columns = slice(place * per_level, (place + 1) * per_level)
            _take_words(chosen, part, columns, tuple(table[part] for table in found), units, diversity)
    by_level = (len(rows), len(LEVELS), per_level)
    return Keywords(
        chosen.ids.reshape(by_level), chosen.scores.reshape(by_level), chosen.half.reshape(by_level)
    )


def _take_words(
    chosen: Keywords,
    part: slice,
    columns: slice,
    found: tuple[npt.NDArray[Any], ...],
    units: npt.NDArray[np.float32],
    diversity: float,
) -> None:
    """Fill `columns` of images `part` from candidates (N, k), best first, greedily."""
    scores, ids, half = found
    given = chosen.ids[part]
    free = ids >= 0
    near = np.zeros_like(scores)  # highest cosine to a word already given
    vectors = units[ids] if diversity else units[:0]
    everyone = np.arange(len(ids))

    def mark(word: npt.NDArray[np.int32]) -> None:
        """Take note of one word given per image, -1 for none."""
        free[ids == word[:, None]] = False
        if diversity:
            cosines = np.einsum("nkf,nf->nk", vectors, units[word])
            np.maximum(near, cosines, out=near, where=(word >= 0)[:, None])

    for column in range(columns.start):
        mark(given[:, column])
    for column in range(columns.start, columns.stop):
        value = np.where(free, scores - np.float32(diversity) * near, -np.inf)
        best = value.argmax(axis=1)
        there = free[everyone, best]
        given[:, column] = np.where(there, ids[everyone, best], -1)
        chosen.scores[part, column] = np.where(there, scores[everyone, best], -np.inf)
        chosen.half[part, column] = np.where(there, half[everyone, best], -1)
        mark(given[:, column])


def _check(
    topics: Any,
    predicted: Any,
    topic_words: Sequence[Sequence[Sequence[str]]],
    words: Sequence[str],
    vectors: Any,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    name = "choose_keywords"
    levels = np.asarray(topics, dtype=np.int32)
    rows, keys = as_rows(predicted, f"[{name}] predicted"), as_rows(vectors, f"[{name}] vectors")
    if len(topic_words) != len(LEVELS):
        raise UsageError(f"[{name}] topic_words must have {len(LEVELS)} levels, has {len(topic_words)}")
    if levels.shape != (len(rows), len(LEVELS)):
        raise UsageError(
            f"[{name}] topics must have shape ({len(rows)}, {len(LEVELS)}), one row for each of predicted, "
            f"have {levels.shape}"
        )
    if len(words) != len(keys):
        raise UsageError(f"[{name}] {len(words)} words but {len(keys)} vectors")
    for place, level in enumerate(LEVELS):
        column = levels[:, place]
        if column.size and not (column.min() >= -1 and column.max() < len(topic_words[place])):
            raise UsageError(
                f"[{name}] topics of level {level} must be in [-1, {len(topic_words[place])}), "
                f"are in [{column.min()}, {column.max()}]"
            )
    return levels, rows, keys


def _lists(
    topics: Sequence[Sequence[str]], words: Sequence[str], keep: Collection[str] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    place = {word: row for row, word in enumerate(words) if keep is None or word in keep}
    ids = [sorted({place[word] for word in topic if word in place}) for topic in topics]
    indptr = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum([len(one) for one in ids], out=indptr[1:])
    return indptr, np.array([i for one in ids for i in one], dtype=np.int32)


@lru_cache(maxsize=1 << 14)
def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)


def _locate(word: str, found: Evidence) -> tuple[int, int] | None:
    match = _pattern(word).search(found.window)
    if match is None:
        return None
    start = found.window_start + len(found.window[: match.start()].encode())
    return start, start + len(match.group().encode())
