"""Exact search that reads a prefix of most keys: csrc/cosine_pruned.h, its basis and length from the data.

The basis are the first principal directions of the unit keys. Their number is the one that a sample of keys,
used as queries, finds cheapest; where none is clearly cheaper than the plain search, that is taken. Else the
first part of the queries decides: its CPU time against what the plain search would take, whose tiles are
timed in the same call. The answers are the same bits both ways.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import radfast._core as _core
from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.kernels.cosine import Found, PreparedKeys, as_rows, cosine_topk, widen

_SAMPLE = 64  # keys that stand in for queries
_RANKS = (2, 10)  # of the sample, for k = 1 (a key finds itself first) and for any more
_PRODUCT_OVERHEAD = 128  # features that the way to such a product costs as much as
_ROUNDING = 1e-5  # what the bounds allow for float32, about
_WORTH = 0.9  # predicted cost, and time of the first queries, up to which the prefix is used
_TOO_MANY = 1.5  # predicted cost at which a group of queries is given up half-way
_PROBE = 128  # the first part of the queries is one of so many, the next are twice as long each
_LEAST, _LONGEST = 14, 4096  # queries of a part
# The first parts are small and find the caches cold: each of them, up to one in _EARLY of the queries, may
# lose the time that the plain search takes for _DOUBT queries.
_EARLY, _DOUBT = 8, 16


class _Costs(NamedTuple):
    """Times against one feature of one pair in a tile of the plain search, measured on word vectors."""

    seeds: float  # share of the keys that is scored whole first (csrc/cosine_pruned_keys.cpp)
    feature: float  # one feature of the prefix
    overhead: float  # features that the comparison of a bound costs as much as
    product: float  # one product of a single pair, by bytes or whole, against all features of a pair


_AVX2 = _Costs(seeds=1 / 32, feature=0.75, overhead=9.0, product=6.4)
_AVX512 = _Costs(seeds=1 / 16, feature=1.2, overhead=24.0, product=8.7)


def _costs() -> _Costs:
    return _AVX2 if _core.pruned_simd() == "avx2" else _AVX512


class PrunedKeys:
    """Keys made ready for pruned search.

    Parameters
    ----------
    keys : array of float (N, F) or PreparedKeys
        As for `cosine_topk`; kept, not copied, where it is float32.

    Attributes
    ----------
    keys : float32 (N, F)
        The keys.
    plain : PreparedKeys
        The same, for the plain search.
    prefix : int
        Features of the prefix; 0 where the plain search is used.
    """

    def __init__(self, keys: Any) -> None:
        self.plain = (
            keys if isinstance(keys, PreparedKeys) else PreparedKeys(as_rows(keys, "[PrunedKeys] keys"))
        )
        self.keys = self.plain.rows
        self.prefix, basis = _choose(self.keys)
        self._index = _core.PrunedIndex(self.keys, basis) if self.prefix else None

    def search(self, queries: Any, k: int = 10, *, threads: int = 0) -> Found:
        """Answer as ``cosine_topk(queries, keys, k)``, bit for bit.

        Parameters
        ----------
        queries : array of float (Q, F)
            As for `cosine_topk`.
        k : int
            Answers per query, at least 1.
        threads : int
            0 takes all cores.

        Raises
        ------
        UsageError
            As `cosine_topk`.
        """
        rows = as_rows(queries, "[PrunedKeys.search] queries")
        if self._index is None or k < 1 or rows.shape[1] != self.keys.shape[1]:
            return cosine_topk(rows, self.plain, k, backend="cpu", threads=threads)
        _check_finite(rows, "queries")
        room, n_threads = min(k, len(self.keys)), count_threads(threads)
        parts = []
        at, size = 0, max(_LEAST, len(rows) // _PROBE)
        depth = self.keys.shape[1]
        most = (_TOO_MANY - _cost(self.prefix, depth, 0.0)) / _product_cost(depth)
        pays = True
        while at < len(rows) and pays:
            found = self._index.search(rows[at : at + size], room, n_threads, most)
            scores, ids, _, _, products, pace = found
            if products < 0:  # these queries reach too many keys
                break
            parts.append((scores, ids))
            at += size
            pays = pace <= (_WORTH if at > len(rows) // _EARLY else 1 + _DOUBT / size)
            size = min(2 * size, _LONGEST)
        if at < len(rows):
            parts.append(cosine_topk(rows[at:], self.plain, room, backend="cpu", threads=threads))
        if not parts:
            return cosine_topk(rows, self.plain, k, backend="cpu", threads=threads)
        return widen(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), k)


def _cost(prefix: int, depth: int, share: float) -> float:
    """Predict the time against the plain search when `share` of the pairs need a full product."""
    costs = _costs()
    return costs.seeds + costs.feature * (prefix + costs.overhead) / depth + share * _product_cost(depth)


def _product_cost(depth: int) -> float:
    return _costs().product * (1 + _PRODUCT_OVERHEAD / depth)


def _check_finite(rows: npt.NDArray[np.float32], name: str) -> None:
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise UsageError(f"[cosine_topk] {name} must be finite in float32, row {int(np.argmax(bad))} is not")


def _choose(keys: npt.NDArray[np.float32]) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the prefix, 0 where none pays, and the basis."""
    depth = keys.shape[1]
    best = 0, np.empty((0, depth), dtype=np.float32)
    if len(keys) < _SAMPLE or depth < 64:
        return best
    _check_finite(keys, "keys")
    rows = keys.astype(np.float64)
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    rows /= np.where(norms == 0, 1.0, norms)
    basis = np.linalg.eigh(rows.T @ rows)[1][:, ::-1]
    sample = np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)
    turned = rows @ basis
    whole = (rows * rows).sum(axis=1)
    full = rows[sample] @ rows.T
    needed = [_thresholds(full, rank) for rank in _RANKS]
    lowest = float(len(_RANKS))
    for prefix in range(16, depth * 3 // 4 + 1, 16):
        held = turned[:, :prefix]
        rest = np.sqrt(np.maximum(whole - (held * held).sum(axis=1), 0) + _ROUNDING) * (whole > 0)
        bound = held[sample] @ held.T + rest[sample, None] * rest
        costs = [_cost(prefix, depth, float((bound > least).mean())) for least in needed]
        total = sum(min(cost, 1.0) for cost in costs)
        if min(costs) < _WORTH and total < lowest:
            lowest = total
            rows_of_basis = np.ascontiguousarray(basis[:, :prefix].T, dtype=np.float32)
            best = prefix, rows_of_basis
    return best


def _thresholds(scores: npt.NDArray[np.float64], rank: int) -> npt.NDArray[np.float64]:
    """Return what each key must exceed when the search comes to it: the `rank` best score before it.

    It is brought up to date whenever the number of keys seen has doubled, which is a little too rarely.
    """
    n_keys = scores.shape[1]
    needed = np.full_like(scores, -np.inf)
    seeds = int(n_keys * _costs().seeds)
    needed[:, :seeds] = np.inf  # scored whole, without a bound
    seen = max(seeds, rank)
    while seen < n_keys:
        best = np.partition(scores[:, :seen], seen - rank, axis=1)[:, seen - rank, None]
        needed[:, seen : 2 * seen] = best
        seen *= 2
    return needed
