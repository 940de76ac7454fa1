"""compile: every backend agrees with float64, cuts batches, refuses what it cannot run, and says why."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import radfast
from radfast.errors import UsageError
from radfast.kernels.cnn import CompiledNetwork, compile, explain_backends, export_onnx
from radfast.kernels.cnn.reference import run_reference
from radfast.vision import Network, build

RUNNING = tuple(name for name, reason in explain_backends().items() if reason is None)
HEADS = {"document": 5, "vector": 8}
SIZE = 64


def make(name: str = "alexnet", channels: int = 1) -> Network:
    return build(name, HEADS, 0.05, in_channels=channels, size=SIZE, seed=1).eval()


@pytest.fixture(scope="module")
def runs() -> dict[str, CompiledNetwork]:
    """AlexNet on each backend, at most 4 pictures at once."""
    return {name: compile(make(), name, max_batch=4, threads=1) for name in RUNNING}


def draw(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, channels, SIZE, SIZE), dtype=np.uint8)


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 9])
def test_agrees_with_float64_at_any_count(runs: dict[str, CompiledNetwork], name: str, count: int) -> None:
    images = draw(count)
    if count > 2:
        images[0], images[1] = 0, 255
    found, wanted = runs[name](images), run_reference(make(), images)
    assert list(found) == list(HEADS)
    for head, value in wanted.items():
        assert found[head].dtype == np.float32
        assert found[head].shape == (count, HEADS[head])
        if count:
            # Eager torch is the naive version: it measures up to 1e-6 of the largest output here.
            assert np.abs(found[head] - value).max() <= 2e-6 * np.abs(value).max()


@pytest.mark.parametrize(("name", "channels"), [("vgg16", 3), ("vgg19", 1)])
def test_exports_of_the_other_networks_agree(name: str, channels: int) -> None:
    net = make(name, channels)
    run = compile(net, "onnx", threads=1)
    images = draw(3, channels)
    for head, value in run_reference(net, images).items():
        assert np.abs(run(images)[head] - value).max() <= 4e-6 * np.abs(value).max()


@pytest.mark.parametrize("name", RUNNING)
def test_dtypes_layouts_and_torch_tensors(runs: dict[str, CompiledNetwork], name: str) -> None:
    images = draw(3)
    wanted = runs[name](images)
    turned = np.ascontiguousarray(images.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    for same in (images.astype(np.float32), torch.from_numpy(images), turned):
        for head, value in runs[name](same).items():
            np.testing.assert_array_equal(value, wanted[head])


@pytest.mark.parametrize("name", RUNNING)
def test_nan_stays_in_its_row(runs: dict[str, CompiledNetwork], name: str) -> None:
    images = draw(3).astype(np.float32)
    clean = runs[name](images)
    images[1] = np.nan
    for head, value in runs[name](images).items():
        np.testing.assert_array_equal(value[[0, 2]], clean[head][[0, 2]])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 1, SIZE, SIZE), np.float64), "images must be uint8 or float32, are float64"),
        (np.zeros((2, 1, SIZE, SIZE), np.uint16), "images must be uint8 or float32, are uint16"),
        (np.zeros((2, 3, SIZE, SIZE), np.uint8), r"images must be \(N, 1, 64, 64\)"),
        (np.zeros((2, 1, SIZE, SIZE + 1), np.uint8), r"images must be \(N, 1, 64, 64\)"),
        (np.zeros((SIZE, SIZE), np.uint8), r"images must be \(N, 1, 64, 64\)"),
    ],
)
def test_wrong_images(runs: dict[str, CompiledNetwork], images: np.ndarray, words: str) -> None:
    for run in runs.values():
        with pytest.raises(UsageError, match=words):
            run(images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "tvm"}, "backend 'tvm' does not exist: choose from auto, cuda, cpu, tensorrt"),
        ({"precision": "int4"}, "precision 'int4' does not exist"),
        ({"precision": "int8"}, r"precision 'int8' needs pictures: pass calibration=images"),
        ({"backend": "torch", "precision": "float16"}, "it has no float16, only float32"),
        ({"backend": "cpu", "precision": "bfloat16"}, "no backend of 'cpu' can run this network: .*bfloat16"),
        ({"calibration": np.zeros((2, 1, 64, 64))}, "calibration must be uint8 or float32"),
        ({"calibration": np.zeros((0, 1, 64, 64), np.uint8)}, "calibration must be .* with M > 0"),
        ({"calibration": np.zeros((2, 1, 32, 64), np.uint8)}, r"must be pictures \(1, 64, 64\)"),
        (
            {"calibration": draw(2), "calibration_method": "mean", "precision": "int8", "backend": "onnx"},
            "calibration_method must be percentile, entropy, max",
        ),
        ({"max_batch": 0}, "max_batch must be at least 1"),
        ({"image_shape": (1, 64)}, "image_shape must be"),
    ],
)
def test_wrong_arguments(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compile(make(), **change)  # type: ignore[arg-type]


def test_compiled_network_is_a_copy() -> None:
    net = make()
    run = compile(net, "torch", threads=1)
    before = run(draw(2))
    with torch.no_grad():
        net.heads["document"].weight.zero_()  # type: ignore[operator, union-attr]
    np.testing.assert_array_equal(run(draw(2))["document"], before["document"])
    net.train()
    assert net.training
    assert compile(net, "torch").heads == HEADS
    assert net.training, "the caller's network keeps its mode"


class Forking(nn.Module):
    """Branches on its input's values: torch cannot export it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return flat[:, :2] if float(flat.sum()) > 0 else flat[:, 1:3]


class Drifting(nn.Module):
    """Computes something else when it is exported."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :2] * (2.0 if torch.compiler.is_exporting() else 1.0)


@pytest.mark.parametrize(
    ("net", "words"),
    [(Forking(), "torch cannot export it"), (Drifting(), "head 'output' differs from torch")],
)
def test_auto_falls_back_and_says_why(net: nn.Module, words: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        run = compile(net, image_shape=(1, 4, 4), threads=1)
    assert run.backend == "torch"
    assert words in run.reason
    assert words in caplog.text
    images = np.ones((3, 1, 4, 4), np.uint8)
    np.testing.assert_array_equal(run(images)["output"], np.ones((3, 2), np.float32))
    with pytest.raises(UsageError, match=words):
        compile(net, "onnx", image_shape=(1, 4, 4), threads=1)


def test_a_module_must_say_its_shape_and_return_rows() -> None:
    with pytest.raises(UsageError, match="image_shape must be"):
        compile(nn.Flatten(), "torch")
    with pytest.raises(UsageError, match="network must return"):
        compile(nn.ReLU(), "torch", image_shape=(1, 4, 4))


def test_onnx_keeps_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = radfast.compile(make(), "onnx", max_batch=2, cache_dir=tmp_path / "cache", threads=1)
    (kept,) = (tmp_path / "cache").iterdir()
    again = compile(make(), "onnx", cache_dir=tmp_path / "cache", threads=1)
    assert "from the cache" in again.reason
    images = draw(3)
    np.testing.assert_array_equal(again(images)["vector"], run(images)["vector"])

    good = kept.read_bytes()
    kept.write_bytes(good[: len(good) // 2])
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        repaired = compile(make(), "onnx", cache_dir=tmp_path / "cache", threads=1)
    assert "exported anew" in caplog.text
    assert "from the cache" not in repaired.reason
    np.testing.assert_array_equal(repaired(images)["vector"], run(images)["vector"])
    assert kept.read_bytes() == good, "an export has the same bytes every time"

    # A foreign network under the right name computes something else and is not believed.
    other = build("alexnet", HEADS, 0.05, size=SIZE, seed=2)
    kept.write_bytes(export_onnx(other))
    assert "from the cache" not in compile(make(), "onnx", cache_dir=tmp_path / "cache", threads=1).reason


def test_without_onnxruntime_torch_runs_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain_backends()["onnx"] is None
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    unknown = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))  # native wants a convolution first
    run = compile(unknown, backend="cpu", image_shape=(1, 4, 4), threads=1)
    assert run.backend == "torch"
    assert "onnxruntime is not installed" in run.reason


def test_exported_file_is_valid_and_tells_nothing_of_the_machine() -> None:
    data = export_onnx(make())
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [port.name for port in model.graph.output] == list(HEADS)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, "the batch size is free"
    assert b"site-packages" not in data
    assert str(Path.cwd()).encode() not in data
