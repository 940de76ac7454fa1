"""What a training can go on from: written whole or not at all, and believed only by the same training."""

from __future__ import annotations

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from radfast.store import write_atomically
from radfast.vision.labels import LabelSet

_SAMPLED_PICTURES = 64

log = logging.getLogger("radfast.vision")


def hash_inputs(pixels: npt.NDArray[np.uint8], labels: LabelSet) -> str:
    """Return a hash of the label set and of a sample of its pictures."""
    digest = hashlib.sha256(str(labels.heads()).encode())
    order = (labels.pixel_rows, labels.samples, labels.splits, labels.disease, labels.vectors)
    for array in (*order, *labels.targets.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    for row in np.unique(np.linspace(0, len(labels) - 1, _SAMPLED_PICTURES).astype(np.int64)):
        digest.update(np.ascontiguousarray(pixels[labels.pixel_rows[row]]).tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path | None, key: str) -> dict[str, Any] | None:
    """Return the state in a checkpoint of the same key; None where there is none that can be used."""
    if path is None or not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError):
        log.warning("the checkpoint is broken: training starts anew")
        return None
    if not isinstance(state, dict) or state.get("key") != key:
        log.warning("the checkpoint is of other settings: training starts anew")
        return None
    return state


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state; a kill while it is written leaves the one before."""
    with write_atomically(path) as part:
        torch.save(state, part)


def name_beside(checkpoint: Path, key: str, what: str) -> Path:
    """Return the file for `what` that may be computed again, beside the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.name}.{what}-{key[:12]}.npy")
