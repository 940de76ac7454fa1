"""Run a trained network over many pictures: ``run = compile(net)``, ``outputs = run(images)``.

Formula: ``run(images)[head] == net(images)[head]``, in float32 within 1e-4 of the head's largest output; in
a smaller precision within the tolerance of `radfast.kernels.cnn.gate`, measured and kept in `run.gate`.
Shapes: images (N, C, H, W), C is 1 or 3, of the shape the network was made for; outputs (N, classes) float32.
Dtypes: uint8, or float32 with grey values 0 to 255. N may be 0 (empty outputs) and above `max_batch` (cut
into batches; the last one is short). A picture of zeros is a picture like any other; NaN in a float32 picture
gives NaN in its row of the outputs and in no other row.

Order of "auto": `ORDER`, the first that this machine has and that agrees with torch. A backend that is passed
over says why in the log and in `run.reason`.
"""

from __future__ import annotations

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork, RefusedError, log
from radfast.kernels.cnn.export import export_onnx
from radfast.kernels.cnn.gate import PRECISIONS, Gate
from radfast.kernels.cnn.gpu import why_not_torch_cuda
from radfast.kernels.cnn.native import compile_native
from radfast.kernels.cnn.onnx import Calibration, compile_onnx
from radfast.kernels.cnn.prepare import Preparation
from radfast.kernels.cnn.reference import compile_torch, find_image_shape
from radfast.kernels.cnn.tensorrt import compile_tensorrt, why_not_tensorrt
from radfast.kernels.cnn.torch_cuda import compile_torch_cuda

__all__ = [
    "BACKENDS",
    "ORDER",
    "CompiledNetwork",
    "Gate",
    "Preparation",
    "compile",
    "explain_backends",
    "export_onnx",
]

BACKENDS = ("tensorrt", "torch-cuda", "native", "onnx", "torch")
#: What stands for several backends, and the order they are tried in.
ORDER = {
    "auto": BACKENDS,
    "cuda": ("tensorrt", "torch-cuda"),
    "cpu": ("native", "onnx", "torch"),
}
_REASONS = {
    "tensorrt": "fastest here, agrees with torch",
    "torch-cuda": "fastest here, agrees with torch on the CPU",
    "native": "fastest here for this network, agrees with torch",
    "onnx": "fastest here, agrees with torch",
    "torch": "the reference, runs everything",
}
#: Precisions of each backend, the default first.
_PRECISIONS = {
    "tensorrt": ("float16", "bfloat16", "float32", "int8", "fp8"),
    "torch-cuda": ("float16", "bfloat16", "float32"),
    "native": ("float32",),
    "onnx": ("float32", "int8", "float16", "fp8"),
    "torch": ("float32",),
}


def explain_backends() -> dict[str, str | None]:
    """Return for each backend why it cannot run on this machine; None where it can."""
    missing = find_spec("onnxruntime") is None
    return {
        "tensorrt": why_not_tensorrt(),
        "torch-cuda": why_not_torch_cuda(),
        "native": None,
        "onnx": "onnxruntime is not installed: pip install onnxruntime" if missing else None,
        "torch": None,
    }


def compile(
    net: nn.Module,
    backend: str = "auto",
    precision: str = "auto",
    max_batch: int = 64,
    cache_dir: Path | str | None = None,
    *,
    image_shape: tuple[int, int, int] | None = None,
    threads: int = 0,
    calibration: Any = None,
    calibration_method: str = "percentile",
    prepare: Preparation | None = None,
) -> CompiledNetwork:
    """Turn a network into the fastest callable this machine has for it.

    Parameters
    ----------
    net : nn.Module
        Takes images (N, C, H, W) and returns a dict of head to (N, classes), or one tensor (head "output").
        It is not changed, and later changes of it do not reach the result.
    backend : str
        "tensorrt" and "torch-cuda" (torch.compile; both on an NVIDIA GPU), "native" (the engine of this
        package for AlexNet and VGG, CPU, float32), "onnx" (ONNX Runtime, CPU), "torch" (eager on the CPU, the
        reference); or "auto", "cuda" and "cpu": the first of `ORDER` that runs here and whose outputs agree
        with torch. The result's `reason` and the log say which and why.
    precision : str
        "float32", "float16", "bfloat16", "int8", "fp8", or "auto": float16 on a GPU, else float32. One
        that leaves its tolerance (`radfast.kernels.cnn.gate`) gives way to the next and says so.
    max_batch : int
        Pictures computed at once.
    cache_dir : path, optional
        Folder that keeps exported files and engines, named by the hash of all they depend on.
    image_shape : tuple of int, optional
        (C, H, W); networks of `radfast.vision.build` know theirs.
    threads : int
        0 takes all cores.
    calibration : uint8 or float32 (M, C, H, W), optional
        Pictures of the kind that will be run, 100 or more: int8 and fp8 need them for their ranges, and the
        outputs are then compared with torch on them, else on noise.
    calibration_method : str
        "percentile" (99.99 %), "entropy" or "max".
    prepare : Preparation, optional
        Takes stored pictures of any size and 8 or 16 bits: windowed, resized and cut in one pass before the
        network, whose first layer has the normalisation inside.

    Returns
    -------
    CompiledNetwork
        Call it with images.

    Raises
    ------
    UsageError
        If a value is unknown or out of range, weights are no numbers, or the backend asked for by name cannot
        run the network.
    """
    if prepare is not None:
        run = compile(
            net, backend, precision, max_batch, cache_dir, image_shape=image_shape, threads=threads,
            calibration=calibration, calibration_method=calibration_method,
        )  # fmt: skip
        return run.prepare_with(prepare, count_threads(threads))
    threads = count_threads(threads)
    _check(backend, precision, max_batch)
    _check_weights(net)
    shape = find_image_shape(net, image_shape)
    cache = None if cache_dir is None else Path(cache_dir)
    pictures = _check_calibration(calibration, calibration_method, shape, precision)
    images = None if pictures is None else pictures.images
    missing = explain_backends()
    refusals: list[str] = []
    for name in ORDER.get(backend, (backend,)):
        kind = _PRECISIONS[name][0] if precision == "auto" else precision
        reason = "; ".join(["asked for" if name == backend else _REASONS[name], *refusals])
        try:
            if (why := missing[name]) is not None:
                raise RefusedError(why)
            if kind not in _PRECISIONS[name]:
                raise RefusedError(f"it has no {kind}, only {', '.join(_PRECISIONS[name])}")
            match name:
                case "tensorrt":
                    return compile_tensorrt(net, shape, max_batch, threads, cache, reason, kind, pictures)
                case "torch-cuda":
                    return compile_torch_cuda(net, shape, max_batch, threads, reason, kind, images)
                case "native":
                    return compile_native(
                        net, shape, max_batch, threads, reason, images, by_name=name == backend
                    )
                case "onnx":
                    return compile_onnx(net, shape, max_batch, threads, cache, reason, kind, pictures)
                case _:
                    return compile_torch(net, shape, max_batch, threads, reason)
        except RefusedError as error:
            if name == backend:
                raise UsageError(f"[compile] backend '{name}' cannot run this network: {error}") from error
            log.log(logging.INFO if missing[name] else logging.WARNING, "%s was refused: %s", name, error)
            refusals.append(f"{name} was refused: {error}")
    raise UsageError(f"[compile] no backend of '{backend}' can run this network: {'; '.join(refusals)}")


def _check(backend: str, precision: str, max_batch: int) -> None:
    if backend not in (*ORDER, *BACKENDS):
        raise UsageError(
            f"[compile] backend '{backend}' does not exist: choose from {', '.join((*ORDER, *BACKENDS))}"
        )
    if precision not in ("auto", *PRECISIONS):
        raise UsageError(
            f"[compile] precision '{precision}' does not exist: choose from auto, {', '.join(PRECISIONS)}"
        )
    if max_batch < 1:
        raise UsageError(f"[compile] max_batch must be at least 1, is {max_batch}")


def _check_weights(net: nn.Module) -> None:
    for name, value in net.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UsageError(f"[compile] weights must be finite, '{name}' holds NaN or infinity")


def _check_calibration(
    images: Any, method: str, shape: tuple[int, int, int], precision: str
) -> Calibration | None:
    if images is None:
        if precision in ("int8", "fp8"):
            raise UsageError(f"[compile] precision '{precision}' needs pictures: pass calibration=images")
        return None
    pictures = np.asarray(images)
    if pictures.dtype.name not in (*PLAIN_DTYPES, "uint16") or pictures.ndim != 4 or not len(pictures):
        raise UsageError(
            f"[compile] calibration must be uint8 or float32 (M, C, H, W) with M > 0, is {pictures.dtype} "
            f"{pictures.shape}"
        )
    if pictures.shape[1:] != shape:
        raise UsageError(f"[compile] calibration must be pictures {shape}, has {pictures.shape[1:]}")
    digest = hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()
    return Calibration(pictures, method, digest)
