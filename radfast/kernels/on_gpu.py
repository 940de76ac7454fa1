"""How .cu files get onto the GPU: compiled by NVRTC through CuPy for the present GPU at first use.

CuPy keeps the machine code on disk (``CUPY_CACHE_DIR``, else ``~/.cupy/kernel_cache``), under a name made of
the source, the options and the GPU. CuPy itself is imported when a kernel first runs on a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from radfast.errors import RadfastError

#: Arithmetic is that of the CPU kernels: products and sums are fused only where the source says so.
OPTIONS = ("--std=c++17", "--fmad=false")
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
    facts = cupy().cuda.Device(device).attributes
    return Limits(
        facts["MaxSharedMemoryPerBlockOptin"],
        facts["MultiProcessorCount"],
        10 * facts["ComputeCapabilityMajor"] + facts["ComputeCapabilityMinor"],
    )


def limits() -> Limits:
    """Return the limits of the current GPU."""
    return _limits_of(int(cupy().cuda.runtime.getDevice()))


def read_source(kernel: str) -> str:
    """Return csrc/<kernel>.cu with its own includes put in place.

    CuPy names a compiled file by this text: an included file that changed would go unnoticed.
    """
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


class Kernels:
    """The kernels of one .cu file."""

    def __init__(self, kernel: str) -> None:
        self._module = cupy().RawModule(code=read_source(kernel), options=OPTIONS)
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
            Arrays on the GPU, and NumPy scalars of the very types that the kernel takes.
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
        function(grid, (threads, 1), tuple(arguments), shared_mem=shared)


@cache
def load(kernel: str) -> Kernels:
    """Return the kernels of csrc/<kernel>.cu."""
    return Kernels(kernel)
