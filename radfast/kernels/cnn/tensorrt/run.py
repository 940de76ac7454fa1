"""An engine as a program of `radfast.kernels.cnn.lanes`: two execution contexts per lane, one of which keeps
the shape of the full batch, so that its launch can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.gpu import Stream
from radfast.kernels.cnn.lanes import OutOfMemoryError
from radfast.kernels.cnn.tensorrt.library import Machine


class Engine:
    """An engine, deserialised on the machine's GPU.

    Raises
    ------
    RefusedError
        If the library does not take it.
    """

    def __init__(self, machine: Machine, engine: bytes) -> None:
        library = machine.library
        runtime = library.Runtime(library.Logger(library.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise RefusedError("TensorRT does not load the engine")

    def bind(self, images: Tensor, outputs: Mapping[str, Tensor], stream: Stream) -> Callable[[int], None]:
        """Return what computes the first n pictures of the buffer `images` into `outputs` on `stream`."""
        full, tail = (self._engine.create_execution_context() for _ in range(2))
        if full is None or tail is None:
            raise OutOfMemoryError
        for context in (full, tail):
            context.set_tensor_address("images", images.data_ptr())
            for head, buffer in outputs.items():
                context.set_tensor_address(head, buffer.data_ptr())
        batch = len(images)
        _set_batch(full, images, batch)

        def compute(size: int) -> None:
            if size < batch:
                _set_batch(tail, images, size)
            if not (full if size == batch else tail).execute_async_v3(stream.handle):
                raise RefusedError("TensorRT did not run the engine")

        return compute


def _set_batch(context: Any, images: Tensor, size: int) -> None:
    if not context.set_input_shape("images", (size, *images.shape[1:])):
        raise RefusedError(f"TensorRT refuses a batch of {size}")
