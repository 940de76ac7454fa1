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


_GUARD = 256  # bytes of junk on either side of an array, which no kernel may change
_JUNK = 0xA5


class DeviceArray(np.ndarray):
    """An array that says it lies on a GPU, between guards."""

    guarded: np.ndarray | None = None

    def __array_finalize__(self, other: Any) -> None:
        self.guarded = getattr(other, "guarded", None)

    def check_guards(self) -> bool:
        return self.guarded is not None and bool(
            (self.guarded[:_GUARD] == _JUNK).all() and (self.guarded[-_GUARD:] == _JUNK).all()
        )

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

    def __init__(self, library: ctypes.CDLL, launched: list[str]) -> None:
        self._library, self._launched = library, launched

    def get_function(self, name: str) -> Any:
        launch = getattr(self._library, f"launch_{name}")

        kinds = ctypes.c_char_p.in_dll(self._library, f"kinds_{name}").value
        assert kinds is not None

        def function(grid: tuple[int, int], block: tuple[int, int], arguments: Any, shared_mem: int) -> None:
            assert shared_mem <= SHARED
            assert function.max_dynamic_shared_size_bytes >= shared_mem or shared_mem <= 48 << 10
            assert len(arguments) == len(kinds)
            kept = []
            for kind, value in zip(kinds.decode(), arguments, strict=True):
                if isinstance(value, np.ndarray):
                    assert isinstance(value, DeviceArray), f"{name} was given an array of the host"
                    assert kind == "p"
                    assert value.check_guards()
                    kept.append(ctypes.c_void_p(value.ctypes.data))
                else:
                    assert isinstance(value, np.generic), f"{name} was given a {type(value)}"
                    # A null pointer is a number of 8 bytes, as CuPy passes it.
                    wanted = "Q" if kind == "p" else kind
                    assert value.dtype.char.replace("L", "Q").replace("l", "q") == wanted, (
                        name,
                        value.dtype,
                        kind,
                    )
                    kept.append(ctypes.create_string_buffer(value.tobytes(), value.nbytes))
            pointers = (ctypes.c_void_p * len(kept))(*(ctypes.addressof(one) for one in kept))
            launch((ctypes.c_uint * 2)(*grid), (ctypes.c_uint * 2)(*block), pointers)
            self._launched.append(name)
            for value in arguments:
                assert not isinstance(value, DeviceArray) or value.check_guards(), (
                    f"{name} wrote past an array"
                )

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
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    # A guard is 256 bytes so that arrays are aligned as CuPy's are.
    memory = np.full(size + 4 * _GUARD, _JUNK, np.uint8)
    skipped = -memory.ctypes.data % _GUARD
    guarded = memory[skipped : skipped + size + 2 * _GUARD]
    array = guarded[_GUARD : _GUARD + size].view(dtype).reshape(shape).view(DeviceArray)
    array.guarded = guarded
    return array


def _of_gpu(function: Any) -> Any:
    """Make a NumPy function return arrays of the GPU."""

    def call(*args: Any, **kwargs: Any) -> Any:
        made = np.asarray(function(*args, **kwargs))
        array = junk(made.shape, made.dtype)
        array[...] = made
        return array

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
    facts : dict
        Bytes of shared memory and number of multiprocessors that it tells.
    launched : list of str
        Kernels run so far.
    """

    def __init__(self, libraries: dict[str, ctypes.CDLL], processors: int = 2) -> None:
        facts = {"shared": SHARED, "processors": processors}
        self.free = 1 << 30
        self.launched: list[str] = []
        self.facts = facts

        def raw_module(path: str) -> EmulatedModule:
            return EmulatedModule(libraries[Path(path).read_text("utf-8")], self.launched)

        super().__init__(
            ndarray=DeviceArray,
            RawModule=raw_module,
            asarray=lambda a: a if isinstance(a, DeviceArray) else _of_gpu(np.array)(a),
            asnumpy=lambda a: np.array(a).view(np.ndarray),
            empty=junk,
            zeros=_of_gpu(np.zeros),
            full=_of_gpu(np.full),
            ascontiguousarray=_of_gpu(np.ascontiguousarray),
            argsort=_of_gpu(lambda a: np.argsort(a, kind="stable")),
            cuda=SimpleNamespace(
                Device=lambda device=0: SimpleNamespace(compute_capability="90"),
                nvrtc=EmulatedCompiler(),
                get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
                runtime=SimpleNamespace(
                    getDevice=lambda: 0,
                    memGetInfo=lambda: (self.free, self.free),
                    deviceGetAttribute=lambda name, device: facts[name],
                    cudaDevAttrMaxSharedMemoryPerBlockOptin="shared",
                    cudaDevAttrMultiProcessorCount="processors",
                ),
            ),
        )
