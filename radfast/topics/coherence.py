"""How good topics are: coherence of their words, and whether another seed finds the same topics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from radfast.errors import UsageError
from radfast.topics.counts import read_documents


def npmi_coherence(topics: Sequence[Sequence[int] | NDArray[np.integer[Any]]], X: Any) -> NDArray[np.float64]:
    """Return the normalised pointwise mutual information of each topic's words, -1 to 1.

    NPMI(a, b) = log(p(a, b) / (p(a) p(b))) / -log p(a, b), p being shares of documents that hold the word or
    both; -1 for words that never meet, 1 for words that stand in every document together. A topic's value is
    the mean over its pairs (Bouma 2009; Aletras and Stevenson 2013).

    Parameters
    ----------
    topics : sequence of K sequences of int
        Word ids.
    X : Corpus or matrix of counts, shape (D, V)

    Returns
    -------
    float64, shape (K,)
        NaN for a topic with fewer than 2 words that occur in `X`.
    """
    documents = read_documents(X, "npmi_coherence")
    used = np.unique(np.concatenate([np.asarray(ids, np.int64) for ids in topics] or [np.empty(0, np.int64)]))
    if len(used) and (used[0] < 0 or used[-1] >= documents.n_words):
        raise UsageError(
            f"[npmi_coherence] word ids must be 0 to {documents.n_words - 1}, has {used[0]}..{used[-1]}"
        )
    owner = np.repeat(np.arange(len(documents)), np.diff(documents.indptr))
    column = np.full(documents.n_words, -1, np.int64)
    column[used] = np.arange(len(used))
    chosen = column[documents.tokens] >= 0
    pairs = np.unique(np.stack((owner[chosen], column[documents.tokens][chosen])), axis=1)
    ones = np.ones(pairs.shape[1])
    held = sp.csr_matrix((ones, (pairs[0], pairs[1])), shape=(len(documents), len(used)))
    together = (held.T @ held).tocsr()
    single = together.diagonal()
    result = np.full(len(topics), np.nan)
    for k, ids in enumerate(topics):
        columns = column[np.asarray(ids, np.int64)]
        columns = columns[single[columns] > 0]
        if len(columns) < 2:
            continue
        a, b = np.triu_indices(len(columns), 1)
        joint = together[columns][:, columns].toarray()[a, b] / len(documents)
        product = single[columns][a] * single[columns][b] / len(documents) ** 2
        result[k] = _npmi(joint, product).mean()
    return result


def _npmi(joint: NDArray[np.float64], product: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full(len(joint), -1.0)
    value[joint >= 1.0] = 1.0
    inside = (joint > 0) & (joint < 1.0)
    value[inside] = np.log(joint[inside] / product[inside]) / -np.log(joint[inside])
    return value


def match_topics(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pair the topics of two models so that the sum of similarities is largest.

    Similarity is the Bhattacharyya coefficient sum_w sqrt(a_kw b_lw): 1 for equal topics, 0 for topics
    without a common word.

    Parameters
    ----------
    a, b : float, shapes (K, V) and (L, V), K <= L
        p(word | topic), as in ``LDA.components_``.

    Returns
    -------
    int64, shape (K,)
        For each topic of `a` its partner in `b`.
    float64, shape (K,)
        Their similarity.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or len(a) > len(b):
        raise UsageError(
            f"[match_topics] a (K, V) and b (L, V) with K <= L are needed, are {a.shape}, {b.shape}"
        )
    similarity = np.sqrt(a, dtype=np.float64) @ np.sqrt(b, dtype=np.float64).T
    rows, partners = linear_sum_assignment(similarity, maximize=True)
    return partners.astype(np.int64), similarity[rows, partners]


def seed_stability(components: Sequence[NDArray[np.floating[Any]]]) -> float:
    """Return the mean similarity of matched topics over all pairs of models, 0 to 1.

    Parameters
    ----------
    components : sequence of float arrays, shape (K, V)
        Models of one corpus and one K that differ by their seed; two or more.
    """
    if len(components) < 2:
        raise UsageError(f"[seed_stability] 2 models or more are needed, got {len(components)}")
    return float(np.mean([match_topics(a, b)[1].mean() for a, b in combinations(components, 2)]))
