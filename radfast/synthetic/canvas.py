"""A picture under the brush: soft shapes on a posed coordinate grid, finer noise at the end.

Shapes are drawn on 256 x 256 and doubled to 512 x 512; coordinates run from -1 to 1, x to the right, y down.
Every shape passes through one pose (turn, scale, shift), so that a whole patient moves together. Arithmetic
is elementwise: the same bits at any number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_SIDE = 256
_SOFT = 0.02  # width of an edge, canvas units


def double(plane: Plane) -> Plane:
    """Return `plane` at twice the size, bilinear, borders repeated.

    Parameters
    ----------
    plane : float32 (H, W)
        Picture.

    Returns
    -------
    float32 (2 H, 2 W)
        Larger picture.
    """
    for axis in (0, 1):
        low = np.concatenate([plane.take([0], axis), plane.take(range(plane.shape[axis] - 1), axis)], axis)
        high = np.concatenate([plane.take(range(1, plane.shape[axis]), axis), plane.take([-1], axis)], axis)
        pair = np.stack([0.75 * plane + 0.25 * low, 0.75 * plane + 0.25 * high], axis + 1)
        shape = list(plane.shape)
        shape[axis] *= 2
        plane = pair.reshape(shape)
    return plane.astype(np.float32, copy=False)


class Canvas:
    """A picture of one body region.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of pose, texture and noise.
    background : float
        Value outside the body.
    turn, zoom, shift : float
        Spread of the pose: radians, share, canvas units.

    Attributes
    ----------
    values : float32 (256, 256)
        The picture so far.
    organs : dict of str to (cx, cy, a, b)
        Ellipses that the findings refer to.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        background: float,
        *,
        turn: float = 0.06,
        zoom: float = 0.06,
        shift: float = 0.04,
    ) -> None:
        self.rng = rng
        angle = float(rng.normal(0, turn))
        scale = float(np.clip(rng.normal(1, zoom), 0.85, 1.15))
        dx, dy = (float(v) for v in rng.normal(0, shift, 2))
        axis = ((np.arange(_SIDE, dtype=np.float32) + 0.5) / (_SIDE / 2) - 1).astype(np.float32)
        x, y = axis[None, :] - np.float32(dx), axis[:, None] - np.float32(dy)
        cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        self.x: Plane = (x * cos + y * sin).astype(np.float32)
        self.y: Plane = (y * cos - x * sin).astype(np.float32)
        self.values: Plane = np.full((_SIDE, _SIDE), background, np.float32)
        self.organs: dict[str, tuple[float, float, float, float]] = {}

    def ellipse(
        self,
        cx: float,
        cy: float,
        a: float,
        b: float,
        *,
        angle: float = 0.0,
        wobble: float = 0.0,
        spikes: int = 0,
        soft: float = _SOFT,
    ) -> Plane:
        """Return the mask, 0 to 1, of an ellipse with half axes `a`, `b`; `wobble` makes its rim uneven."""
        x, y = self.x - np.float32(cx), self.y - np.float32(cy)
        if angle:
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            x, y = x * cos + y * sin, y * cos - x * sin
        radius = np.sqrt((x / np.float32(a)) ** 2 + (y / np.float32(b)) ** 2)
        if wobble:
            turn = np.arctan2(y, x)
            for order in (2, 3, 5) if not spikes else (2, spikes):
                phase, height = self.rng.uniform(0, 6.28), self.rng.uniform(0.5, 1) * wobble
                radius = radius * (1 + np.float32(height) * np.sin(order * turn + np.float32(phase)))
        mask: Plane = np.clip((1 - radius) * np.float32(min(a, b) / soft) + 0.5, 0, 1).astype(np.float32)
        return mask

    def box(self, cx: float, cy: float, a: float, b: float, *, angle: float = 0.0) -> Plane:
        """Return the mask of a box with half sides `a`, `b`, turned by `angle` radians."""
        x, y = self.x - np.float32(cx), self.y - np.float32(cy)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
        inside = np.minimum(np.float32(a) - x, np.float32(b) - y)
        mask: Plane = np.clip(inside / np.float32(_SOFT) + 0.5, 0, 1).astype(np.float32)
        return mask

    def below(self, level: float) -> Plane:
        """Return the mask of all that lies below `level`."""
        mask: Plane = np.clip((self.y - np.float32(level)) / np.float32(_SOFT) + 0.5, 0, 1).astype(np.float32)
        return mask

    def paint(self, mask: Plane, value: float) -> None:
        """Cover with `value` where the mask is 1."""
        self.values += mask * (np.float32(value) - self.values)

    def add(self, mask: Plane, amount: float) -> None:
        """Add `amount` where the mask is 1: shadows that overlap in a radiograph."""
        self.values += mask * np.float32(amount)

    def name(self, organ: str, cx: float, cy: float, a: float, b: float) -> Plane:
        """Remember an organ under its name and return its mask."""
        self.organs[organ] = (cx, cy, a, b)
        return self.ellipse(cx, cy, a, b)

    def texture(self, doublings: int = 4) -> Plane:
        """Return smooth noise, about unit variance: coarser with more doublings."""
        grain = self.rng.standard_normal((_SIDE >> doublings, _SIDE >> doublings)).astype(np.float32)
        for _ in range(doublings):
            grain = double(grain)
        scaled: Plane = grain * np.float32(1.5)
        return scaled

    def finish(self, noise: float) -> Plane:
        """Return the picture, float32 (512, 512), with noise of that standard deviation."""
        picture = double(self.values)
        fine = self.rng.standard_normal(picture.shape, dtype=np.float32)
        noisy: Plane = picture + np.float32(noise) * fine
        return noisy
