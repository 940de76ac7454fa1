"""The second level: one small LDA within each topic of the first, all of them trained as one batch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfast.kernels import gibbs
from radfast.topics import files
from radfast.topics.counts import Documents
from radfast.topics.model import heaviest, weigh_words
from radfast.topics.training import Schedule, Training
from radfast.types import Progress


class SecondLevel:
    """G models of K topics each over disjoint groups of documents.

    A row of the count table is a word within a group, so that the models share no count: the chain is G
    chains that take turns. A word that a group never holds has no row in it; it has no token in any of its
    topics.

    Parameters
    ----------
    row_word, row_group : int32, shape (R,)
        Ascending by group, then by word.
    counts : int or float32, shape (R, K)
        Tokens of the row in each topic of its group.
    totals : int64 or float64, shape (G, K)
        Tokens of each topic.
    n_words : int
        V, the same for all groups.
    eta : float
    """

    def __init__(
        self,
        row_word: NDArray[np.int32],
        row_group: NDArray[np.int32],
        counts: NDArray[Any],
        totals: NDArray[Any],
        n_words: int,
        eta: float,
    ) -> None:
        self.row_word, self.row_group = row_word, row_group
        self.counts, self.totals = counts, totals
        self.n_words, self.eta = n_words, eta
        self.shares = np.empty(counts.shape, np.float32)
        edges = np.searchsorted(row_group, np.arange(len(totals) + 1))
        for mass, (low, high) in zip(totals + n_words * eta, pairwise(edges), strict=True):
            if low < high:
                self.shares[low:high] = weigh_words(counts[low:high], mass, eta)

    @classmethod
    def fit(
        cls,
        documents: Documents,
        group: NDArray[np.int32],
        shape: tuple[int, int],
        *,
        alpha: float,
        eta: float,
        seed: int,
        schedule: Schedule,
        progress: Progress,
        checkpoint: files.Checkpoint | None,
    ) -> tuple[SecondLevel, NDArray[np.float32]]:
        """Train the models and infer the documents' shares of their group's topics.

        Parameters
        ----------
        documents : Documents
        group : int32, shape (D,)
            0 to G-1.
        shape : (int, int)
            (G, K).
        alpha, eta : float
        seed : int
        schedule : Schedule
        progress : callable
        checkpoint : Checkpoint, optional

        Returns
        -------
        SecondLevel
        float32, shape (D, K)
        """
        row_word, row_group, rows = name_rows(documents, group)
        chain = gibbs.start(
            documents.indptr, rows, shape[1], n_rows=len(row_word), eta=eta, seed=seed,
            n_words=max(documents.n_words, 1), document_group=group, row_group=row_group,
            **Training.beginning(checkpoint, alpha),
        )  # fmt: skip
        training = Training(chain, schedule, checkpoint).run(progress=progress)
        counts, sums, _ = training.counts()
        totals = np.zeros(shape, sums.dtype)
        totals[: len(sums)] = sums
        level = cls(row_word, row_group, counts, totals, documents.n_words, eta)
        theta = gibbs.fold_in(documents.indptr, rows, level.shares, alpha, threads=schedule.threads)
        return level, theta

    def top_words(self, n: int, vocabulary: tuple[str, ...] | None) -> list[list[tuple[str, float]]]:
        """Return for topic k of group g, at place g K + k, its `n` heaviest words as (word, p)."""
        edges = np.searchsorted(self.row_group, np.arange(len(self.totals) + 1))
        topics = []
        for low, high in pairwise(edges):
            ids, shares, counts = self.row_word[low:high], self.shares[low:high], self.counts[low:high]
            for k in range(self.totals.shape[1]):
                best = heaviest(shares[:, k], counts[:, k], n)
                names = [str(ids[i]) if vocabulary is None else vocabulary[ids[i]] for i in best]
                topics.append(list(zip(names, shares[best, k].tolist(), strict=True)))
        return topics

    def save(self, path: Path, further: files.Tensors, about: dict[str, Any]) -> None:
        """Write the models, and with them `further` tensors and the description `about`."""
        tensors = {
            "row_word": self.row_word,
            "row_group": self.row_group,
            "counts": self.counts,
            "totals": self.totals,
            **further,
        }
        files.write_model(path, tensors, {**about, "n_words": self.n_words, "second_eta": self.eta})

    @classmethod
    def load(cls, path: Path, function: str) -> tuple[SecondLevel, files.Tensors, dict[str, Any]]:
        """Read what `save` wrote: the models, the other tensors, the description."""
        tensors, about = files.read_model(path, function)
        own = [tensors.pop(name) for name in ("row_word", "row_group", "counts", "totals")]
        level = cls(own[0], own[1], own[2], own[3], about.pop("n_words"), about.pop("second_eta"))
        return level, tensors, about


def name_rows(
    documents: Documents, group: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Number the pairs of group and word that occur: word and group of each row, and each token's row.

    Parameters
    ----------
    documents : Documents
    group : int32, shape (D,)

    Returns
    -------
    int32, shapes (R,), (R,) and (T,)
    """
    keys = np.repeat(group.astype(np.int64), np.diff(documents.indptr)) * documents.n_words + documents.tokens
    unique, rows = np.unique(keys, return_inverse=True)
    n_words = max(documents.n_words, 1)
    return (unique % n_words).astype(np.int32), (unique // n_words).astype(np.int32), rows.astype(np.int32)
