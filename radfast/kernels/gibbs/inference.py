"""What is read off a chain or a fitted model in Numba: likelihoods and the topic shares of documents."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radfast.kernels.gibbs.team import LANES, Team, compiled, cut_documents, spread_alpha

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
    of_topics = sum(
        math.lgamma(smoothing) - math.lgamma(int(n) + smoothing)
        for n in chain.totals[:, : chain.n_topics].ravel()
    )
    return float(of_documents.sum() + of_rows.sum() + of_topics)


@compiled
def _fold_in(
    indptr: Any, rows: Any, phi: Any, n_topics: int, alpha: Any, n_iterations: int, tolerance: Any,
    first: int, last: int, theta: Any,
) -> None:  # fmt: skip
    padded = phi.shape[1]
    longest = 0
    for d in range(first, last):
        longest = max(longest, indptr[d + 1] - indptr[d])
    shares = np.empty((longest, padded), np.float32)
    counts = np.empty(padded, np.float32)
    weight = np.empty(padded, np.float32)
    lane = np.empty(LANES, np.float32)
    zero, one = np.float32(0.0), np.float32(1.0)
    mass = alpha.sum()
    for d in range(first, last):
        begin, size = indptr[d], indptr[d + 1] - indptr[d]
        counts[:] = 0
        for i in range(size):
            shares[i] = 0
        # Round 0 starts from the words alone.
        for step in range(n_iterations + 1):
            change = zero
            for i in range(size):
                share, word = shares[i], phi[rows[begin + i]]
                for k in range(padded):
                    rest = counts[k] - share[k] if step else zero
                    weight[k] = ((rest if rest > zero else zero) + (alpha[k] if step else one)) * word[k]
                for j in range(LANES):
                    lane[j] = zero
                for b in range(0, padded, LANES):
                    for j in range(LANES):
                        lane[j] += weight[b + j]
                total = zero
                for j in range(LANES):
                    total += lane[j]
                    lane[j] = zero
                scale = np.float32(1.0) / total
                for b in range(0, padded, LANES):
                    for j in range(LANES):
                        new = weight[b + j] * scale
                        moved = new - share[b + j]
                        lane[j] += abs(moved)
                        counts[b + j] += moved
                        share[b + j] = new
                for j in range(LANES):
                    change += lane[j]
            if step and change < tolerance * np.float32(size):
                break
        counts[:] = 0
        for i in range(size):
            for k in range(padded):
                counts[k] += shares[i, k]
        scale = one / (np.float32(size) + mass)
        for k in range(n_topics):
            theta[d, k] = (counts[k] + alpha[k]) * scale


def fold_in(
    indptr: NDArray[np.int64], rows: NDArray[np.int32], phi: NDArray[np.float32], n_topics: int,
    alpha: float | NDArray[np.float64], *, n_iterations: int, tolerance: float, threads: int,
) -> NDArray[np.float32]:  # fmt: skip
    """Infer topic shares, float32 (D, K), under topics `phi` float32 (R, P), zero from column K on."""
    theta = np.empty((len(indptr) - 1, n_topics), np.float32)
    prior = np.zeros(phi.shape[1], np.float32)
    prior[:n_topics] = alpha
    with Team(threads) as team:
        team.run(
            _fold_in,
            [
                (indptr, rows, phi, n_topics, prior, n_iterations, np.float32(tolerance), low, high, theta)
                for low, high in cut_documents(indptr, 0, len(indptr) - 1, threads)
            ],
        )
    return theta


@compiled
def _log_predictive(indptr: Any, rows: Any, theta: Any, phi: Any, out: Any) -> None:
    for d in range(len(indptr) - 1):
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
    indptr: NDArray[np.int64], rows: NDArray[np.int32], theta: NDArray[np.float32], phi: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the log probability of each document's tokens, float64 (D,)."""
    out = np.zeros(len(indptr) - 1)
    _log_predictive(indptr, rows, np.ascontiguousarray(theta), np.ascontiguousarray(phi), out)
    return out
