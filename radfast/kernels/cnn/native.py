"""The network on the CPU engine of `_core`: AlexNet, VGG and other plain chains of layers, in float32.

A chain starts with a convolution that reads the pictures (any square kernel, stride and padding), goes on
with convolutions of 3 x 3 or 5 x 5 of stride 1 (by Winograd's method, csrc/winograd.h), ReLU, max-pooling,
adaptive average pooling and linear layers, and ends in linear heads side by side. Dropout is left out, as it
computes nothing here. The normalisation of the pictures is folded into the first convolution in float64, with
the border kept exact: the engine reads uint8, uint16 or float32 as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast import _core
from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork, RefusedError
from radfast.kernels.cnn.gate import measure_gate
from radfast.kernels.cnn.reference import Probe, freeze, measure_heads

_DTYPES = ("uint8", "uint16", "float32")


def compile_native(
    net: nn.Module,
    image_shape: tuple[int, int, int],
    max_batch: int,
    threads: int,
    reason: str,
    pictures: npt.NDArray[Any] | None = None,
    *,
    by_name: bool = True,
) -> CompiledNetwork:
    """Run `net` on the engine of `_core`.

    Raises
    ------
    RefusedError
        If a layer is not in the engine, weights are no numbers, or the outputs leave torch's; and, where it
        is not asked for `by_name`, on a processor whose vectors the engine was not tuned for.
    """
    if not by_name and _core.simd() == "portable":
        raise RefusedError("this processor has no AVX2, and without it the engine is not the fastest")
    frozen = freeze(net)
    heads = measure_heads(frozen, image_shape)
    engine = build_engine(frozen, image_shape, max_batch, threads)
    ends = np.cumsum(list(heads.values()))

    def step(batch: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        outputs = engine.run(batch)
        if batch.dtype == np.float32:
            # A transform spreads such a value over its tile only, and pooling may lose it.
            outputs[~np.isfinite(batch).all(axis=(1, 2, 3))] = np.nan
        return np.split(outputs, ends[:-1], axis=1)

    probe = Probe(frozen, image_shape, pictures, threads)
    found = [step(probe.images[i : i + max_batch]) for i in range(0, len(probe.images), max_batch)]
    joined = dict(zip(heads, (np.concatenate(rows) for rows in zip(*found, strict=True)), strict=True))
    gate = measure_gate(probe.wanted, joined, "float32", real=probe.real)
    if (failure := gate.explain_failure()) is not None:
        raise RefusedError(failure)
    size = f"{engine.weight_bytes / 1e6:.0f} MB of weights, {engine.work_bytes / 1e6:.0f} MB of work buffers"
    return CompiledNetwork(
        "native",
        f"{reason}; {_core.simd()}, {size}",
        step,
        heads,
        image_shape,
        max_batch,
        gate=gate,
        image_dtypes=getattr(frozen, "image_dtypes", PLAIN_DTYPES),
        step_dtypes=_DTYPES,
    )


def build_engine(net: nn.Module, image_shape: tuple[int, int, int], max_batch: int, threads: int) -> Any:
    """Return `_core.NativeNetwork` with the layers of a frozen network.

    Raises
    ------
    RefusedError
        Naming the layer that the engine does not have.
    """
    engine = _core.NativeNetwork(*image_shape, max_batch, threads)
    layers = list(_flatten(net))
    place = 0
    flat = False
    while place < len(layers):
        name, layer = layers[place]
        following = [later for _, later in layers[place + 1 : place + 3]]
        relu = isinstance(layer, nn.Conv2d | nn.Linear) and _is(following, nn.ReLU)
        pooled = False
        try:
            match layer:
                case nn.Conv2d() if place == 0:
                    _add_first(engine, net, layer, image_shape[0], relu)
                case nn.Conv2d():
                    pooled = _add_conv(engine, layer, relu, following[relu:])
                case nn.MaxPool2d():
                    size, stride = _read_pool(layer)
                    engine.add_pool(size, stride)
                case nn.AdaptiveAvgPool2d():
                    engine.add_mean(_one(layer.output_size, "output_size"))
                case nn.Flatten() if layer.start_dim == 1 and layer.end_dim == -1:
                    flat = True
                case nn.Linear() if flat:
                    engine.add_linear(_numbers(layer.weight), _bias(layer), relu)
                case _ if type(layer).__name__ == "AdaptiveMean":
                    engine.add_mean(layer.size)
                case _:
                    raise RefusedError("it is not in the engine at this place")
        except (RefusedError, ValueError) as error:
            raise RefusedError(f"layer {name} ({type(layer).__name__}): {error}") from error
        place += 1 + relu + pooled
    if not flat:
        raise RefusedError("the network does not end in linear layers")
    _add_heads(engine, net)
    engine.finish()
    return engine


def _flatten(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in the order they run in, without those that compute nothing."""
    children = dict(net.named_children())
    if isinstance(net, nn.Sequential):
        parts = list(children.items())
    elif all(isinstance(children.get(name), nn.Sequential) for name in ("features", "classifier")):
        parts = [(name, children[name]) for name in ("features", "avgpool") if name in children]
        parts += [("flatten", nn.Flatten()), ("classifier", children["classifier"])]
    else:
        raise RefusedError(f"{type(net).__name__} is no chain of layers")
    for name, part in parts:
        if isinstance(part, nn.Sequential):
            for inner, layer in _flatten(part):
                yield f"{name}.{inner}", layer
        elif not isinstance(part, nn.Dropout | nn.Identity):
            yield name, part


def _add_first(engine: Any, net: nn.Module, layer: nn.Conv2d, channels: int, relu: bool) -> None:
    """Add the convolution that reads the pictures, with their normalisation folded in."""
    _size, stride, padding = _read_convolution(layer)
    weight = layer.weight.double()
    scale, shift = getattr(net, "scale", None), getattr(net, "shift", None)
    constant = torch.zeros_like(weight[:, 0])
    if type(layer).__name__ == "GreyConvolution" and channels == 1:
        weight, constant = weight[:, :1], weight[:, 1]
    elif isinstance(scale, Tensor) and isinstance(shift, Tensor):
        weight, constant = weight * scale.double(), -(weight * shift.double()).sum(1)
        if channels == 1:
            weight = weight.sum(1, keepdim=True)
    if weight.shape[1] != channels:
        raise RefusedError(f"it reads {weight.shape[1]} channels, the pictures have {channels}")
    engine.add_first(
        _numbers(weight), np.ascontiguousarray(constant.numpy()), _bias(layer), stride, padding, relu
    )


def _add_conv(engine: Any, layer: nn.Conv2d, relu: bool, following: list[nn.Module]) -> bool:
    """Add a convolution; True where the pooling that follows rides along."""
    size, stride, padding = _read_convolution(layer)
    if size not in (3, 5) or stride != 1:
        raise RefusedError("beyond the first layer a convolution must be 3 x 3 or 5 x 5 with stride 1")
    pooled = _is(following, nn.MaxPool2d) and _read_pool(following[0]) == (2, 2)
    engine.add_conv(_numbers(layer.weight), _bias(layer), padding, relu, pooled)
    return pooled


def _add_heads(engine: Any, net: nn.Module) -> None:
    heads = getattr(net, "heads", None)
    if not isinstance(heads, nn.ModuleDict):
        return
    layers = [head for head in heads.values() if isinstance(head, nn.Linear)]
    if len(layers) < len(heads):
        raise RefusedError("a head is not one linear layer")
    engine.add_linear(
        np.concatenate([_numbers(head.weight) for head in layers]),
        np.concatenate([_bias(head) for head in layers]),
        False,
    )


def _is(layers: list[nn.Module], kind: type[nn.Module]) -> bool:
    return bool(layers) and isinstance(layers[0], kind)


def _read_convolution(layer: nn.Conv2d) -> tuple[int, int, int]:
    """Return size, stride and padding."""
    if layer.groups != 1 or set(layer.dilation) != {1} or layer.padding_mode != "zeros":
        raise RefusedError("groups, dilation and padding other than zeros are not in the engine")
    return (
        _one(layer.kernel_size, "kernel_size"),
        _one(layer.stride, "stride"),
        _one(layer.padding, "padding"),
    )


def _read_pool(layer: nn.Module) -> tuple[int, int]:
    assert isinstance(layer, nn.MaxPool2d)
    plain = _one(layer.padding, "padding") == 0 and _one(layer.dilation, "dilation") == 1
    if not plain or layer.ceil_mode or layer.return_indices:
        raise RefusedError("padding, dilation, ceil_mode and indices are not in the engine")
    return _one(layer.kernel_size, "kernel_size"), _one(layer.stride, "stride")


def _one(value: object, name: str) -> int:
    """Return a setting that torch gives per direction or once."""
    values = set(value) if isinstance(value, tuple) else {value}
    found = values.pop() if len(values) == 1 else None
    if not isinstance(found, int):
        raise RefusedError(f"{name} must be the same number in both directions, is {value}")
    return found


def _numbers(values: Tensor) -> npt.NDArray[np.float32]:
    """Return weights as NumPy reads them; refuse what is no number."""
    array = np.ascontiguousarray(values.detach().float().numpy())
    if not np.isfinite(array).all():
        raise RefusedError("weights hold NaN or infinity")
    return array


def _bias(layer: nn.Conv2d | nn.Linear) -> npt.NDArray[np.float32]:
    out = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
    return np.zeros(out, np.float32) if layer.bias is None else _numbers(layer.bias)
