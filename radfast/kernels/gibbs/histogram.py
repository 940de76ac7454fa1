"""How often a topic has n tokens in a document: what the estimation of alpha reads off a chain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfast.kernels.gibbs.team import compiled


@compiled
def _largest_counts(indptr: Any, topics: Any, counts: Any, largest: Any) -> None:
    for d in range(len(indptr) - 1):
        for i in range(indptr[d], indptr[d + 1]):
            k = topics[i]
            counts[k] += 1
            largest[k] = max(largest[k], counts[k])
        for i in range(indptr[d], indptr[d + 1]):
            counts[topics[i]] = 0


@compiled
def _count_documents(indptr: Any, topics: Any, counts: Any, start: Any, documents: Any) -> None:
    for d in range(len(indptr) - 1):
        for i in range(indptr[d], indptr[d + 1]):
            counts[topics[i]] += 1
        for i in range(indptr[d], indptr[d + 1]):
            k = topics[i]
            # One step per document: its first token takes the whole count.
            if counts[k] > 0:
                documents[start[k] + counts[k] - 1] += 1
                counts[k] = 0


def count_documents(
    indptr: NDArray[np.int64], topics: NDArray[np.uint16], n_topics: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the documents in which a topic has n tokens.

    Parameters
    ----------
    indptr : int64, shape (D+1,)
    topics : uint16, shape (T,)
        Topic of each token, below K.
    n_topics : int
        K.

    Returns
    -------
    start : int64, shape (K+1,)
        Topic k owns ``documents[start[k]:start[k+1]]``: as many as its largest count in a document.
    documents : int64
        ``documents[start[k] + n - 1]`` documents have exactly n tokens of topic k, n from 1.
    """
    counts, largest = np.zeros(n_topics, np.int64), np.zeros(n_topics, np.int64)
    _largest_counts(indptr, topics, counts, largest)
    start = np.concatenate(([0], np.cumsum(largest)))
    documents = np.zeros(int(start[-1]), np.int64)
    _count_documents(indptr, topics, counts, start, documents)
    return start, documents
