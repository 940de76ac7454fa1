"""What a recipe is made of: schedules, averages, balance, features, feeding, logs; each part on its own."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from phantom_labels import SIDE, make_phantoms
from torch import nn

from radfast.config import VisionConfig
from radfast.errors import CannotWriteError
from radfast.kernels.cnn import compile
from radfast.vision import LabelSet, build, train
from radfast.vision.events import EventWriter, mask_crc
from radfast.vision.features import Trunk, embed_all
from radfast.vision.feed import keep_array, prefetch, resize_once
from radfast.vision.loader import crop_centre, read_pictures
from radfast.vision.losses import Targets
from radfast.vision.recipe import AveragedWeights, choose_recipe

CONFIG = VisionConfig(
    checkpoint_seconds=0, width=0.05, crop=64, picture_size=SIDE, chain=False, epochs=2, batch=16
)


def vary(**change: Any) -> VisionConfig:
    return VisionConfig.model_validate(CONFIG.model_dump() | change)


@pytest.fixture(scope="module")
def phantoms() -> tuple[np.ndarray, LabelSet]:
    return make_phantoms(60)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_recipes_and_what_changes_them() -> None:
    paper, modern = choose_recipe(vary(recipe="paper")), choose_recipe(vary(recipe="modern"))
    assert (paper.optimizer, paper.schedule, paper.smoothing, paper.balance) == ("sgd", "constant", 0, "none")
    assert (paper.augmentation, paper.ema, paper.clip) == ("crop", 0, 0)
    assert (modern.optimizer, modern.schedule, modern.balance) == ("adamw", "cosine", "loss")
    changed = choose_recipe(vary(recipe="modern", optimizer="sgd", ema=0.0, label_smoothing=0.2, clip=3.0))
    assert (changed.optimizer, changed.ema, changed.smoothing, changed.clip) == ("sgd", 0, 0.2, 3)
    assert changed.schedule == "cosine"
    parameter = nn.Parameter(torch.zeros(1))
    for recipe, kind in ((paper, torch.optim.SGD), (modern, torch.optim.AdamW)):
        optimizer = recipe.make_optimizer([{"params": [parameter], "lr": 0.1}], CONFIG)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["weight_decay"] == CONFIG.weight_decay


def test_schedule() -> None:
    modern = choose_recipe(vary(warm_up=0.2))
    assert [modern.rate(done) for done in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx(
        [0, 0.5, 1, 0.505, 0.01]
    )
    assert choose_recipe(vary(recipe="paper")).rate(0.01) == 1


def test_averaged_weights() -> None:
    net = nn.Linear(2, 1, bias=False)
    average = AveragedWeights(net, 0.9)
    wanted = first = net.weight.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            net.weight += 1
        average.update(net)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * (first + step)
    now = net.weight.detach().clone()
    average.swap(net)
    torch.testing.assert_close(net.weight.detach(), wanted)
    state = average.state()
    average.swap(net)
    assert torch.equal(net.weight, now)
    other = AveragedWeights(net, 0.9)
    other.load(state)
    assert other.steps == 39


@pytest.mark.parametrize(
    "change",
    [
        {"balance": "sampling"},
        {"optimizer": "sgd", "ema": 0.0},
        {"mixed_precision": "bfloat16"},
        {"channels_last": True},
        {"augmentation": "crop", "label_smoothing": 0.0},
    ],
)
def test_every_setting_trains_and_resumes_to_the_same_bits(
    phantoms: tuple[np.ndarray, LabelSet], tmp_path: Path, change: dict[str, Any]
) -> None:
    config = vary(**change)
    whole = train(*phantoms, config, threads=1)
    assert not same(whole.net, train(*phantoms, CONFIG, threads=1).net), "the setting does something"

    class Killed(Exception):
        pass

    def kill(calls: int, _: int) -> None:
        if calls == 1:
            raise Killed

    with pytest.raises(Killed):
        train(*phantoms, config, threads=1, checkpoint=tmp_path / "c.pt", progress=kill)
    resumed = train(*phantoms, config, threads=1, checkpoint=tmp_path / "c.pt")
    assert same(whole.net, resumed.net)
    assert whole.history == resumed.history


def test_rare_classes_are_drawn_more_often() -> None:
    _, labels = make_phantoms(100)
    labels.targets["document"][:] = np.repeat([0, 1], [90, 10])
    labels.targets["sentence"][:] = -1
    targets = Targets(labels, False, "cosine", torch.device("cpu"))
    weights = targets.weigh_rows(("document", "sentence", "vector"))
    assert weights[95] / weights[0] == pytest.approx(3), "root of 9"
    assert not targets.class_weights


def test_frozen_features_come_from_the_compiled_trunk_and_are_kept(
    phantoms: tuple[np.ndarray, LabelSet], tmp_path: Path
) -> None:
    pixels, _ = phantoms
    net = build("vgg16", {"document": 3}, 0.05, size=64, seed=3).eval()
    read_rows: list[int] = []

    def read(rows: np.ndarray) -> torch.Tensor:
        read_rows.extend(rows.tolist())
        return crop_centre(read_pictures(pixels, rows, SIDE), 64)

    path = tmp_path / "features.npy"
    found = embed_all(net, read, 20, 8, 1, "cpu", path)
    with torch.no_grad():
        wanted = net.embed(read(np.arange(20))).numpy()
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    np.testing.assert_array_equal(np.load(path), found)
    read_rows.clear()
    np.testing.assert_array_equal(embed_all(net, read, 20, 8, 1, "cpu", path), found)
    assert not read_rows, "they are read, not computed"
    assert Trunk(net).fold_grey().net.folded
    kept = np.array(found)  # the file under the map is cut now
    path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(embed_all(net, read, 20, 8, 1, "cpu", path), kept)


@pytest.mark.parametrize(("name", "channels"), [("alexnet", 1), ("alexnet", 3), ("vgg16", 1)])
def test_the_engine_on_the_cpu_reads_a_trunk(name: str, channels: int) -> None:
    net = build(name, {"document": 3}, 0.05, None, channels, size=64, seed=3).eval()
    pictures = np.random.default_rng(2).integers(256, size=(3, channels, 64, 64), dtype=np.uint8)
    with torch.no_grad():
        wanted = net.embed(torch.from_numpy(pictures)).numpy()
    found = compile(Trunk(net), "native", threads=1)(pictures)["output"]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_pictures_are_resized_once_and_give_the_same_training(
    phantoms: tuple[np.ndarray, LabelSet], tmp_path: Path
) -> None:
    pixels, labels = phantoms
    config = vary(picture_size=66, epochs=1)
    plain = train(pixels, labels, config, threads=1)
    kept = train(pixels, labels, config, threads=1, checkpoint=tmp_path / "c.pt")
    assert same(plain.net, kept.net)
    (cache,) = tmp_path.glob("c.pt.pictures-*.npy")
    assert np.load(cache).shape == (60, 66, 66)
    rows = np.array([5, 2])
    small = resize_once(pixels, rows, 66, tmp_path / "small.npy")
    np.testing.assert_array_equal(small, read_pictures(pixels, rows, 66)[:, 0].numpy())
    with pytest.raises(CannotWriteError, match="cannot write"):
        keep_array(tmp_path / "none" / "a.npy", (1,), np.uint8, lambda array: None)


def test_prefetch_keeps_order_errors_and_leaves_no_thread() -> None:
    assert list(prefetch(iter(range(50)))) == list(range(50))

    def fail() -> Iterator[int]:
        yield 1
        raise ValueError("read")

    found = []
    with pytest.raises(ValueError, match="read"):
        found.extend(prefetch(fail()))
    before = threading.active_count()
    endless = prefetch(iter(range(10**9)))
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= before


def test_event_file_is_what_tensorboard_reads(tmp_path: Path, phantoms: tuple[np.ndarray, LabelSet]) -> None:
    assert mask_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    writer = EventWriter(tmp_path / "own")
    writer.add(300, {"loss": 0.5})
    data = writer.path.read_bytes()
    events = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == mask_crc(data[:8])
        events.append(data[12 : 12 + length])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == mask_crc(events[-1])
        data = data[16 + length :]
    assert events[0].endswith(b"brain.Event:2")
    # step 300 as a varint, then summary { value { tag: "loss" simple_value: 0.5 } }
    assert events[1][9:] == b"\x10\xac\x02" + b"\x2a\x0d\x0a\x0b" + b"\x0a\x04loss" + b"\x15" + struct.pack(
        "<f", 0.5
    )
    train(*phantoms, vary(epochs=1, tensorboard=tmp_path / "run"), threads=1)
    (written,) = (tmp_path / "run").iterdir()
    assert b"validation_top1/document" in written.read_bytes()
