"""What keeps a GPU busy: pictures read once to their final size, and the next batch made beside the step.

The picture cache of the archive is uint8 and memory-mapped; where the network wants another size, a second
one of that size is made once, so that an epoch reads and crops but does not resize. `prefetch` makes batches
in a thread, in order; from page-locked memory the copy does not stop the GPU.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from radfast.errors import CannotWriteError
from radfast.vision.loader import read_pictures

_CHUNK = 256  # pictures resized at once
_DEPTH = 2  # batches made ahead

T = TypeVar("T")
Fill = Callable[[npt.NDArray[np.generic]], None]


def keep_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    fill: Callable[[npt.NDArray[np.generic]], None],
) -> npt.NDArray[np.generic]:
    """Return the array of `path`, memory-mapped; it is filled first where it is not there.

    Raises
    ------
    CannotWriteError
        If it cannot be written.
    """
    if path.is_file():
        with suppress(ValueError, OSError):
            kept: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
            if kept.shape == shape and kept.dtype == dtype:
                return kept
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        array = np.lib.format.open_memmap(part, "w+", dtype, shape)
        fill(array)
        array.flush()
        del array
        Path(part).replace(path)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}") from error
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def resize_once(
    pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], side: int, path: Path
) -> npt.NDArray[np.uint8]:
    """Return pictures uint8 (M, side, side) of rows (M,) of pixels (N, H, W), kept in `path`."""

    def fill(array: npt.NDArray[np.generic]) -> None:
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            array[start : start + len(part)] = read_pictures(pixels, part, side)[:, 0].byte().numpy()

    return keep_array(path, (len(rows), side, side), np.uint8, fill).view(np.uint8)


def prefetch(batches: Iterator[T]) -> Iterator[T]:
    """Yield what `batches` yields, made in a thread up to two ahead; its errors are raised here."""
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(_DEPTH)
    left = Event()

    def put(item: tuple[T | None, BaseException | None]) -> bool:
        while not left.is_set():
            with suppress(Full):
                queue.put(item, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for batch in batches:
                if not put((batch, None)):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            put((None, error))
            return
        put((None, StopIteration()))

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            batch, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            assert batch is not None
            yield batch
    finally:
        left.set()
        thread.join()
