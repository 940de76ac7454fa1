"""What the GPU backends share: a pipeline per dtype of pictures, made when it is first needed, and precisions
that give way to the next where they leave their tolerance."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import CompiledNetwork, RefusedError, log
from radfast.kernels.cnn.gate import NEXT_PRECISION, Gate, measure_gate
from radfast.kernels.cnn.lanes import OutOfMemoryError, Pipeline
from radfast.kernels.cnn.reference import Probe


class Maker(Protocol):
    """Makes the pipelines of one network."""

    heads: dict[str, int]
    image_shape: tuple[int, int, int]
    image_dtypes: tuple[str, ...]

    def make(self, dtype: str, precision: str) -> tuple[Pipeline, Gate]:
        """Return a pipeline for pictures of `dtype`, and how far it is from torch in float32.

        Raises
        ------
        RefusedError, OutOfMemoryError
            If there is none.
        """


class PipelinedNetwork(CompiledNetwork):
    """A network on a GPU; see `CompiledNetwork`."""

    def __init__(self, backend: str, maker: Maker, precision: str, reason: str) -> None:
        self._maker = maker
        first = "uint8" if "uint8" in maker.image_dtypes else maker.image_dtypes[0]
        pipeline, gate = maker.make(first, precision)
        self._pipelines = {first: pipeline}
        super().__init__(
            backend,
            reason,
            _never_stepped,
            maker.heads,
            maker.image_shape,
            pipeline.batch,
            precision=precision,
            gate=gate,
            image_dtypes=maker.image_dtypes,
        )

    def _choose(self, dtype: str) -> Pipeline:
        if dtype not in self._pipelines:
            try:
                self._pipelines[dtype], _ = self._maker.make(dtype, self.precision)
            except (RefusedError, OutOfMemoryError) as error:
                raise UsageError(
                    f"[run] backend '{self.backend}' cannot take {dtype} pictures: {error}"
                ) from error
        return self._pipelines[dtype]

    def _run_on_host(self, pictures: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        return self._choose(str(pictures.dtype)).run_on_host(pictures)

    def _run_on_device(self, images: Any) -> dict[str, Any]:
        pipeline = self._choose(str(images.dtype).removeprefix("torch."))
        if isinstance(images, torch.Tensor):
            return dict(pipeline.run_on_device(images))
        outputs = pipeline.run_on_device(torch.as_tensor(images, device="cuda"))
        library = import_module(type(images).__module__.split(".")[0])  # CuPy, or what else has DLPack
        return {head: library.from_dlpack(value) for head, value in outputs.items()}


def _never_stepped(_: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    raise AssertionError


_Network = TypeVar("_Network", bound=PipelinedNetwork)


def give_way(open_in: Callable[[str, str], _Network], library: str, precision: str, reason: str) -> _Network:
    """Return ``open_in(precision, reason)``; a precision that is refused gives way to the next, in words.

    Raises
    ------
    RefusedError
        If none is left, or the GPU has no memory for one picture.
    """
    while True:
        try:
            return open_in(precision, reason)
        except OutOfMemoryError as error:  # a larger precision would not help
            raise RefusedError(str(error)) from error
        except RefusedError as error:
            following = NEXT_PRECISION.get(precision)
            if following is None:
                raise
            log.warning("%s in %s was refused, %s is tried: %s", library, precision, following, error)
            reason = f"{reason}; {precision} was refused: {error}"
            precision = following


def check_pipeline(pipeline: Pipeline, probe: Probe, dtype: str, precision: str) -> Gate:
    """Measure a pipeline against torch in float32.

    Raises
    ------
    RefusedError
        If it leaves the tolerance of its precision.
    """
    images = probe.images.astype(dtype, copy=False)
    gates = []
    # As they are, and as part of a full batch: that one is recorded, and may be compiled otherwise.
    for count in sorted({len(images), max(len(images), pipeline.batch)}):
        found = pipeline.run_on_host(np.resize(images, (count, *images.shape[1:])))
        rows = {head: value[: len(images)] for head, value in found.items()}
        gates.append(measure_gate(probe.wanted, rows, precision, real=probe.real))
        if (failure := gates[-1].explain_failure()) is not None:
            raise RefusedError(failure)
    return max(gates, key=lambda gate: gate.max_error)
