"""Keywords of an image: of the words of its predicted topics, those nearest to its predicted vector.

A network predicts one topic per level and a vector of 2F features, two words side by side. Of each topic's
top words the one with the highest cosine to either half is given: three words per image at one per level.

- A topic's words compete only if they have a vector and, with `disease_only`, stand in a name of the
  ontology.
- A word is given once per image. Levels choose in the order document, second, sentence; where a word was
  taken by an earlier level the next best follows.
- A level without a topic (-1) or whose topic has no word left gives nothing.

Source: Shin et al., CVPR 2015.
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


@dataclass(frozen=True)
class Evidence:
    """The citing window of an image, as it stands in the report."""

    report_id: str
    window: str  # text from the previous to the following sentence, unchanged
    window_start: int  # its first byte in the report
    sentence: str  # the citing sentence


@dataclass(frozen=True)
class Ranking:
    """Candidates of all levels together, ranked per image; ids are rows of the word vectors."""

    scores: npt.NDArray[np.float32]  # (N, k), minus infinity in free places
    ids: npt.NDArray[np.int32]  # (N, k), -1 in free places
    half: npt.NDArray[np.int8]  # (N, k), -1 in free places


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
    if per_level < 1:
        raise UsageError(f"[describe_images] per_level must be at least 1, is {per_level}")
    levels, rows, keys = _check("describe_images", image_ids, topics, predicted, topic_words, words, vectors)
    lists = [_lists(level, words, disease if disease_only else None) for level in topic_words]
    columns: dict[str, list[Any]] = {name: [] for name in DESCRIPTIONS.names}
    is_disease = [word in disease for word in words]
    for start in range(0, len(rows), _BATCH):
        batch = slice(start, start + _BATCH)
        chosen = [
            cosine_topk_halves(
                rows[batch],
                keys,
                per_level * (place + 1),  # as many as earlier levels may have taken, and its own
                candidates=(*lists[place], levels[batch, place]),
                threads=threads,
            )
            for place in range(len(LEVELS))
        ]
        for n, image_id in enumerate(image_ids[batch]):
            found = evidence.get(image_id)
            taken: set[int] = set()
            for level, (scores, ids, half) in zip(LEVELS, chosen, strict=True):
                free = [j for j, i in enumerate(ids[n].tolist()) if i >= 0 and i not in taken][:per_level]
                for j in free:
                    word_id = int(ids[n, j])
                    taken.add(word_id)
                    span = None if found is None else _locate(words[word_id], found)
                    values = (
                        image_id,
                        level,
                        words[word_id],
                        float(scores[n, j]),
                        int(half[n, j]),
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


def rank_candidates(
    topics: Any,
    predicted: Any,
    topic_words: Sequence[Sequence[Sequence[str]]],
    words: Sequence[str],
    vectors: Any,
    k: int,
    *,
    keep: Collection[str] | None = None,
    threads: int = 0,
) -> Ranking:
    """Rank the union of the candidates of all three levels, for recall at K.

    Parameters
    ----------
    topics, predicted, topic_words, words, vectors
        As in `describe_images`.
    k : int
        Words per image.
    keep : set of str, optional
        Candidates must be among these, for example the words of the ontology.
    threads : int
        0 takes all cores.

    Returns
    -------
    Ranking
        Best first; equal cosines by smaller row.

    Raises
    ------
    UsageError
        If shapes disagree or a topic has no list of words.
    """
    n_images = len(np.asarray(topics))
    levels, rows, keys = _check(
        "rank_candidates", range(n_images), topics, predicted, topic_words, words, vectors
    )
    lists = [_lists(level, words, keep) for level in topic_words]
    # Images with the same three topics share one list.
    triples, group = np.unique(levels, axis=0, return_inverse=True)
    parts = [
        np.unique(np.concatenate([_one(*lists[place], topic) for place, topic in enumerate(triple)]))
        for triple in triples.tolist()
    ]
    indptr = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=indptr[1:])
    ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    candidates = (indptr, ids, group.reshape(-1))
    return Ranking(*cosine_topk_halves(rows, keys, k, candidates=candidates, threads=threads))


def _check(
    name: str,
    image_ids: Sequence[Any],
    topics: Any,
    predicted: Any,
    topic_words: Sequence[Sequence[Sequence[str]]],
    words: Sequence[str],
    vectors: Any,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    levels = np.asarray(topics, dtype=np.int32)
    rows, keys = as_rows(predicted, f"[{name}] predicted"), as_rows(vectors, f"[{name}] vectors")
    if len(topic_words) != len(LEVELS):
        raise UsageError(f"[{name}] topic_words must have {len(LEVELS)} levels, has {len(topic_words)}")
    if levels.shape != (len(image_ids), len(LEVELS)) or len(rows) != len(image_ids):
        raise UsageError(
            f"[{name}] topics must have shape ({len(image_ids)}, {len(LEVELS)}) and predicted as many rows, "
            f"have {levels.shape} and {len(rows)}"
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


def _one(indptr: npt.NDArray[np.int64], ids: npt.NDArray[np.int32], topic: int) -> npt.NDArray[np.int32]:
    return ids[indptr[topic] : indptr[topic + 1]] if topic >= 0 else ids[:0]


@lru_cache(maxsize=1 << 14)
def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)


def _locate(word: str, found: Evidence) -> tuple[int, int] | None:
    match = _pattern(word).search(found.window)
    if match is None:
        return None
    start = found.window_start + len(found.window[: match.start()].encode())
    return start, start + len(match.group().encode())
