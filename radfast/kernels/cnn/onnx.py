"""The network on ONNX Runtime: exported by torch, checked against torch before it is used.

float32 by default. "int8" quantises activations behind a ReLU to codes 0 to 255 and all else to -127 to 127,
which is what CPUs with VNNI multiply; "float16" and "fp8" run, too, but ONNX Runtime's CPU kernels convert
them back and forth: they are there to check the files that TensorRT gets.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from radfast.errors import CannotWriteError
from radfast.kernels.cnn.calibrate import calibrate
from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork, RefusedError, log
from radfast.kernels.cnn.export import export_onnx, hash_network
from radfast.kernels.cnn.gate import Gate, measure_gate
from radfast.kernels.cnn.precision import cast_model
from radfast.kernels.cnn.quantise import list_activations, quantise_model
from radfast.kernels.cnn.reference import Probe, freeze, measure_heads


@dataclass(frozen=True)
class Calibration:
    """Pictures (N, C, H, W) that show the ranges of activations, how they are read, and a hash of them."""

    images: npt.NDArray[Any] | None
    method: str
    digest: str


def compile_onnx(
    net: nn.Module,
    image_shape: tuple[int, int, int],
    max_batch: int,
    threads: int,
    cache_dir: Path | None,
    reason: str,
    precision: str = "float32",
    calibration: Calibration | None = None,
) -> CompiledNetwork:
    """Run `net` on ONNX Runtime on the CPU; a precision outside its tolerance gives way to float32.

    Raises
    ------
    RefusedError
        If it does not export, or the outputs in float32 leave torch's by more than the tolerance.
    """
    frozen = freeze(net)
    probe = Probe(frozen, image_shape, None if calibration is None else calibration.images, threads)
    name = _name_file(frozen, image_shape, precision, calibration)
    cached = None if cache_dir is None else cache_dir / name
    if cached is not None and cached.is_file():
        try:
            session = _open_session(cached.read_bytes(), threads, precision)
            gate = _check(session, probe, precision)
            return _wrap(
                session, probe, image_shape, max_batch, f"{reason}; from the cache", precision, gate, frozen
            )
        except RefusedError as error:
            log.warning("%s is exported anew: %s", cached.name, error)
    exported = export_onnx(frozen, image_shape)
    try:
        model = change_precision(exported, precision, calibration, threads, unsigned=True)
        session = _open_session(model, threads, precision)
        gate = _check(session, probe, precision)
    except RefusedError as error:
        if precision == "float32":
            raise
        log.warning("%s was refused, float32 is used: %s", precision, error)
        reason = f"{reason}; {precision} was refused: {error}"
        return compile_onnx(net, image_shape, max_batch, threads, cache_dir, reason, "float32", calibration)
    if cached is not None:
        keep_file(cached, model)
    return _wrap(session, probe, image_shape, max_batch, reason, precision, gate, frozen)


def change_precision(
    model: bytes, precision: str, calibration: Calibration | None, threads: int, *, unsigned: bool = False
) -> bytes:
    """Return a float32 model whose products are in `precision`."""
    if precision == "float32":
        return model
    if precision in ("float16", "bfloat16"):
        return cast_model(model, precision)
    assert calibration is not None  # the dispatcher asks for the pictures
    assert calibration.images is not None
    tensors = list_activations(model)
    ranges = calibrate(model, tensors, calibration.images, calibration.method, threads)
    return quantise_model(model, ranges, precision, unsigned=unsigned)


def _wrap(
    session: Any,
    probe: Probe,
    image_shape: tuple[int, int, int],
    max_batch: int,
    reason: str,
    precision: str,
    gate: Gate,
    net: nn.Module,
) -> CompiledNetwork:
    heads = list(probe.wanted)

    def step(batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        outputs: list[npt.NDArray[np.float32]] = session.run(heads, {"images": batch})
        return outputs

    return CompiledNetwork(
        "onnx",
        reason,
        step,
        measure_heads(net, image_shape),
        image_shape,
        max_batch,
        precision=precision,
        gate=gate,
        image_dtypes=getattr(net, "image_dtypes", PLAIN_DTYPES),
    )


def _open_session(model: bytes, threads: int, precision: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RefusedError(f"onnxruntime cannot be imported: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if precision == "fp8":  # its fusions are made for integers and give wrong numbers for 8-bit floats
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no narrower base
        raise RefusedError(f"ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error


def _check(session: Any, probe: Probe, precision: str) -> Gate:
    """Measure the session against torch.

    Raises
    ------
    RefusedError
        If it does not run or is too far from torch.
    """
    heads = list(probe.wanted)
    try:
        found = session.run(heads, {"images": probe.images})
    except Exception as error:  # as above
        raise RefusedError(f"ONNX Runtime cannot run it: {str(error).splitlines()[0]}") from error
    gate = measure_gate(probe.wanted, dict(zip(heads, found, strict=True)), precision, real=probe.real)
    if (failure := gate.explain_failure()) is not None:
        raise RefusedError(failure)
    return gate


def _name_file(
    net: nn.Module, image_shape: tuple[int, int, int], precision: str, calibration: Calibration | None
) -> str:
    parts = ["" if precision == "float32" else f"-{precision}"]
    if calibration is not None and precision in ("int8", "fp8"):
        parts.append(f"-{calibration.method}-{calibration.digest[:16]}")
    return hash_network(net, image_shape) + "".join(parts) + ".onnx"


def keep_file(path: Path, data: bytes) -> None:
    """Write whole or not at all: another process may read the cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).replace(path)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}") from error
