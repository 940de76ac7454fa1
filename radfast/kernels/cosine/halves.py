"""Best match of either half: a query of 2F features is two vectors of F, a key scores the higher cosine.

The two halves are searched as two queries, so the keys are gone through once; a key among the k best by the
higher cosine is among the k best of the half that gave it, hence merging the two lists is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError
from radfast.kernels.cosine import Found, PreparedKeys, as_rows, cosine_topk

FoundHalves = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int8]]


def cosine_topk_halves(
    queries: Any,
    keys: Any,
    k: int = 10,
    *,
    candidates: tuple[Any, Any, Any] | None = None,
    backend: str = "auto",
    threads: int = 0,
) -> FoundHalves:
    """Find for each query the `k` keys nearest to either of its halves.

    Parameters
    ----------
    queries : array of float (Q, 2F)
        Two vectors of F features side by side.
    keys : array of float (N, F) or PreparedKeys
        Rows need not be unit vectors.
    k : int
        Answers per query, at least 1.
    candidates : tuple of (indptr int64 (G+1,), ids int32, group int32 (Q,)), optional
        As in `cosine_topk`.
    backend, threads
        As in `cosine_topk`.

    Returns
    -------
    scores : float32 (Q, k)
        Higher cosine of the two halves, best first; minus infinity in free places.
    ids : int32 (Q, k)
        Row numbers of `keys`, each once per query; equal scores by smaller id; -1 in free places.
    half : int8 (Q, k)
        0 or 1, the half that gave the score (0 when both did); -1 in free places.

    Raises
    ------
    UsageError
        As `cosine_topk`, and if the queries do not have twice the features of the keys.
    """
    rows = as_rows(queries, "[cosine_topk_halves] queries")
    if not isinstance(keys, PreparedKeys):
        keys = as_rows(keys, "[cosine_topk_halves] keys")
    width = keys.shape[1]
    if rows.shape[1] != 2 * width:
        raise UsageError(
            f"[cosine_topk_halves] queries must have twice the {width} features of keys, have {rows.shape[1]}"
        )
    _check_finite(rows, candidates)
    if candidates is not None:
        candidates = (candidates[0], candidates[1], np.repeat(np.asarray(candidates[2]), 2))
    found = cosine_topk(
        np.ascontiguousarray(rows).reshape(-1, width),
        keys,
        k,
        candidates=candidates,
        backend=backend,
        threads=threads,
    )
    return _merge(found, k)


def _check_finite(rows: npt.NDArray[np.float32], candidates: tuple[Any, Any, Any] | None) -> None:
    # Here, since the search would name the row of a half.
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any() and candidates is not None:
        group = np.asarray(candidates[2])
        bad = bad & (group >= 0) if group.shape == bad.shape else bad
    if bad.any():
        row = int(np.argmax(bad))
        raise UsageError(f"[cosine_topk_halves] queries must be finite in float32, row {row} is not")


def _merge(found: Found, k: int) -> FoundHalves:
    scores: npt.NDArray[Any] = found[0].reshape(-1, 2 * k)
    ids: npt.NDArray[Any] = found[1].reshape(-1, 2 * k)
    half: npt.NDArray[Any] = np.broadcast_to(np.repeat(np.array([0, 1], dtype=np.int8), k), ids.shape)
    # Of a key that both halves found, the lower score goes.
    order = np.lexsort((half, -scores, ids), axis=-1)
    scores, ids, half = (np.take_along_axis(a, order, axis=1) for a in (scores, ids, half))
    again = np.zeros(ids.shape, dtype=bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    scores = np.where(again, np.float32(-np.inf), scores)
    order = np.lexsort((ids, -scores), axis=-1)[:, :k]
    scores, ids, half = (np.take_along_axis(a, order, axis=1) for a in (scores, ids, half))
    free = np.isneginf(scores)
    return scores, np.where(free, np.int32(-1), ids), np.where(free, np.int8(-1), half)
