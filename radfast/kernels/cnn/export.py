"""A network as an ONNX file: input "images" float32 (N, C, H, W), one output per head, N free."""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn

from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.reference import find_image_shape, freeze, measure_heads, name_outputs

_OPSET = 19  # the first that quantises to 8-bit floats


class _Outputs(nn.Module):
    """The heads as a tuple, in their order: ONNX knows no dict."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(name_outputs(self.net(images)).values())


def export_onnx(net: nn.Module, image_shape: tuple[int, int, int] | None = None) -> bytes:
    """Return `net` as an ONNX file: input "images" float32 (N, C, H, W), one output per head, N free.

    A network that can fold its normalisation into the first convolution (`fold_grey`) is exported so.

    Parameters
    ----------
    net : nn.Module
        A network as `compile` takes it.
    image_shape : tuple of int, optional
        (C, H, W); networks of `radfast.vision.build` know theirs.

    Raises
    ------
    RefusedError
        If torch cannot export it.
    """
    frozen = freeze(net)
    shape = find_image_shape(frozen, image_shape)
    heads = list(measure_heads(frozen, shape))
    fold = getattr(frozen, "fold_grey", None)
    try:
        with _quiet():
            program = torch.onnx.export(
                _Outputs(frozen if fold is None else fold()),
                (torch.zeros(2, *shape),),
                input_names=["images"],
                output_names=heads,
                opset_version=_OPSET,
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise RefusedError(f"torch cannot export it: {str(error).splitlines()[0]}") from error
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


def hash_network(net: nn.Module, image_shape: tuple[int, int, int]) -> str:
    """Return a hash of structure, weights, shape and exporter: the same hash, the same ONNX file."""
    digest = hashlib.sha256(f"{net!r} {image_shape} {_OPSET} {torch.__version__}".encode())
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
