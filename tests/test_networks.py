"""Networks: torchvision's keys, checked weights, the file and what comes back from it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from radfast.errors import UsageError
from radfast.store import hash_file
from radfast.vision import TrainedNetwork, build, load_network, save_network
from radfast.vision.networks import IMAGENET_MEAN, IMAGENET_STD, AdaptiveMean

HEADS = {"document": 5, "vector": 8}
# First and last convolutions, and the hidden layers, of torchvision's state dicts.
TORCHVISION = {
    "alexnet": {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
        "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096),
    },
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3),
        "features.28.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088),
        "classifier.3.weight": (4096, 4096),
    },
    "vgg19": {
        "features.0.weight": (64, 3, 3, 3),
        "features.34.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088),
        "classifier.3.weight": (4096, 4096),
    },
}
LAYERS = {"alexnet": 7, "vgg16": 15, "vgg19": 18}


def trunk_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items() if not key.startswith("heads.")}


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_trunk_has_torchvisions_keys_and_shapes(name: str) -> None:
    with torch.device("meta"):
        net = build(name, HEADS)
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    trunk = [key for key in shapes if not key.startswith("heads.")]
    assert {key: shapes[key] for key in TORCHVISION[name]} == TORCHVISION[name]
    assert len(trunk) == 2 * LAYERS[name]
    assert shapes["heads.document.weight"] == (5, 4096)


@pytest.mark.parametrize("name", sorted(TORCHVISION))
@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_per_head(name: str, channels: int) -> None:
    net = build(name, HEADS, 0.05, in_channels=channels, size=64).eval()
    for count in (0, 1, 3):
        outputs = net(torch.randint(0, 256, (count, channels, 64, 64), dtype=torch.uint8))
        assert {head: tuple(value.shape) for head, value in outputs.items()} == {
            "document": (count, 5),
            "vector": (count, 8),
        }


def test_grey_equals_the_same_picture_in_three_channels() -> None:
    grey = build("vgg16", HEADS, 0.05, size=32).eval()
    colour = build("vgg16", HEADS, 0.05, in_channels=3, size=32).eval()
    colour.load_state_dict(grey.state_dict())
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(grey.normalise(images), (images.float() / 255 - mean) / std)
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 7, 11, 12, 13])
def test_adaptive_mean_is_torchs(side: int) -> None:
    maps = torch.rand(2, 3, side, side + 1, dtype=torch.float64)
    wanted = nn.functional.adaptive_avg_pool2d(maps, 6)
    torch.testing.assert_close(AdaptiveMean(6)(maps), wanted, rtol=1e-6, atol=1e-7)


def test_first_weights_come_from_the_seed_alone() -> None:
    first = build("alexnet", HEADS, 0.05, seed=3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = build("alexnet", HEADS, 0.05, seed=3), build("alexnet", HEADS, 0.05, seed=4)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.features[0].weight, other.features[0].weight)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_load_and_leave_the_last_layer_out(tmp_path: Path, suffix: str) -> None:
    state = trunk_of(build("vgg16", HEADS, 0.05, seed=5))
    state["classifier.6.weight"], state["classifier.6.bias"] = torch.zeros(1000, 208), torch.zeros(1000)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    net = build("vgg16", HEADS, 0.05, path, seed=6)
    for key, value in trunk_of(net).items():
        assert torch.equal(value, state[key]), key


def missing(state: dict[str, torch.Tensor]) -> None:
    del state["features.8.weight"]


def unexpected(state: dict[str, torch.Tensor]) -> None:
    state["features.1.running_mean"] = torch.zeros(8)


def shape(state: dict[str, torch.Tensor]) -> None:
    state["features.0.weight"] = torch.zeros(64, 3, 11, 11)


def nan(state: dict[str, torch.Tensor]) -> None:
    state["classifier.4.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, "lacks features.8.weight"),
        (unexpected, "unexpected features.1.running_mean"),
        (shape, r"features.0.weight has shape \(64, 3, 11, 11\), the network needs \(8, 3, 11, 11\)"),
        (nan, "classifier.4.bias holds NaN"),
    ],
)
def test_wrong_weights_are_named(tmp_path: Path, spoil: object, words: str) -> None:
    state = trunk_of(build("alexnet", HEADS, 0.05))
    spoil(state)  # type: ignore[operator]
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match=words):
        build("alexnet", HEADS, 0.05, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError, match="does not exist"):
        build("alexnet", HEADS, 0.05, path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(UsageError, match="no readable weights file"):
        build("alexnet", HEADS, 0.05, path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(UsageError, match="no readable weights file"):
        build("alexnet", HEADS, 0.05, tmp_path / "code.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "resnet"}, "network must be one of alexnet, vgg16, vgg19"),
        ({"heads": {}}, "heads must name"),
        ({"heads": {"document": 0}}, "1 class or more"),
        ({"heads": {"a b": 2}}, "1 class or more"),
        ({"width": 0.0}, "width must be above 0"),
        ({"width": 1.5}, "width must be above 0"),
        ({"in_channels": 2}, "in_channels must be 1 or 3"),
        ({"size": 48}, "size must be at least 63 for alexnet"),
    ],
)
def test_wrong_arguments(change: dict[str, object], words: str) -> None:
    arguments: dict[str, object] = {"network": "alexnet", "heads": HEADS, "width": 0.05}
    with pytest.raises(UsageError, match=words):
        build(**(arguments | change))  # type: ignore[arg-type]


def test_wrong_number_of_channels() -> None:
    net = build("alexnet", HEADS, 0.05, size=64)
    with pytest.raises(UsageError, match=r"images must be \(N, 1, H, W\), have shape \(2, 3, 64, 64\)"):
        net(torch.zeros(2, 3, 64, 64))


class Features(nn.Module):
    """A module whose `features` give maps; its own forward must not be called."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError


def test_any_module_with_features() -> None:
    maps = build(Features(), {"document": 3}, size=32)
    assert maps(torch.zeros(2, 1, 32, 32))["document"].shape == (2, 3)
    flat = build(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), {"document": 3}, size=32)
    assert flat(torch.zeros(2, 1, 32, 32))["document"].shape == (2, 3)
    with pytest.raises(UsageError, match="module must return features"):
        build(nn.Flatten(2), {"document": 3}, size=32)


def test_normalisation_folds_exactly_into_two_channels() -> None:
    for name in ("alexnet", "vgg16"):
        net = build(name, HEADS, 0.05, size=64, seed=2).double().eval()
        folded = net.fold_grey()
        assert folded.folded
        assert not net.folded
        assert folded.features[0].weight.shape[1] == 2  # type: ignore[index, union-attr]
        images = torch.randint(0, 256, (2, 1, 64, 64)).double()
        images[1] = 0  # nothing but the normalisation
        for head, value in net(images).items():
            torch.testing.assert_close(folded(images)[head], value, rtol=1e-12, atol=1e-12)
        assert folded.fold_grey()(images)["document"].equal(folded(images)["document"]), "once is enough"


def test_one_channel_and_a_bias_are_wrong_at_the_borders() -> None:
    """The fold that suggests itself: inside it is right, at the borders it is not."""
    net = build("vgg16", HEADS, 0.05, size=32, seed=2).double().eval()
    first = net.features[0]
    assert isinstance(first, nn.Conv2d)
    images = torch.randint(0, 256, (1, 1, 32, 32)).double()
    wanted = first(net.normalise(images))
    weight = first.weight.double()
    one = (weight * net.scale).sum(1, keepdim=True)
    bias = first.bias - (weight * net.shift).sum((1, 2, 3))
    gap = (nn.functional.conv2d(images, one, bias, padding=1) - wanted).abs().amax((0, 1))
    assert gap[1:-1, 1:-1].max() < 1e-12
    assert gap[0].min() > 1e-3
    assert gap[:, -1].min() > 1e-3
    two = net.fold_grey().features[0](images)  # type: ignore[index, union-attr]
    torch.testing.assert_close(two, wanted, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_folded_stays_as_it_is() -> None:
    images = torch.randint(0, 256, (2, 1, 32, 32)).float()
    odd = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    for trunk in (Features(), nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), nn.Sequential(odd, nn.ReLU())):
        net = build(trunk, {"document": 3}, size=32).eval()
        assert not net.fold_grey().folded
        assert torch.equal(net.fold_grey()(images)["document"], net(images)["document"])
    nested = build(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), nn.ReLU()), {"a": 3}, size=32)
    assert nested.fold_grey().folded
    torch.testing.assert_close(nested.fold_grey()(images)["a"], nested(images)["a"])
    colour = build("vgg16", HEADS, 0.05, in_channels=3, size=32)
    assert not colour.fold_grey().folded


def make_trained(network: str = "alexnet") -> TrainedNetwork:
    net = build(network, HEADS, 0.05, size=64).eval()
    names = [f"topic {number}" for number in range(5)]
    return TrainedNetwork(net, network, 0.05, {"document": names}, 72, 64, about={"window": "voi"})


def test_saved_network_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    saved = save_network(path, make_trained())
    assert saved.model_hash == hash_file(path)
    loaded = load_network(path)
    for field in dataclasses.fields(TrainedNetwork):
        if field.name != "net":
            assert getattr(loaded, field.name) == getattr(saved, field.name), field.name
    images = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(loaded.net(images), saved.net(images), rtol=0, atol=0)
    assert (tmp_path / "network.onnx").stat().st_size > 1000
    again = save_network(tmp_path / "again.safetensors", loaded, onnx=False)
    assert again.model_hash == saved.model_hash, "the same network gives the same bytes"


def test_saved_module_needs_the_module(tmp_path: Path) -> None:
    net = build(Features(), {"document": 3}, size=32).eval()
    path = tmp_path / "own.safetensors"
    save_network(path, TrainedNetwork(net, "module", 1.0, {"document": ["a", "b", "c"]}, 32, 32), onnx=False)
    with pytest.raises(UsageError, match="pass it as module="):
        load_network(path)
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(load_network(path, Features()).net(images), net(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda net: net | {"heads.document.bias": torch.zeros(6)}, "heads.document.bias"),
        (lambda net: {key: net[key] for key in net if key != "features.0.bias"}, "features.0.bias"),
        (lambda net: net | {"features.9.gain": torch.zeros(1)}, "features.9.gain"),
        (lambda net: net | {"features.0.bias": net["features.0.bias"] * torch.nan}, "features.0.bias"),
    ],
)
def test_networks_with_wrong_weights(tmp_path: Path, spoil: Any, words: str) -> None:
    path = tmp_path / "network.safetensors"
    save_network(path, make_trained(), onnx=False)
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(spoil(tensors), path, about)
    with pytest.raises(UsageError, match=words):
        load_network(path)


@pytest.mark.parametrize("names", [[], ["a", "b", "c", "d"], [str(n) for n in range(6)]])
def test_a_class_list_must_be_as_long_as_its_head(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "network.safetensors"
    save_network(path, dataclasses.replace(make_trained(), classes={"document": names}), onnx=False)
    with pytest.raises(UsageError, match=f"names {len(names)} classes for head 'document' of width 5"):
        load_network(path)
    save_network(path, dataclasses.replace(make_trained(), classes={"second": names}), onnx=False)
    with pytest.raises(UsageError, match="for head 'second' of width None"):
        load_network(path)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(UsageError, match="it is not a radfast network"):
        load_network(tmp_path / "plain.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "new.safetensors", {"radfast": json.dumps({"format": 99})})
    with pytest.raises(UsageError, match="has format 99"):
        load_network(tmp_path / "new.safetensors")
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        save_network(tmp_path / "weights.bin", make_trained())
    save_file({"a": torch.zeros(1)}, tmp_path / "text.safetensors", {"radfast": "{"})
    with pytest.raises(UsageError, match="is no JSON"):
        load_network(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "short.safetensors", {"radfast": json.dumps({"format": 1})})
    with pytest.raises(UsageError, match="lacks network, width, heads, classes"):
        load_network(tmp_path / "short.safetensors")
    data = save_network(tmp_path / "cut.safetensors", make_trained(), onnx=False)
    assert data.model_hash
    whole = (tmp_path / "cut.safetensors").read_bytes()
    for length in np.linspace(0, len(whole) - 1, 7).astype(int):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(UsageError, match="no readable weights file"):
            load_network(tmp_path / "cut.safetensors")
