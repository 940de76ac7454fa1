"""Symmetric 8-bit quantisation, written into the ONNX file as pairs of QuantizeLinear and DequantizeLinear.

A tensor x becomes ``scale * clip(round(x / scale))``: weights with one scale per output channel, the largest
value on the largest code; activations with one scale from calibration. No zero points, as TensorRT wants it.
Kept in float32: the first layer, which reads the pictures (a picture's second channel, all ones, would round
to nothing on the scale of 255), the heads, and products too small to pay for the conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from radfast.kernels.cnn.graph import MOVERS, Graph, make_node

#: Largest code per kind; fp8 is E4M3 without infinities.
LARGEST_CODE = {"int8": 127.0, "uint8": 255.0, "fp8": 448.0}
_TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "fp8": TensorProto.FLOAT8E4M3FN}
_LEAST_WEIGHTS = 4096  # of a product; below it the conversion costs more than it saves
_LEAST_SCALE = 1e-12  # of a channel of zeros


def find_quantised(graph: Graph) -> list[Any]:
    """Return the products that are quantised, in order."""
    before = graph.find_before_products()
    outputs = {port.name for port in graph.graph.output}
    chosen = []
    for node in graph.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or before & set(node.output):
            continue
        weights = graph.read_constant(node.input[1])
        reads_pictures = node.input[0] in before or node.input[0] not in graph.producers
        if weights is None or weights.size < _LEAST_WEIGHTS or reads_pictures or outputs & set(node.output):
            continue
        chosen.append(node)
    return chosen


def list_activations(data: bytes) -> list[str]:
    """Return the names of the tensors whose range `quantise_model` needs."""
    return list(dict.fromkeys(node.input[0] for node in find_quantised(Graph(data))))


def quantise_model(
    data: bytes, ranges: Mapping[str, float], precision: str, *, unsigned: bool = False
) -> bytes:
    """Return a float32 model with its products in "int8" or "fp8".

    Parameters
    ----------
    data : bytes
        The ONNX file.
    ranges : mapping of str to float
        Largest absolute value of each tensor of `list_activations`, from calibration.
    precision : str
        "int8" or "fp8".
    unsigned : bool
        Codes 0 to 255 where a ReLU stands before: twice as fine, and what CPUs multiply fastest; TensorRT
        does not take it.
    """
    graph = Graph(data)
    writer = _Writer(graph, precision)
    for node in find_quantised(graph):
        name = node.input[0]
        kind = "uint8" if unsigned and precision == "int8" and _is_positive(graph, name) else precision
        scale = max(ranges[name], _LEAST_SCALE) / LARGEST_CODE[kind]
        node.input[0] = writer.quantise(name, scale, kind)
        node.input[1] = writer.quantise_weights(node.input[1], _output_axis(node))
    graph.replace(writer.place())
    return graph.serialize()


def _output_axis(node: Any) -> int:
    if node.op_type == "Conv":
        return 0
    transposed = any(part.name == "transB" and part.i for part in node.attribute)
    return 0 if transposed else 1


def _is_positive(graph: Graph, name: str) -> bool:
    """Tell whether a tensor comes from a ReLU through operators that only move values."""
    while (node := graph.producers.get(name)) is not None and node.op_type in MOVERS:
        name = node.input[0]
    return node is not None and node.op_type in ("Relu", "Sigmoid")


class _Writer:
    """Makes each pair once and puts it behind the node that makes its tensor."""

    def __init__(self, graph: Graph, precision: str) -> None:
        self.graph = graph
        self.precision = precision
        self.after: dict[str, list[Any]] = {}
        self.quantised: dict[str, str] = {}
        self.weights: dict[str, list[Any]] = {}

    def quantise(self, name: str, scale: float, kind: str) -> str:
        """Return the quantised form of a computed tensor; pooling before it is fed the same codes."""
        if name in self.quantised:
            return self.quantised[name]
        node = self.graph.producers[name]
        if node.op_type == "MaxPool" and node.input[0] in self.graph.producers:
            node.input[0] = self._add_pair(node.input[0], f"{name}_before", scale, kind)
        self.quantised[name] = self._add_pair(name, name, scale, kind)
        return self.quantised[name]

    def _add_pair(self, tensor: str, label: str, scale: float, kind: str) -> str:
        codes, values = f"{label}_{kind}", f"{label}_{kind}_values"
        step = self.graph.add_constant(numpy_helper.from_array(np.array(scale, np.float32), f"{label}_scale"))
        zero = self.graph.add_constant(_make_zero(f"zero_{kind}", kind, ()))
        self.after.setdefault(tensor, []).extend(
            [
                make_node("QuantizeLinear", [tensor, step, zero], codes),
                make_node("DequantizeLinear", [codes, step, zero], values),
            ]
        )
        return values

    def quantise_weights(self, name: str, axis: int) -> str:
        """Return the quantised form of weights, stored as codes."""
        values = f"{name}_values"
        if name not in self.weights:
            weights = self.graph.read_constant(name)
            assert weights is not None
            rest = tuple(place for place in range(weights.ndim) if place != axis)
            largest = np.abs(weights).max(axis=rest)
            scale = np.maximum(largest / LARGEST_CODE[self.precision], _LEAST_SCALE).astype(np.float32)
            shape = [-1 if place == axis else 1 for place in range(weights.ndim)]
            scaled = weights / scale.reshape(shape)
            codes = self.graph.add_constant(_encode(f"{name}_codes", scaled, self.precision))
            step = self.graph.add_constant(numpy_helper.from_array(scale, f"{name}_scale"))
            zero = self.graph.add_constant(_make_zero(f"{name}_zero", self.precision, scale.shape))
            self.weights[name] = [make_node("DequantizeLinear", [codes, step, zero], values, axis=axis)]
        return values

    def place(self) -> list[Any]:
        """Return all nodes in an order in which each comes after what it reads."""
        nodes = [node for pair in self.weights.values() for node in pair]
        for node in self.graph.graph.node:
            nodes.append(node)
            for name in node.output:
                nodes.extend(self.after.get(name, ()))
        return nodes


def _encode(name: str, scaled: npt.NDArray[Any], kind: str) -> Any:
    if kind == "int8":
        return numpy_helper.from_array(np.clip(np.rint(scaled), -127, 127).astype(np.int8), name)
    return helper.make_tensor(name, _TYPES[kind], scaled.shape, scaled.astype(np.float32).ravel())


def _make_zero(name: str, kind: str, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape, dtype=np.int64))
    return helper.make_tensor(name, _TYPES[kind], shape, bytes(count), raw=True)
