"""Topics of one model beside those of another: similarity, matching, stability over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from radfast.errors import InputError


def topic_similarity(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the Bhattacharyya coefficients sum_w sqrt(a_kw b_lw) of all pairs of topics.

    1 for equal topics, 0 for topics without a common word.

    Parameters
    ----------
    a, b : float, shapes (K, V) and (L, V)
        p(word | topic), as in ``LDA.components_``.

    Returns
    -------
    float64, shape (K, L)
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"[topic_similarity] a (K, V) and b (L, V) are needed, are {a.shape}, {b.shape}")
    return np.asarray(np.sqrt(a, dtype=np.float64) @ np.sqrt(b, dtype=np.float64).T)


def match_topics(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pair the topics of two models so that the sum of `topic_similarity` is largest (Hungarian method).

    Parameters
    ----------
    a, b : float, shapes (K, V) and (L, V)
        p(word | topic), as in ``LDA.components_``.

    Returns
    -------
    int64, shape (K,)
        For each topic of `a` its partner in `b`, each partner once; -1 for the K - L topics left over where
        K > L.
    float64, shape (K,)
        Their similarity; 0 without a partner.
    """
    similarity = topic_similarity(a, b)
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    partners, values = np.full(len(a), -1, np.int64), np.zeros(len(a))
    partners[rows], values[rows] = columns, similarity[rows, columns]
    return partners, values


def seed_stability(components: Sequence[NDArray[np.floating[Any]]]) -> float:
    """Return the mean similarity of matched topics over all pairs of models, 0 to 1.

    Parameters
    ----------
    components : sequence of float arrays, shape (K, V)
        Models of one corpus and one K that differ by their seed; two or more.
    """
    if len(components) < 2:
        raise InputError(f"[seed_stability] 2 models or more are needed, got {len(components)}")
    return float(np.mean([match_topics(a, b)[1].mean() for a, b in combinations(components, 2)]))


def align_words(
    components: NDArray[np.float32], vocabulary: tuple[str, ...] | None, wanted: tuple[str, ...] | None
) -> NDArray[np.float32]:
    """Bring the columns of `components` to the words `wanted`; a word it has not gets 0.

    As they are where either side has no vocabulary.
    """
    if vocabulary is None or wanted is None or vocabulary == wanted:
        return components
    ids = {word: i for i, word in enumerate(vocabulary)}
    columns = np.array([ids.get(word, len(vocabulary)) for word in wanted], np.int64)
    return np.pad(components, ((0, 0), (0, 1)))[:, columns]
