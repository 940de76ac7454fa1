"""Cosine top-k in plain float64: the truth that tests and benches compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def cosines(queries: Any, keys: Any) -> npt.NDArray[np.float64]:
    """Return all cosines, float64 (Q, N); a row of zeros gives 0."""
    unit = []
    for rows in (queries, keys):
        rows = np.asarray(rows, dtype=np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
        rows = rows / np.where(largest == 0, 1.0, largest)  # so that no square leaves the range
        norm = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        unit.append(rows / np.where(norm == 0, 1.0, norm))
    return np.asarray(unit[0] @ unit[1].T)


def cosine_topk(
    queries: Any, keys: Any, k: int, candidates: tuple[Any, Any, Any] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Compute `radfast.kernels.cosine.cosine_topk` with one sort per query."""
    table = cosines(queries, keys)
    scores = np.full((len(table), k), -np.inf)
    ids = np.full((len(table), k), -1, dtype=np.int32)
    for q, row in enumerate(table):
        listed = np.arange(len(row))
        if candidates is not None:
            indptr, of_group, group = candidates
            g = group[q]
            listed = np.unique(of_group[indptr[g] : indptr[g + 1]]) if g >= 0 else listed[:0]
        best = listed[np.lexsort((listed, -row[listed]))][:k]
        scores[q, : len(best)] = row[best]
        ids[q, : len(best)] = best
    return scores, ids
