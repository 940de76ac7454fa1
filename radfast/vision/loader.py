"""Pictures from the cache to the network: resized, cropped, varied the way radiographs may vary.

No flips: left and right stand in the reports. The random numbers of an epoch depend on seed, phase and epoch
alone, so that a resumed run sees the very same pictures.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from radfast.errors import UsageError

_ROTATION = math.radians(7)
_ZOOM = 0.1  # share of the side
_GAIN = 0.15  # contrast, share
_OFFSET = 15.0  # brightness, grey values


def check_pixels(pixels: npt.NDArray[np.uint8], picture_size: int, crop: int, function: str) -> None:
    """Check the picture cache and the crop at the door of `function`.

    Raises
    ------
    UsageError
        If the pictures are not uint8 (N, H, W) or the crop does not fit.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"[{function}] pixels must be uint8 (N, H, W), are {pixels.dtype} {pixels.shape}")
    if crop > picture_size:
        raise UsageError(f"[{function}] crop must be at most picture_size {picture_size}, is {crop}")


def read_pictures(pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], side: int) -> Tensor:
    """Return pictures float32 (B, 1, side, side), grey values 0 to 255, of rows (B,) of pixels (N, H, W).

    The values are whole, so that pictures resized once and kept as uint8 are the very same.
    """
    pictures = torch.from_numpy(np.ascontiguousarray(pixels[rows])).unsqueeze(1).float()
    if pictures.shape[-2:] != (side, side) and len(rows):
        pictures = functional.interpolate(
            pictures, (side, side), mode="bilinear", align_corners=False, antialias=True
        ).round_()
    return pictures


def crop_centre(pictures: Tensor, crop: int) -> Tensor:
    """Cut the middle (B, 1, crop, crop) of pictures (B, 1, H, W)."""
    top, left = (pictures.shape[-2] - crop) // 2, (pictures.shape[-1] - crop) // 2
    return pictures[..., top : top + crop, left : left + crop]


def crop_random(pictures: Tensor, crop: int, rng: np.random.Generator) -> Tensor:
    """Cut a random square (B, 1, crop, crop) out of each picture, as the paper does."""
    spare = pictures.shape[-1] - crop
    corners = rng.integers(0, spare + 1, (len(pictures), 2)).tolist()
    return torch.stack(
        [
            picture[:, top : top + crop, left : left + crop]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
    )


def augment(pictures: Tensor, crop: int, rng: np.random.Generator) -> Tensor:
    """Cut a random square, turned by up to 7 degrees, scaled by up to 10 %, contrast and brightness varied.

    Parameters
    ----------
    pictures : float32 (B, 1, H, W)
        Grey values 0 to 255.
    crop : int
        Side of the result, pixels.
    rng : numpy.random.Generator

    Returns
    -------
    float32 (B, 1, crop, crop)
    """
    count, side = len(pictures), pictures.shape[-1]
    turn = rng.uniform(-_ROTATION, _ROTATION, count)
    zoom = crop / side * rng.uniform(1 - _ZOOM, 1 + _ZOOM, count)
    move = rng.uniform(-1, 1, (count, 2)) * (1 - crop / side)
    rows = [
        [zoom * np.cos(turn), -zoom * np.sin(turn), move[:, 0]],
        [zoom * np.sin(turn), zoom * np.cos(turn), move[:, 1]],
    ]
    theta = torch.from_numpy(np.asarray(rows).transpose(2, 0, 1).astype(np.float32))
    grid = functional.affine_grid(theta, [count, 1, crop, crop], align_corners=False)
    cut = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    gain = rng.uniform(1 - _GAIN, 1 + _GAIN, count).astype(np.float32)
    offset = rng.uniform(-_OFFSET, _OFFSET, count).astype(np.float32)
    varied = cut * torch.from_numpy(gain).reshape(-1, 1, 1, 1) + torch.from_numpy(offset).reshape(-1, 1, 1, 1)
    return varied.clamp_(0, 255)
