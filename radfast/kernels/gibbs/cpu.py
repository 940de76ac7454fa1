"""The `gibbs` kernel on the CPU: the methods ``exact`` and ``dense`` in Numba, ``mh`` in C++
(csrc/gibbs*.cpp).

Numba passes work on ranges of documents without the interpreter lock. Every pass writes only what its range
owns and reads counts that stay put during the pass, so that the way the work is cut into ranges changes no
bit. No fastmath: sums are taken in 16 lanes, in an order that the source fixes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import radfast._core as _core
from radfast.kernels.gibbs.team import LANES, Team, compiled, cut_documents, spread_alpha

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

#: Batches of documents in a sweep of the dense method; counts of words are refreshed after each.
DENSE_BATCHES = 16

_STEP = np.uint64(0x9E3779B97F4A7C15)


@compiled
def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _stream(seed: Any, sweep: int, unit: int) -> Any:
    key = _mix(seed + _STEP)
    key = _mix(key + np.uint64(sweep + 1) * _STEP)
    return _mix(key + np.uint64(unit + 1) * _STEP)


@compiled
def _draw_topics(indptr: Any, n_topics: int, seed: Any, topics: Any) -> None:
    # Sweep 2**62 is never reached: a stream of its own for the start.
    for d in range(len(indptr) - 1):
        key = _stream(seed, 1 << 62, d)
        for i in range(indptr[d], indptr[d + 1]):
            bits = _mix(key + np.uint64(i - indptr[d] + 1) * _STEP) >> np.uint64(32)
            topics[i] = (bits * np.uint64(n_topics)) >> np.uint64(32)


def draw_topics(indptr: NDArray[np.int64], n_topics: int, seed: int, topics: NDArray[np.uint16]) -> None:
    """Fill `topics` with uniform topics, one random stream per document."""
    _draw_topics(indptr, n_topics, np.uint64(seed & 0xFFFFFFFFFFFFFFFF), topics)


@compiled
def count(rows: Any, row_group: Any, topics: Any, word_topic: Any, totals: Any) -> None:
    """Add the topics of all tokens to `word_topic` and `totals`."""
    for i in range(len(rows)):
        word_topic[rows[i], topics[i]] += 1
        totals[row_group[rows[i]], topics[i]] += 1


@compiled
def _exact_sweep(
    indptr: Any, rows: Any, group: Any, n_topics: int, alpha: Any, eta: float, smoothing: float,
    seed: Any, sweep: int, topics: Any, word_topic: Any, totals: Any,
) -> None:  # fmt: skip
    n_d = np.zeros(n_topics, np.int32)
    cumulated = np.empty(n_topics, np.float64)
    for d in range(len(indptr) - 1):
        begin, end = indptr[d], indptr[d + 1]
        n_k = totals[group[d]]
        n_d[:] = 0
        for i in range(begin, end):
            n_d[topics[i]] += 1
        key = _stream(seed, sweep, d)
        for i in range(begin, end):
            n_w = word_topic[rows[i]]
            old = topics[i]
            n_d[old] -= 1
            n_w[old] -= 1
            n_k[old] -= 1
            total = 0.0
            for k in range(n_topics):
                total += (n_d[k] + alpha[k]) * (n_w[k] + eta) / (n_k[k] + smoothing)
                cumulated[k] = total
            bits = _mix(key + np.uint64(i - begin + 1) * _STEP) >> np.uint64(11)
            goal = np.float64(bits) * 2.0**-53 * total
            new = 0
            while new < n_topics - 1 and cumulated[new] <= goal:
                new += 1
            n_d[new] += 1
            n_w[new] += 1
            n_k[new] += 1
            topics[i] = new


@compiled
def _dense_documents(
    indptr: Any, rows: Any, group: Any, alpha: Any, eta: Any, smoothing: Any, seed: Any, sweep: int,
    topics: Any, word_topic: Any, totals: Any, inverse: Any, first: int, last: int, fresh: Any,
) -> None:  # fmt: skip
    # New topics of the documents first..last-1 into `fresh`; counts of words and topics stay as they are.
    padded = word_topic.shape[1]
    n_d = np.zeros(padded, np.float32)
    weight = np.empty(padded, np.float32)
    lane = np.empty(LANES, np.float32)
    one = np.float32(1.0)
    for d in range(first, last):
        begin, end = indptr[d], indptr[d + 1]
        n_k = totals[group[d]]
        inv = inverse[group[d]]
        for i in range(begin, end):
            n_d[topics[i]] += one
        key = _stream(seed, sweep, d)
        for i in range(begin, end):
            n_w = word_topic[rows[i]]
            old = topics[i]
            n_d[old] -= one
            for k in range(padded):
                weight[k] = (n_d[k] + alpha[k]) * (np.float32(n_w[k]) + eta) * inv[k]
            # The counts still hold this token at its old topic: taken out there, exactly.
            without = (np.float32(n_w[old] - 1) + eta) / (np.float32(n_k[old] - 1) + smoothing)
            weight[old] = (n_d[old] + alpha[old]) * without
            for j in range(LANES):
                lane[j] = weight[j]
            for b in range(LANES, padded, LANES):
                for j in range(LANES):
                    lane[j] += weight[b + j]
            total = np.float32(0.0)
            for j in range(LANES):
                total += lane[j]
            bits = _mix(key + np.uint64(i - begin + 1) * _STEP) >> np.uint64(40)
            goal = np.float32(bits) * np.float32(2.0**-24) * total
            # First the lane, then the topic in it; rounding may run past the end, which takes the last with
            # weight.
            j = 0
            while j < LANES - 1 and goal >= lane[j]:
                goal -= lane[j]
                j += 1
            new = -1
            for k in range(j, padded, LANES):
                if weight[k] > 0:
                    new = k
                    if goal < weight[k]:
                        break
                    goal -= weight[k]
            if new < 0:
                new = old
            n_d[new] += one
            fresh[i] = new
        for i in range(begin, end):
            n_d[fresh[i]] = 0


@compiled
def _apply_changes(
    rows: Any, row_group: Any, begin: int, end: int, part: int, n_parts: int, topics: Any, fresh: Any,
    word_topic: Any, totals: Any,
) -> None:  # fmt: skip
    # Each part owns the rows of one residue, so that parts never meet; part 0 of 1 also keeps the totals.
    for i in range(begin, end):
        old, new = topics[i], fresh[i]
        if old != new:
            row = rows[i]
            if row % n_parts == part:
                word_topic[row, old] -= 1
                word_topic[row, new] += 1
                totals[row_group[row], old] -= 1
                totals[row_group[row], new] += 1


def sample(chain: Chain, n_sweeps: int, *, method: str, threads: int) -> None:
    """Advance `chain` by `n_sweeps` sweeps."""
    match method:
        case "exact":
            _sample_exact(chain, n_sweeps)
        case "dense":
            _sample_dense(chain, n_sweeps, threads)
        case _:
            _sample_mh(chain, n_sweeps, threads)
    chain.n_sweeps += n_sweeps


def _sample_exact(chain: Chain, n_sweeps: int) -> None:
    seed = np.uint64(chain.seed)
    for sweep in range(chain.n_sweeps, chain.n_sweeps + n_sweeps):
        _exact_sweep(
            chain.indptr, chain.rows, chain.document_group, chain.n_topics,
            spread_alpha(chain.alpha, chain.n_topics), chain.eta, chain.n_words * chain.eta, seed, sweep, chain.topics, chain.word_topic, chain.totals,
        )  # fmt: skip


def _sample_mh(chain: Chain, n_sweeps: int, threads: int) -> None:
    _core.gibbs_mh(
        chain.indptr, chain.rows, chain.document_group, chain.row_group, chain.topics, chain.totals,
        chain.n_topics, spread_alpha(chain.alpha, chain.n_topics), chain.eta, chain.n_words * chain.eta,
        chain.seed, chain.n_sweeps, n_sweeps, threads,
    )  # fmt: skip
    chain.word_topic.fill(0)
    count(chain.rows, chain.row_group, chain.topics, chain.word_topic, np.zeros_like(chain.totals))


def _sample_dense(chain: Chain, n_sweeps: int, threads: int) -> None:
    alpha = np.zeros(chain.totals.shape[1], np.float32)
    alpha[: chain.n_topics] = chain.alpha
    eta = np.float32(chain.eta)
    smoothing = np.float32(chain.n_words * chain.eta)
    fresh = np.empty_like(chain.topics)
    inverse = np.zeros(chain.totals.shape, np.float32)
    batches = cut_documents(chain.indptr, 0, len(chain.indptr) - 1, DENSE_BATCHES)
    with Team(threads) as team:
        for sweep in range(chain.n_sweeps, chain.n_sweeps + n_sweeps):
            for first, last in batches:
                k = chain.n_topics
                inverse[:, :k] = np.float32(1.0) / (chain.totals[:, :k].astype(np.float32) + smoothing)
                team.run(
                    _dense_documents,
                    [
                        (chain.indptr, chain.rows, chain.document_group, alpha, eta, smoothing,
                         np.uint64(chain.seed), sweep, chain.topics, chain.word_topic, chain.totals, inverse,
                         low, high, fresh)
                        for low, high in cut_documents(chain.indptr, first, last, threads)
                    ],
                )  # fmt: skip
                begin, end = int(chain.indptr[first]), int(chain.indptr[last])
                changes = [np.zeros_like(chain.totals) for _ in range(threads)]
                team.run(
                    _apply_changes,
                    [
                        (chain.rows, chain.row_group, begin, end, part, threads, chain.topics, fresh,
                         chain.word_topic, changes[part])
                        for part in range(threads)
                    ],
                )  # fmt: skip
                for change in changes:
                    chain.totals += change
                chain.topics[begin:end] = fresh[begin:end]
