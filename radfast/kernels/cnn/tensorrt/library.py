"""Which TensorRT there is, and whether it may be touched: the library and the GPU it runs on.

`tensorrt` where it is installed, else `tensorrt_rtx`: their Python surface is the same where it is used here.
Both build engines on any machine. A Runtime, however, ends the process where there is no driver (a
segmentation fault inside the library), so libcuda is asked before any Runtime is made.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from radfast.device import why_no_driver

LIBRARIES = ("tensorrt", "tensorrt_rtx")
log = logging.getLogger("radfast.cnn")


def find_library() -> str | None:
    """Return the name of the installed TensorRT, None where there is none."""
    return next((name for name in LIBRARIES if find_spec(name) is not None), None)


def why_not_tensorrt() -> str | None:
    """Say why engines cannot run here; None where they can."""
    if find_library() is None:
        return "tensorrt is not installed: pip install tensorrt (or tensorrt-rtx)"
    if (reason := why_no_driver()) is not None:
        return reason
    if not torch.cuda.is_available():
        return "this torch was built without CUDA, and holds the buffers"
    return None


class Stream(Protocol):
    """An order of work on a device."""

    handle: int

    def synchronize(self) -> None:
        """Wait for all work on it."""


class Device(Protocol):
    """What holds the memory and the streams an engine works with."""

    #: Name, compute capability and driver: an engine is made for these.
    identity: dict[str, str]

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the device."""

    def allocate_pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the host that the device copies from and to by itself."""

    def make_stream(self) -> Stream:
        """Return a new stream."""

    def copy(self, target: Tensor, source: Tensor, stream: Stream) -> None:
        """Copy on `stream`, without waiting."""

    def record(self, work: Callable[[], None], stream: Stream) -> Callable[[], None]:
        """Return what repeats `work` on `stream` in one launch."""

    def join(self, waiting: Stream | None, stream: Stream | None) -> None:
        """Let `waiting` go on after what is on `stream` now; None is the caller's own stream."""


@dataclass(frozen=True)
class Machine:
    """A TensorRT with the device it runs on."""

    library: Any
    device: Device

    def identify(self) -> dict[str, str]:
        """Return all that an engine must have in common with the machine it is loaded on."""
        version = str(self.library.__version__)
        return {"library": self.library.__name__, "version": version, **self.device.identity}


def open_machine() -> Machine:
    """Return the installed TensorRT on the present GPU; call it where `why_not_tensorrt` is None."""
    name = find_library()
    assert name is not None
    return Machine(import_module(name), CudaDevice())


class _CudaStream:
    def __init__(self) -> None:
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.handle = int(self.stream.cuda_stream)

    def synchronize(self) -> None:
        self.stream.synchronize()


class CudaDevice:
    """The GPU, through torch: its allocator, streams and graphs."""

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

    def copy(self, target: Tensor, source: Tensor, stream: Stream) -> None:
        """Copy on `stream`, without waiting."""
        with torch.cuda.stream(_torch_stream(stream)):
            target.copy_(source, non_blocking=True)

    def record(self, work: Callable[[], None], stream: Stream) -> Callable[[], None]:
        """Return the replay of a CUDA graph of `work`; `work` itself where it cannot be captured."""
        place = _torch_stream(stream)
        work()  # lazy set-up inside TensorRT must not fall into the capture
        place.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=place):
                work()
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
