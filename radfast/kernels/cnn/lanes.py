"""A network at work on a device: two lanes take turns, so that copies of one batch hide behind the other's
products.

A lane has a stream, page-locked and device buffers of one batch, and a program bound to them. A full batch is
one launch of a CUDA graph. A tail is filled up to the next power of two, so that few shapes occur; the rows
behind it hold pictures of earlier batches, and what they give is not read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radfast.kernels.cnn.gpu import Device, Stream

_LANES = 2
log = logging.getLogger("radfast.cnn")


class OutOfMemoryError(Exception):
    """The device has no room for buffers of this batch."""

    def __init__(self) -> None:
        super().__init__("the GPU has no memory for one picture")


class Program(Protocol):
    """A network made ready for a device."""

    def bind(self, images: Tensor, outputs: Mapping[str, Tensor], stream: Stream) -> Callable[[int], None]:
        """Return what computes the first n pictures of the buffer `images` into `outputs` on `stream`.

        Raises
        ------
        OutOfMemoryError
            If the device has no room for what lies between.
        """


def fill_up(count: int, batch: int) -> int:
    """Return the batch that `count` pictures are computed as: the next power of two, at most `batch`."""
    return min(1 << (count - 1).bit_length(), batch)


class _Lane:
    def __init__(
        self,
        program: Program,
        device: Device,
        batch: int,
        picture: tuple[int, ...],
        heads: dict[str, int],
        dtype: torch.dtype,
    ) -> None:
        self.batch = batch
        try:
            self.images = device.allocate((batch, *picture), dtype)
            self.pinned_images = device.allocate_pinned((batch, *picture), dtype)
            self.outputs = {
                head: device.allocate((batch, width), torch.float32) for head, width in heads.items()
            }
            self.pinned_outputs = {
                head: device.allocate_pinned((batch, width), torch.float32) for head, width in heads.items()
            }
            self.stream = device.make_stream()
            self.compute = program.bind(self.images, self.outputs, self.stream)
            # Recorded now, so that memory that does not suffice is known before the first picture.
            self.compute_full = device.record(lambda: self.compute(batch), self.stream)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemoryError from error

    def launch(self, count: int) -> None:
        """Compute the first `count` pictures of the device buffer."""
        if count == self.batch:
            self.compute_full()
        else:
            self.compute(fill_up(count, self.batch))


class Pipeline:
    """A program with its lanes, for one dtype of pictures.

    Parameters
    ----------
    program : Program
    device : Device
    batch : int
        Pictures computed at once.
    image_shape : tuple of int
    heads : dict of str to int
    dtype : str
        Of the pictures: "float32", "uint8" or "uint16".

    Raises
    ------
    OutOfMemoryError
        If the buffers do not fit.
    RefusedError
        If the program does not run.
    """

    def __init__(
        self,
        program: Program,
        device: Device,
        batch: int,
        image_shape: tuple[int, int, int],
        heads: dict[str, int],
        dtype: str,
    ) -> None:
        self.device = device
        self.heads = heads
        self.batch = batch
        picture = (*image_shape, 2) if dtype == "uint16" else image_shape
        stored = torch.float32 if dtype == "float32" else torch.uint8
        self.lanes = [_Lane(program, device, batch, picture, heads, stored) for _ in range(_LANES)]

    def run_on_host(self, pictures: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute pictures (N, C, H, W) of host memory: copies in, products and copies out overlap."""
        pictures = as_bytes(pictures)
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
        """Compute pictures (N, C, H, W) that are on the device; the results stay there."""
        images = as_tensor_bytes(images)
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


def open_largest(open_with: Callable[[int], Pipeline], batch: int) -> Pipeline:
    """Return the pipeline of the largest batch that fits: `batch`, half of it, and so on to 1.

    Raises
    ------
    OutOfMemoryError
        If not even one picture fits.
    """
    while True:
        try:
            return open_with(batch)
        except OutOfMemoryError:
            if batch == 1:
                raise
            log.warning("no memory for a batch of %d pictures: %d are computed at once", batch, batch // 2)
            batch //= 2


def as_bytes(pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return uint16 (N, C, H, W) as its bytes uint8 (N, C, H, W, 2), low byte first; others as they are."""
    if pictures.dtype != np.uint16:
        return pictures
    return np.ascontiguousarray(pictures, "<u2").view(np.uint8).reshape(*pictures.shape, 2)


def as_tensor_bytes(images: Tensor) -> Tensor:
    """Return the same of a tensor, without a copy where it is in one piece."""
    if images.dtype != torch.uint16:
        return images
    return images.contiguous().view(torch.uint8).reshape(*images.shape, 2)
