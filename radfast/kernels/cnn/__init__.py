"""Run a trained network over many pictures: ``run = compile(net)``, ``outputs = run(images)``.

Formula: ``run(images)[head] == net(images)[head]``, for float32 within 1e-4 of the head's largest output.
Shapes: images (N, C, H, W), C is 1 or 3, of the shape the network was made for; outputs (N, classes) float32.
Dtypes: uint8, or float32 with grey values 0 to 255. N may be 0 (empty outputs) and above `max_batch` (cut
into batches; the last one is short). A picture of zeros is a picture like any other; NaN in a float32 picture
gives NaN in its row of the outputs and in no other row.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import CompiledNetwork, log
from radfast.kernels.cnn.onnx import ExportError, compile_onnx, export_onnx
from radfast.kernels.cnn.reference import compile_torch, find_image_shape

__all__ = ["BACKENDS", "CompiledNetwork", "compile", "explain_backends", "export_onnx"]

BACKENDS = ("onnx", "torch")
PRECISIONS = ("float32",)


def explain_backends() -> dict[str, str | None]:
    """Return for each backend why it cannot run on this machine; None where it can."""
    missing = find_spec("onnxruntime") is None
    return {
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
) -> CompiledNetwork:
    """Turn a network into the fastest callable this machine has for it.

    Parameters
    ----------
    net : nn.Module
        Takes images (N, C, H, W) and returns a dict of head to (N, classes), or one tensor (head "output").
        It is not changed, and later changes of it do not reach the result.
    backend : str
        "onnx" (ONNX Runtime), "torch" (eager, the reference) or "auto": onnx where the network exports and
        its outputs agree with torch, else torch; the result's `reason` and the log say which and why.
    precision : str
        "auto" or "float32".
    max_batch : int
        Pictures computed at once.
    cache_dir : path, optional
        Folder that keeps the exported file, named by the hash of weights, shape and versions.
    image_shape : tuple of int, optional
        (C, H, W); networks of `radfast.vision.build` know theirs.
    threads : int
        0 takes all cores.

    Returns
    -------
    CompiledNetwork
        Call it with images.

    Raises
    ------
    UsageError
        If a value is unknown or out of range, or the backend asked for by name cannot run the network.
    """
    threads = count_threads(threads)
    if precision not in ("auto", *PRECISIONS):
        raise UsageError(
            f"[compile] precision '{precision}' does not exist: choose from auto, {', '.join(PRECISIONS)}"
        )
    if max_batch < 1:
        raise UsageError(f"[compile] max_batch must be at least 1, is {max_batch}")
    shape = find_image_shape(net, image_shape)
    cache = None if cache_dir is None else Path(cache_dir)
    match backend:
        case "torch":
            return compile_torch(net, shape, max_batch, threads, "asked for")
        case "onnx":
            try:
                return compile_onnx(net, shape, max_batch, threads, cache, "asked for")
            except ExportError as error:
                raise UsageError(f"[compile] backend 'onnx' cannot run this network: {error}") from error
        case "auto":
            try:
                return compile_onnx(net, shape, max_batch, threads, cache, "fastest here, agrees with torch")
            except ExportError as error:
                log.warning("onnx was refused: %s", error)
                return compile_torch(net, shape, max_batch, threads, f"onnx was refused: {error}")
        case _:
            raise UsageError(
                f"[compile] backend '{backend}' does not exist: choose from auto, {', '.join(BACKENDS)}"
            )
