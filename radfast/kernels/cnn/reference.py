"""The network as PyTorch runs it: the truth the other backends are compared with.

`run_reference` computes in float64; `compile_torch` is the float32 path of every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork

_NOISE = 3  # pictures: odd and above 1, so that a batch size frozen into a file is noticed
_PROBED = 32  # of the user's pictures


def run_reference(net: nn.Module, images: npt.NDArray[np.generic]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the outputs (N, classes) per head of images (N, C, H, W), computed in float64 in one batch."""
    exact = copy.deepcopy(net).cpu().double().eval()
    with torch.no_grad():
        outputs = name_outputs(exact(torch.from_numpy(np.asarray(images, np.float64))))
    return {head: value.numpy() for head, value in outputs.items()}


def prepare_reference(
    pictures: npt.NDArray[np.generic], side: int, crop: int, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return grey values (N, C, crop, crop), before rounding: windowed, resized to side x side, cut.

    The filter is a triangle as wide as the step where a side shrinks, one pixel where it grows.
    """
    grey = np.clip((pictures.astype(np.float64) - low) * 255 / (high - low), 0, 255)
    first = (side - crop) // 2
    down, across = (
        _resize_matrix(length, side)[first : first + crop] for length in (grey.shape[2], grey.shape[3])
    )
    return np.asarray(down @ grey @ across.T)


def _resize_matrix(length: int, side: int) -> npt.NDArray[np.float64]:
    step = length / side
    middles = (np.arange(side)[:, None] + 0.5) * step
    distance = np.abs(np.arange(length) + 0.5 - middles) / max(step, 1.0)
    weights = np.maximum(0.0, 1 - distance)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def compile_torch(
    net: nn.Module, image_shape: tuple[int, int, int], max_batch: int, threads: int, reason: str
) -> CompiledNetwork:
    """Run `net` as it is, on the CPU, in float32."""
    net = freeze(net)

    def step(batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        with torch.no_grad(), use_threads(threads):
            return [value.numpy() for value in name_outputs(net(torch.from_numpy(batch))).values()]

    return CompiledNetwork(
        "torch",
        reason,
        step,
        measure_heads(net, image_shape),
        image_shape,
        max_batch,
        image_dtypes=getattr(net, "image_dtypes", PLAIN_DTYPES),
    )


class Probe:
    """Pictures with torch's answers to them, which every other backend is held against.

    Attributes
    ----------
    images : float32 (N, C, H, W)
        The first of the user's pictures, else noise of all grey values.
    wanted : dict of str to float32 (N, classes)
        In float32.
    real : bool
        They are the user's.
    """

    def __init__(
        self,
        net: nn.Module,
        image_shape: tuple[int, int, int],
        images: npt.NDArray[Any] | None,
        threads: int,
    ) -> None:
        self.real = images is not None
        if images is None:
            images = np.random.default_rng(0).integers(0, 256, (_NOISE, *image_shape))
        self.images = np.ascontiguousarray(images[:_PROBED], dtype=np.float32)
        with torch.no_grad(), use_threads(threads):
            outputs = name_outputs(net(torch.from_numpy(self.images)))
        self.wanted = {head: value.numpy() for head, value in outputs.items()}


def freeze(net: nn.Module) -> nn.Module:
    """Return a copy of `net` for inference: float32, on the CPU, without gradients."""
    return copy.deepcopy(net).cpu().float().eval().requires_grad_(False)


def find_image_shape(net: nn.Module, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return (C, H, W) as given, else as the network knows it."""
    shape = given or getattr(net, "image_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 3 or min(shape) < 1:
        raise UsageError(
            f"[compile] image_shape must be (channels, height, width) for this module, is {shape}"
        )
    return shape


def name_outputs(outputs: object) -> dict[str, Tensor]:
    """Return what a network returned as a dict of head to (N, classes)."""
    named = {"output": outputs} if isinstance(outputs, Tensor) else outputs
    if not isinstance(named, dict) or not all(isinstance(v, Tensor) and v.ndim == 2 for v in named.values()):
        raise UsageError("[compile] the network must return (N, classes), or a dict of head to (N, classes)")
    return named


def measure_heads(net: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the heads of a frozen network and their widths, from one picture of zeros."""
    with torch.no_grad():
        outputs = name_outputs(net(torch.zeros(1, *image_shape)))
    return {head: value.shape[1] for head, value in outputs.items()}


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
