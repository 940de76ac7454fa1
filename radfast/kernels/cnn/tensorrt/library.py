"""Which TensorRT there is, and whether it may be touched: the library and the GPU it runs on.

`tensorrt` where it is installed, else `tensorrt_rtx`: their Python surface is the same where it is used here.
Both build engines on any machine. A Runtime, however, ends the process where there is no driver (a
segmentation fault inside the library), so libcuda is asked before any Runtime is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from radfast.kernels.cnn.gpu import CudaDevice, Device, why_not_torch_cuda

LIBRARIES = ("tensorrt", "tensorrt_rtx")


def find_library() -> str | None:
    """Return the name of the installed TensorRT, None where there is none."""
    return next((name for name in LIBRARIES if find_spec(name) is not None), None)


def why_not_tensorrt() -> str | None:
    """Say why engines cannot run here; None where they can."""
    if find_library() is None:
        return "tensorrt is not installed: pip install tensorrt (or tensorrt-rtx)"
    return why_not_torch_cuda()  # torch holds the buffers


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
