"""The CPU engine of compile: any chain of layers on every instruction set, with the same bits everywhere."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import radfast
from radfast import _core
from radfast.errors import UsageError
from radfast.kernels.cnn import BACKENDS, compile
from radfast.kernels.cnn.native import build_engine
from radfast.kernels.cnn.reference import freeze, run_reference
from radfast.vision import build

LEVELS = ("portable", "avx2", "avx512")
HEADS = {"document": 5, "vector": 8}


@pytest.fixture(params=LEVELS)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has."""
    try:
        if _core.lower_simd(request.param) != request.param:
            pytest.skip(f"this processor has no {request.param}")
        yield request.param
    finally:
        _core.lower_simd("avx512")


def draw_pictures(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@st.composite
def chains(draw: Any) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """A random chain with a small picture it can read."""
    channels = draw(st.sampled_from([1, 2, 3]))
    shape = (channels, draw(st.integers(6, 34)), draw(st.integers(6, 34)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    layers: list[nn.Module] = []
    height, width = shape[1:]

    def convolve(size: int, stride: int, padding: int, out: int) -> None:
        nonlocal channels, height, width
        tall, wide = ((n + 2 * padding - size) // stride + 1 for n in (height, width))
        if min(tall, wide) < 1:
            return
        layer = nn.Conv2d(channels, out, size, stride, padding, bias=draw(st.booleans()))
        with torch.no_grad():
            layer.weight.normal_(0, (2 / (channels * size * size)) ** 0.5, generator=generator)
        layers.append(layer)
        if draw(st.booleans()):
            layers.append(nn.ReLU())
        channels, height, width = out, tall, wide

    out = st.sampled_from([1, 8, 15, 16, 17, 31, 33])
    convolve(draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(out))
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.sampled_from(["conv", "conv", "pool"])):
            case "conv":
                convolve(draw(st.sampled_from([3, 5])), 1, draw(st.integers(0, 2)), draw(out))
            case _:
                size, stride = draw(st.sampled_from([(2, 2), (3, 2), (3, 1)]))
                if min(height, width) >= size:
                    layers.append(nn.MaxPool2d(size, stride))
                    height, width = ((n - size) // stride + 1 for n in (height, width))
    if draw(st.booleans()):
        height = width = draw(st.sampled_from([1, 3, 7]))
        layers.append(nn.AdaptiveAvgPool2d(height))
    layers += [
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(channels * height * width, 19),
        nn.ReLU(),
        nn.Linear(19, 3),
    ]
    return nn.Sequential(*layers).eval(), shape


@settings(max_examples=60, deadline=None)
@given(chains(), st.integers(1, 5), st.sampled_from(LEVELS))
def test_random_chains_agree_with_float64(
    chain: tuple[nn.Sequential, tuple[int, int, int]], count: int, level: str
) -> None:
    net, shape = chain
    images = draw_pictures(count, shape)
    try:
        _core.lower_simd(level)
        found = build_engine(freeze(net), shape, 5, 2).run(images)
    finally:
        _core.lower_simd("avx512")
    wanted = run_reference(net, images)["output"]
    # The sums of all magnitudes, which rounding errors are a share of; measured: up to 0.26 of this limit.
    magnitudes = copy.deepcopy(net)
    with torch.no_grad():
        for values in magnitudes.parameters():
            values.abs_()
    largest = run_reference(magnitudes, images)["output"].max()
    assert np.abs(found - wanted).max() <= 2.0**-22 * largest


@pytest.mark.parametrize(
    ("name", "width", "size", "channels"),
    [
        ("alexnet", 0.25, 224, 1),
        ("vgg16", 0.5, 64, 3),
        ("vgg16", 0.25, 96, 3),
        ("vgg19", 0.125, 112, 1),
        ("vgg16", 0.125, 75, 1),
    ],
)
def test_error_is_near_torchs(name: str, width: float, size: int, channels: int) -> None:
    net = build(name, HEADS, width, in_channels=channels, size=size, seed=3).eval()
    images = draw_pictures(4, net.image_shape, 1)
    found = compile(net, "native", threads=2)(images)
    with torch.no_grad():
        naive = net(torch.from_numpy(images))
    for head, wanted in run_reference(net, images).items():
        error = np.sqrt(np.mean((found[head] - wanted) ** 2))
        assert error <= 3 * np.sqrt(np.mean((naive[head].numpy() - wanted) ** 2))


def test_every_instruction_set_agrees(simd: str) -> None:
    net = build("vgg16", HEADS, 0.05, size=64, seed=1).eval()
    images = draw_pictures(3, net.image_shape)
    run = compile(net, "native", threads=2)
    assert simd in run.reason
    for head, wanted in run_reference(net, images).items():
        assert np.abs(run(images)[head] - wanted).max() <= 4e-6 * np.abs(wanted).max()


@pytest.mark.skipif(_core.lower_simd("avx512") != "avx512", reason="this processor has no avx512")
def test_avx2_gives_the_bits_of_avx512() -> None:
    net = build("alexnet", HEADS, 0.1, size=95, seed=1).eval()
    images = draw_pictures(3, net.image_shape)
    wanted = compile(net, "native")(images)["vector"]
    try:
        _core.lower_simd("avx2")
        np.testing.assert_array_equal(compile(net, "native")(images)["vector"], wanted)
    finally:
        _core.lower_simd("avx512")


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_same_bits_at_any_threads_and_batch(name: str, simd: str) -> None:
    net = build(name, HEADS, 0.1, size=64, seed=1).eval()
    images = draw_pictures(9, net.image_shape)
    wanted = compile(net, "native", max_batch=9, threads=1)(images)["vector"]
    for threads, batch in ((2, 9), (5, 9), (2, 1), (3, 4), (1, 64)):
        run = compile(net, "native", max_batch=batch, threads=threads)
        np.testing.assert_array_equal(run(images)["vector"], wanted)
        np.testing.assert_array_equal(run(images[4:5])["vector"], wanted[4:5])


@pytest.mark.parametrize("channels", [1, 3])
def test_border_is_exact(channels: int) -> None:
    # Of a picture of one grey value only the border of the first layer varies.
    net = build("vgg16", HEADS, 0.05, in_channels=channels, size=32, seed=1).eval()
    images = np.full((2, channels, 32, 32), 255, np.uint8)
    images[1] = 0
    found, wanted = compile(net, "native", threads=1)(images), run_reference(net, images)
    for head in HEADS:
        assert np.abs(found[head] - wanted[head]).max() <= 4e-6 * np.abs(wanted[head]).max()


def test_a_folded_network_runs_as_well() -> None:
    net = build("alexnet", HEADS, 0.1, size=64, seed=1).eval()
    images = draw_pictures(2, net.image_shape)
    found = compile(net.fold_grey(), "native", threads=1)(images)["vector"]
    wanted = run_reference(net, images)["vector"]
    assert np.abs(found - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_stored_dtypes_give_one_answer() -> None:
    net = freeze(build("alexnet", HEADS, 0.1, size=64, seed=1))
    engine = build_engine(net, net.image_shape, 4, 1)
    images = draw_pictures(4, net.image_shape)
    wanted = engine.run(images)
    np.testing.assert_array_equal(engine.run(images.astype(np.uint16)), wanted)
    np.testing.assert_array_equal(engine.run(images.astype(np.float32)), wanted)
    assert engine.run(images[:0]).shape == (0, 13)
    assert engine.weight_bytes > sum(p.numel() for p in net.parameters()) * 4
    for wrong in (images.astype(np.float64), images[:, :, :63], images[:, :, ::-1], np.repeat(images, 2, 0)):
        with pytest.raises((TypeError, ValueError)):
            engine.run(wrong)


def test_no_number_spoils_its_row_only() -> None:
    net = build("alexnet", HEADS, 0.1, size=64, seed=1).eval()
    run = compile(net, "native", max_batch=4, threads=2)
    images = draw_pictures(6, net.image_shape).astype(np.float32)
    clean = run(images)["vector"]
    images[1, 0, 40, 3], images[4, 0, 0, 0] = np.nan, np.inf
    found = run(images)["vector"]
    assert np.isnan(found[[1, 4]]).all()
    np.testing.assert_array_equal(found[[0, 2, 3, 5]], clean[[0, 2, 3, 5]])


def test_is_the_default_of_these_networks_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    net = build("vgg19", HEADS, 0.05, size=32, seed=1)
    with caplog.at_level(logging.INFO, logger="radfast.cnn"):
        run = radfast.compile(net, backend="cpu", threads=1)
    assert run.backend == "native"
    assert run.gate is not None
    assert "runs on native in float32 (fastest here for this network" in caplog.text
    assert "MB of weights" in run.reason


def conv(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3), *layers, nn.Flatten(), nn.LazyLinear(2)).eval()


class Two(nn.Module):
    """Two branches: no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(256, 2), nn.Linear(256, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.left(images.flatten(1)) + self.right(images.flatten(1))
        return result


class Twisted(nn.Sequential):
    """Looks like a chain and computes something else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = 2 * super().forward(images)
        return result


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Two(), "Two is no chain of layers"),
        (conv(nn.BatchNorm2d(8)), r"layer 1 \(BatchNorm2d\): it is not in the engine"),
        (conv(nn.Conv2d(8, 8, 7)), r"layer 1 \(Conv2d\): beyond the first layer .* 3 x 3 or 5 x 5"),
        (conv(nn.Conv2d(8, 8, 3, stride=2)), "beyond the first layer"),
        (conv(nn.Conv2d(8, 8, 3, groups=2)), "groups, dilation and padding"),
        (conv(nn.Conv2d(8, 8, 3, padding="same")), "padding must be the same number in both directions"),
        (conv(nn.Conv2d(8, 8, (3, 5))), "kernel_size must be the same number"),
        (conv(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (conv(nn.MaxPool2d(3, padding=1)), "padding, dilation"),
        (conv(nn.Sigmoid()), "Sigmoid"),
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), "the first layer must read pictures"),
        (nn.Sequential(nn.Conv2d(1, 2, 16), nn.Flatten()), None),
        (Twisted(*conv()), "differs from torch"),
    ],
)
def test_what_it_cannot_do_is_named(net: nn.Module, words: str | None) -> None:
    shape = (1, 16, 16)
    net(torch.zeros(1, *shape))  # lazy layers take their size
    if words is None:
        assert compile(net, "native", image_shape=shape, threads=1).backend == "native"
        return
    with pytest.raises(UsageError, match=f"backend 'native' cannot run this network: .*{words}"):
        compile(net, "native", image_shape=shape, threads=1)


def test_other_networks_go_on_to_onnx() -> None:
    run = compile(Two(), "cpu", image_shape=(1, 16, 16), threads=1)
    assert run.backend == "onnx"
    assert "native was refused: Two is no chain of layers" in run.reason


def test_bad_weights_are_named() -> None:
    net = build("alexnet", HEADS, 0.1, size=64, seed=1)
    with torch.no_grad():
        net.features[3].weight[0, 0, 0, 0] = torch.nan  # type: ignore[index, operator, union-attr]
    words = r"weights must be finite, 'features\.3\.weight' holds NaN or infinity"
    for backend in ("auto", "cpu", *BACKENDS):
        with pytest.raises(UsageError, match=words):
            compile(net, backend, threads=1)


def test_weights_beyond_float32_are_named() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 2)).double()
    with torch.no_grad():
        net[2].weight[0, 0] = 1e300  # type: ignore[index, operator]
    with pytest.raises(UsageError, match=r"2 \(Linear\): weights hold NaN or infinity"):
        compile(net, "native", image_shape=(1, 5, 5), threads=1)


def test_the_engine_checks_what_it_is_given() -> None:
    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    engine = _core.NativeNetwork(1, 8, 8, 2, 1)
    with pytest.raises(ValueError, match="the first layer must read pictures"):
        engine.add_pool(2, 2)
    with pytest.raises(ValueError, match="do not fit together"):
        engine.add_first(zeros(4, 1, 3, 3), np.zeros((5, 3, 3)), zeros(4), 1, 1, True)
    with pytest.raises(ValueError, match="the picture is too small"):
        engine.add_first(zeros(4, 1, 9, 9), np.zeros((4, 9, 9)), zeros(4), 1, 0, True)
    engine.add_first(zeros(4, 1, 3, 3), np.zeros((4, 3, 3)), zeros(4), 1, 1, True)
    with pytest.raises(ValueError, match="do not fit together"):
        engine.add_linear(zeros(2, 9), zeros(2), False)
    with pytest.raises(ValueError, match="the picture is too small"):
        engine.add_pool(9, 1)
    with pytest.raises(ValueError, match="not finished"):
        engine.run(np.zeros((1, 1, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="max_batch and threads"):
        _core.NativeNetwork(1, 8, 8, 0, 1)
