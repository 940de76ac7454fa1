"""The only place that asks the machine what it has."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from functools import cache
from typing import Any

from radfast.errors import UsageError

BACKENDS = ("cpu", "cuda")
#: The kernels use the matrix instructions and asynchronous copies of this generation.
_LEAST_COMPUTE = 80


@cache
def why_not(backend: str) -> str | None:
    """Say why `backend` cannot run here; None where it can.

    Parameters
    ----------
    backend : str
        "cpu" or "cuda".
    """
    if backend == "cpu":
        return None
    if backend != "cuda":
        return f"no backend named '{backend}': choose from {', '.join(BACKENDS)}"
    if (reason := why_no_driver()) is not None:
        return reason
    driver = ctypes.CDLL("libcuda.so.1")
    if (compute := _compute_capability(driver)) < _LEAST_COMPUTE:
        return f"the GPU has compute capability {compute / 10}, {_LEAST_COMPUTE / 10} is the least"
    if importlib.util.find_spec("cupy") is None:
        return "cupy is not installed: pip install radfast[cuda]"
    try:
        importlib.import_module("cupy")
    except ImportError as error:
        return f"cupy does not load: {error}"
    return None


@cache
def why_no_driver() -> str | None:
    """Say why no NVIDIA driver answers; None where one does. Some GPU libraries crash without: ask first."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1 is absent)"
    return None if driver.cuInit(0) == 0 else "the NVIDIA driver found no usable GPU"


def _compute_capability(driver: ctypes.CDLL) -> int:
    device, parts = ctypes.c_int(), (ctypes.c_int(), ctypes.c_int())
    driver.cuDeviceGet(ctypes.byref(device), 0)
    for attribute, part in zip((75, 76), parts, strict=True):  # major, minor
        driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
    return 10 * parts[0].value + parts[1].value


def available_backends() -> tuple[str, ...]:
    """Return the backends that can run on this machine, best first."""
    return tuple(name for name in ("cuda", "cpu") if why_not(name) is None)


def choose_backend(
    backend: str = "auto", *arrays: Any, kernel: str = "", supported: tuple[str, ...] = BACKENDS
) -> str:
    """Resolve ``"auto"``: where the arrays live decides; on host arrays CUDA is used when it is there.

    Parameters
    ----------
    backend : str
        "auto", "cpu" or "cuda".
    *arrays : array
        The kernel's inputs; one that lies on a GPU asks for CUDA.
    kernel : str
        Name for the error message.
    supported : tuple of str
        Backends the kernel has.

    Raises
    ------
    UsageError
        If the backend asked for cannot run, with the reason.
    """
    on_gpu = any(lies_on_gpu(array) for array in arrays)
    if backend == "auto":
        backend = "cuda" if on_gpu or ("cuda" in supported and why_not("cuda") is None) else "cpu"
    if backend not in supported:
        raise UsageError(f"[{kernel}] backend '{backend}' does not exist: choose from {', '.join(supported)}")
    if (reason := why_not(backend)) is not None:
        raise UsageError(f"[{kernel}] backend '{backend}' cannot run: {reason}")
    return backend


def lies_on_gpu(array: Any) -> bool:
    """Say whether `array` is in the memory of a GPU: a CUDA tensor of torch, a CuPy array or their like."""
    # Torch first: it raises when asked for the interface of a tensor that records gradients.
    return bool(getattr(array, "is_cuda", False)) or hasattr(array, "__cuda_array_interface__")


def count_threads(threads: int = 0) -> int:
    """Return `threads`, or for 0 the cores this process may use."""
    if threads < 0:
        raise UsageError(f"[threads] must be 0 (all cores) or more, is {threads}")
    if threads:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
