"""Image -> disease-word vector: cosine to the truth and the place of the truth among all targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.evaluate.intervals import estimate_ratios, read_groups

_RECALLS = (1, 5, 10)
_BLOCK = 4096  # images compared at a time


def score_vectors(
    predicted: ArrayLike,
    candidates: ArrayLike,
    targets: Sequence[Sequence[int]],
    *,
    groups: Sequence[Any] | ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predicted vectors against the bi-grams of the citing window.

    ``cosine`` is the mean, over images, of the mean cosine to the image's own targets. The rank of an image
    is the place (1 is best) of its best-placed own target when all candidates are ordered by cosine (ties:
    the smaller candidate first). ``mrr`` is the mean of 1 / rank, ``recall_at`` the share of ranks <= k.
    The baseline gives every image one vector, the mean of all its fellows' targets: what a network that never
    looks at the picture would learn. The training loss of the original (cross-entropy on (z+1)/2) spans only
    0.6912 to 0.6931 and is not reported.

    Parameters
    ----------
    predicted : array_like of float, shape (N, F)
    candidates : array_like of float, shape (B, F)
        The distinct targets: one row per bi-gram of the label set.
    targets : sequence of N sequences of int
        Rows of `candidates` that belong to each image; images without any take no part.
    groups : sequence, shape (N,), optional
        Patient of each image.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``n_images, n_candidates, cosine, mrr, recall_at`` (by k as text), ``median_rank`` and ``baseline``
        with the same measures; ``gain``, the paired difference of the cosines. Estimates are
        ``{value, low, high, n}``.

    Raises
    ------
    UsageError
        If shapes do not fit, a target is out of range, or a value is not finite.
    """
    vectors, keys = _unit(predicted, "predicted"), _unit(candidates, "candidates")
    if vectors.shape[1] != keys.shape[1] or len(targets) != len(vectors):
        raise UsageError(
            "[score_vectors] predicted (N, F), candidates (B, F) and N lists of targets are needed, are "
            f"{vectors.shape}, {keys.shape} and {len(targets)}"
        )
    own = [np.unique(np.asarray(list(ids), np.int64)) for ids in targets]
    if any(len(ids) and not 0 <= ids[0] <= ids[-1] < len(keys) for ids in own):
        raise UsageError(f"[score_vectors] targets must be 0 to {len(keys) - 1}")
    rows = np.array([row for row, ids in enumerate(own) if len(ids)], np.int64)
    cluster = read_groups(groups, len(vectors), "score_vectors")[rows]
    own = [own[row] for row in rows]
    mean = sum((keys[ids].mean(axis=0) for ids in own), np.zeros(keys.shape[1]))
    blind = np.broadcast_to(_unit(mean[None, :], "candidates"), (len(rows), keys.shape[1]))
    measures = [_measure(given, keys, own) for given in (vectors[rows], blind)]
    columns = np.concatenate([m for m, _ in measures], axis=1)
    half = columns.shape[1] // 2
    estimates, (gain,) = estimate_ratios(
        columns,
        np.ones_like(columns),
        cluster,
        differences=[(0, half)],
        proportion=[column % half > 0 for column in range(2 * half)],  # a cosine is no share
        draws=draws,
        seed=seed,
    )
    ours, baseline = (
        _name(estimates[part], ranks)
        for part, (_, ranks) in zip((slice(0, half), slice(half, None)), measures, strict=True)
    )
    return {"n_images": len(rows), "n_candidates": len(keys), **ours, "baseline": baseline, "gain": gain}


def _unit(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise UsageError(f"[score_vectors] {name} must be a finite matrix, has shape {array.shape}")
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(array, norm, out=np.zeros_like(array), where=norm > 0)
    return unit


def _measure(
    given: NDArray[np.float64], keys: NDArray[np.float64], own: list[NDArray[np.int64]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return columns (cosine, 1/rank, rank <= k ...) per image, and the ranks."""
    cosine, rank = np.zeros(len(own)), np.zeros(len(own), np.int64)
    for start in range(0, len(own), _BLOCK):
        scores = given[start : start + _BLOCK] @ keys.T
        for i, line in enumerate(scores, start):
            ids = own[i]
            cosine[i] = line[ids].mean()
            first = ids[np.argmax(line[ids])]
            rank[i] = 1 + np.count_nonzero(line > line[first]) + np.count_nonzero(line[:first] == line[first])
    found = [(rank <= k).astype(np.float64) for k in _RECALLS]
    return np.stack((cosine, 1 / np.maximum(rank, 1), *found), axis=1), rank


def _name(estimates: list[dict[str, Any]], ranks: NDArray[np.int64]) -> dict[str, Any]:
    cosine, mrr, *recalls = estimates
    return {
        "cosine": cosine,
        "mrr": mrr,
        "recall_at": {str(k): value for k, value in zip(_RECALLS, recalls, strict=True)},
        "median_rank": float(np.median(ranks)) if len(ranks) else None,
    }
