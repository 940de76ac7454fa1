"""What is read off a chain or a model: likelihoods (Numba), expected counts and topic shares (C++)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.gibbs.team import Team, compiled, cut_documents, spread_alpha

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

_TABLE = 4096


@compiled
def _document_likelihoods(
    indptr: Any, topics: Any, alpha: Any, table: Any, first: int, last: int, out: Any
) -> None:
    # `table` serves an alpha that is the same for all topics, and is empty for others.
    n_topics, mass = len(alpha), alpha.sum()
    counts = np.zeros(n_topics, np.int32)
    for d in range(first, last):
        for i in range(indptr[d], indptr[d + 1]):
            counts[topics[i]] += 1
        value = math.lgamma(mass) - math.lgamma(indptr[d + 1] - indptr[d] + mass)
        for i in range(indptr[d], indptr[d + 1]):
            k = topics[i]
            n = counts[k]
            if n > 0:
                value += table[n] if n < len(table) else math.lgamma(n + alpha[k]) - math.lgamma(alpha[k])
                counts[k] = 0
        out[d] = value


@compiled
def _row_likelihoods(word_topic: Any, eta: float, table: Any, first: int, last: int, out: Any) -> None:
    for w in range(first, last):
        value = 0.0
        for n in word_topic[w]:
            if n > 0:
                value += table[n] if n < len(table) else math.lgamma(n + eta) - math.lgamma(eta)
        out[w] = value


def _rising_logs(concentration: float) -> NDArray[np.float64]:
    # log Gamma(n + c) - log Gamma(c) for n = 0, 1, ...
    steps = np.log(np.arange(_TABLE - 1) + concentration)
    return np.concatenate(([0.0], np.cumsum(steps)))


def log_likelihood(chain: Chain, *, threads: int) -> float:
    """Return log p(words, topics | alpha, eta), float64."""
    n_documents, n_rows = len(chain.indptr) - 1, len(chain.word_topic)
    of_documents, of_rows = np.zeros(n_documents), np.zeros(n_rows)
    alpha = spread_alpha(chain.alpha, chain.n_topics)
    even = bool((alpha == alpha[0]).all())
    alphas = _rising_logs(alpha[0]) if even else np.empty(0)
    etas = _rising_logs(chain.eta)
    row_edges = np.linspace(0, n_rows, threads + 1).astype(int)
    with Team(threads) as team:
        team.run(
            _document_likelihoods,
            [
                (chain.indptr, chain.topics, alpha, alphas, low, high, of_documents)
                for low, high in cut_documents(chain.indptr, 0, n_documents, threads)
            ],
        )
        team.run(
            _row_likelihoods,
            [
                (chain.word_topic, chain.eta, etas, int(low), int(high), of_rows)
                for low, high in pairwise(row_edges)
            ],
        )
    smoothing = chain.n_words * chain.eta
    of_topics = (gammaln(smoothing) - gammaln(chain.totals[:, : chain.n_topics] + smoothing)).sum()
    return float(of_documents.sum() + of_rows.sum() + of_topics)


def refine(
    chain: Chain, expected: NDArray[np.float32], *, n_rounds: int, threads: int
) -> NDArray[np.float32]:
    """Take `expected` (R, P) through the rounds in place; returns its K columns."""
    _core.gibbs_refine(
        chain.indptr, chain.rows, chain.document_group, chain.row_group, chain.topics, chain.totals, expected,
        spread_alpha(chain.alpha, chain.n_topics), chain.eta, chain.n_words * chain.eta, n_rounds, threads,
    )  # fmt: skip
    return expected[:, : chain.n_topics]


def fold_in(
    indptr: NDArray[np.int64], rows: NDArray[np.int32], phi: NDArray[np.float32],
    alpha: float | NDArray[np.float64], *, n_iterations: int, tolerance: float, threads: int,
) -> NDArray[np.float32]:  # fmt: skip
    """Infer topic shares, float32 (D, K), under topics `phi` float32 (R, K) in any order of memory."""
    prior = spread_alpha(alpha, phi.shape[1])
    theta, wrong = _core.gibbs_fold_in(indptr, rows, phi, prior, n_iterations, tolerance, threads)
    if wrong >= 0:
        raise UsageError(f"[fold_in] phi must be above 0 and finite; row {wrong} sums to {phi[wrong].sum()}")
    return cast("NDArray[np.float32]", theta)


@compiled
def _log_predictive(indptr: Any, rows: Any, theta: Any, phi: Any, first: int, last: int, out: Any) -> None:
    for d in range(first, last):
        share = theta[d]
        value = 0.0
        for i in range(indptr[d], indptr[d + 1]):
            word = phi[rows[i]]
            p = 0.0
            for k in range(len(share)):
                p += np.float64(share[k]) * np.float64(word[k])
            value += math.log(p)
        out[d] = value


def log_predictive(
    indptr: NDArray[np.int64], rows: NDArray[np.int32], theta: NDArray[np.float32], phi: NDArray[np.float32],
    *, threads: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the log probability of each document's tokens, float64 (D,)."""
    out = np.zeros(len(indptr) - 1)
    shares, words = np.ascontiguousarray(theta), np.ascontiguousarray(phi)
    with Team(threads) as team:
        team.run(
            _log_predictive,
            [
                (indptr, rows, shares, words, low, high, out)
                for low, high in cut_documents(indptr, 0, len(out), threads)
            ],
        )
    return out
