"""Pictures that a small network can learn, with a label set."""

from __future__ import annotations

import numpy as np

from radfast.vision import LabelSet

SIDE = 72


def make_phantoms(count: int, seed: int = 0) -> tuple[np.ndarray, LabelSet]:
    """Stripes whose direction is the document topic, with a bright or dark disc: the sentence topic."""
    rng = np.random.default_rng(seed)
    direction, bright = rng.integers(0, 3, count), rng.integers(0, 2, count)
    down, right = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    pixels = np.empty((count, SIDE, SIDE), np.uint8)
    for row in range(count):
        angle = direction[row] * np.pi / 3
        middle = rng.uniform(-0.2, 0.2, 2)
        stripes = 30 * np.sin(40 * (right * np.cos(angle) + down * np.sin(angle)) + rng.uniform(0, 6))
        disc = np.hypot(right - middle[0], down - middle[1]) < 0.18
        picture = 128 + stripes + 80 * disc * (2 * bright[row] - 1) + rng.normal(0, 8, disc.shape)
        pixels[row] = picture.clip(0, 255)
    halves = np.eye(6, dtype=np.float32).reshape(3, 2, 6)
    splits = np.digitize(np.arange(count) / count, [0.6, 0.8]).astype(np.int8)
    disease = np.stack([bright, direction == 1], 1).astype(np.int8)
    disease[rng.random(count) < 0.1, 0] = -1
    labels = LabelSet(
        image_ids=[f"i{row}" for row in range(count)],
        pixel_rows=np.arange(count),
        link_rows=np.arange(count),
        samples=np.arange(count, dtype=np.int32),
        representative=np.ones(count, np.bool_),
        splits=splits,
        patient_ids=[f"p{row}" for row in range(count)],
        report_ids=[f"r{row}" for row in range(count)],
        window_ids=[f"r{row}@0" for row in range(count)],
        classes={
            "document": ["0", "1", "2"],
            "second": [],
            "sentence": ["0", "1"],
            "disease": ["mass present", "cyst present"],
        },
        targets={
            "document": direction.astype(np.int32),
            "second": np.full(count, -1, np.int32),
            "sentence": np.where(rng.random(count) < 0.1, -1, bright).astype(np.int32),
        },
        disease=disease,
        vectors=halves[direction].reshape(count, 12),
        vector_counts=(rng.random(count) < 0.8).astype(np.int32),
        dropped={},
    )
    return pixels, labels
