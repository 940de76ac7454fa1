"""An ONNX graph that can be rewritten: who makes a tensor, who reads it, what type it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

#: Operators that carry the products: what is worth a smaller number.
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Operators whose outputs are values of their input, moved or chosen.
MOVERS = frozenset({"MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity"})


class Graph:
    """The graph of a model, with look-ups; changes go through `replace` and `add_constant`."""

    def __init__(self, data: bytes) -> None:
        self.model: Any = onnx.load_from_string(data)
        self.graph: Any = self.model.graph
        self.constants: dict[str, Any] = {part.name: part for part in self.graph.initializer}
        self.producers: dict[str, Any] = {name: node for node in self.graph.node for name in node.output}
        inferred = shape_inference.infer_shapes(self.model).graph
        ports = (*inferred.input, *inferred.output, *inferred.value_info)
        self.types: dict[str, int] = {port.name: port.type.tensor_type.elem_type for port in ports}
        self.types |= {name: part.data_type for name, part in self.constants.items()}

    def is_float(self, name: str) -> bool:
        """Tell whether a tensor is float32."""
        return self.types.get(name) == TensorProto.FLOAT

    def read_constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return an initialiser's values, None where the tensor is computed."""
        return None if name not in self.constants else np.asarray(numpy_helper.to_array(self.constants[name]))

    def add_constant(self, part: Any) -> str:
        """Add an initialiser; one of the same name is there already and is the same."""
        if part.name not in self.constants:
            self.constants[part.name] = part
            self.types[part.name] = part.data_type
        return str(part.name)

    def find_before_products(self) -> set[str]:
        """Return the names of the outputs of all nodes that no convolution or layer stands before.

        These compute on the pictures themselves: resizing, windowing, normalising.
        """
        before: set[str] = set()
        after: set[str] = set()
        for node in self.graph.node:
            weighted = node.op_type in ("Conv", "ConvTranspose", "Gemm")
            (after if weighted or after & set(node.input) else before).update(node.output)
        return before

    def replace(self, nodes: Iterable[Any]) -> None:
        """Put `nodes` in the place of all nodes."""
        kept = list(nodes)
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def serialize(self) -> bytes:
        """Return the file; constants that nothing reads and old type notes are left out."""
        read = {name for node in self.graph.node for name in node.input}
        del self.graph.initializer[:]
        self.graph.initializer.extend(part for name, part in self.constants.items() if name in read)
        del self.graph.value_info[:]
        data: bytes = self.model.SerializeToString(deterministic=True)
        return data


def make_node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    """Return a node named by its one output."""
    return helper.make_node(kind, list(inputs), [output], name=f"make_{output}", **attributes)


def read_image_bytes(data: bytes, dtype: str) -> bytes:
    """Return the model with input "images" as bytes in place of float32.

    TensorRT copies what it is given: a byte a pixel is a quarter of the way over the bus. "uint8": (N, C, H,
    W). "uint16": the same memory seen as uint8 (N, C, H, W, 2), low byte first, since TensorRT has no uint16.
    """
    graph = Graph(data)
    port = graph.graph.input[0]
    port.type.tensor_type.elem_type = TensorProto.UINT8
    first = "images_float" if dtype == "uint8" else "image_bytes"
    start = [make_node("Cast", ["images"], first, to=TensorProto.FLOAT)]
    if dtype == "uint16":
        port.type.tensor_type.shape.dim.add().dim_value = 2
        places = numpy_helper.from_array(np.array([[1], [256]], np.float32), "byte_places")
        axis = numpy_helper.from_array(np.array([4], np.int64), "byte_axis")
        joined = [graph.add_constant(places), graph.add_constant(axis)]
        start.append(make_node("MatMul", ["image_bytes", joined[0]], "image_sums"))
        start.append(make_node("Squeeze", ["image_sums", joined[1]], "images_float"))
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            if name == "images":
                node.input[place] = "images_float"
    graph.replace([*start, *list(graph.graph.node)])
    return graph.serialize()
