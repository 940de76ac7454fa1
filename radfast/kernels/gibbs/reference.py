"""The truth of the `gibbs` kernel: the collapsed Gibbs chain as the formula says, float64, plain Python."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

_MASK = 0xFFFFFFFFFFFFFFFF
_STEP = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    """Scramble 64 bits (the output function of SplitMix64: Steele, Lea and Flood 2014)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def stream(seed: int, sweep: int, unit: int) -> int:
    """Return the key of the random stream of a document (`unit`) in a sweep."""
    key = mix((seed + _STEP) & _MASK)
    key = mix((key + (sweep + 1) * _STEP) & _MASK)
    return mix((key + (unit + 1) * _STEP) & _MASK)


def uniform(key: int, index: int) -> float:
    """Return draw `index` of a stream: uniform on [0, 1), 53 bits."""
    return (mix((key + (index + 1) * _STEP) & _MASK) >> 11) * 2.0**-53


def sample(chain: Chain, n_sweeps: int) -> None:
    """Advance `chain` by `n_sweeps` sweeps of the exact chain, one model or many."""
    k_range = range(chain.n_topics)
    alpha = np.broadcast_to(chain.alpha, chain.n_topics)
    smoothing = chain.n_words * chain.eta
    for sweep in range(chain.n_sweeps, chain.n_sweeps + n_sweeps):
        for d in range(len(chain.indptr) - 1):
            begin, end = int(chain.indptr[d]), int(chain.indptr[d + 1])
            totals = chain.totals[chain.document_group[d]]
            n_d = [0] * chain.n_topics
            for i in range(begin, end):
                n_d[int(chain.topics[i])] += 1
            key = stream(chain.seed, sweep, d)
            for i in range(begin, end):
                n_w = chain.word_topic[chain.rows[i]]
                old = int(chain.topics[i])
                n_d[old] -= 1
                n_w[old] -= 1
                totals[old] -= 1
                cumulated = []
                total = 0.0
                for k in k_range:
                    total += (n_d[k] + alpha[k]) * (int(n_w[k]) + chain.eta) / (int(totals[k]) + smoothing)
                    cumulated.append(total)
                goal = uniform(key, i - begin) * total
                new = 0
                while new < chain.n_topics - 1 and cumulated[new] <= goal:
                    new += 1
                n_d[new] += 1
                n_w[new] += 1
                totals[new] += 1
                chain.topics[i] = new
    chain.n_sweeps += n_sweeps


def log_likelihood(chain: Chain) -> float:
    """Return log p(words, topics | alpha, eta), float64, in nats."""
    k, eta, smoothing = chain.n_topics, chain.eta, chain.n_words * chain.eta
    alpha = np.broadcast_to(chain.alpha, k)
    value = 0.0
    for d in range(len(chain.indptr) - 1):
        counts = np.bincount(chain.topics[chain.indptr[d] : chain.indptr[d + 1]], minlength=k)
        value += math.lgamma(alpha.sum()) - math.lgamma(int(counts.sum()) + alpha.sum())
        value += sum(math.lgamma(int(n) + a) - math.lgamma(a) for n, a in zip(counts, alpha, strict=True))
    for totals in chain.totals:
        value += sum(math.lgamma(smoothing) - math.lgamma(int(n) + smoothing) for n in totals[:k])
    return value + sum(math.lgamma(int(n) + eta) - math.lgamma(eta) for n in chain.word_topic.ravel() if n)


def refine(chain: Chain, n_rounds: int, n_steps: int = 2) -> NDArray[np.float64]:
    """Return the expected counts of rows in topics, float64 (R, K), after rounds of `n_steps` steps."""
    k, alpha = chain.n_topics, np.broadcast_to(np.asarray(chain.alpha, np.float64), chain.n_topics)
    others = np.empty((len(chain.rows), k))
    for begin, end in pairwise(chain.indptr):
        topics = chain.topics[begin:end]
        others[begin:end] = np.bincount(topics, minlength=k) + alpha
        others[np.arange(begin, end), topics] -= 1
    counts = chain.word_topic[:, :k].astype(np.float64)
    for _ in range(n_rounds):
        totals = np.array([counts[chain.row_group == g].sum(axis=0) for g in range(len(chain.totals))])
        for w in np.unique(chain.rows):
            weights = others[chain.rows == w]
            for _ in range(n_steps):
                phi = (counts[w] + chain.eta) / (totals[chain.row_group[w]] + chain.n_words * chain.eta)
                shares = weights * phi
                counts[w] = (shares / shares.sum(axis=1, keepdims=True)).sum(axis=0)
    return counts


def fold_in(
    indptr: NDArray[np.int64],
    rows: NDArray[np.int32],
    phi: NDArray[np.float64],
    alpha: float | NDArray[np.float64],
    *,
    n_iterations: int,
    tolerance: float,
) -> NDArray[np.float64]:
    """Infer the topic shares of documents under fixed topics, float64 (D, K); all rounds over all topics."""
    n_topics = phi.shape[1]
    prior = np.broadcast_to(np.asarray(alpha, np.float64), n_topics)
    theta = np.tile(prior / prior.sum(), (len(indptr) - 1, 1))
    for d in range(len(indptr) - 1):
        bag, tokens = np.unique(rows[indptr[d] : indptr[d + 1]], return_counts=True)
        if len(bag) == 0:
            continue
        words = phi[bag].astype(np.float64)
        shares = words / words.sum(axis=1, keepdims=True)
        counts = tokens @ shares
        for _ in range(n_iterations):
            change = 0.0
            for i, n in enumerate(tokens):
                fresh = (np.maximum(counts - shares[i], 0.0) + prior) * words[i]
                fresh /= fresh.sum()
                change += n * float(np.abs(fresh - shares[i]).sum())
                counts = counts + n * (fresh - shares[i])
                shares[i] = fresh
            if change < tolerance * tokens.sum():
                break
        theta[d] = (tokens @ shares + prior) / (tokens.sum() + prior.sum())
    return theta
