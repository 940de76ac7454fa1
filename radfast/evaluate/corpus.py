"""Corpus statistics: how long reports, sentences and windows are, and which words are frequent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radfast.errors import UsageError

_BINS = 24


def describe_counts(counts: ArrayLike) -> dict[str, Any]:
    """Describe a set of counts: number, total, mean, standard deviation (n - 1), median, extremes, histogram.

    Parameters
    ----------
    counts : array_like, shape (N,)
        Whole numbers from 0: words of each report, for instance.

    Returns
    -------
    dict
        ``n, total, mean, sd, median, min, max`` (None where undefined) and ``histogram`` with ``edges``
        (B+1) and ``counts`` (B): at most 24 bins of equal width up to the 99.5 % point, the last one open.
    """
    values = np.asarray(counts)
    if values.ndim != 1 or (values.size and (values.min() < 0 or not np.all(values == np.floor(values)))):
        raise UsageError("[describe_counts] counts must be one-dimensional whole numbers from 0")
    if values.size == 0:
        nothing = dict.fromkeys(("mean", "sd", "median", "min", "max"))
        return {"n": 0, "total": 0, **nothing, "histogram": {"edges": [], "counts": []}}
    last = max(int(np.ceil(np.percentile(values, 99.5))), 1)
    width = -(-last // _BINS)
    edges = np.arange(0, last + width, width)
    binned = np.bincount(
        np.minimum(values.astype(np.int64) // width, len(edges) - 2), minlength=len(edges) - 1
    )
    return {
        "n": int(values.size),
        "total": int(values.sum()),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if values.size > 1 else None,
        "median": float(np.median(values)),
        "min": int(values.min()),
        "max": int(values.max()),
        "histogram": {"edges": edges.tolist(), "counts": binned.tolist()},
    }


def corpus_statistics(
    words_per_report: ArrayLike,
    words_per_sentence: ArrayLike,
    words_per_window: ArrayLike,
    word_counts: Mapping[str, int],
    *,
    disease_words_per_window: ArrayLike | None = None,
    n_frequent: int = 20,
) -> dict[str, Any]:
    """Return the corpus table of Shin et al. 2015, section 3: lengths, vocabulary, frequent words.

    Parameters
    ----------
    words_per_report, words_per_sentence, words_per_window : array_like of int
        One value each; a window is the citing sentence with its neighbours.
    word_counts : mapping of str to int
        How often each word of the vocabulary occurs in all reports.
    disease_words_per_window : array_like of int, optional
    n_frequent : int
        Words listed.

    Returns
    -------
    dict
        ``words_per_report``, ``words_per_sentence``, ``words_per_window``, ``disease_words_per_window``
        (see `describe_counts`; None where not given), ``vocabulary``, ``frequent`` as a list of
        ``{word, count}``, most frequent first, ties in byte order.
    """
    ranked = sorted(word_counts.items(), key=lambda row: (-row[1], row[0].encode()))
    return {
        "words_per_report": describe_counts(words_per_report),
        "words_per_sentence": describe_counts(words_per_sentence),
        "words_per_window": describe_counts(words_per_window),
        "disease_words_per_window": (
            None if disease_words_per_window is None else describe_counts(disease_words_per_window)
        ),
        "vocabulary": len(word_counts),
        "frequent": [{"word": word, "count": int(count)} for word, count in ranked[:n_frequent]],
    }


def class_counts(
    names: Sequence[str], targets: ArrayLike, dropped: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Count the samples of each class of a label set.

    Parameters
    ----------
    names : sequence of C str
        Classes kept.
    targets : array_like of int, shape (N,)
        Class of each sample, -1 for none.
    dropped : mapping of str to int, optional
        Classes under the threshold, with the samples they had.

    Returns
    -------
    dict
        ``classes`` as a list of ``{name, n}``, largest first; ``n_samples``; ``largest_share`` (None for an
        empty set); ``dropped``, the number of classes dropped, and ``dropped_samples``.
    """
    target = np.asarray(targets, np.int64)
    if target.size and (target.min() < -1 or target.max() >= len(names)):
        raise UsageError(f"[class_counts] targets must be -1 to {len(names) - 1}")
    counts = np.bincount(target[target >= 0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda c: (-counts[c], c))
    total = int(counts.sum())
    lost = dropped or {}
    return {
        "classes": [{"name": names[c], "n": int(counts[c])} for c in order],
        "n_samples": total,
        "largest_share": float(counts.max() / total) if total else None,
        "dropped": len(lost),
        "dropped_samples": int(sum(lost.values())),
    }
