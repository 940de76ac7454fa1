"""Cosine top-k on the CPU: csrc/cosine.cpp (dense) and csrc/cosine_candidates.cpp."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import radfast._core as _core
from radfast.errors import UsageError


def cosine_topk(
    queries: npt.NDArray[np.float32],
    keys: npt.NDArray[np.float32],
    k: int,
    candidates: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]] | None,
    threads: int,
    key_scales: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Compute `radfast.kernels.cosine.cosine_topk` on checked arrays."""
    if candidates is None:
        found = _core.cosine_dense(queries, keys, k, threads, key_scales)
    else:
        found = _core.cosine_candidates(queries, keys, k, *candidates, threads, key_scales)
    scores, ids, bad_query, bad_key = found
    for name, row in (("queries", bad_query), ("keys", bad_key)):
        if row >= 0:
            raise UsageError(f"[cosine_topk] {name} must be finite in float32, row {row} is not")
    return scores, ids


def measure_keys(keys: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
    """Return the factors that make checked keys unit vectors, float32 (N,): csrc/cosine_parts.h."""
    return _core.measure_keys(keys, threads)
