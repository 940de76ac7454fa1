"""The loop: phases, epochs, steps, and checkpoints between epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast.config import VisionConfig
from radfast.errors import NothingFoundError, UsageError
from radfast.store import hash_file, hash_value
from radfast.types import LEVELS, SPLITS, Progress
from radfast.vision.checkpoint import hash_inputs, name_beside, read_checkpoint, write_checkpoint
from radfast.vision.events import EventWriter
from radfast.vision.features import embed_all
from radfast.vision.feed import prefetch, resize_once
from radfast.vision.labels import LabelSet
from radfast.vision.loader import augment, crop_centre, crop_random, read_pictures
from radfast.vision.losses import Targets
from radfast.vision.networks import Network
from radfast.vision.recipe import AveragedWeights, choose_recipe

_VARY = {"crop": crop_random, "radiology": augment}


class Trainer:
    """State of a training that a checkpoint can hold."""

    def __init__(
        self,
        net: Network,
        pixels: npt.NDArray[np.uint8],
        labels: LabelSet,
        config: VisionConfig,
        seed: int,
        device: torch.device,
        threads: int,
        checkpoint: Path | None,
    ) -> None:
        self.net = net
        self.pixels = pixels
        self.pixel_rows = labels.pixel_rows
        self.labels = labels
        self.config = config
        self.seed = seed
        self.device = device
        self.threads = threads
        self.checkpoint = checkpoint
        self.key = "" if checkpoint is None else self._make_key()
        self.recipe = choose_recipe(config)
        self.targets = Targets(
            labels,
            self.recipe.balance == "loss",
            config.vector_loss,
            device,
            smoothing=self.recipe.smoothing,
        )
        self.phases = _plan_phases(tuple(labels.heads()), config)
        on_gpu = device.type == "cuda"
        last = on_gpu if config.channels_last is None else config.channels_last
        self.layout = torch.channels_last if last else torch.contiguous_format
        net.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.mixed = config.mixed_precision == "bfloat16" or (config.mixed_precision == "auto" and on_gpu)
        if checkpoint is not None and pixels.shape[1:] != (config.picture_size, config.picture_size):
            path = name_beside(checkpoint, self.key, "pictures")
            self.pixels = resize_once(pixels, labels.pixel_rows, config.picture_size, path)
            self.pixel_rows = np.arange(len(labels))
        self.features = self._embed_all() if config.freeze_trunk else None
        self.phase = self.epoch = self.waited = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}
        self.average: AveragedWeights | None = None
        self.history: list[dict[str, Any]] = []

    def run(self, progress: Progress, record: Callable[[dict[str, Any]], None] | None) -> None:
        """Run all phases, from the checkpoint where there is one; the network ends with the best weights."""
        state = read_checkpoint(self.checkpoint, self.key)
        if state is not None:
            self.net.load_state_dict(state["net"])
            self.phase, self.epoch, self.waited = state["phase"], state["epoch"], state["waited"]
            self.best_loss, self.best, self.history = state["best_loss"], state["best"], state["history"]
        folder = self.config.tensorboard
        events = None if folder is None else EventWriter(folder)
        epochs, saved = self.config.epochs, time.monotonic()
        while self.phase < len(self.phases):
            heads = self.phases[self.phase]
            samples, validation = self._choose_rows(heads)
            optimizer = self._make_optimizer(heads)
            self.average = AveragedWeights(self.net, self.recipe.ema) if self.recipe.ema else None
            if state is not None:
                optimizer.load_state_dict(state["optimizer"])
                if self.average is not None:
                    self.average.load(state["average"])
                state = None
            while self.epoch < epochs and self.waited < self.config.patience:
                entry: dict[str, Any] = {"phase": self.phase, "heads": list(heads), "epoch": self.epoch}
                entry["train_loss"] = self._train_epoch(optimizer, heads, samples)
                with self._averaged():
                    entry |= self._validate(heads, validation)
                    self._keep_best(entry.get("validation_loss"))
                self.history.append(entry)
                self.epoch += 1
                if record is not None:
                    record(entry)
                if events is not None:
                    events.add(self.phase * epochs + self.epoch, list_scalars(entry))
                if self.checkpoint and time.monotonic() - saved >= self.config.checkpoint_seconds:
                    self._write_checkpoint(self.checkpoint, optimizer)
                    saved = time.monotonic()
                progress(self.phase * epochs + self.epoch, len(self.phases) * epochs)
            self.net.load_state_dict(self.best)
            self.phase, self.epoch, self.waited, self.best_loss = self.phase + 1, 0, 0, math.inf
            progress(self.phase * epochs, len(self.phases) * epochs)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Let the network have its averaged weights inside the block."""
        if self.average is not None:
            self.average.swap(self.net)
        try:
            yield
        finally:
            if self.average is not None:
                self.average.swap(self.net)

    def _choose_rows(
        self, heads: tuple[str, ...]
    ) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
        """Return the rows of each training sample, and the validation rows, that have a target."""
        known = self.targets.knows(heads)
        rows = np.flatnonzero(known & (self.labels.splits == SPLITS.index("train")))
        if not len(rows):
            raise NothingFoundError(f"no image to train on for {', '.join(heads)}")
        breaks = np.flatnonzero(np.diff(self.labels.samples[rows])) + 1
        validation = self.labels.rows("validation")
        return np.split(rows, breaks), validation[known[validation]]

    def _make_optimizer(self, heads: tuple[str, ...]) -> torch.optim.Optimizer:
        config = self.config
        trunk = [p for name, p in self.net.named_parameters() if not name.startswith("heads.")]
        new = [p for head in heads for p in self.net.heads[head].parameters()]
        groups = [{"params": new, "lr": config.head_learning_rate}]
        if self.features is None:
            groups.append({"params": trunk, "lr": config.learning_rate})
        for group in groups:
            group["first_lr"] = group["lr"]
        return self.recipe.make_optimizer(groups, config)

    def _train_epoch(
        self,
        optimizer: torch.optim.Optimizer,
        heads: tuple[str, ...],
        samples: list[npt.NDArray[np.int64]],
    ) -> float:
        """Train on one image of every sample; return the mean loss."""
        entropy = [self.seed, self.phase, self.epoch]
        rng = np.random.default_rng(entropy)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        order = self._draw(samples, heads, rng)
        size = self.config.batch
        steps = -(-len(order) // size)
        self.net.train()
        total = 0.0
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        for step, (rows, inputs) in enumerate(self._feed(parts, rng)):
            rate = self.recipe.rate((self.epoch * steps + step + 1) / (self.config.epochs * steps))
            for group in optimizer.param_groups:
                group["lr"] = group["first_lr"] * rate
            outputs = self._answer(inputs, heads)
            losses = self.targets.sum_losses(outputs, torch.from_numpy(rows).to(self.device), training=True)
            loss = torch.stack([part / weight.clamp(min=1e-6) for part, weight in losses.values()]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.recipe.clip:
                nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
            optimizer.step()
            if self.average is not None:
                self.average.update(self.net)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise UsageError(
                    f"[train] the loss left the finite numbers in phase {self.phase}, epoch {self.epoch}: "
                    "lower vision.learning_rate and vision.head_learning_rate"
                )
            total += value * len(rows)
        return total / len(order)

    def _draw(
        self, samples: list[npt.NDArray[np.int64]], heads: tuple[str, ...], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Return the rows of an epoch in order: one image of every sample, or of samples drawn by class."""
        if self.recipe.balance == "sampling":
            share = self.targets.weigh_rows(heads)[[rows[0] for rows in samples]]
            chosen = rng.choice(len(samples), len(samples), p=share / share.sum())
            samples = [samples[place] for place in chosen]
        places = rng.random(len(samples))
        drawn = np.array([rows[int(u * len(rows))] for rows, u in zip(samples, places, strict=True)])
        return drawn[rng.permutation(len(drawn))]

    def _validate(self, heads: tuple[str, ...], rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return loss and top-1 on the centre crops of validation rows."""
        if not len(rows):
            return {}
        self.net.eval()
        sums = dict.fromkeys(heads, 0.0)
        weights = dict.fromkeys(heads, 0.0)
        hits = dict.fromkeys((head for head in heads if head in LEVELS), 0)
        with torch.no_grad():
            size = self.config.batch
            parts = [rows[start : start + size] for start in range(0, len(rows), size)]
            for part, inputs in self._feed(parts, None):
                outputs = self._answer(inputs, heads)
                places = torch.from_numpy(part).to(self.device)
                for head, (loss, weight) in self.targets.sum_losses(outputs, places, training=False).items():
                    sums[head] += float(loss)
                    weights[head] += float(weight)
                for head, count in self.targets.count_hits(outputs, places).items():
                    hits[head] += count
        means = {head: sums[head] / weights[head] for head in heads if weights[head]}
        top1 = {head: count / weights[head] for head, count in hits.items() if weights[head]}
        return {"validation_loss": sum(means.values()), "validation_losses": means, "validation_top1": top1}

    def _feed(
        self, parts: list[npt.NDArray[np.int64]], rng: np.random.Generator | None
    ) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
        """Yield rows with what the network reads for them; varied crops where `rng` is given."""
        if self.features is not None:
            for rows in parts:
                yield rows, torch.from_numpy(self.features[rows]).to(self.device)
        elif self.device.type == "cuda":
            # Made in a thread into page-locked memory: the copy and the next batch hide behind the step.
            for rows, pictures in prefetch((rows, self._read(rows, rng).pin_memory()) for rows in parts):
                yield rows, pictures.to(self.device, non_blocking=True, memory_format=self.layout)
        else:
            for rows in parts:
                yield rows, self._read(rows, rng).contiguous(memory_format=self.layout)

    def _read(self, rows: npt.NDArray[np.int64], rng: np.random.Generator | None) -> Tensor:
        """Return the crops (B, 1, crop, crop) of rows of the label set."""
        pictures = read_pictures(self.pixels, self.pixel_rows[rows], self.config.picture_size)
        if rng is None:
            return crop_centre(pictures, self.config.crop)
        return _VARY[self.recipe.augmentation](pictures, self.config.crop, rng)

    def _answer(self, inputs: Tensor, heads: tuple[str, ...]) -> dict[str, Tensor]:
        """Compute `heads` for pictures, or for features where the trunk is frozen."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            features = inputs if self.features is not None else self.net.embed(inputs)
            return {head: self.net.heads[head](features).float() for head in heads}

    def _embed_all(self) -> npt.NDArray[np.float32]:
        """Return the features (N, F) of all centre crops: with a frozen trunk they never change."""
        path = None if self.checkpoint is None else name_beside(self.checkpoint, self.key, "features")
        self.net.eval()
        backend = "auto" if self.device.type == "cuda" else "cpu"
        size = self.config.batch
        return embed_all(
            self.net, lambda rows: self._read(rows, None), len(self.labels), size, self.threads, backend, path
        )

    def _keep_best(self, loss: float | None) -> None:
        """Keep the weights where the validation loss fell, or always where there is none."""
        if loss is None or loss < self.best_loss:
            self.best_loss = math.inf if loss is None else loss
            state = self.net.state_dict()
            if self.best.keys() == state.keys():  # fresh memory costs more than the copy
                for key, value in state.items():
                    self.best[key].copy_(value)
            else:
                self.best = {key: value.detach().clone() for key, value in state.items()}
            self.waited = 0
        else:
            self.waited += 1

    def _make_key(self) -> str:
        weights = "" if self.config.weights is None else hash_file(self.config.weights)
        settings = [self.config.model_dump(mode="json"), self.seed, weights, repr(self.net)]
        return hash_value([*settings, hash_inputs(self.pixels, self.labels)])

    def _write_checkpoint(self, path: Path, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "key": self.key,
            "phase": self.phase,
            "epoch": self.epoch,
            "waited": self.waited,
            "best_loss": self.best_loss,
            "best": self.best,
            "net": self.net.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "optimizer": optimizer.state_dict(),
            "history": self.history,
        }
        write_checkpoint(path, state)


def list_scalars(entry: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's record as names and numbers."""
    scalars = {
        name: value for name in ("train_loss", "validation_loss") if (value := entry.get(name)) is not None
    }
    for group in ("validation_losses", "validation_top1"):
        scalars |= {f"{group}/{head}": value for head, value in entry.get(group, {}).items()}
    return scalars


def _plan_phases(heads: tuple[str, ...], config: VisionConfig) -> list[tuple[str, ...]]:
    """Return the heads of each phase; frozen heads do not see each other and need no chain."""
    levels = [head for head in heads if head in LEVELS]
    if not config.chain or config.freeze_trunk:
        return [heads]
    phases = [tuple(levels[: count + 1]) for count in range(len(levels))]
    return phases if len(levels) == len(heads) else [*phases, heads]
