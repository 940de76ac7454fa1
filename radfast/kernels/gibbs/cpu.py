"""The `gibbs` kernel on the CPU: ``exact`` in Numba, the other methods in C++ (csrc/gibbs*.cpp).

A pass writes only what its range of documents or words owns and reads counts that stay put during the pass,
so that the way the work is cut into ranges changes no bit. A Numba version of ``dense`` made 11 M tokens/s
per core at K = 80 where the C++ one makes 30 to 37 M (AVX-512).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import radfast._core as _core
from radfast.kernels.gibbs.schedule import count as count  # `start` and cuda.py take it from here
from radfast.kernels.gibbs.schedule import run_stages
from radfast.kernels.gibbs.streams import STEP, mix, stream
from radfast.kernels.gibbs.team import compiled, spread_alpha

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

_NO_SUMS = np.empty((0, 0), np.int32)


@compiled
def _draw_topics(indptr: Any, n_topics: int, seed: Any, topics: Any) -> None:
    # Sweep 2**62 is never reached: a stream of its own for the start.
    for d in range(len(indptr) - 1):
        key = stream(seed, 1 << 62, d)
        for i in range(indptr[d], indptr[d + 1]):
            bits = mix(key + np.uint64(i - indptr[d] + 1) * STEP) >> np.uint64(32)
            topics[i] = (bits * np.uint64(n_topics)) >> np.uint64(32)


def draw_topics(indptr: NDArray[np.int64], n_topics: int, seed: int, topics: NDArray[np.uint16]) -> None:
    """Fill `topics` with uniform topics, one random stream per document."""
    _draw_topics(indptr, n_topics, np.uint64(seed & 0xFFFFFFFFFFFFFFFF), topics)


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
        key = stream(seed, sweep, d)
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
            bits = mix(key + np.uint64(i - begin + 1) * STEP) >> np.uint64(11)
            goal = np.float64(bits) * 2.0**-53 * total
            new = 0
            while new < n_topics - 1 and cumulated[new] <= goal:
                new += 1
            n_d[new] += 1
            n_w[new] += 1
            n_k[new] += 1
            topics[i] = new


def sample(
    chain: Chain, n_sweeps: int, *, method: str, threads: int, planned: int, sums: NDArray[np.int32] | None
) -> None:
    """Advance `chain` by `n_sweeps` sweeps of a run of `planned`; whole ones are added to `sums`."""
    if method == "auto":
        run_stages(
            chain, n_sweeps, planned,
            lambda part, n, chosen: _sweep(part, n, chosen, threads, sums if part is chain else None),
            lambda part, first: _sample_dense(part, 1, threads, None, first=first, joining=True),
            threads,
        )  # fmt: skip
    else:
        _sweep(chain, n_sweeps, method, threads, sums)
        chain.n_sweeps += n_sweeps


def _sweep(chain: Chain, n_sweeps: int, method: str, threads: int, sums: NDArray[np.int32] | None) -> None:
    match method:
        case "exact":
            _sample_exact(chain, n_sweeps, sums)
        case "mh":
            _sample_mh(chain, n_sweeps, threads, sums)
        case _:
            _sample_dense(chain, n_sweeps, threads, sums, sparse=method == "sparse")


def _sample_exact(chain: Chain, n_sweeps: int, sums: NDArray[np.int32] | None) -> None:
    seed, alpha = np.uint64(chain.seed), spread_alpha(chain.alpha, chain.n_topics)
    for sweep in range(chain.n_sweeps, chain.n_sweeps + n_sweeps):
        _exact_sweep(
            chain.indptr, chain.rows, chain.document_group, chain.n_topics, alpha, chain.eta,
            chain.n_words * chain.eta, seed, sweep, chain.topics, chain.word_topic, chain.totals,
        )  # fmt: skip
        if sums is not None:
            sums += chain.word_topic


def _sample_mh(chain: Chain, n_sweeps: int, threads: int, sums: NDArray[np.int32] | None) -> None:
    _core.gibbs_mh(
        chain.indptr, chain.rows, chain.document_group, chain.row_group, chain.topics, chain.word_topic,
        chain.totals, _NO_SUMS if sums is None else sums, spread_alpha(chain.alpha, chain.n_topics),
        chain.eta, chain.n_words * chain.eta, chain.seed, chain.n_sweeps, n_sweeps, threads,
    )  # fmt: skip


def _sample_dense(
    chain: Chain, n_sweeps: int, threads: int, sums: NDArray[np.int32] | None,
    *, first: int = 0, joining: bool = False, sparse: bool = False,
) -> None:  # fmt: skip
    _core.gibbs_dense(
        chain.indptr, chain.rows, chain.document_group, chain.row_group, chain.topics, chain.word_topic,
        chain.totals, _NO_SUMS if sums is None else sums, spread_alpha(chain.alpha, chain.n_topics),
        chain.eta, chain.n_words * chain.eta, chain.seed, chain.n_sweeps, n_sweeps, first,
        joining, sparse, threads,
    )  # fmt: skip
