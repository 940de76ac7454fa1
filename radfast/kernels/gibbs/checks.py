"""What is checked at the door of the `gibbs` kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.kernels.ids import read_ids


def check_corpus(function: str, indptr: NDArray[np.int64], rows: NDArray[np.int32], n_rows: int) -> None:
    """Raise `UsageError` unless documents and rows are those of a corpus of `n_rows` rows."""
    if len(indptr) == 0 or indptr[0] != 0 or indptr[-1] != len(rows):
        raise UsageError(f"[{function}] indptr must rise from 0 to the {len(rows)} tokens, is not so")
    if bool((np.diff(indptr) < 0).any()):
        raise UsageError(f"[{function}] indptr must not fall, does")
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= n_rows):
        raise UsageError(
            f"[{function}] rows must be 0 to {n_rows - 1}, has {int(rows.min())} to {int(rows.max())}"
        )


def check_alpha(function: str, alpha: float | ArrayLike, n_topics: int) -> float | NDArray[np.float64]:
    """Return one number or float64 (K,), above 0."""
    values = np.array(alpha, np.float64)
    if values.shape not in ((), (n_topics,)):
        raise UsageError(
            f"[{function}] alpha must be one number or have shape ({n_topics},), has {values.shape}"
        )
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise UsageError(f"[{function}] alpha must be above 0, is {values}")
    return float(values) if values.shape == () else values


def read_groups(name: str, groups: Any, size: int) -> NDArray[np.int32]:
    """Return the group of each of `size` documents or rows, int32; one group for all where none is given."""
    if groups is None:
        return np.zeros(size, np.int32)
    ids = read_ids(groups, np.int32, f"[start] {name}")
    if ids.shape != (size,):
        raise UsageError(f"[start] {name} must have shape ({size},), is {ids.shape}")
    if len(ids) and int(ids.min()) < 0:
        raise UsageError(f"[start] {name} must be 0 or more, is {int(ids.min())}")
    return ids
