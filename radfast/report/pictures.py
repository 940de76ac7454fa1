"""Pictures as PNG data URIs, scaled down to what the page shows."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_picture(pixels: NDArray[np.uint8], side: int) -> str:
    """Return a data URI of a gray PNG whose longer side is at most `side` pixels.

    Parameters
    ----------
    pixels : uint8, shape (H, W)
    side : int
        Pixels; smaller pictures stay as they are.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
