"""Pictures on their way to the network: sizes, crops, and variations that keep left and right."""

from __future__ import annotations

import numpy as np
import torch

from radfast.vision.loader import augment, crop_centre, crop_random, read_pictures


def test_crops_and_variations() -> None:
    pixels = np.arange(2 * 12 * 12, dtype=np.uint8).reshape(2, 12, 12)
    pictures = read_pictures(pixels, np.array([1, 0]), 12)
    np.testing.assert_array_equal(pictures[:, 0].numpy(), pixels[[1, 0]])
    np.testing.assert_array_equal(crop_centre(pictures, 8)[:, 0].numpy(), pixels[[1, 0], 2:10, 2:10])
    found = set()
    for seed in range(40):
        crop = crop_random(pictures, 10, np.random.default_rng(seed))
        corner = int(crop[0, 0, 0, 0]) - int(pictures[0, 0, 0, 0])
        np.testing.assert_array_equal(
            crop[0, 0], pictures[0, 0, corner // 12 : corner // 12 + 10, corner % 12 : corner % 12 + 10]
        )
        found.add(corner)
    assert found == {0, 1, 2, 12, 13, 14, 24, 25, 26}, "every corner is drawn"
    flat = torch.full((3, 1, 12, 12), 100.0)
    varied = augment(flat, 8, np.random.default_rng(0))
    assert varied.shape == (3, 1, 8, 8)
    assert torch.equal(varied, augment(flat, 8, np.random.default_rng(0)))
    assert len(set(varied[:, 0, 4, 4].tolist())) == 3, "brightness and contrast differ by picture"
    bright = read_pictures(np.full((1, 30, 30), 200, np.uint8), np.array([0]), 12)
    assert bright.shape == (1, 1, 12, 12)
    torch.testing.assert_close(bright, torch.full_like(bright, 200.0))


def test_variations_never_mirror() -> None:
    """Left stays left: a wedge that is bright on its left side stays brighter there."""
    wedge = torch.linspace(255, 0, 48).expand(64, 1, 48, 48)
    varied = augment(wedge, 40, np.random.default_rng(3))
    assert (varied[..., :10].mean((1, 2, 3)) > varied[..., -10:].mean((1, 2, 3)) + 50).all()
