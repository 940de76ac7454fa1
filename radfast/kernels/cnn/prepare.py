"""Stored pictures of any size to what a network reads, in one fused pass of `_core` (csrc/cnn_prepare.h).

Formula: ``round(resize(clip((p - low) * 255 / (high - low), 0, 255)))``, the middle cut out. The resize is
bilinear with antialiasing, as training reads its pictures (`radfast.vision`); the truth is
`radfast.kernels.cnn.reference.prepare_reference`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radfast import _core
from radfast.errors import UsageError

DTYPES = ("uint8", "uint16", "int16")


@dataclass(frozen=True)
class Preparation:
    """How a compiled network turns stored pictures into its own: ``compile(net, prepare=Preparation(256))``.

    Attributes
    ----------
    side : int
        Pictures are resized to side x side pixels, and the middle of the network's own size is taken.
    low, high : float
        Stored values (HU, say) that become grey 0 and 255; what lies outside is cut off.

    Raises
    ------
    UsageError
        If side is below 1, or low is not below high.
    """

    side: int
    low: float = 0.0
    high: float = 255.0

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UsageError(f"[Preparation] side must be at least 1, is {self.side}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(
                f"[Preparation] low must be below high and both finite, are {self.low} and {self.high}"
            )

    def apply(self, pictures: Any, shape: tuple[int, int, int], threads: int) -> npt.NDArray[np.uint8]:
        """Return pictures uint8 (N, C, crop, crop) of a network of `shape` (C, crop, crop).

        Parameters
        ----------
        pictures : uint8, uint16 or int16 (N, C, H, W), or a sequence of such (C, H, W) of any sizes
        shape : tuple of int
        threads : int

        Raises
        ------
        UsageError
            If dtype or shape do not fit, naming the picture.
        """
        if isinstance(pictures, Sequence):
            rows = [
                self._prepare(np.asarray(one)[None], shape, 1, f"picture {n}")
                for n, one in enumerate(pictures)
            ]
            return np.concatenate(rows) if rows else np.empty((0, *shape), np.uint8)
        return self._prepare(np.asarray(pictures), shape, threads, "images")

    def _prepare(
        self, pictures: npt.NDArray[Any], shape: tuple[int, int, int], threads: int, name: str
    ) -> npt.NDArray[np.uint8]:
        if pictures.dtype.name not in DTYPES:
            raise UsageError(f"[run] {name} must be {' or '.join(DTYPES)}, is {pictures.dtype}")
        if pictures.ndim != 4 or pictures.shape[1] != shape[0] or min(pictures.shape[2:]) < 1:
            raise UsageError(
                f"[run] {name} must have {shape[0]} channels and pixels, has shape {pictures.shape}"
            )
        ready = np.ascontiguousarray(pictures)
        done = _core.prepare_pictures(ready, self.side, shape[1], float(self.low), float(self.high), threads)
        return np.asarray(done)

    def check(self, shape: tuple[int, int, int], dtypes: Sequence[str]) -> None:
        """Check that a network of `shape` can take what comes out.

        Raises
        ------
        UsageError
            If it is not square, larger than `side`, or does not read uint8.
        """
        if shape[1] != shape[2] or shape[1] > self.side:
            raise UsageError(
                f"[compile] prepare needs a square network of at most {self.side} pixels, it is {shape[1:]}"
            )
        if "uint8" not in dtypes:
            raise UsageError("[compile] prepare gives uint8, and this network reads " + ", ".join(dtypes))
