"""Corpora with known topics, for the tests of the topic models."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp

from radfast.topics import LDA, read_documents

K, BLOCK = 5, 8


def planted(n_documents=150, length=40, seed=0):
    """Counts whose topics are blocks of words of their own; each document has one main topic."""
    rng = np.random.default_rng(seed)
    main = rng.integers(0, K, n_documents)
    topic = np.where(
        rng.random((n_documents, length)) < 0.9, main[:, None], rng.integers(0, K, (n_documents, length))
    )
    words = topic * BLOCK + rng.integers(0, BLOCK, topic.shape)
    counts = np.zeros((n_documents, K * BLOCK), int)
    np.add.at(counts, (np.repeat(np.arange(n_documents), length), words.ravel()), 1)
    return sp.csr_matrix(counts), main


def as_corpus(counts, words=None):
    """The same documents as a corpus with a vocabulary."""
    documents = read_documents(counts)
    words = words or [f"w{i}" for i in range(documents.n_words)]
    return SimpleNamespace(indptr=documents.indptr, tokens=documents.tokens, vocabulary=words)


def small(**changes):
    """A model for `planted`."""
    return LDA(**{"n_topics": K, "alpha": 0.1, "n_sweeps": 60, "random_state": 1, **changes})
