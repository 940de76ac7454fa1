"""Features of a frozen trunk: computed once, by the fastest backend there is, and kept.

A head on features costs almost nothing, so training on a CPU is as fast as one pass over the pictures by the
compiled trunk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from radfast.errors import UsageError
from radfast.kernels.cnn import compile
from radfast.kernels.cnn.compiled import log
from radfast.vision.feed import keep_array
from radfast.vision.networks import Network

Read = Callable[[npt.NDArray[np.int64]], Tensor]


class Trunk(nn.Module):
    """A network without its heads: pictures (N, 1|3, H, W) to the features (N, F) that the heads read."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net
        self.image_shape = net.image_shape
        # Part by part under the names of a chain of layers, which is what the engine on the CPU reads.
        self.scale, self.shift = net.scale, net.shift
        for name in ("features", "avgpool", "classifier"):
            part = getattr(net, name, None)
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    def fold_grey(self) -> Trunk:
        """Return a copy with the normalisation folded into its first convolution."""
        return Trunk(self.net.fold_grey())

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features."""
        return self.net.embed(images)


def embed_all(
    net: Network, read: Read, count: int, batch: int, threads: int, backend: str, path: Path | None
) -> npt.NDArray[np.float32]:
    """Return the features (N, F) float32 of the centre crops `read` gives for rows 0 to count - 1.

    They are memory-mapped from `path` where it is given, and read from it where they are there.
    """
    width = next(iter(net.heads.values())).in_features
    assert isinstance(width, int)

    def fill(array: npt.NDArray[np.generic]) -> None:
        run = _compile_trunk(net, batch, threads, backend)
        for start in range(0, count, batch):
            rows = np.arange(start, min(start + batch, count))
            array[rows] = run(read(rows).numpy())["output"]

    if path is None:
        features = np.empty((count, width), np.float32)
        fill(features)
        return features
    return keep_array(path, (count, width), np.float32, fill).view(np.float32)


def _compile_trunk(net: Network, batch: int, threads: int, backend: str) -> Any:
    trunk = Trunk(net)
    try:
        return compile(trunk, backend, max_batch=batch, threads=threads)
    except UsageError as error:
        log.warning("the trunk is run by torch: %s", error)
        return compile(trunk, "torch", max_batch=batch, threads=threads)
