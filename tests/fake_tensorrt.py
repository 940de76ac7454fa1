"""TensorRT's surface over ONNX Runtime, on the host: what it is told is written down, engines are ONNX files.

Only what radfast uses is here, with the same names, orders and refusals: shapes outside the profile are
refused, addresses are raw pointers, a wrong engine does not load.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from radfast.kernels.cnn.tensorrt.library import Machine

_MAGIC = b"fake engine "


class ILogger:
    def __init__(self) -> None:
        pass


class Logger(ILogger):
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

    def __init__(self, severity: int = 2) -> None:
        super().__init__()


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class BuilderFlag:
    TF32 = "tf32"


class MemoryPoolType:
    WORKSPACE = "workspace"


class ProfilingVerbosity:
    DETAILED = "detailed"


class _Port:
    def __init__(self, port: Any) -> None:
        self.name = port.name
        dims = port.type.tensor_type.shape.dim
        self.shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)


class _Network:
    model = b""

    def get_input(self, place: int) -> _Port:
        return _Port(onnx.load_from_string(self.model).graph.input[place])


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger) -> None:
        self.network, self.num_errors = network, 0

    def parse(self, model: bytes) -> bool:
        try:
            onnx.checker.check_model(onnx.load_from_string(model))
        except (onnx.checker.ValidationError, DecodeError):
            self.num_errors = 1
            return False
        self.network.model = model
        return True

    def get_error(self, place: int) -> Any:
        return type("Error", (), {"desc": lambda self: "no ONNX file\nat byte 0"})()


class _Profile:
    shapes: tuple[Any, ...]

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes = shapes


class _Timing:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"."


class _Config:
    profiling_verbosity = ""

    def __init__(self) -> None:
        self.cleared: list[str] = []
        self.timing: _Timing | None = None

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        assert size > 0

    def add_optimization_profile(self, profile: _Profile) -> None:
        self.profile = profile

    def create_timing_cache(self, data: bytes) -> _Timing:
        return _Timing(data)

    def set_timing_cache(self, cache: _Timing, ignore_mismatch: bool) -> bool:
        if cache.data.strip(b"."):
            return False  # measured elsewhere
        self.timing = cache
        return True

    def get_timing_cache(self) -> _Timing | None:
        return self.timing


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.profile
        self.shape = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def execute_async_v3(self, stream: int) -> bool:
        assert stream > 0
        self.engine.library.batches.append(self.shape[0])
        if self.engine.library.fail_next_run:
            self.engine.library.fail_next_run = False
            return False
        session = self.engine.session
        port = session.get_inputs()[0]
        dtype = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[port.type]
        images = _view(self.addresses["images"], self.shape, dtype).copy()
        for output, values in zip(session.get_outputs(), session.run(None, {"images": images}), strict=True):
            _view(self.addresses[output.name], values.shape, np.float32)[:] = values
        return True


def _view(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(buffer, dtype).reshape(shape)


class _Engine:
    def __init__(self, library: FakeTensorRT, data: bytes) -> None:
        self.library = library
        head, _, model = data[len(_MAGIC) :].partition(b"\n")
        self.profile = json.loads(head)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def create_execution_context(self) -> _Context | None:
        return None if self.library.no_contexts else _Context(self)


class FakeTensorRT:
    """Stands for the module; counts builds and keeps the batches that ran."""

    ILogger, Logger, OnnxParser = ILogger, Logger, OnnxParser
    NetworkDefinitionCreationFlag, BuilderFlag = NetworkDefinitionCreationFlag, BuilderFlag
    MemoryPoolType, ProfilingVerbosity = MemoryPoolType, ProfilingVerbosity
    __name__ = "fake_tensorrt"

    def __init__(self, version: str = "11.0") -> None:
        self.__version__ = version
        self.builds = 0
        self.timings: list[bytes] = []
        self.batches: list[int] = []
        self.spoil_types: set[int] = set()
        self.no_contexts = self.fail_next_run = self.no_engine = False

    def Builder(self, logger: ILogger) -> Any:
        return _Builder(self)

    def Runtime(self, logger: ILogger) -> Any:
        library = self

        class Runtime:
            def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
                return _Engine(library, data) if data.startswith(_MAGIC) else None

        return Runtime()


class _Builder:
    def __init__(self, library: FakeTensorRT) -> None:
        self.library = library

    def create_network(self, flags: int) -> _Network:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED, "types come from the file"
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        self.library.builds += 1
        assert config.cleared == ["tf32"], "float32 means float32"
        assert config.timing is not None
        self.library.timings.append(config.timing.data)
        model = onnx.load_from_string(network.model)
        bfloat16 = any(part.data_type == 16 for part in model.graph.initializer)
        if self.library.no_engine or bfloat16:  # ONNX Runtime has no products of that type on the CPU
            return None
        for part in model.graph.initializer:
            if part.data_type in self.library.spoil_types and part.raw_data and len(part.dims) > 1:
                part.raw_data = bytes(len(part.raw_data))  # a builder that computes something else
        head = json.dumps(config.profile.shapes).encode()
        return _MAGIC + head + b"\n" + model.SerializeToString()


class _Stream:
    handle = 1

    def synchronize(self) -> None:
        pass


class HostDevice:
    """Host memory in the place of a GPU's; `room` is the largest batch that fits."""

    kind = "cpu"

    def __init__(self, gpu: str = "H200", driver: str = "13000", room: int = 10**6) -> None:
        self.identity = {"gpu": gpu, "capability": "9.0", "driver": driver}
        self.room = room
        self.recorded = 0

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if len(shape) > 2 and shape[0] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(shape, dtype=dtype)

    allocate_pinned = allocate

    def make_stream(self) -> _Stream:
        return _Stream()

    def on(self, stream: Any) -> Any:
        return nullcontext()

    def copy(self, target: Tensor, source: Tensor, stream: Any) -> None:
        target.copy_(source)

    def record(self, work: Callable[[], None], stream: Any) -> Callable[[], None]:
        self.recorded += 1
        return work

    def join(self, waiting: Any, stream: Any) -> None:
        pass


def make_machine(**device: Any) -> tuple[Machine, FakeTensorRT]:
    library = FakeTensorRT(device.pop("version", "11.0"))
    return Machine(library, HostDevice(**device)), library
