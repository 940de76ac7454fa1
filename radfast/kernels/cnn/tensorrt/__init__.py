"""The network on TensorRT: exported, cast or quantised in the ONNX file, built, checked, kept.

Pictures go in as they are stored (uint8, or uint16 where the network windows them itself), or as float32;
each dtype has an engine of its own, made when it is first needed. Falls back: a precision that leaves its
tolerance gives way to the next (`radfast.kernels.cnn.gate`), a batch that does not fit into memory is halved,
each with one line in the log.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from torch import nn

from radfast.kernels.cnn.compiled import PLAIN_DTYPES, RefusedError
from radfast.kernels.cnn.export import export_onnx, hash_network
from radfast.kernels.cnn.gate import Gate
from radfast.kernels.cnn.graph import PRODUCTS, Graph, read_image_bytes
from radfast.kernels.cnn.lanes import Pipeline, open_largest
from radfast.kernels.cnn.onnx import Calibration, change_precision
from radfast.kernels.cnn.pipelined import PipelinedNetwork, check_pipeline, give_way
from radfast.kernels.cnn.reference import Probe, freeze, measure_heads
from radfast.kernels.cnn.tensorrt.build import build_engine
from radfast.kernels.cnn.tensorrt.cache import EngineCache, Kept
from radfast.kernels.cnn.tensorrt.library import Machine, open_machine, why_not_tensorrt
from radfast.kernels.cnn.tensorrt.run import Engine

__all__ = ["build_engine", "compile_tensorrt", "why_not_tensorrt"]

log = logging.getLogger("radfast.cnn")


def compile_tensorrt(
    net: nn.Module,
    image_shape: tuple[int, int, int],
    max_batch: int,
    threads: int,
    cache_dir: Path | None,
    reason: str,
    precision: str = "float16",
    calibration: Calibration | None = None,
    machine: Machine | None = None,
) -> TensorRTNetwork:
    """Run `net` on TensorRT.

    Parameters
    ----------
    machine : Machine, optional
        The library and device; those of this machine by default.

    Raises
    ------
    RefusedError
        If TensorRT or the GPU are missing, or no precision gives what torch gives.
    """
    if machine is None:
        if (missing := why_not_tensorrt()) is not None:
            raise RefusedError(missing)
        machine = open_machine()
    maker = _Maker(freeze(net), image_shape, max_batch, threads, cache_dir, calibration, machine)
    return give_way(lambda tried, why: TensorRTNetwork(maker, tried, why), "TensorRT", precision, reason)


class _Maker:
    """Makes, checks and keeps the pipelines of one network."""

    def __init__(
        self,
        net: nn.Module,
        image_shape: tuple[int, int, int],
        max_batch: int,
        threads: int,
        cache_dir: Path | None,
        calibration: Calibration | None,
        machine: Machine,
    ) -> None:
        self.image_shape = image_shape
        self.max_batch = max_batch
        self.threads = threads
        self.calibration = calibration
        self.machine = machine
        self.heads = measure_heads(net, image_shape)
        self.image_dtypes: tuple[str, ...] = getattr(net, "image_dtypes", PLAIN_DTYPES)
        self.weights_hash = hash_network(net, image_shape)
        self.probe = Probe(net, image_shape, None if calibration is None else calibration.images, threads)
        self.cache = None if cache_dir is None else EngineCache(cache_dir, machine.identify())
        self.net = net
        self.products: dict[str, int] = {}
        self._exported = b""

    def make(self, dtype: str, precision: str) -> tuple[Pipeline, Gate]:
        """Return a pipeline for pictures of `dtype`, its engine from the cache where it is there."""
        key = {
            "weights": self.weights_hash,
            "image_shape": list(self.image_shape),
            "dtype": dtype,
            "precision": precision,
            "max_batch": self.max_batch,
            "calibration": None
            if self.calibration is None
            else [self.calibration.method, self.calibration.digest],
        }
        kept = None if self.cache is None else self.cache.load(key)
        if kept is not None:
            try:
                pipeline = self._open(kept.engine, dtype)
                self.products = kept.products
                return pipeline, kept.gate
            except RefusedError as error:
                log.warning("a kept engine is built anew: %s", error)
        if not self._exported:
            self._exported = export_onnx(self.net, self.image_shape)
        model = change_precision(self._exported, precision, self.calibration, self.threads)
        self.products = count_products(model)
        if dtype != "float32":
            model = read_image_bytes(model, dtype)
        timing = b"" if self.cache is None else self.cache.load_timing()
        engine, timing = build_engine(self.machine.library, model, self.max_batch, timing)
        pipeline = self._open(engine, dtype)
        gate = check_pipeline(pipeline, self.probe, dtype, precision)
        if self.cache is not None:
            self.cache.keep(key, Kept(engine, self.products, gate))
            self.cache.keep_timing(timing)
        return pipeline, gate

    def _open(self, engine: bytes, dtype: str) -> Pipeline:
        program = Engine(self.machine, engine)
        return open_largest(
            lambda batch: Pipeline(program, self.machine.device, batch, self.image_shape, self.heads, dtype),
            self.max_batch,
        )


class TensorRTNetwork(PipelinedNetwork):
    """A network on TensorRT; see `CompiledNetwork`.

    Attributes
    ----------
    products : dict of str to int
        How many convolutions and layers the engine's file computes in each type.
    """

    def __init__(self, maker: _Maker, precision: str, reason: str) -> None:
        super().__init__("tensorrt", maker, precision, reason)
        self.products = maker.products


def count_products(model: bytes) -> dict[str, int]:
    """Return how many products of an ONNX file are computed in each type."""
    graph = Graph(model)
    names = {10: "float16", 16: "bfloat16", 1: "float32"}
    counts: Counter[str] = Counter()
    for node in graph.graph.node:
        if node.op_type in PRODUCTS:
            source = graph.producers.get(node.input[0])
            kind = names.get(graph.types.get(node.input[0], 1), "float32")
            if source is not None and source.op_type == "DequantizeLinear":
                kind = "fp8" if graph.types.get(source.input[0]) == 17 else "int8"
            counts[kind] += 1
    return dict(counts)
