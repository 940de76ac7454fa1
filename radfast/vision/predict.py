"""Answers of a trained network for pictures of an archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from radfast.errors import UsageError
from radfast.types import Progress, no_progress
from radfast.vision.loader import check_pixels, crop_centre, read_pictures
from radfast.vision.losses import split_halves
from radfast.vision.trained import TrainedNetwork

Run = Callable[[Any], Mapping[str, Any]]


def predict(
    trained: TrainedNetwork,
    pixels: npt.NDArray[np.uint8],
    batch: int = 64,
    *,
    rows: npt.NDArray[np.int64] | None = None,
    run: Run | None = None,
    progress: Progress = no_progress,
) -> dict[str, npt.NDArray[np.float32]]:
    """Label pictures by their centre crop.

    Parameters
    ----------
    trained : TrainedNetwork
    pixels : uint8 (N, H, W)
        Pictures of the archive.
    batch : int
        Pictures read at once.
    rows : int64 (M,), optional
        Which of them, in this order; all by default.
    run : callable, optional
        What computes: ``radfast.compile(trained.net)``; the network itself by default.
    progress : callable
        Called with pictures done and in all.

    Returns
    -------
    dict of str to float32 (M, C)
        Probabilities per class of a level, summing to 1; one probability per disease class; and for "vector"
        (M, 2F) two unit halves.

    Raises
    ------
    UsageError
        If pictures, rows or batch are out of range.
    """
    check_pixels(pixels, trained.picture_size, trained.crop, "predict")
    if batch < 1:
        raise UsageError(f"[predict] batch must be at least 1, is {batch}")
    chosen = np.arange(len(pixels)) if rows is None else np.asarray(rows, np.int64)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(pixels):
        raise UsageError(f"[predict] rows must be from 0 to {len(pixels) - 1}")
    outputs = {name: np.empty((len(chosen), head.out_features), np.float32) for name, head in _heads(trained)}
    trained.net.eval()
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        pictures = crop_centre(read_pictures(pixels, part, trained.picture_size), trained.crop)
        with torch.no_grad():
            answers = trained.net(pictures) if run is None else run(pictures.numpy())
            for name, answer in answers.items():
                outputs[name][start : start + len(part)] = _finish(name, torch.as_tensor(answer), trained)
        progress(start + len(part), len(chosen))
    return outputs


def _heads(trained: TrainedNetwork) -> list[tuple[str, torch.nn.Linear]]:
    return [(name, head) for name, head in trained.net.heads.items() if isinstance(head, torch.nn.Linear)]


def _finish(name: str, answer: torch.Tensor, trained: TrainedNetwork) -> npt.NDArray[np.float32]:
    if name == "vector":
        vector = 2 * torch.sigmoid(answer) - 1 if trained.vector_loss == "sigmoid" else answer
        finished = split_halves(vector).flatten(1)
    elif name == "disease":
        finished = torch.sigmoid(answer)
    else:
        finished = torch.softmax(answer, dim=1)
    return finished.numpy()
