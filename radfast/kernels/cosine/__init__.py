"""Exact cosine top-k: each query against all keys, or against the keys of its group only.

    score[q, n] = <queries[q], keys[n]> / (|queries[q]| |keys[n]|)        best k per query, descending

queries (Q, F) and keys (N, F) -> scores float32 (Q, k), ids int32 (Q, k). Computed in float32.

- Equal scores: the smaller id comes first, and stays when only one of them finds room. Equal keys score
  equally, bit for bit, wherever they stand; results do not depend on the number of threads.
- A row of zeros scores 0 with everything. Rounding may lift a score above 1 by a few 1e-7; it is not clipped.
- NaN and infinities are refused, naming the first row that holds one. With candidates only the rows that are
  compared are looked at.
- Fewer than k keys (k > N, a short or an empty list): the free places hold id -1 and score minus infinity.
- float16, bfloat16 and float64 are converted to float32; views with a row stride are read in place, other
  non-contiguous views are copied.
- Of keys that are searched again and again `PreparedKeys` holds the lengths, 4 bytes a key, and on a GPU one
  copy of the keys. Unit or packed copies are not kept on the host: they would double the memory.
- candidates (indptr int64 (G+1,), ids int32, group int32 (Q,)): query q sees ids[indptr[g]:indptr[g+1]] with
  g = group[q], and nothing where g is -1. Lists may be unsorted or empty; an id given twice counts once.

`reference` is the plain float64 truth, `cpu` calls csrc/cosine.cpp, `cuda` csrc/cosine.cu through CuPy, with
the scores and ids that the CPU has (its AVX2 and AVX-512 paths), on the stream of the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from radfast.device import choose_backend, count_threads, lies_on_gpu
from radfast.errors import UsageError
from radfast.kernels.cosine import cpu, cuda

Candidates = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]

_LARGEST = np.iinfo(np.int32).max


class PreparedKeys:
    """Keys made ready once: taken as keys by every search here, the same answers sooner.

    For the CPU that is their lengths. A GPU gets a copy in its first search, 4 bytes a feature, and keeps it;
    pickling leaves the copy out.

    Parameters
    ----------
    keys : array of float (N, F)
        As for `cosine_topk`. Kept, not copied, where it is float32: it must not change any more.
    threads : int
        0 takes all cores.

    Attributes
    ----------
    rows : float32 (N, F)
        The keys.
    scales : float32 (N,)
        What makes each key a unit vector, as the kernels want it.
    shape : tuple of int
        (N, F).
    """

    def __init__(self, keys: Any, *, threads: int = 0) -> None:
        self.rows = as_rows(keys, "[PreparedKeys] keys")
        self.scales = cpu.measure_keys(self.rows, count_threads(threads))
        self.shape: tuple[int, ...] = self.rows.shape
        self._on_gpu: dict[int, Any] = {}

    def on_gpu(self) -> Any:
        """Return the keys as CuPy array (N, F) on the current GPU, copied there by the first call."""
        return cuda.keep_on_gpu(self.rows, self._on_gpu)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_on_gpu": {}}


def cosine_topk(
    queries: Any,
    keys: Any,
    k: int = 10,
    *,
    candidates: tuple[Any, Any, Any] | None = None,
    backend: str = "auto",
    threads: int = 0,
) -> Found:
    """Find for each query the `k` keys of highest cosine.

    Parameters
    ----------
    queries : array of float (Q, F)
        NumPy or CuPy array, torch tensor or Arrow fixed-size-list array; rows need not be unit vectors.
    keys : array of float (N, F) or PreparedKeys
        Same kinds.
    k : int
        Answers per query, at least 1.
    candidates : tuple of (indptr int64 (G+1,), ids int32, group int32 (Q,)), optional
        Lists of keys by group, and the group of each query, -1 for none. Without it every key is compared.
    backend : str
        "auto", "cpu" or "cuda". "auto" takes the GPU for arrays that lie there, and for others where there is
        one and k is at most 1024, which is the most it takes.
    threads : int
        0 takes all cores. For the CPU.

    Returns
    -------
    scores : float32 (Q, k)
        Cosines, best first; minus infinity in free places. Where `queries` lie on a GPU, so do the answers: a
        torch tensor for a torch tensor, else a CuPy array.
    ids : int32 (Q, k)
        Row numbers of `keys`; equal scores by smaller id; -1 in free places.

    Raises
    ------
    UsageError
        If shapes disagree, k < 1, a row compared is not finite, or an id or group is out of range.

    Examples
    --------
    >>> scores, ids = cosine_topk([[1.0, 0.0]], [[0.0, 2.0], [3.0, 3.0], [5.0, 0.0]], k=2)
    >>> ids.tolist()
    [[2, 1]]
    """
    name = "cosine_topk"
    scales = prepared = None
    if isinstance(keys, PreparedKeys):
        prepared, keys, scales = keys, keys.rows, keys.scales
    chosen = choose_backend(backend, queries, keys, kernel=name)
    on_gpu = lies_on_gpu(queries) or lies_on_gpu(keys)
    if backend == "auto" and k > cuda.MAX_K and not on_gpu:
        chosen = "cpu"
    match chosen:
        case "cuda":
            with cuda.stream_of(queries, keys):
                keys = keys if prepared is None else prepared.on_gpu()
                q, n, lists = _check(name, _as_rows_on_gpu, queries, keys, k, candidates)
                if min(k, len(n)) > cuda.MAX_K:
                    raise UsageError(f"[{name}] k on backend 'cuda' must be at most {cuda.MAX_K}, is {k}")
                return cuda.cosine_topk(q, n, k, lists, like=queries)
        case _:
            q, n, lists = _check(name, as_rows, queries, keys, k, candidates)
            room = min(k, max(len(n), 1))
            return widen(*cpu.cosine_topk(q, n, room, lists, count_threads(threads), scales), k)


def _as_rows_on_gpu(array: Any, name: str) -> Any:
    return cuda.as_rows_on_gpu(array if lies_on_gpu(array) else as_rows(array, name), name)


def _check(
    name: str, convert: Callable[[Any, str], Any], queries: Any, keys: Any, k: int, candidates: Any
) -> tuple[Any, Any, Candidates | None]:
    q, n = convert(queries, f"[{name}] queries"), convert(keys, f"[{name}] keys")
    if q.shape[1] != n.shape[1]:
        raise UsageError(f"[{name}] queries have {q.shape[1]} features but keys have {n.shape[1]}")
    if n.shape[0] > _LARGEST:
        raise UsageError(f"[{name}] keys must be fewer than 2^31, are {n.shape[0]}")
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise UsageError(f"[{name}] k must be a whole number from 1, is {k}")
    lists = None if candidates is None else check_candidates(candidates, len(q), len(n), f"[{name}]")
    return q, n, lists


def as_rows(array: Any, name: str) -> npt.NDArray[np.float32]:
    """Return `array` as float32 (rows, F) with unit stride along F, without a copy where that is possible.

    Raises
    ------
    UsageError
        If it does not hold floats or is not two-dimensional with F >= 1.
    """
    if hasattr(array, "detach"):  # torch: NumPy knows no bfloat16 and takes no tensor that records gradients
        array = array.detach()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    elif hasattr(getattr(array, "type", None), "list_size"):  # Arrow fixed-size list
        array = array.flatten().to_numpy().reshape(-1, array.type.list_size)
    rows = np.asarray(array)
    if rows.dtype.kind != "f" and rows.dtype.name != "bfloat16":
        raise UsageError(f"{name} must hold floats, hold {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise UsageError(f"{name} must have shape (rows, F >= 1), have {rows.shape}")
    if rows.dtype != np.float32:
        with np.errstate(over="ignore"):  # an infinity is reported with its row
            rows = rows.astype(np.float32)
    if rows.strides[1] != 4 or rows.strides[0] % 4 or not rows.flags.aligned:
        rows = np.ascontiguousarray(rows)
    return rows


def check_candidates(candidates: tuple[Any, Any, Any], q: int, n: int, name: str) -> Candidates:
    """Return candidates of `q` queries among `n` keys as int64, int32, int32.

    Raises
    ------
    UsageError
        If a part has another shape or type, or a value is out of range.
    """
    if len(candidates) != 3:
        raise UsageError(f"{name} candidates must be (indptr, ids, group), have {len(candidates)} parts")
    parts = []
    for part, label in zip(candidates, ("indptr", "ids", "group"), strict=True):
        values = np.asarray(cuda.on_host(part))
        if values.ndim != 1:
            raise UsageError(f"{name} candidates {label} must have 1 dimension, has {values.ndim}")
        if values.dtype.kind not in "iu" and values.size:
            raise UsageError(f"{name} candidates {label} must hold integers, holds {values.dtype}")
        parts.append(values)
    indptr, ids, group = parts
    rises = len(indptr) > 0 and not (np.diff(indptr.astype(np.int64)) < 0).any()
    if not rises or indptr[0] != 0 or indptr[-1] != len(ids):
        raise UsageError(f"{name} candidates indptr must rise from 0 to the number of ids, {len(ids)}")
    if len(group) != q:
        raise UsageError(f"{name} candidates group must have one entry per query, {q}, has {len(group)}")
    for values, label, low, high in ((ids, "ids", 0, n), (group, "group", -1, len(indptr) - 1)):
        if values.size and not (low <= values.min() and values.max() < high):
            found = f"[{values.min()}, {values.max()}]"
            raise UsageError(f"{name} candidates {label} must be in [{low}, {high}), are in {found}")
    return (
        np.ascontiguousarray(indptr, dtype=np.int64),
        np.ascontiguousarray(ids, dtype=np.int32),
        np.ascontiguousarray(group, dtype=np.int32),
    )


def widen(scores: npt.NDArray[np.float32], ids: npt.NDArray[np.int32], k: int) -> Found:
    """Add free places (score minus infinity, id -1) up to `k` columns."""
    if scores.shape[1] == k:
        return scores, ids
    wide = np.full((len(scores), k), -np.inf, dtype=np.float32)
    wide_ids = np.full((len(ids), k), -1, dtype=np.int32)
    wide[:, : scores.shape[1]] = scores
    wide_ids[:, : ids.shape[1]] = ids
    return wide, wide_ids
