"""Training: it learns, gives the same bits again, goes on where it was stopped, and says what is wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from phantom_labels import SIDE, make_phantoms
from sklearn.metrics import roc_auc_score
from torch import nn

from radfast.config import VisionConfig
from radfast.errors import NothingFoundError, UsageError
from radfast.kernels.cnn import compile
from radfast.types import LEVELS, SPLITS
from radfast.vision import (
    LabelSet,
    TrainedNetwork,
    build,
    load_network,
    predict,
    save_network,
    train,
)
from radfast.vision.loader import crop_centre, read_pictures
from radfast.vision.losses import Targets

CONFIG = VisionConfig(
    checkpoint_seconds=0,
    network="alexnet",
    width=0.05,
    crop=64,
    picture_size=SIDE,
    recipe="modern",
    chain=False,
    epochs=3,
    batch=16,
    learning_rate=2e-3,
    head_learning_rate=2e-3,
    weight_decay=0.01,
)


@pytest.fixture(scope="module")
def phantoms() -> tuple[np.ndarray, LabelSet]:
    return make_phantoms(60)


@pytest.fixture(scope="module")
def learned() -> tuple[np.ndarray, LabelSet, TrainedNetwork]:
    pixels, labels = make_phantoms(400)
    return pixels, labels, train(pixels, labels, CONFIG.model_copy(update={"epochs": 14}), threads=2)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def vary(**change: Any) -> VisionConfig:
    return VisionConfig.model_validate(CONFIG.model_dump() | change)


def test_every_head_learns_from_scratch(learned: tuple[np.ndarray, LabelSet, TrainedNetwork]) -> None:
    pixels, labels, trained = learned
    rows = labels.rows("test")
    outputs = predict(trained, pixels, rows=labels.pixel_rows[rows])
    for level in ("document", "sentence"):
        target = labels.targets[level][rows]
        hits = (outputs[level].argmax(1) == target)[target >= 0]
        assert hits.mean() > 0.85, level
    cosine = (outputs["vector"] * labels.vectors[rows]).sum(1) / 2
    assert cosine.mean() > 0.8
    for column in range(2):
        known = labels.disease[rows, column] >= 0
        assert roc_auc_score(labels.disease[rows, column][known], outputs["disease"][known, column]) > 0.9
    assert not trained.net.training
    assert json.loads(json.dumps(trained.history)) == trained.history


@pytest.mark.parametrize("change", [{}, {"recipe": "paper", "chain": True}, {"freeze_trunk": True}])
def test_same_seed_same_bits(phantoms: tuple[np.ndarray, LabelSet], change: dict[str, Any]) -> None:
    config = vary(epochs=1, **change)
    torch.manual_seed(1)
    first = train(*phantoms, config, seed=5, threads=1)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.manual_seed(2)
    again = train(*phantoms, config, seed=5, threads=1)
    assert same(first.net, again.net)
    assert first.history == again.history
    assert not same(first.net, train(*phantoms, config, seed=6, threads=1).net)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "change", [{}, {"chain": True, "epochs": 2}, {"recipe": "paper"}, {"freeze_trunk": True}]
)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_equals_uninterrupted(
    phantoms: tuple[np.ndarray, LabelSet], tmp_path: Path, change: dict[str, Any], stop: int
) -> None:
    config = vary(**change)
    path = tmp_path / "training.pt"
    whole = train(*phantoms, config, threads=1)

    def kill(entry: dict[str, Any]) -> None:
        # Called before the epoch's checkpoint is written: that epoch is lost and must be repeated.
        if (entry["phase"] * config.epochs + entry["epoch"]) == stop and not killed:
            killed.append(entry)
            raise Killed

    killed: list[dict[str, Any]] = []
    if stop < len(whole.history):
        with pytest.raises(Killed):
            train(*phantoms, config, threads=1, checkpoint=path, record=kill)
    seen: list[dict[str, Any]] = []
    resumed = train(*phantoms, config, threads=1, checkpoint=path, record=seen.append)
    assert len(seen) == len(whole.history) - stop * bool(killed)
    assert same(whole.net, resumed.net)
    assert whole.history == resumed.history
    done: list[dict[str, Any]] = []
    finished = train(*phantoms, config, threads=1, checkpoint=path, record=done.append)
    assert not done, "a finished training is not repeated"
    assert same(whole.net, finished.net)


@pytest.mark.parametrize("spoil", ["settings", "pixels", "bytes", "empty"])
def test_foreign_or_broken_checkpoint_is_not_used(
    phantoms: tuple[np.ndarray, LabelSet], tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    pixels, labels = phantoms
    path = tmp_path / "training.pt"
    config = vary(epochs=1)
    other = vary(epochs=1, batch=20) if spoil == "settings" else config
    train(255 - pixels if spoil == "pixels" else pixels, labels, other, threads=1, checkpoint=path)
    if spoil in ("bytes", "empty"):
        path.write_bytes(path.read_bytes()[: 5000 if spoil == "bytes" else 0])
    with caplog.at_level(logging.WARNING, logger="radfast.vision"):
        trained = train(pixels, labels, config, threads=1, checkpoint=path)
    assert "starts anew" in caplog.text
    assert same(trained.net, train(pixels, labels, config, threads=1).net)


def test_chain_adds_a_level_per_phase(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    calls: list[tuple[int, int]] = []
    trained = train(
        *phantoms, vary(chain=True, epochs=1), threads=1, progress=lambda *place: calls.append(place)
    )
    assert [entry["heads"] for entry in trained.history] == [
        ["document"],
        ["document", "sentence"],
        ["document", "sentence", "vector", "disease"],
    ]
    assert calls == sorted(calls)
    assert calls[-1] == (3, 3)
    assert list(trained.net.heads) == ["document", "sentence", "vector", "disease"]


def test_frozen_trunk_stays_and_its_heads_learn(
    learned: tuple[np.ndarray, LabelSet, TrainedNetwork], tmp_path: Path
) -> None:
    pixels, labels, teacher = learned
    save_network(tmp_path / "teacher.safetensors", teacher, onnx=False)
    weights = tmp_path / "teacher.safetensors"
    config = vary(freeze_trunk=True, weights=weights, epochs=8, recipe="paper", weight_decay=0.0, patience=8)
    trained = train(pixels, labels, config, threads=1)
    before, after = teacher.net.state_dict(), trained.net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if not key.startswith("heads."))
    rows = labels.rows("test")
    answers = predict(trained, pixels, rows=labels.pixel_rows[rows])["document"].argmax(1)
    assert (answers == labels.targets["document"][rows]).mean() > 0.85
    assert {tuple(entry["heads"]) for entry in trained.history} == {tuple(labels.heads())}


def test_stops_early_and_keeps_the_best(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    pixels, labels = phantoms
    config = vary(epochs=30, patience=2, learning_rate=5e-3)
    trained = train(pixels, labels, config, threads=1)
    losses = [entry["validation_loss"] for entry in trained.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30, "patience 2: two epochs after the best one"
    rows = labels.rows("validation")
    targets = Targets(labels, True, "cosine", torch.device("cpu"))
    with torch.no_grad():
        pictures = crop_centre(read_pictures(pixels, rows, SIDE), 64)
        sums = targets.sum_losses(trained.net(pictures), torch.from_numpy(rows), training=False)
    assert sum(float(loss / weight) for loss, weight in sums.values()) == pytest.approx(min(losses), rel=1e-5)


def test_without_validation_the_last_epoch_counts(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    pixels, labels = phantoms
    only = LabelSet(**(labels.__dict__ | {"splits": np.zeros(60, np.int8)}))
    trained = train(pixels, only, vary(patience=1), threads=1)
    assert len(trained.history) == 3
    assert "validation_loss" not in trained.history[0]


def test_own_module_is_trained(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU())
    before = module[0].weight.detach().clone()
    trained = train(*phantoms, CONFIG, threads=1, module=module)
    assert trained.network == "module"
    assert not torch.equal(trained.net.trunk[0].weight, before)  # type: ignore[index, union-attr]


class Spy:
    """A picture cache that notes which rows are read."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.ndim, self.dtype, self.shape = pixels.ndim, pixels.dtype, pixels.shape
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read.extend(np.atleast_1d(rows).tolist())
        return self.pixels[rows]


def test_one_image_of_a_range_per_epoch_and_never_a_tested_one(
    phantoms: tuple[np.ndarray, LabelSet],
) -> None:
    pixels, labels = phantoms
    sample = np.repeat(np.arange(12, dtype=np.int32), 5)
    middle = np.arange(60) % 5 == 2
    target = {level: value[sample * 5] for level, value in labels.targets.items()}
    ranges = LabelSet(**(labels.__dict__ | {"samples": sample, "representative": middle, "targets": target}))
    spy = Spy(pixels)
    train(spy, ranges, vary(epochs=6, patience=6), threads=1)  # type: ignore[arg-type]
    read = np.array(spy.read)
    trained = read[labels.splits[read] == SPLITS.index("train")]
    n_samples = len(np.unique(sample[labels.splits == 0]))
    assert len(trained) == 6 * n_samples
    assert len(np.unique(trained)) > n_samples, "epochs draw different slices"
    validated = read[labels.splits[read] == SPLITS.index("validation")]
    assert middle[validated].all()
    assert not (labels.splits[read] == SPLITS.index("test")).any()


def test_wrong_input(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    pixels, labels = phantoms
    with pytest.raises(UsageError, match="pixels must be uint8"):
        train(pixels.astype(np.float32), labels, CONFIG)
    with pytest.raises(UsageError, match="crop must be at most picture_size 72, is 80"):
        train(pixels, labels, vary(crop=80))
    with pytest.raises(UsageError, match="pixel rows must be below 10"):
        train(pixels[:10], labels, CONFIG)
    with pytest.raises(UsageError, match="backend must be auto, cpu or cuda"):
        train(pixels, labels, CONFIG, backend="tpu")
    empty = {"classes": {head: [] for head in (*LEVELS, "disease")}, "vector_counts": np.zeros(60, np.int32)}
    with pytest.raises(NothingFoundError, match="no class has enough images"):
        train(pixels, LabelSet(**(labels.__dict__ | empty)), CONFIG)
    with pytest.raises(NothingFoundError, match="no image to train on"):
        train(pixels, LabelSet(**(labels.__dict__ | {"splits": np.full(60, 2, np.int8)})), CONFIG)


def test_diverging_training_is_stopped(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    config = vary(recipe="paper", learning_rate=1e3, head_learning_rate=1e3, epochs=8)
    with pytest.raises(UsageError, match=r"the loss left the finite numbers .* lower vision\.learning_rate"):
        train(*phantoms, config, threads=1)


def test_predict_is_the_same_in_any_batch_and_on_any_backend(
    learned: tuple[np.ndarray, LabelSet, TrainedNetwork], tmp_path: Path
) -> None:
    pixels, labels, trained = learned
    rows = np.array([7, 3, 3, 250], np.int64)
    wanted = predict(trained, pixels, rows=rows)
    assert np.allclose(wanted["document"].sum(1), 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(wanted["vector"].reshape(-1, 2, 6), axis=2), 1, atol=1e-6)
    assert ((wanted["disease"] >= 0) & (wanted["disease"] <= 1)).all()
    np.testing.assert_array_equal(wanted["document"][1], wanted["document"][2])
    save_network(tmp_path / "network.safetensors", trained, onnx=False)
    loaded = load_network(tmp_path / "network.safetensors")
    assert loaded.classes == trained.classes
    for other in (
        predict(trained, pixels, 1, rows=rows),
        predict(trained, pixels)["document"][rows],
        predict(loaded, pixels, 3, rows=rows),
        predict(trained, pixels, 3, rows=rows, run=compile(trained.net, "onnx", threads=1)),
    ):
        found = other if isinstance(other, np.ndarray) else other["document"]
        np.testing.assert_allclose(found, wanted["document"], atol=2e-5)
    nothing = predict(trained, pixels, rows=np.zeros(0, np.int64))
    assert {head: value.shape for head, value in nothing.items()} == {
        head: (0, width) for head, width in labels.heads().items()
    }
    with pytest.raises(UsageError, match="rows must be from 0 to 399"):
        predict(trained, pixels, rows=np.array([400]))
    with pytest.raises(UsageError, match="batch must be at least 1"):
        predict(trained, pixels, 0)
    with pytest.raises(UsageError, match="pixels must be uint8"):
        predict(trained, pixels[0])


def test_losses() -> None:
    _, labels = make_phantoms(12)
    labels.targets["document"][:] = [0] * 9 + [1, 2, -1]
    labels.disease[:] = 0
    labels.disease[0], labels.disease[1] = -1, 1
    labels.vector_counts[:] = [1] * 11 + [0]
    labels.splits[:] = 0
    rows = torch.arange(12)
    plain = Targets(labels, False, "cosine", torch.device("cpu"))
    outputs = {
        "document": torch.zeros(12, 3),
        "disease": torch.zeros(12, 2),
        "vector": 7 * torch.from_numpy(labels.vectors),
    }
    sums = plain.sum_losses(outputs, rows, training=True)
    log3, log2 = float(np.log(3)), float(np.log(2))
    assert [float(value) for value in sums["document"]] == pytest.approx([11 * log3, 11])
    assert [float(value) for value in sums["disease"]] == pytest.approx([22 * log2, 22])
    assert [float(value) for value in sums["vector"]] == pytest.approx([0, 11], abs=1e-5)
    against = plain.sum_losses({"vector": -outputs["vector"]}, rows, training=True)["vector"]
    assert float(against[0]) == pytest.approx(22)

    balanced = Targets(labels, True, "cosine", torch.device("cpu"))
    weights = balanced.class_weights["document"].numpy()
    assert weights[1] / weights[0] == pytest.approx(3), "root of 9"
    assert (weights * [9, 1, 1]).sum() == pytest.approx(11)
    assert balanced.positive_weight.tolist() == pytest.approx([np.sqrt(10)] * 2)
    evaluated = balanced.sum_losses(outputs, rows, training=False)["document"]
    assert [float(value) for value in evaluated] == pytest.approx([11 * log3, 11]), "no weights in evaluation"

    paper = Targets(labels, False, "sigmoid", torch.device("cpu"))
    loss = paper.sum_losses({"vector": torch.zeros(12, 12)}, rows, training=True)["vector"]
    assert float(loss[0]) == pytest.approx(11 * log2)
    unknown = plain.sum_losses({"document": torch.zeros(1, 3)}, rows[11:], training=True)["document"]
    assert [float(value) for value in unknown] == [0, 0]


def test_sigmoid_vectors_are_read_back(phantoms: tuple[np.ndarray, LabelSet]) -> None:
    pixels, _ = phantoms
    net = build("alexnet", {"vector": 4}, 0.05, size=64).eval()
    with torch.no_grad():
        net.heads["vector"].weight.zero_()  # type: ignore[operator, union-attr]
        net.heads["vector"].bias.copy_(torch.tensor([2.0, 0.0, 0.0, -2.0]))  # type: ignore[operator, union-attr]
    trained = TrainedNetwork(net, "alexnet", 0.05, {}, SIDE, 64, vector_loss="sigmoid")
    np.testing.assert_allclose(predict(trained, pixels[:2])["vector"], [[1, 0, 0, -1]] * 2, atol=1e-6)
