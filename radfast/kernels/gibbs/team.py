"""How compiled passes are made and run: ranges of documents, one thread each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Lanes in which sums over topics are taken; tables are padded to it.
LANES = 16
#: Bytes of a line of the cache.
LINE = 64

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """Compile with Numba at first use, cached on disk, without the interpreter lock and without fastmath."""
    return cast(_F, njit(nogil=True, cache=True, error_model="numpy")(function))


class Team:
    """Threads that run one compiled pass on several ranges; alone, it runs them in place."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, function: Callable[..., None], calls: list[tuple[Any, ...]]) -> None:
        """Call `function` once per tuple of arguments and wait for all."""
        if self._pool is None or len(calls) == 1:
            for arguments in calls:
                function(*arguments)
            return
        for future in [self._pool.submit(function, *arguments) for arguments in calls]:
            future.result()


def align_zeros(shape: tuple[int, int], dtype: type[np.generic]) -> NDArray[Any]:
    """Return zeros from a line of the cache on: rows of a multiple of `LANES` do not share one then."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(dtype).reshape(shape)


def cut_documents(indptr: NDArray[np.int64], first: int, last: int, n_parts: int) -> list[tuple[int, int]]:
    """Cut documents first..last-1 into at most `n_parts` ranges of about as many tokens; none is empty."""
    goals = np.linspace(float(indptr[first]), float(indptr[last]), n_parts + 1)[1:-1]
    inner = first + np.searchsorted(indptr[first:last], goals)
    edges = sorted({first, last, *(int(edge) for edge in inner)})
    return list(pairwise(edges))


def spread_alpha(alpha: float | NDArray[np.float64], n_topics: int) -> NDArray[np.float64]:
    """Return alpha as float64 (K,), be it one number or one per topic."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(alpha, np.float64), (n_topics,)))
