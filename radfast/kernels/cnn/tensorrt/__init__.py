"""The network on TensorRT: exported, cast or quantised in the ONNX file, built, checked, kept.

Pictures go in as they are stored (uint8, or uint16 where the network windows them itself), or as float32;
each dtype has an engine of its own, made when it is first needed. Falls back: a precision that leaves its
tolerance gives way to the next (`radfast.kernels.cnn.gate`), a batch that does not fit into memory is halved,
each with one line in the log.
"""

from __future__ import annotations

import logging
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork, RefusedError
from radfast.kernels.cnn.export import export_onnx, hash_network
from radfast.kernels.cnn.gate import NEXT_PRECISION, Gate, measure_gate
from radfast.kernels.cnn.graph import PRODUCTS, Graph, read_image_bytes
from radfast.kernels.cnn.onnx import Calibration, change_precision
from radfast.kernels.cnn.reference import Probe, freeze, measure_heads
from radfast.kernels.cnn.tensorrt.build import build_engine
from radfast.kernels.cnn.tensorrt.cache import EngineCache, Kept
from radfast.kernels.cnn.tensorrt.library import Machine, open_machine, why_not_tensorrt
from radfast.kernels.cnn.tensorrt.run import OutOfMemoryError, Pipeline

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
) -> CompiledNetwork:
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
    frozen = freeze(net)
    maker = _Maker(frozen, image_shape, max_batch, threads, cache_dir, calibration, machine)
    tried = precision
    while True:
        try:
            return TensorRTNetwork(maker, tried, reason)
        except OutOfMemoryError as error:  # a larger precision would not help
            raise RefusedError("the GPU has no memory for one picture") from error
        except RefusedError as error:
            following = NEXT_PRECISION.get(tried)
            if following is None:
                raise
            log.warning("TensorRT in %s was refused, %s is tried: %s", tried, following, error)
            reason = f"{reason}; {tried} was refused: {error}"
            tried = following


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
        self._exported = b""

    def make(self, dtype: str, precision: str) -> tuple[Pipeline, Kept]:
        """Return a pipeline for pictures of `dtype`, from the cache where it is there."""
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
                return self._open(kept.engine, dtype), kept
            except RefusedError as error:
                log.warning("a kept engine is built anew: %s", error)
        if not self._exported:
            self._exported = export_onnx(self.net, self.image_shape)
        model = change_precision(self._exported, precision, self.calibration, self.threads)
        products = count_products(model)
        if dtype != "float32":
            model = read_image_bytes(model, dtype)
        timing = b"" if self.cache is None else self.cache.load_timing()
        engine, timing = build_engine(self.machine.library, model, self.max_batch, timing)
        pipeline = self._open(engine, dtype)
        kept = Kept(engine, products, self._check(pipeline, dtype, precision))
        if self.cache is not None:
            self.cache.keep(key, kept)
            self.cache.keep_timing(timing)
        return pipeline, kept

    def _open(self, engine: bytes, dtype: str) -> Pipeline:
        """Open an engine with the largest batch that fits: half of it, and again, where memory ends."""
        batch = self.max_batch
        while True:
            try:
                return Pipeline(
                    self.machine, engine, batch, *_describe_input(self.image_shape, dtype, self.heads)
                )
            except OutOfMemoryError:
                if batch == 1:
                    raise
                log.warning(
                    "no memory for a batch of %d pictures: %d are computed at once", batch, batch // 2
                )
                batch //= 2

    def _check(self, pipeline: Pipeline, dtype: str, precision: str) -> Gate:
        images = self.probe.images
        if dtype != "float32":
            images = images.astype(dtype)
        found = pipeline.run_on_host(as_bytes(images))
        gate = measure_gate(self.probe.wanted, found, precision, real=self.probe.real)
        if (failure := gate.explain_failure()) is not None:
            raise RefusedError(failure)
        return gate


class TensorRTNetwork(CompiledNetwork):
    """A network on TensorRT; see `CompiledNetwork`.

    Attributes
    ----------
    products : dict of str to int
        How many convolutions and layers the engine's file computes in each type.
    """

    def __init__(self, maker: _Maker, precision: str, reason: str) -> None:
        self._maker = maker
        first = "uint8" if "uint8" in maker.image_dtypes else maker.image_dtypes[0]
        pipeline, kept = maker.make(first, precision)
        self._pipelines = {first: pipeline}
        self.products = kept.products
        super().__init__(
            "tensorrt",
            reason,
            _never_stepped,
            maker.heads,
            maker.image_shape,
            pipeline.batch,
            precision=precision,
            gate=kept.gate,
            image_dtypes=maker.image_dtypes,
        )

    def _choose(self, dtype: str) -> Pipeline:
        if dtype not in self._pipelines:
            try:
                self._pipelines[dtype], _ = self._maker.make(dtype, self.precision)
            except (RefusedError, OutOfMemoryError) as error:
                raise UsageError(f"[run] TensorRT has no engine for {dtype} pictures: {error}") from error
        return self._pipelines[dtype]

    def _run_on_host(self, pictures: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        return self._choose(str(pictures.dtype)).run_on_host(as_bytes(pictures))

    def _run_on_device(self, images: Any) -> dict[str, Any]:
        dtype = str(images.dtype).removeprefix("torch.")
        pipeline = self._choose(dtype)
        if isinstance(images, torch.Tensor):
            return dict(pipeline.run_on_device(as_tensor_bytes(images)))
        tensor = torch.as_tensor(images, device="cuda")
        outputs = pipeline.run_on_device(as_tensor_bytes(tensor))
        library = import_module(type(images).__module__.split(".")[0])  # CuPy, or what else has DLPack
        return {head: library.from_dlpack(value) for head, value in outputs.items()}


def _never_stepped(_: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    raise AssertionError


def _describe_input(
    image_shape: tuple[int, int, int], dtype: str, heads: dict[str, int]
) -> tuple[tuple[int, ...], dict[str, int], torch.dtype]:
    if dtype == "float32":
        return image_shape, heads, torch.float32
    return (*image_shape, 2) if dtype == "uint16" else image_shape, heads, torch.uint8


def as_bytes(pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return uint16 (N, C, H, W) as its bytes uint8 (N, C, H, W, 2), low byte first; others as they are."""
    if pictures.dtype != np.uint16:
        return pictures
    return np.ascontiguousarray(pictures, "<u2").view(np.uint8).reshape(*pictures.shape, 2)


def as_tensor_bytes(images: torch.Tensor) -> torch.Tensor:
    """Return the same of a tensor, without a copy where it is in one piece."""
    if images.dtype != torch.uint16:
        return images
    return images.contiguous().view(torch.uint8).reshape(*images.shape, 2)


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
