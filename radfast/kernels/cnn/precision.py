"""Casts to 16-bit floats, written into the ONNX file.

TensorRT 11 has no precision flags: a network is computed in the types its file says. So products (Conv, Gemm,
MatMul) read and give float16 or bfloat16, what only follows them (ReLU, pooling, sums) stays in their type,
and all else stays in float32: what is done to the pictures before the first layer, operators that are not
known to bear it, and the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, load_from_string, numpy_helper, version_converter

from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.graph import MOVERS, PRODUCTS, Graph, make_node

_TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
_FOLLOWERS = MOVERS | {
    "Relu", "LeakyRelu", "PRelu", "Clip", "HardSwish", "HardSigmoid", "AveragePool", "GlobalAveragePool",
    "GlobalMaxPool", "BatchNormalization", "Add", "Mul", "Concat", "Slice", "Split", "Pad", "Dropout",
}  # fmt: skip


def cast_model(data: bytes, precision: str) -> bytes:
    """Return a float32 model with its products in "float16" or "bfloat16"; inputs and outputs stay.

    Raises
    ------
    RefusedError
        If a weight is beyond the type's range.
    """
    if precision == "bfloat16":
        # The first version of the operators that knows the type.
        data = version_converter.convert_version(load_from_string(data), 22).SerializeToString()
    return _Caster(Graph(data), precision).run()


class _Caster:
    """Walks the nodes in order and knows which tensors exist in the small type."""

    def __init__(self, graph: Graph, precision: str) -> None:
        self.graph = graph
        self.precision = precision
        self.type = _TYPES[precision]
        self.made_small: set[str] = set()  # tensors that exist in the small type under their own name
        self.cast: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []

    def run(self) -> bytes:
        graph = self.graph
        before = graph.find_before_products()
        outputs = {port.name for port in graph.graph.output}
        for node in graph.graph.node:
            small = not before & set(node.output) and self._goes_small(node)
            for place, name in enumerate(node.input):
                if not name:
                    continue
                if small and graph.is_float(name) and name not in self.made_small:
                    node.input[place] = self._convert(name, self.type)
                elif not small and name in self.made_small:
                    node.input[place] = self._convert(name, TensorProto.FLOAT)
            self.nodes.append(node)
            for place, name in enumerate(node.output):
                if small and graph.is_float(name):
                    self.made_small.add(name)
                    if name in outputs:
                        self._restore(node, place)
        graph.replace(self.nodes)
        return graph.serialize()

    def _goes_small(self, node: Any) -> bool:
        if node.op_type in PRODUCTS:
            return True
        return node.op_type in _FOLLOWERS and any(name in self.made_small for name in node.input)

    def _convert(self, name: str, target: int) -> str:
        """Return the name of a tensor's copy in another type, made on first use."""
        if (name, target) in self.cast:
            return self.cast[name, target]
        copied = f"{name}_{self.precision if target == self.type else 'float32'}"
        values = self.graph.read_constant(name)
        if values is not None and target == self.type:
            self.graph.add_constant(self._shrink(name, copied, values))
        else:
            self.nodes.append(make_node("Cast", [name], copied, to=target))
        self.cast[name, target] = copied
        return copied

    def _shrink(self, name: str, copied: str, values: Any) -> Any:
        if self.precision == "float16":
            with np.errstate(over="ignore"):
                small = values.astype(np.float16)
            if not np.isfinite(small).all():
                raise RefusedError(f"{name} is beyond the range of float16")
            return numpy_helper.from_array(small, copied)
        return helper.make_tensor(
            copied, TensorProto.BFLOAT16, values.shape, _round_bfloat16(values).tobytes(), raw=True
        )

    def _restore(self, node: Any, place: int) -> None:
        """Give an output of the graph its float32 name back."""
        name = node.output[place]
        inner = f"{name}_{self.precision}"
        node.output[place] = inner
        self.made_small.remove(name)
        self.made_small.add(inner)
        self.graph.types[inner] = TensorProto.FLOAT  # its type before the casts, as that of all others
        self.nodes.append(make_node("Cast", [inner], name, to=TensorProto.FLOAT))


def _round_bfloat16(values: Any) -> Any:
    """Return the upper halves uint16 of float32, rounded to the nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
