"""What every backend returns: checks at the door, cutting into batches, and the backend's own step inside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError

log = logging.getLogger("radfast.cnn")

#: One batch float32 (n, C, H, W), 0 < n <= max_batch, to the heads' outputs (n, classes).
Step = Callable[[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]


class CompiledNetwork:
    """A network ready to run on one backend.

    Attributes
    ----------
    backend : str
        "onnx" or "torch".
    precision : str
        "float32".
    reason : str
        Why this backend.
    heads : dict of str to int
        Outputs and their widths.
    image_shape : tuple of int
        (C, H, W).
    max_batch : int
        Pictures computed at once.
    """

    def __init__(
        self,
        backend: str,
        reason: str,
        step: Step,
        heads: Mapping[str, int],
        image_shape: tuple[int, int, int],
        max_batch: int,
    ) -> None:
        self.backend = backend
        self.precision = "float32"
        self.reason = reason
        self.heads = dict(heads)
        self.image_shape = image_shape
        self.max_batch = max_batch
        self._step = step
        log.info("network runs on %s (%s)", backend, reason)

    def __repr__(self) -> str:
        return (
            f"CompiledNetwork(backend='{self.backend}', heads={self.heads}, image_shape={self.image_shape})"
        )

    def __call__(self, images: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Compute every head.

        Parameters
        ----------
        images : uint8 or float32 (N, C, H, W)
            Grey values 0 to 255; NumPy, or anything NumPy reads without a copy (a torch tensor on the CPU).

        Returns
        -------
        dict of str to float32 (N, classes)

        Raises
        ------
        UsageError
            If shape or dtype are not the network's.
        """
        pictures = np.asarray(images)
        if pictures.dtype not in (np.uint8, np.float32):
            raise UsageError(f"[run] images must be uint8 or float32, are {pictures.dtype}")
        if pictures.ndim != 4 or pictures.shape[1:] != self.image_shape:
            wanted = ", ".join(str(length) for length in self.image_shape)
            raise UsageError(f"[run] images must be (N, {wanted}), have shape {pictures.shape}")
        count = len(pictures)
        outputs = {head: np.empty((count, width), np.float32) for head, width in self.heads.items()}
        for start in range(0, count, self.max_batch):
            batch = np.ascontiguousarray(pictures[start : start + self.max_batch], dtype=np.float32)
            for rows, result in zip(outputs.values(), self._step(batch), strict=True):
                rows[start : start + len(batch)] = result
        return outputs
