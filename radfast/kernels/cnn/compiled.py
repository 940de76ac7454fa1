"""What every backend returns: checks at the door, cutting into batches, and the backend's own step inside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError
from radfast.kernels.cnn.gate import Gate
from radfast.kernels.cnn.prepare import Preparation

log = logging.getLogger("radfast.cnn")

#: One batch (n, C, H, W), 0 < n <= max_batch, to the heads' outputs (n, classes): float32, or one of the
#: `step_dtypes` where the backend reads pictures as they are stored.
Step = Callable[[npt.NDArray[Any]], list[npt.NDArray[np.float32]]]

#: Dtypes every network takes; one that windows its pictures itself adds its own (`image_dtypes`).
PLAIN_DTYPES = ("uint8", "float32")


class RefusedError(Exception):
    """A backend cannot run this network here, or what it computes is something else."""


class CompiledNetwork:
    """A network ready to run on one backend.

    Attributes
    ----------
    backend : str
        "tensorrt", "torch-cuda", "native", "onnx" or "torch".
    precision : str
        "float32", "float16", "bfloat16", "int8" or "fp8": what the products are computed in.
    reason : str
        Why this backend and precision, with what was refused before it.
    heads : dict of str to int
        Outputs and their widths.
    image_shape : tuple of int
        (C, H, W).
    image_dtypes : tuple of str
        Dtypes of pictures it takes.
    max_batch : int
        Pictures computed at once.
    gate : Gate or None
        How far the outputs were from torch in float32 when it was made.
    preparation : Preparation or None
        How pictures of any size become those of the network, where `compile` was told.
    """

    preparation: Preparation | None = None
    _threads = 1

    def __init__(
        self,
        backend: str,
        reason: str,
        step: Step,
        heads: Mapping[str, int],
        image_shape: tuple[int, int, int],
        max_batch: int,
        *,
        precision: str = "float32",
        gate: Gate | None = None,
        image_dtypes: tuple[str, ...] = PLAIN_DTYPES,
        step_dtypes: tuple[str, ...] = ("float32",),
    ) -> None:
        self.backend = backend
        self.precision = precision
        self.reason = reason
        self.heads = dict(heads)
        self.image_shape = image_shape
        self.image_dtypes = image_dtypes
        self.max_batch = max_batch
        self.gate = gate
        self._step = step
        self._step_dtypes = step_dtypes
        log.info("network runs on %s in %s (%s)", backend, precision, reason)

    def __repr__(self) -> str:
        return (
            f"CompiledNetwork(backend='{self.backend}', precision='{self.precision}', heads={self.heads}, "
            f"image_shape={self.image_shape})"
        )

    def __call__(self, images: Any) -> dict[str, Any]:
        """Compute every head.

        Parameters
        ----------
        images : uint8 or float32 (N, C, H, W)
            Grey values 0 to 255; NumPy, or anything NumPy reads without a copy (a torch tensor on the CPU).
            On a GPU also arrays of torch and CuPy that lie there; the answer is the like.

        Returns
        -------
        dict of str to float32 (N, classes)

        Raises
        ------
        UsageError
            If shape or dtype are not the network's, or the pictures are on a GPU and the backend is not.

        With a `preparation` the pictures are those it takes: uint8, uint16 or int16 (N, C, H, W) of any size,
        or a sequence of such (C, H, W) of several sizes, on the host.
        """
        if self.preparation is not None:
            return self._run_prepared(images)
        if hasattr(images, "__cuda_array_interface__"):
            self._check(str(images.dtype).removeprefix("torch."), tuple(images.shape))
            return self._run_on_device(images)
        pictures = np.asarray(images)
        self._check(str(pictures.dtype), pictures.shape)
        return self._run_on_host(pictures)

    def prepare_with(self, preparation: Preparation, threads: int) -> CompiledNetwork:
        """Let every call prepare its pictures first; returns the network itself.

        Raises
        ------
        UsageError
            If what comes out does not fit the network.
        """
        preparation.check(self.image_shape, self.image_dtypes)
        self.preparation, self._threads = preparation, threads
        return self

    def _run_prepared(self, images: Any) -> dict[str, Any]:
        assert self.preparation is not None
        if hasattr(images, "__cuda_array_interface__"):
            raise UsageError("[run] images are on a GPU, and they are prepared on the host only")
        pictures = images if isinstance(images, list | tuple) else np.asarray(images)
        parts = []
        # The first batch is made even where it is empty: it has the dtype and the channels to check.
        for start in range(0, max(len(pictures), 1), self.max_batch):
            batch = self.preparation.apply(
                pictures[start : start + self.max_batch], self.image_shape, self._threads
            )
            parts.append(self._run_on_host(batch))
        return {head: np.concatenate([part[head] for part in parts]) for head in self.heads}

    def _check(self, dtype: str, shape: tuple[int, ...]) -> None:
        if dtype not in self.image_dtypes:
            raise UsageError(f"[run] images must be {' or '.join(self.image_dtypes)}, are {dtype}")
        if len(shape) != 4 or shape[1:] != self.image_shape:
            wanted = ", ".join(str(length) for length in self.image_shape)
            raise UsageError(f"[run] images must be (N, {wanted}), have shape {shape}")

    def _run_on_host(self, pictures: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        count = len(pictures)
        dtype = pictures.dtype if pictures.dtype.name in self._step_dtypes else np.dtype(np.float32)
        outputs = {head: np.empty((count, width), np.float32) for head, width in self.heads.items()}
        for start in range(0, count, self.max_batch):
            batch = np.ascontiguousarray(pictures[start : start + self.max_batch], dtype=dtype)
            for rows, result in zip(outputs.values(), self._step(batch), strict=True):
                rows[start : start + len(batch)] = result
        return outputs

    def _run_on_device(self, images: Any) -> dict[str, Any]:
        raise UsageError(f"[run] images are on a GPU, backend '{self.backend}' reads those on the host only")
