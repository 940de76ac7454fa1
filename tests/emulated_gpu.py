"""A stand-in for CuPy that runs csrc/*.cu on the host (native/cuda_on_host.h), with NumPy for the arrays.

The backends' own Python code runs unchanged on it: what is emulated are the GPU and CuPy, nothing of radfast.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radfast import device
from radfast.kernels import on_gpu

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


class EmulatedCompiler(SimpleNamespace):
    """The part of cupy.cuda.nvrtc that radfast uses; the code of a program is the name of its kernel.

    Attributes
    ----------
    calls : int
        Programs compiled.
    complaint : str
        If not empty, programs do not compile, and this is the log.
    """

    class NVRTCError(RuntimeError):
        pass

    calls = 0
    complaint = ""

    def getVersion(self) -> tuple[int, int]:
        return 13, 0

    def createProgram(self, source: str, name: str, headers: Any, names: Any) -> Any:
        assert "#include" not in source
        return name

    def compileProgram(self, program: str, options: tuple[str, ...]) -> None:
        assert "--gpu-architecture=sm_90" in options
        self.calls += 1
        if self.complaint:
            raise self.NVRTCError

    def getCUBIN(self, program: str) -> bytes:
        return Path(program).stem.encode()

    def getProgramLog(self, program: str) -> str:
        return self.complaint

    def destroyProgram(self, program: str) -> None:
        pass


SHARED = 227 << 10


def junk(shape: Any, dtype: Any = np.float64) -> DeviceArray:
    """Return what cupy.empty gives: anything."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 0xA5
    return array.view(DeviceArray)


def _of_gpu(function: Any) -> Any:
    """Make a NumPy function return arrays of the GPU."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return np.ascontiguousarray(function(*args, **kwargs)).view(DeviceArray)

    return call


def install(kernel: str, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, cache: Path) -> EmulatedCupy:
    """Make radfast find an emulated GPU for the length of a test."""
    fake = EmulatedCupy({kernel: library})
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(device, "why_not", lambda _: None)
    monkeypatch.setenv("RADFAST_CACHE_DIR", str(cache))
    on_gpu.forget()
    return fake


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

        def raw_module(path: str) -> EmulatedModule:
            return EmulatedModule(libraries[Path(path).read_text("utf-8")])

        super().__init__(
            ndarray=DeviceArray,
            RawModule=raw_module,
            asarray=_of_gpu(lambda a, dtype=None: a if isinstance(a, DeviceArray) else np.array(a, dtype)),
            asnumpy=lambda a: np.array(a).view(np.ndarray),
            empty=junk,
            zeros=_of_gpu(np.zeros),
            full=_of_gpu(np.full),
            ascontiguousarray=_of_gpu(np.ascontiguousarray),
            argsort=_of_gpu(lambda a: np.argsort(a, kind="stable")),
            cuda=SimpleNamespace(
                Device=lambda device=0: SimpleNamespace(attributes=facts),
                nvrtc=EmulatedCompiler(),
                runtime=SimpleNamespace(getDevice=lambda: 0, memGetInfo=lambda: (self.free, self.free)),
            ),
        )
