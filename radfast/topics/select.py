"""The choice of K by held-out perplexity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import InputError
from radfast.topics import heldout
from radfast.topics.counts import read_documents
from radfast.topics.lda import LDA
from radfast.types import Progress, no_progress

RULE = (
    "the smallest K whose perplexity, paired by seed, exceeds that of the K with the lowest mean by no more "
    "than one standard error of the difference; with one seed the K with the lowest perplexity"
)


@dataclass(frozen=True)
class TopicCurve:
    """Held-out perplexity against K.

    Attributes
    ----------
    candidates : tuple of int
        K, as given.
    perplexity : float64, shape (n_candidates, n_seeds)
    mean, sd : float64, shape (n_candidates,)
        Over seeds; sd with n - 1, 0 for one seed.
    chosen : int
        K by `rule`.
    rule : str
    """

    candidates: tuple[int, ...]
    perplexity: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    chosen: int
    rule: str = RULE


def select_n_topics(
    X: Any,
    candidates: Iterable[int] = range(10, 101, 10),
    seeds: int = 3,
    *,
    groups: ArrayLike | None = None,
    hold_out: float = 0.2,
    alpha: float | None = None,
    eta: float = 0.01,
    n_sweeps: int = 100,
    backend: str = "auto",
    threads: int = 0,
    random_state: int = 0,
    progress: Progress = no_progress,
) -> TopicCurve:
    """Train an `LDA` per K and seed, and choose K by perplexity on held-out documents.

    Each seed has a shuffled hold-out of its own, the same for all K, so that values pair by seed. The
    perplexity is that of document completion (`LDA.perplexity`). Reading, checks, hold-out and halves are
    made once for all K; the sweeps are not shared, since every K has a chain of its own.

    Parameters
    ----------
    X : Corpus or matrix of counts, shape (D, V)
    candidates : iterable of int
        K to try.
    seeds : int
        Hold-outs and chains per K.
    groups : array_like, shape (D,), optional
        Patient of each document; no patient stands on both sides. Each document by itself when None.
    hold_out : float
        Share of the groups held out, between 0 and 1; at least one group on each side.
    alpha, eta, n_sweeps, backend, threads
        As in `LDA`.
    random_state : int
        Seed s uses random_state + s.
    progress : callable
        ``progress(models trained, models)``.

    Returns
    -------
    TopicCurve

    Raises
    ------
    InputError
        If there is no candidate, or fewer than 2 groups, or `groups` has another length than `X`, or no
        document held out has 2 tokens.
    """
    documents = read_documents(X, "select_n_topics")
    given = list(candidates)
    tried = tuple(int(k) for k in given)
    if not tried or min(tried) < 1 or list(tried) != given:
        raise InputError(f"[select_n_topics] candidates must be whole numbers from 1, are {given}")
    if seeds < 1:
        raise InputError(f"[select_n_topics] seeds must be 1 or more, is {seeds}")
    if not 0 < hold_out < 1:
        raise InputError(f"[select_n_topics] hold_out must be between 0 and 1, is {hold_out}")
    owner = _group_ids(groups, len(documents))
    n_groups = int(owner.max(initial=-1)) + 1
    if n_groups < 2:
        raise InputError(f"[select_n_topics] 2 documents of different groups are needed, got {n_groups}")
    n_held = min(max(1, round(hold_out * n_groups)), n_groups - 1)
    perplexity = np.empty((len(tried), seeds))
    progress(0, perplexity.size)
    for s in range(seeds):
        shuffled = np.random.default_rng(random_state + s).permutation(n_groups)
        held = np.isin(owner, shuffled[:n_held])
        train, test = documents.take(np.flatnonzero(~held)), documents.take(np.flatnonzero(held))
        # What all candidates share: the split, the halves of the documents held out, the order of tokens.
        halves = heldout.split_tokens(test)
        if len(halves[1].tokens) == 0:
            raise InputError(
                f"[select_n_topics] a held-out document of at least 2 tokens is needed, seed {s} has none"
            )
        for c, k in enumerate(tried):
            model = LDA(
                k, alpha, eta, n_sweeps, backend, threads, random_state=random_state + s, evaluate_every=0
            ).fit(train)
            logs = heldout.complete(halves, model.components_, model.alpha_, threads)
            perplexity[c, s] = np.exp(-logs.sum() / len(halves[1].tokens))
            progress(s * len(tried) + c + 1, perplexity.size)
    mean = perplexity.mean(axis=1)
    sd = perplexity.std(axis=1, ddof=1) if seeds > 1 else np.zeros(len(tried))
    return TopicCurve(tried, perplexity, mean, sd, _choose(tried, perplexity))


def _choose(candidates: tuple[int, ...], perplexity: NDArray[np.float64]) -> int:
    seeds = perplexity.shape[1]
    excess = perplexity - perplexity[perplexity.mean(axis=1).argmin()]
    error = excess.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(len(candidates))
    return min(k for k, good in zip(candidates, excess.mean(axis=1) <= error, strict=True) if good)


def _group_ids(groups: ArrayLike | None, n_documents: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(n_documents)
    labels = np.asarray(groups)
    if labels.shape != (n_documents,):
        raise InputError(f"[select_n_topics] groups must have shape ({n_documents},), is {labels.shape}")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
