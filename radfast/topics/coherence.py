"""How good topics are: coherence of their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from radfast.errors import InputError
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
        raise InputError(
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
