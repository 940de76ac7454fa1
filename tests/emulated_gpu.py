"""A stand-in for CuPy that runs csrc/*.cu on the host (native/cuda_on_host.h), with NumPy for the arrays.

The backends' own Python code runs unchanged on it: what is emulated are the GPU and CuPy, nothing of radfast.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-mfma", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-w")


class DeviceArray(np.ndarray):
    """An array that says it lies on a GPU."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.__array_interface__)

    def get(self) -> np.ndarray:
        return np.array(self)


def build(kernel: str, folder: Path) -> ctypes.CDLL:
    """Compile the emulation of csrc/<kernel>.cu."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ on PATH to build the emulation with")
    target = folder / f"emulate_{kernel}.so"
    source = ROOT / "tests" / "native" / f"emulate_{kernel}.cpp"
    subprocess.run([compiler, *_FLAGS, "-o", str(target), str(source)], check=True)
    return ctypes.CDLL(str(target))


class EmulatedModule:
    """What cupy.RawModule gives, for one library of emulated kernels."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def get_function(self, name: str) -> Any:
        launch = getattr(self._library, f"launch_{name}")

        def function(grid: tuple[int, int], block: tuple[int, int], arguments: Any, shared_mem: int) -> None:
            assert shared_mem <= SHARED
            assert function.max_dynamic_shared_size_bytes >= shared_mem or shared_mem <= 48 << 10
            kept = []
            for value in arguments:
                if value is None or isinstance(value, np.ndarray):
                    if value is not None:
                        assert isinstance(value, DeviceArray), f"{name} was given an array of the host"
                        assert value.flags.c_contiguous
                    kept.append(ctypes.c_void_p(None if value is None else value.ctypes.data))
                else:
                    assert isinstance(value, np.generic), f"{name} was given a {type(value)}"
                    kept.append(ctypes.create_string_buffer(value.tobytes(), value.nbytes))
            pointers = (ctypes.c_void_p * len(kept))(*(ctypes.addressof(one) for one in kept))
            launch((ctypes.c_uint * 2)(*grid), (ctypes.c_uint * 2)(*block), pointers)

        function.max_dynamic_shared_size_bytes = 0  # type: ignore[attr-defined]
        return function


SHARED = 227 << 10


def junk(shape: Any, dtype: Any = np.float64) -> DeviceArray:
    """Return what cupy.empty gives: anything."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 0xA5
    return array.view(DeviceArray)


def on_gpu(function: Any) -> Any:
    """Make a NumPy function return arrays of the GPU."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return np.ascontiguousarray(function(*args, **kwargs)).view(DeviceArray)

    return call


class EmulatedCupy(SimpleNamespace):
    """The part of the module cupy that radfast uses.

    Attributes
    ----------
    free : int
        Bytes of free memory that it tells.
    """

    def __init__(self, libraries: dict[str, ctypes.CDLL], processors: int = 2) -> None:
        facts = {
            "MaxSharedMemoryPerBlockOptin": SHARED, "MultiProcessorCount": processors,
            "ComputeCapabilityMajor": 9, "ComputeCapabilityMinor": 0,
        }  # fmt: skip
        self.free = 1 << 30
        self.facts = facts

        def raw_module(code: str, options: Any) -> EmulatedModule:
            assert "#include" not in code
            name = next(name for name in libraries if f"{name}_" in code)
            return EmulatedModule(libraries[name])

        super().__init__(
            ndarray=DeviceArray,
            RawModule=raw_module,
            asarray=on_gpu(lambda a, dtype=None: a if isinstance(a, DeviceArray) else np.array(a, dtype)),
            asnumpy=lambda a: np.array(a).view(np.ndarray),
            empty=junk,
            zeros=on_gpu(np.zeros),
            full=on_gpu(np.full),
            ascontiguousarray=on_gpu(np.ascontiguousarray),
            argsort=on_gpu(lambda a: np.argsort(a, kind="stable")),
            cuda=SimpleNamespace(
                Device=lambda device=0: SimpleNamespace(attributes=facts),
                runtime=SimpleNamespace(getDevice=lambda: 0, memGetInfo=lambda: (self.free, self.free)),
            ),
        )
