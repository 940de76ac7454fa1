"""An engine at work: two lanes take turns, so that copies of one batch hide behind the other's products.

A lane has a stream, page-locked and device buffers of one batch, and two execution contexts. A full batch is
one launch of a CUDA graph. A tail is filled up to the next power of two, so that few shapes occur; the rows
behind it hold pictures of earlier batches, and what they give is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.tensorrt.library import Device, Machine

_LANES = 2


class OutOfMemoryError(Exception):
    """The device has no room for buffers of this batch."""

    def __init__(self) -> None:
        super().__init__("the GPU has no memory for one picture")


def load_engine(machine: Machine, engine: bytes) -> Any:
    """Return the engine, deserialised on the machine's GPU.

    Raises
    ------
    RefusedError
        If the library does not take it.
    """
    library = machine.library
    runtime = library.Runtime(library.Logger(library.Logger.ERROR))
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        raise RefusedError("TensorRT does not load the engine")
    return loaded


def fill_up(count: int, batch: int) -> int:
    """Return the batch that `count` pictures are computed as: the next power of two, at most `batch`."""
    return min(1 << (count - 1).bit_length(), batch)


class _Lane:
    def __init__(
        self,
        engine: Any,
        device: Device,
        batch: int,
        picture: tuple[int, ...],
        heads: dict[str, int],
        dtype: torch.dtype,
    ) -> None:
        self.device = device
        self.batch = batch
        self.picture = picture
        try:
            self.full, self.tail = (engine.create_execution_context() for _ in range(2))
            if self.full is None or self.tail is None:
                raise OutOfMemoryError
            self.images = device.allocate((batch, *picture), dtype)
            self.pinned_images = device.allocate_pinned((batch, *picture), dtype)
            self.outputs = {
                head: device.allocate((batch, width), torch.float32) for head, width in heads.items()
            }
            self.pinned_outputs = {
                head: device.allocate_pinned((batch, width), torch.float32) for head, width in heads.items()
            }
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemoryError from error
        self.stream = device.make_stream()
        for context in (self.full, self.tail):
            context.set_tensor_address("images", self.images.data_ptr())
            for head, buffer in self.outputs.items():
                context.set_tensor_address(head, buffer.data_ptr())
        if not self.full.set_input_shape("images", (batch, *picture)):
            raise RefusedError(f"TensorRT refuses a batch of {batch}")
        self.launch_full: Callable[[], None] | None = None

    def launch(self, count: int) -> None:
        """Compute the first `count` pictures of the device buffer."""
        if count == self.batch:
            if self.launch_full is None:
                self.launch_full = self.device.record(lambda: self._execute(self.full), self.stream)
            self.launch_full()
            return
        size = fill_up(count, self.batch)
        if not self.tail.set_input_shape("images", (size, *self.picture)):
            raise RefusedError(f"TensorRT refuses a batch of {size}")
        self._execute(self.tail)

    def _execute(self, context: Any) -> None:
        if not context.execute_async_v3(self.stream.handle):
            raise RefusedError("TensorRT did not run the engine")


class Pipeline:
    """An engine with its lanes, for one dtype of pictures.

    Parameters
    ----------
    machine : Machine
    engine : bytes
    batch : int
        Pictures computed at once, at most the profile's.
    picture : tuple of int
        Shape of one picture as the engine reads it.
    heads : dict of str to int
    dtype : torch.dtype
        As the engine reads it.

    Raises
    ------
    OutOfMemoryError
        If the buffers do not fit.
    RefusedError
        If the engine does not load or run.
    """

    def __init__(
        self,
        machine: Machine,
        engine: bytes,
        batch: int,
        picture: tuple[int, ...],
        heads: dict[str, int],
        dtype: torch.dtype,
    ) -> None:
        self.device = machine.device
        self.heads = heads
        self.picture = picture
        self.batch = batch
        loaded = load_engine(machine, engine)
        self.lanes = [_Lane(loaded, machine.device, batch, picture, heads, dtype) for _ in range(_LANES)]

    def run_on_host(self, pictures: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute pictures (N, *picture) of host memory: copies in, products and copies out overlap."""
        count = len(pictures)
        results = {head: np.empty((count, width), np.float32) for head, width in self.heads.items()}
        waiting: list[tuple[int, int] | None] = [None] * _LANES
        for turn, start in enumerate(range(0, count, self.batch)):
            place = turn % _LANES
            self._collect(place, waiting, results)
            end = min(start + self.batch, count)
            lane = self.lanes[place]
            part = torch.from_numpy(np.ascontiguousarray(pictures[start:end]))
            lane.pinned_images[: end - start].copy_(part)
            size = end - start
            self.device.copy(lane.images[:size], lane.pinned_images[:size], lane.stream)
            lane.launch(size)
            for head, buffer in lane.outputs.items():
                self.device.copy(lane.pinned_outputs[head][:size], buffer[:size], lane.stream)
            waiting[place] = (start, end)
        for place in range(_LANES):
            self._collect(place, waiting, results)
        return results

    def _collect(
        self,
        place: int,
        waiting: list[tuple[int, int] | None],
        results: dict[str, npt.NDArray[np.float32]],
    ) -> None:
        """Wait for a lane and take its rows."""
        rows = waiting[place]
        if rows is None:
            return
        waiting[place] = None
        lane = self.lanes[place]
        lane.stream.synchronize()
        start, end = rows
        for head, result in results.items():
            result[start:end] = lane.pinned_outputs[head][: end - start].numpy()

    def run_on_device(self, images: Tensor) -> dict[str, Tensor]:
        """Compute pictures (N, *picture) that are on the device; the results stay there."""
        count = len(images)
        results = {
            head: self.device.allocate((count, width), torch.float32) for head, width in self.heads.items()
        }
        for lane in self.lanes:
            self.device.join(lane.stream, None)
        for turn, start in enumerate(range(0, count, self.batch)):
            lane = self.lanes[turn % _LANES]
            end = min(start + self.batch, count)
            self.device.copy(lane.images[: end - start], images[start:end], lane.stream)
            lane.launch(end - start)
            for head, buffer in lane.outputs.items():
                self.device.copy(results[head][start:end], buffer[: end - start], lane.stream)
        for lane in self.lanes:
            self.device.join(None, lane.stream)
        return results
