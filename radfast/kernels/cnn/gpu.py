"""The GPU as compiled networks see it: memory, streams and graphs, through torch."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from radfast.device import why_no_driver

log = logging.getLogger("radfast.cnn")


def why_not_torch_cuda() -> str | None:
    """Say why torch cannot use a GPU here; None where it can."""
    if (reason := why_no_driver()) is not None:
        return reason
    return None if torch.cuda.is_available() else "this torch was built without CUDA"


class Stream(Protocol):
    """An order of work on a device."""

    handle: int

    def synchronize(self) -> None:
        """Wait for all work on it."""


class Device(Protocol):
    """What holds the memory and the streams a network works with."""

    #: Name, compute capability and driver: an engine is made for these.
    identity: dict[str, str]
    #: torch's name of it.
    kind: str

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the device."""

    def allocate_pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the host that the device copies from and to by itself."""

    def make_stream(self) -> Stream:
        """Return a new stream."""

    def on(self, stream: Stream) -> AbstractContextManager[None]:
        """Send torch's own work to `stream` inside the block."""

    def copy(self, target: Tensor, source: Tensor, stream: Stream) -> None:
        """Copy on `stream`, without waiting."""

    def record(self, work: Callable[[], None], stream: Stream) -> Callable[[], None]:
        """Return what repeats `work` on `stream` in one launch."""

    def join(self, waiting: Stream | None, stream: Stream | None) -> None:
        """Let `waiting` go on after what is on `stream` now; None is the caller's own stream."""


class _CudaStream:
    def __init__(self) -> None:
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.handle = int(self.stream.cuda_stream)

    def synchronize(self) -> None:
        self.stream.synchronize()


class CudaDevice:
    """The GPU, through torch: its allocator, streams and graphs."""

    kind = "cuda"

    def __init__(self) -> None:
        version = ctypes.c_int(0)
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
        major, minor = torch.cuda.get_device_capability()
        self.identity = {
            "gpu": torch.cuda.get_device_name(),
            "capability": f"{major}.{minor}",
            "driver": str(version.value),
        }

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the GPU."""
        return torch.zeros(shape, dtype=dtype, device="cuda")

    def allocate_pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return page-locked memory of the host."""
        return torch.zeros(shape, dtype=dtype, pin_memory=True)

    def make_stream(self) -> Stream:
        """Return a new CUDA stream."""
        return _CudaStream()

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """Send torch's own work to `stream` inside the block."""
        with torch.cuda.stream(_torch_stream(stream)):
            yield

    def copy(self, target: Tensor, source: Tensor, stream: Stream) -> None:
        """Copy on `stream`, without waiting."""
        with self.on(stream):
            target.copy_(source, non_blocking=True)

    def record(self, work: Callable[[], None], stream: Stream) -> Callable[[], None]:
        """Return the replay of a CUDA graph of `work`; `work` itself where it cannot be captured."""
        place = _torch_stream(stream)
        work()  # lazy set-up inside the library must not fall into the capture
        place.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=place):
                work()
        except torch.OutOfMemoryError:  # a smaller batch may be recorded
            raise
        except RuntimeError as error:
            log.warning("no CUDA graph, each step is launched anew: %s", str(error).splitlines()[0])
            return work

        def replay() -> None:
            with torch.cuda.stream(place):
                graph.replay()

        return replay

    def join(self, waiting: Stream | None, stream: Stream | None) -> None:
        """Let `waiting` go on after what is on `stream` now; None is torch's current stream."""
        _torch_stream(waiting).wait_stream(_torch_stream(stream))


def _torch_stream(stream: Stream | None) -> Any:
    if stream is None:
        return torch.cuda.current_stream()
    assert isinstance(stream, _CudaStream)
    return stream.stream
