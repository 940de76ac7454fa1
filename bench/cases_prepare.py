"""Stored pictures to a network's in one pass, against the calls that users would write, on one thread.

The unit is a pixel of the stored picture: 10^9 over the pixels per second are ns/pixel.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case import Case
from radfast.kernels.cnn import Preparation
from radfast.kernels.cnn.reference import prepare_reference

_SIDE, _CROP = 256, 224
_LOW, _HIGH = 864.0, 1264.0  # soft tissue of a CT stored with an intercept of -1024


def _make_pictures(images: int, side: int) -> dict[str, Any]:
    """Return smooth pictures with noise: stored values 0 to 4095, as of a CT."""
    random = np.random.default_rng(3)
    across = np.sin(np.arange(side) / side * 20)
    smooth = 1024 + 300 * (across[:, None] + across)
    pictures = np.clip(smooth + random.normal(0, 30, (images, 1, side, side)), 0, 4095).astype(np.uint16)
    return {"pictures": pictures, "how": Preparation(_SIDE, _LOW, _HIGH)}


def _prepare(state: dict[str, Any]) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = state["how"].apply(state["pictures"], (1, _CROP, _CROP), 1)
    return result


def _cut(pictures: Any) -> Any:
    first = (_SIDE - _CROP) // 2
    return pictures[..., first : first + _CROP, first : first + _CROP]


def _prepare_torch(state: dict[str, Any]) -> Any:
    """Window and resize as training does: float32, antialiased."""
    import torch

    torch.set_num_threads(1)
    pictures = torch.from_numpy(state["pictures"]).float()
    grey = ((pictures - _LOW) * (255 / (_HIGH - _LOW))).clamp_(0, 255)
    small = torch.nn.functional.interpolate(grey, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    return _cut(small).round().byte().numpy()


def _prepare_pillow(state: dict[str, Any]) -> Any:
    """Window by a table to 8 bits, then the same filter on whole numbers."""
    from PIL import Image

    values = (np.arange(1 << 16) - _LOW) * (255 / (_HIGH - _LOW))
    table = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(table[picture[0]]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
        for picture in state["pictures"]
    ]
    return _cut(np.stack(resized)[:, None])


def _prepare_opencv(state: dict[str, Any]) -> Any:
    """Window in float32, then the mean over areas: it has no triangle filter."""
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    scale = 255 / (_HIGH - _LOW)
    resized = []
    for picture in state["pictures"]:
        grey = cv2.convertScaleAbs(
            cv2.max(picture[0].astype(np.float32), _LOW), alpha=scale, beta=-_LOW * scale
        )
        resized.append(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    return _cut(np.stack(resized)[:, None])


def _check(state: dict[str, Any], found: NDArray[np.uint8]) -> None:
    wanted = prepare_reference(state["pictures"], _SIDE, _CROP, _LOW, _HIGH)
    assert np.abs(found - wanted).max() <= 0.5 + 2e-3
    assert np.abs(_prepare_torch(state) - wanted).max() <= 0.5 + 2e-3
    assert np.abs(_prepare_pillow(state) - wanted).max() <= 2


CASES = tuple(
    Case(
        name=f"prepare-{side}",
        sizes={"images": images, "side": side},
        unit="pixels",
        set_up=_make_pictures,
        work=_prepare,
        count=lambda state: state["pictures"].size,
        check=_check,
        peers={"torch": _prepare_torch, "pillow": _prepare_pillow, "opencv": _prepare_opencv},
    )
    for side, images in ((512, 32), (2048, 4))
)
