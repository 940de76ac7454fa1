"""Cosine top-k on the GPU: csrc/cosine.cu, on the caller's stream, the same scores and ids as on the CPU.

Dense search goes over the tensor cores in float16 and judges what may be among the k best in float32
(csrc/cosine.cuh has the proof); few keys, large k and candidates go in float32 throughout. Queries pass in
chunks, so that beside the unit keys (6 bytes a feature) about 2 GiB are taken at most.

A call waits for the GPU once per chunk, to learn whether a row is not finite. Candidates are checked on the
host, so arrays of them on a GPU are copied there; lists of one query each waste 127 of 128 places of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from radfast.device import lies_on_gpu
from radfast.errors import UsageError
from radfast.kernels import on_gpu

#: Largest min(k, N): a list of twice as many offers is sorted in shared memory.
MAX_K = 1024

# As in csrc/cosine_tensor.cuh and csrc/cosine_exact.cuh.
_TILE = 128  # queries of a block
_TENSOR_KEYS, _EXACT_KEYS = 256, 64  # of a tile
_SLAB = 32  # features
_EXACT_BYTES = 2 * 16 * (132 + 68) * 4 + 128 * 12
_THREADS = 256

_MOST_TENSOR_K = 128  # lists of up to 512 offers are thinned out in registers
_LEAST_TENSOR_KEYS = 1024
_MOST_TENSOR_FEATURES = 1 << 13  # up to which csrc/cosine.cuh bounds the error
_MOST_OFFERS = 4096  # of one query from all parts of the keys
_CHUNK_BYTES = 2 << 30
_WAVES = 4  # blocks per multiprocessor that are wanted at least

_Candidates = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]


def as_rows_on_gpu(array: Any, name: str) -> Any:
    """Return `array` as CuPy float32 (rows, F) with unit stride along F, uncopied where possible.

    Raises
    ------
    UsageError
        If it does not hold floats or is not two-dimensional with F >= 1.
    """
    if hasattr(array, "detach"):  # CuPy knows no bfloat16, and takes no tensor that records gradients
        array = array.detach()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    rows = on_gpu.cupy().asarray(array)
    if rows.dtype.kind != "f":
        raise UsageError(f"{name} must hold floats, hold {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise UsageError(f"{name} must have shape (rows, F >= 1), have {rows.shape}")
    rows = rows.astype(np.float32, copy=False)
    if rows.strides[1] != 4 or rows.strides[0] % 4:
        rows = on_gpu.cupy().ascontiguousarray(rows)
    return rows


def keep_on_gpu(rows: npt.NDArray[np.float32], kept: dict[int, Any]) -> Any:
    """Return `rows` on the current GPU, from `kept` (by device number) after the first time."""
    cp = on_gpu.cupy()
    device = int(cp.cuda.runtime.getDevice())
    if device not in kept:
        copy = as_rows_on_gpu(rows, "[PreparedKeys] keys")
        # Later searches may run on other streams, which would not wait for the copy.
        cp.cuda.get_current_stream().synchronize()
        kept[device] = copy
    return kept[device]


def on_host(array: Any) -> Any:
    """Return `array` where NumPy can read it: arrays of the GPU are copied."""
    return on_gpu.cupy().asnumpy(on_gpu.cupy().asarray(array)) if lies_on_gpu(array) else array


@contextmanager
def stream_of(*arrays: Any) -> Iterator[None]:
    """Make the stream on which torch works on a tensor among `arrays` that of CuPy; else keep CuPy's own."""
    tensor = next((a for a in arrays if getattr(a, "is_cuda", False)), None)
    if tensor is None:
        yield
        return
    import torch

    cp = on_gpu.cupy()
    stream = torch.cuda.current_stream(tensor.device)
    with cp.cuda.Device(tensor.device.index), cp.cuda.ExternalStream(stream.cuda_stream):
        yield


def _hand_back(array: Any, like: Any) -> Any:
    if getattr(like, "is_cuda", False):
        import torch.utils.dlpack

        return torch.utils.dlpack.from_dlpack(array)
    return array if lies_on_gpu(like) else on_gpu.cupy().asnumpy(array)


def cosine_topk(
    queries: Any, keys: Any, k: int, candidates: _Candidates | None, *, like: Any
) -> tuple[Any, Any]:
    """Compute `radfast.kernels.cosine.cosine_topk` on checked CuPy arrays, candidates in NumPy arrays.

    The answers come as what `like` is: CUDA tensors of torch, CuPy arrays, or else NumPy arrays.
    """
    cp = on_gpu.cupy()
    n_queries, n_keys = len(queries), len(keys)
    scores = cp.full((n_queries, k), -np.inf, np.float32)
    ids = cp.full((n_queries, k), -1, np.int32)
    search = _Search(keys, min(k, max(n_keys, 1)), candidates)
    n_chunks = -(-n_queries // search.chunk)
    edges = [n_queries * i // max(n_chunks, 1) for i in range(n_chunks + 1)]
    for first, last in pairwise(edges):
        search.run(queries[first:last], first, scores[first:last], ids[first:last])
    return _hand_back(scores, like), _hand_back(ids, like)


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()


class _Search:
    """Keys made ready, and the search of one chunk of queries after the other."""

    def __init__(self, keys: Any, k: int, candidates: _Candidates | None) -> None:
        self.cp, self.kernels = on_gpu.cupy(), on_gpu.load("cosine")
        self.k, self.n_keys, features = k, len(keys), keys.shape[1]
        self.features = -(-features // _SLAB) * _SLAB
        self.tensor = (
            candidates is None
            and k <= _MOST_TENSOR_K
            and self.n_keys >= _LEAST_TENSOR_KEYS
            and self.features <= _MOST_TENSOR_FEATURES
        )
        self.candidates = None if candidates is None else _distinct(*candidates)
        looked_at = None
        if self.candidates is not None:
            looked_at = self._mark_keys()
            self.lists = [self.cp.asarray(part) for part in self.candidates[:2]]
            self.longest = int(np.diff(self.candidates[0]).max(initial=0))
        else:
            self.lists = [self.cp.asarray(np.array([0, self.n_keys], np.int64)), None]
            self.longest = self.n_keys
        # First bad query, first bad key, queries whose list has overflown.
        self.status = self.cp.asarray(np.array([_NONE, _NONE, 0], np.int32))
        self.largest_loss = self.cp.zeros(1, np.uint32)
        self.keys, self.half_keys, _ = self._prepare(keys, 0, looked_at, 1, self.largest_loss)
        self.keep = 128 if k <= _MOST_TENSOR_K // 2 else 256
        self.exact_keep = max(64, _power_of_two(2 * k))
        capacity = self.keep + _TENSOR_KEYS if self.tensor else self.exact_keep + _EXACT_KEYS
        self.chunk = max(8 * _TILE, _CHUNK_BYTES // (8 * capacity + 6 * self.features))

    def _mark_keys(self) -> Any:
        assert self.candidates is not None
        indptr, ids, group = self.candidates
        used = np.bincount(group[group >= 0], minlength=len(indptr) - 1) > 0
        marks = np.zeros(self.n_keys, np.uint8)
        marks[ids[np.repeat(used, np.diff(indptr))]] = 1
        return self.cp.asarray(marks)

    def _prepare(
        self, rows: Any, first: int, looked_at: Any, which: int, largest_loss: Any
    ) -> tuple[Any, Any, Any]:
        cp, count = self.cp, len(rows)
        units = cp.empty((count, self.features), np.float32)
        halves = cp.empty((count, self.features), np.uint16) if self.tensor else None
        loss = cp.empty(count, np.float32) if self.tensor else None
        arguments = (
            rows, np.int64(rows.strides[0] // 4), np.int64(count), np.int64(rows.shape[1]),
            np.int64(self.features), units, halves, loss, largest_loss, looked_at, np.int32(first),
            self.status[which:],
        )  # fmt: skip
        self.kernels.launch("cosine_prepare", (-(-16 * count // _THREADS), 1), _THREADS, arguments)
        return units, halves, loss

    def run(self, queries: Any, first: int, scores: Any, ids: Any) -> None:
        """Search the queries of a chunk, the first of which is query `first`."""
        if self.candidates is None:
            units, halves, loss = self._prepare(queries, first, None, 0, None)
            if self.tensor:
                self._run_tensor(units, halves, loss, scores, ids)
            else:
                self._run_exact(units, None, [0, len(queries)], scores, ids)
            self._check()
            return
        group = self.candidates[2][first : first + len(queries)]
        looked_at = self.cp.asarray((group >= 0).astype(np.uint8))
        units, _, _ = self._prepare(queries, first, looked_at, 0, None)
        per_group = np.bincount(group[group >= 0], minlength=len(self.candidates[0]) - 1)
        order = self.cp.argsort(self.cp.asarray(group))[len(group) - int(per_group.sum()) :].astype(np.int32)
        self._run_exact(units, order, np.concatenate(([0], np.cumsum(per_group))), scores, ids)
        self._check()

    def _check(self) -> int:
        bad_query, bad_key, n_overflown = self.cp.asnumpy(self.status).tolist()
        for name, row in (("queries", bad_query), ("keys", bad_key)):
            if row != _NONE:
                raise UsageError(f"[cosine_topk] {name} must be finite in float32, row {row} is not")
        return int(n_overflown)

    def _parts(self, tiles: int, keys: int, of_tile: int, keep: int) -> int:
        wanted = -(-_WAVES * on_gpu.limits().processors // max(tiles, 1))
        return max(1, min(wanted, -(-keys // of_tile), _MOST_OFFERS // keep))

    def _run_tensor(self, units: Any, halves: Any, loss: Any, scores: Any, ids: Any) -> None:
        cp, places, slabs, shared = self.cp, len(units), self.features // _SLAB, on_gpu.limits().shared
        tiles = -(-places // _TILE)
        parts = self._parts(tiles, self.n_keys, _TENSOR_KEYS, self.keep)
        capacity = self.keep + _TENSOR_KEYS
        offers = cp.empty((places, parts, capacity), np.uint64)
        counts = cp.empty((places, parts), np.uint32)
        query_slab, key_slab = 2 * _TILE * _SLAB, 2 * _TENSOR_KEYS * _SLAB
        layouts = (
            ("cosine_tensor_4", slabs * query_slab + 4 * key_slab),
            ("cosine_tensor_2", slabs * query_slab + 2 * key_slab),
            ("cosine_tensor_deep", 4 * (query_slab + key_slab)),
        )
        # The last wants 97 KB, which every GPU since sm_80 has.
        name, room = next((name, 8 * _TILE + room) for name, room in layouts if 8 * _TILE + room <= shared)
        arguments = (
            halves, self.half_keys, np.int64(places), np.int64(self.n_keys), np.int64(self.features), loss,
            self.largest_loss, np.uint32(self.k), np.uint32(self.keep), np.uint32(capacity), offers, counts,
        )  # fmt: skip
        self.kernels.launch(name, (tiles, parts), _THREADS, arguments, room)
        overflown = cp.empty(places, np.int32)
        self.status[2:].fill(0)
        self._finish(
            units, None, places, parts, capacity, self.keep, False, offers, counts, scores, ids, overflown
        )
        if (n := self._check()) > 0:
            self._run_exact(units, overflown[:n], [0, n], scores, ids)

    def _run_exact(self, units: Any, order: Any, query_start: Any, scores: Any, ids: Any) -> None:
        cp, places = self.cp, int(query_start[-1])
        of_group = -(-np.diff(query_start) // _TILE)
        tile_start = np.concatenate(([0], np.cumsum(of_group))).astype(np.int32)
        tiles = int(tile_start[-1])
        parts = self._parts(tiles, self.longest, _EXACT_KEYS, self.exact_keep)
        capacity = self.exact_keep + _EXACT_KEYS
        offers = cp.empty((places, parts, capacity), np.uint64)
        counts = cp.empty((places, parts), np.uint32)
        arguments = (
            units, self.keys, np.int64(self.features), order, cp.asarray(np.asarray(query_start, np.int32)),
            cp.asarray(tile_start), np.int32(len(of_group)), *self.lists, np.uint32(self.k),
            np.uint32(self.exact_keep), np.uint32(capacity), offers, counts,
        )  # fmt: skip
        self.kernels.launch("cosine_exact", (tiles, parts), _THREADS, arguments, _EXACT_BYTES)
        self._finish(
            units, order, places, parts, capacity, self.exact_keep, True, offers, counts, scores, ids, None
        )

    def _finish(
        self, units: Any, order: Any, places: int, parts: int, capacity: int, keep: int, scored: bool,
        offers: Any, counts: Any, scores: Any, ids: Any, overflown: Any,
    ) -> None:  # fmt: skip
        size = _power_of_two(parts * keep)
        of_warp = 8 * size + 4 * (32 * 33 + 32)
        warps = max(1, min(8, (48 << 10) // of_warp))
        arguments = (
            units, self.keys, np.int64(self.n_keys), np.int64(self.features), np.int64(places), order,
            np.uint32(parts), np.uint32(capacity), np.uint32(scores.shape[1]), np.uint32(size),
            np.int32(scored), offers, counts, scores, ids, overflown, self.status[2:],
        )  # fmt: skip
        self.kernels.launch("cosine_finish", (-(-places // warps), 1), 32 * warps, arguments, warps * of_warp)


_NONE = np.iinfo(np.int32).max


def _distinct(
    indptr: npt.NDArray[np.int64], ids: npt.NDArray[np.int32], group: npt.NDArray[np.int32]
) -> _Candidates:
    """Return the lists without repeats, in rising order where one was dropped."""
    owner = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    named = (owner << 32) | ids
    if (np.diff(named) > 0).all():
        return indptr, ids, group
    named = np.unique(named)
    counts = np.bincount(named >> 32, minlength=len(indptr) - 1)
    return (
        np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        (named & 0xFFFFFFFF).astype(np.int32),
        group,
    )
