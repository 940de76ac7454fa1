"""Stored pictures of any size before a compiled network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radfast import _core
from radfast.errors import UsageError
from radfast.kernels.cnn import CompiledNetwork, Preparation, compile
from radfast.kernels.cnn.reference import prepare_reference
from radfast.vision import build
from radfast.vision.loader import crop_centre, read_pictures

CROP = 64
DTYPES = ("uint8", "uint16", "int16")


def draw(count: int, channels: int, height: int, width: int, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(height * width)
    return random.integers(limits.min, limits.max + 1, (count, channels, height, width)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 97), (64, 64), (72, 31), (33, 200), (513, 260)])
def test_agrees_with_float64(height: int, width: int, dtype: str) -> None:
    pictures = draw(2, 3, height, width, dtype)
    limits = np.iinfo(dtype)
    low, high = limits.min * 0.7 + 1.5, limits.max * 0.6
    for side in (CROP, CROP + 9):
        found = Preparation(side, low, high).apply(pictures, (3, CROP, CROP), 1)
        wanted = prepare_reference(pictures, side, CROP, low, high)
        assert found.dtype == np.uint8
        assert np.abs(found - wanted).max() <= 0.5 + 2e-3


def test_grey_values_end_at_the_window() -> None:
    pictures = np.array([-2000, -160, 40, 240, 3000], np.int16).reshape(5, 1, 1, 1)
    found = Preparation(4, -160, 240).apply(pictures, (1, 2, 2), 1)
    np.testing.assert_array_equal(found[:, 0, 0, 0], [0, 0, 128, 255, 255])


@pytest.mark.parametrize("side", [CROP, 72, 200])
def test_training_reads_the_same(side: int) -> None:
    pictures = draw(3, 1, 150, 97, "uint8")
    wanted = crop_centre(read_pictures(pictures[:, 0], np.arange(3), side), CROP).numpy()
    found = Preparation(side).apply(pictures, (1, CROP, CROP), 1).astype(np.float32)
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 1e-3, "only what lies in the middle of two grey values may differ"


def test_same_bits_at_any_threads_and_in_a_list() -> None:
    pictures = draw(7, 1, 120, 90, "uint16")
    prepare = Preparation(72, 100, 60000)
    one = prepare.apply(pictures, (1, CROP, CROP), 1)
    np.testing.assert_array_equal(prepare.apply(pictures, (1, CROP, CROP), 3), one)
    np.testing.assert_array_equal(prepare.apply(list(pictures), (1, CROP, CROP), 2), one)
    turned = np.asfortranarray(pictures)
    np.testing.assert_array_equal(prepare.apply(turned, (1, CROP, CROP), 1), one)


@pytest.fixture(scope="module")
def run() -> CompiledNetwork:
    net = build("alexnet", {"document": 5, "vector": 6}, 0.1, size=CROP, seed=3).eval()
    return compile(net, "cpu", max_batch=4, threads=1, prepare=Preparation(72, -1000, 1000))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_a_network_takes_stored_pictures(run: CompiledNetwork, count: int) -> None:
    pictures = draw(count, 1, 100, 81, "int16")
    assert run.preparation is not None
    ready = run.preparation.apply(pictures, (1, CROP, CROP), 1)
    plain = compile(
        build("alexnet", {"document": 5, "vector": 6}, 0.1, size=CROP, seed=3).eval(), "torch", threads=1
    )
    wanted = plain(ready)
    found = run(pictures)
    for head, value in wanted.items():
        assert found[head].shape == value.shape
        np.testing.assert_allclose(found[head], value, atol=1e-5 * np.abs(value).max(initial=1))


def test_pictures_of_several_sizes(run: CompiledNetwork) -> None:
    pictures = [draw(1, 1, side, 300 - side, "uint16")[0] for side in (10, 64, 72, 150, 290)]
    found = run(pictures)["document"]
    for row, picture in enumerate(pictures):
        np.testing.assert_allclose(found[row], run(picture[None])["document"][0], rtol=0, atol=0)
    assert run([])["vector"].shape == (0, 6)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 1, 9, 9), np.float32), "images must be uint8 or uint16 or int16, is float32"),
        (np.zeros((0, 1, 9, 9), np.float64), "images must be uint8 or uint16 or int16, is float64"),
        (np.zeros((2, 3, 9, 9), np.uint8), "images must have 1 channels and pixels"),
        (np.zeros((9, 9), np.uint8), "images must have 1 channels and pixels"),
        (np.zeros((2, 1, 0, 9), np.uint8), "images must have 1 channels and pixels"),
        ([np.zeros((1, 9, 9), np.uint8), np.zeros((2, 9, 9), np.uint8)], "picture 1 must have 1 channels"),
    ],
)
def test_wrong_images(run: CompiledNetwork, images: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(images)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((0,), "side must be at least 1, is 0"),
        ((64, 5.0, 5.0), "low must be below high"),
        ((64, 0.0, np.nan), "low must be below high"),
    ],
)
def test_wrong_settings(settings: tuple[float, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Preparation(*settings)  # type: ignore[arg-type]


class Narrow(torch.nn.Module):
    """Reads pictures that are not square, or of 16 bits only."""

    def __init__(self, shape: tuple[int, int, int], dtypes: tuple[str, ...]) -> None:
        super().__init__()
        self.image_shape, self.image_dtypes = shape, dtypes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().flatten(1)[:, :2]


@pytest.mark.parametrize(
    ("net", "side", "words"),
    [
        (Narrow((1, 8, 9), ("uint8",)), 16, r"needs a square network of at most 16 pixels, it is \(8, 9\)"),
        (Narrow((1, 32, 32), ("uint8",)), 16, r"needs a square network of at most 16 pixels"),
        (Narrow((1, 8, 8), ("uint16",)), 16, "prepare gives uint8, and this network reads uint16"),
    ],
)
def test_networks_it_does_not_fit(net: torch.nn.Module, side: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compile(net, "torch", prepare=Preparation(side))


def test_the_core_checks_what_it_is_given() -> None:
    picture = np.zeros((1, 1, 4, 4), np.uint8)
    for side, crop, low, high in ((3, 4, 0, 1), (4, 0, 0, 1), (4, 4, 1, 1)):
        with pytest.raises(ValueError, match="crop at most side"):
            _core.prepare_pictures(picture, side, crop, low, high, 1)
    with pytest.raises(TypeError, match="uint8, uint16 or int16"):
        _core.prepare_pictures(picture.astype(np.int32), 4, 4, 0, 1, 1)
