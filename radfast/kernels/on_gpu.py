"""How .cu files get onto the GPU: compiled by NVRTC at first use, kept on disk, loaded by CuPy.

Machine code lies in ``$RADFAST_CACHE_DIR``, else in ``radfast`` under ``$XDG_CACHE_HOME`` or ``~/.cache``,
named after source, options, GPU and compiler. CuPy's own compiler call is not used: it flushes subnormal
numbers to zero, and the kernels promise the bits of the CPU. CuPy is imported when a kernel first runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from radfast.errors import RadfastError

#: Arithmetic is that of the CPU kernels: products and sums are fused only where the source says so.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
#: Shared memory that a kernel gets without asking, bytes.
_PLAIN_SHARED = 48 << 10


def cupy() -> Any:
    """Return the module cupy."""
    import cupy as module

    return module


@dataclass(frozen=True)
class Limits:
    """What a launch is sized by: shared memory of a block in bytes, multiprocessors, generation x 10."""

    shared: int
    processors: int
    compute: int


@cache
def _limits_of(device: int) -> Limits:
    runtime = cupy().cuda.runtime
    return Limits(
        runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, device),
        int(cupy().cuda.Device(device).compute_capability),
    )


def limits() -> Limits:
    """Return the limits of the current GPU."""
    return _limits_of(int(cupy().cuda.runtime.getDevice()))


def read_source(kernel: str) -> str:
    """Return csrc/<kernel>.cu with its own includes put in place: NVRTC then needs no folder of them."""
    return _with_includes(f"{kernel}.cu", set())


def _with_includes(name: str, seen: set[str]) -> str:
    package = Path(__file__).parents[1]
    # Beside the package in a source tree, inside it once installed (setup.py).
    places = (package.parent / "csrc" / name, package / "csrc" / name)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise RadfastError(
            f"[{name}] CUDA source is missing from the installed package: install radfast again"
        )
    seen.add(name)

    def include(match: re.Match[str]) -> str:
        return "" if match[1] in seen else _with_includes(match[1], seen)

    text = path.read_text("utf-8").replace("#pragma once", "")
    return re.sub(r'^#include "([^"]+)"$', include, text, flags=re.MULTILINE)


def cache_folder() -> Path:
    """Return the folder of compiled kernels."""
    if chosen := os.environ.get("RADFAST_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "radfast"


def compile_kernels(kernel: str) -> Path:
    """Return the machine code of csrc/<kernel>.cu for the current GPU, compiled if it is not in the cache.

    Raises
    ------
    RadfastError
        If the compiler refuses the source; its words are in the message.
    """
    nvrtc = cupy().cuda.nvrtc
    source, options = read_source(kernel), (*OPTIONS, f"--gpu-architecture=sm_{limits().compute}")
    named = "\0".join((source, *options, str(nvrtc.getVersion())))
    name = f"{kernel}-{hashlib.sha256(named.encode()).hexdigest()[:32]}.cubin"
    folder = cache_folder()
    if (folder / name).is_file():
        return folder / name
    program = nvrtc.createProgram(source, f"{kernel}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        code = nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        raise RadfastError(f"[{kernel}.cu] does not compile: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=folder)
    except OSError:  # a home that cannot be written: good for this process only
        folder = Path(tempfile.mkdtemp(prefix="radfast-"))
        descriptor, draft = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(code)
    # Renamed when whole, so that another process never loads half of it.
    return Path(draft).replace(folder / name)


class Kernels:
    """The kernels of one .cu file."""

    def __init__(self, kernel: str) -> None:
        self._module = cupy().RawModule(path=str(compile_kernels(kernel)))
        self._functions: dict[str, Any] = {}

    def launch(
        self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any], shared: int = 0
    ) -> None:
        """Start kernel `name` on the current stream; an empty grid starts nothing.

        Parameters
        ----------
        name : str
        grid : tuple of int
            Blocks along x and y.
        threads : int
            Of a block.
        arguments : sequence
            Arrays on the GPU, None for no array, and NumPy scalars of the very types that the kernel takes.
        shared : int
            Bytes of shared memory whose size the launch gives.
        """
        if 0 in grid:
            return
        if name not in self._functions:
            self._functions[name] = self._module.get_function(name)
        function = self._functions[name]
        if shared > _PLAIN_SHARED:
            function.max_dynamic_shared_size_bytes = shared
        given = tuple(np.uint64(0) if one is None else one for one in arguments)
        function(grid, (threads, 1), given, shared_mem=shared)


@cache
def _load_on(kernel: str, device: int) -> Kernels:
    return Kernels(kernel)


def load(kernel: str) -> Kernels:
    """Return the kernels of csrc/<kernel>.cu for the current GPU."""
    return _load_on(kernel, int(cupy().cuda.runtime.getDevice()))


def forget() -> None:
    """Drop what was loaded and what is known of the GPUs."""
    _load_on.cache_clear()
    _limits_of.cache_clear()
