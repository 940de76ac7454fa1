"""The network on ONNX Runtime: exported by torch, checked against torch before it is used."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast.errors import CannotWriteError
from radfast.kernels.cnn.compiled import CompiledNetwork, log
from radfast.kernels.cnn.reference import find_image_shape, freeze, measure_heads, name_outputs, use_threads

_OPSET = 18
_TOLERANCE = 1e-4  # share of the head's largest output; torch against float64 measures about 2e-6
_CHECKED = 3  # pictures: odd and above 1, so that a batch size frozen into the file is noticed


class ExportError(Exception):
    """The network does not export, or its export computes something else."""


class _Outputs(nn.Module):
    """The heads as a tuple, in their order: ONNX knows no dict."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(name_outputs(self.net(images)).values())


def export_onnx(net: nn.Module, image_shape: tuple[int, int, int] | None = None) -> bytes:
    """Return `net` as an ONNX file: input "images" float32 (N, C, H, W), one output per head, N free.

    Parameters
    ----------
    net : nn.Module
        A network as `compile` takes it.
    image_shape : tuple of int, optional
        (C, H, W); networks of `radfast.vision.build` know theirs.

    Raises
    ------
    ExportError
        If torch cannot export it.
    """
    frozen = freeze(net)
    shape = find_image_shape(frozen, image_shape)
    heads = list(measure_heads(frozen, shape))
    try:
        with _quiet():
            program = torch.onnx.export(
                _Outputs(frozen),
                (torch.zeros(2, *shape),),
                input_names=["images"],
                output_names=heads,
                opset_version=_OPSET,
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise ExportError(f"torch cannot export it: {str(error).splitlines()[0]}") from error
    assert program is not None  # None is returned only where a file name was given
    model = program.model_proto
    # Stack traces with paths of this machine: of no use to a reader, and the bytes would differ elsewhere.
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        part.ClearField("metadata_props")
    for part in (*model.graph.initializer, model.graph, model):
        part.ClearField("metadata_props")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of packages that it does not need."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def compile_onnx(
    net: nn.Module,
    image_shape: tuple[int, int, int],
    max_batch: int,
    threads: int,
    cache_dir: Path | None,
    reason: str,
) -> CompiledNetwork:
    """Run `net` on ONNX Runtime, float32, on the CPU.

    Raises
    ------
    ExportError
        If it does not export, or the outputs leave torch's by more than the tolerance.
    """
    frozen = freeze(net)
    heads = measure_heads(frozen, image_shape)
    cached = None if cache_dir is None else cache_dir / f"{_hash_network(frozen, image_shape)}.onnx"
    if cached is not None and cached.is_file():
        try:
            session = _open_session(cached.read_bytes(), threads)
            _compare_with_torch(session, frozen, heads, image_shape, threads)
            return _wrap(session, heads, image_shape, max_batch, f"{reason}; from the cache")
        except ExportError as error:
            log.warning("%s is exported anew: %s", cached.name, error)
    model = export_onnx(frozen, image_shape)
    session = _open_session(model, threads)
    _compare_with_torch(session, frozen, heads, image_shape, threads)
    if cached is not None:
        _keep(cached, model)
    return _wrap(session, heads, image_shape, max_batch, reason)


def _wrap(
    session: Any, heads: dict[str, int], image_shape: tuple[int, int, int], max_batch: int, reason: str
) -> CompiledNetwork:
    def step(batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        outputs: list[npt.NDArray[np.float32]] = session.run(list(heads), {"images": batch})
        return outputs

    return CompiledNetwork("onnx", reason, step, heads, image_shape, max_batch)


def _open_session(model: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(f"onnxruntime cannot be imported: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no narrower base
        raise ExportError(f"ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error


def _compare_with_torch(
    session: Any, net: nn.Module, heads: dict[str, int], image_shape: tuple[int, int, int], threads: int
) -> None:
    """Check the session's outputs on noise of all grey values against torch."""
    noise = np.random.default_rng(0).integers(0, 256, (_CHECKED, *image_shape)).astype(np.float32)
    with torch.no_grad(), use_threads(threads):
        wanted = name_outputs(net(torch.from_numpy(noise)))
    try:
        found = session.run(list(heads), {"images": noise})
    except Exception as error:  # as above
        raise ExportError(f"ONNX Runtime cannot run it: {str(error).splitlines()[0]}") from error
    for (head, value), rows in zip(wanted.items(), found, strict=True):
        largest = float(value.abs().max())
        gap = float(np.abs(value.numpy() - rows).max()) if rows.shape == value.shape else np.inf
        if not gap <= _TOLERANCE * max(largest, 1e-6):
            raise ExportError(f"head '{head}' differs from torch by {gap:.2g} of {largest:.2g}")


def _hash_network(net: nn.Module, image_shape: tuple[int, int, int]) -> str:
    digest = hashlib.sha256(f"{net!r} {image_shape} {_OPSET} {torch.__version__}".encode())
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _keep(path: Path, model: bytes) -> None:
    """Write whole or not at all: another process may read the cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(model)
        Path(part).replace(path)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}") from error
