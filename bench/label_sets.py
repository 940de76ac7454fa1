"""Label sets for training benchmarks: pictures with one known name per level, split by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from radfast.types import LEVELS
from radfast.vision import LabelSet


def label_pictures(
    names: Mapping[str, Sequence[str]],
    patients: Sequence[str],
    split: Sequence[float],
    seed: int,
    image_ids: Sequence[str] | None = None,
    pixel_rows: Sequence[int] | None = None,
) -> LabelSet:
    """Return the label set of N pictures.

    Parameters
    ----------
    names : mapping of str to sequence of N str
        Class of each picture per level; a level that is left out has no classes.
    patients : sequence of N str
    split : sequence of 3 float
        Shares of the patients for training, validation and test, by hash of seed and patient.
    seed : int
    image_ids, pixel_rows : sequence of N, optional
        0 to N - 1 by default.
    """
    count = len(patients)
    ordered = sorted(set(patients), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    place = {name: (row + 0.5) / len(ordered) for row, name in enumerate(ordered)}
    bounds = np.cumsum(split)[:-1]
    classes = {level: sorted(set(names.get(level, ()))) for level in LEVELS}
    targets = {level: np.full(count, -1, np.int32) for level in LEVELS}
    for level, of_picture in names.items():
        number = {name: row for row, name in enumerate(classes[level])}
        targets[level][:] = [number[name] for name in of_picture]
    return LabelSet(
        image_ids=[str(row) for row in range(count)] if image_ids is None else list(image_ids),
        pixel_rows=np.arange(count) if pixel_rows is None else np.asarray(pixel_rows),
        link_rows=np.arange(count),
        samples=np.arange(count, dtype=np.int32),
        representative=np.ones(count, np.bool_),
        splits=np.array([np.searchsorted(bounds, place[name]) for name in patients], np.int8),
        patient_ids=list(patients),
        report_ids=[""] * count,
        window_ids=[""] * count,
        classes={**classes, "disease": []},
        targets=targets,
        disease=np.zeros((count, 0), np.int8),
        vectors=np.zeros((count, 0), np.float32),
        vector_counts=np.zeros(count, np.int32),
        dropped={},
    )
