"""The loop: phases, epochs, steps, and checkpoints between epochs."""

from __future__ import annotations

import hashlib
import logging
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast.config import VisionConfig
from radfast.errors import NothingFoundError, UsageError
from radfast.store import hash_file, hash_value, write_atomically
from radfast.types import LEVELS, SPLITS, Progress
from radfast.vision.labels import LabelSet
from radfast.vision.loader import augment, crop_centre, crop_random, read_pictures
from radfast.vision.losses import Targets
from radfast.vision.networks import Network

_WARM_UP = 0.1  # share of a phase's steps
_LAST_RATE = 0.01  # of the cosine schedule, share of the first
_CLIP = 1.0  # norm of the gradient
_SAMPLED_PICTURES = 64

log = logging.getLogger("radfast.vision")


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
    ) -> None:
        self.net = net
        self.pixels = pixels
        self.labels = labels
        self.config = config
        self.seed = seed
        self.device = device
        self.modern = config.recipe == "modern"
        self.targets = Targets(labels, self.modern, config.vector_loss, device)
        self.phases = _plan_phases(tuple(labels.heads()), config)
        self.features = self._embed_all() if config.freeze_trunk else None
        self.phase = self.epoch = self.waited = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []

    def run(
        self, checkpoint: Path | None, progress: Progress, record: Callable[[dict[str, Any]], None] | None
    ) -> None:
        """Run all phases, from the checkpoint where there is one; the network ends with the best weights."""
        key = "" if checkpoint is None else self._make_key()
        state = read_checkpoint(checkpoint, key)
        if state is not None:
            self.net.load_state_dict(state["net"])
            self.phase, self.epoch, self.waited = state["phase"], state["epoch"], state["waited"]
            self.best_loss, self.best, self.history = state["best_loss"], state["best"], state["history"]
        epochs, saved = self.config.epochs, time.monotonic()
        while self.phase < len(self.phases):
            heads = self.phases[self.phase]
            samples, validation = self._choose_rows(heads)
            optimizer = self._make_optimizer(heads)
            if state is not None:
                optimizer.load_state_dict(state["optimizer"])
                state = None
            while self.epoch < epochs and self.waited < self.config.patience:
                entry: dict[str, Any] = {"phase": self.phase, "heads": list(heads), "epoch": self.epoch}
                entry["train_loss"] = self._train_epoch(optimizer, heads, samples)
                entry |= self._validate(heads, validation)
                self._keep_best(entry.get("validation_loss"))
                self.history.append(entry)
                self.epoch += 1
                if record is not None:
                    record(entry)
                if checkpoint is not None and time.monotonic() - saved >= self.config.checkpoint_seconds:
                    self._write_checkpoint(checkpoint, key, optimizer)
                    saved = time.monotonic()
                progress(self.phase * epochs + self.epoch, len(self.phases) * epochs)
            self.net.load_state_dict(self.best)
            self.phase, self.epoch, self.waited, self.best_loss = self.phase + 1, 0, 0, math.inf
            progress(self.phase * epochs, len(self.phases) * epochs)

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
        if self.modern:
            return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)

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
        drawn = np.array(
            [
                rows[int(place * len(rows))]
                for rows, place in zip(samples, rng.random(len(samples)), strict=True)
            ]
        )
        order = drawn[rng.permutation(len(drawn))]
        size = self.config.batch
        steps = -(-len(order) // size)
        self.net.train()
        total = 0.0
        for step in range(steps):
            rows = order[step * size : (step + 1) * size]
            if self.modern:
                rate = _rate((self.epoch * steps + step + 1) / (self.config.epochs * steps))
                for group in optimizer.param_groups:
                    group["lr"] = group["first_lr"] * rate
            outputs = self._answer(rows, heads, rng)
            losses = self.targets.sum_losses(outputs, torch.from_numpy(rows).to(self.device), training=True)
            loss = torch.stack([part / weight.clamp(min=1e-6) for part, weight in losses.values()]).sum()
            optimizer.zero_grad(set_to_none=False)  # fresh memory each step costs more than the zeros
            loss.backward()  # type: ignore[no-untyped-call]
            if self.modern:
                nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
            optimizer.step()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise UsageError(
                    f"[train] the loss left the finite numbers in phase {self.phase}, epoch {self.epoch}: "
                    "lower vision.learning_rate and vision.head_learning_rate"
                )
            total += value * len(rows)
        return total / len(order)

    def _validate(self, heads: tuple[str, ...], rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return loss and top-1 on the centre crops of validation rows."""
        if not len(rows):
            return {}
        self.net.eval()
        sums = dict.fromkeys(heads, 0.0)
        weights = dict.fromkeys(heads, 0.0)
        hits = dict.fromkeys((head for head in heads if head in LEVELS), 0)
        with torch.no_grad():
            for start in range(0, len(rows), self.config.batch):
                part = rows[start : start + self.config.batch]
                outputs = self._answer(part, heads, None)
                places = torch.from_numpy(part).to(self.device)
                for head, (loss, weight) in self.targets.sum_losses(outputs, places, training=False).items():
                    sums[head] += float(loss)
                    weights[head] += float(weight)
                for head, count in self.targets.count_hits(outputs, places).items():
                    hits[head] += count
        means = {head: sums[head] / weights[head] for head in heads if weights[head]}
        top1 = {head: count / weights[head] for head, count in hits.items() if weights[head]}
        return {"validation_loss": sum(means.values()), "validation_losses": means, "validation_top1": top1}

    def _answer(
        self, rows: npt.NDArray[np.int64], heads: tuple[str, ...], rng: np.random.Generator | None
    ) -> dict[str, Tensor]:
        """Compute `heads` for rows of the label set, on varied crops where `rng` is given."""
        if self.features is not None:
            features = self.features[torch.from_numpy(rows).to(self.device)]
        else:
            pictures = read_pictures(self.pixels, self.labels.pixel_rows[rows], self.config.picture_size)
            if rng is None:
                pictures = crop_centre(pictures, self.config.crop)
            else:
                pictures = (augment if self.modern else crop_random)(pictures, self.config.crop, rng)
            features = self.net.embed(pictures.to(self.device))
        return {head: self.net.heads[head](features) for head in heads}

    def _embed_all(self) -> Tensor:
        """Return the features (N, F) of all centre crops: with a frozen trunk they never change."""
        self.net.eval()
        parts = []
        with torch.no_grad():
            for start in range(0, len(self.labels), self.config.batch):
                rows = self.labels.pixel_rows[start : start + self.config.batch]
                pictures = read_pictures(self.pixels, rows, self.config.picture_size)
                parts.append(self.net.embed(crop_centre(pictures, self.config.crop).to(self.device)))
        return torch.cat(parts)

    def _keep_best(self, loss: float | None) -> None:
        """Keep the weights where the validation loss fell, or always where there is none."""
        if loss is None or loss < self.best_loss:
            self.best_loss = math.inf if loss is None else loss
            self.best = {key: value.detach().clone() for key, value in self.net.state_dict().items()}
            self.waited = 0
        else:
            self.waited += 1

    def _make_key(self) -> str:
        weights = "" if self.config.weights is None else hash_file(self.config.weights)
        settings = [self.config.model_dump(mode="json"), self.seed, weights, repr(self.net)]
        return hash_value([*settings, hash_inputs(self.pixels, self.labels)])

    def _write_checkpoint(self, path: Path, key: str, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "key": key,
            "phase": self.phase,
            "epoch": self.epoch,
            "waited": self.waited,
            "best_loss": self.best_loss,
            "best": self.best,
            "net": self.net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": self.history,
        }
        with write_atomically(path) as part:
            torch.save(state, part)


def hash_inputs(pixels: npt.NDArray[np.uint8], labels: LabelSet) -> str:
    """Return a hash of the label set and of a sample of its pictures."""
    digest = hashlib.sha256(str(labels.heads()).encode())
    order = (labels.pixel_rows, labels.samples, labels.splits, labels.disease, labels.vectors)
    for array in (*order, *labels.targets.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    for row in np.unique(np.linspace(0, len(labels) - 1, _SAMPLED_PICTURES).astype(np.int64)):
        digest.update(np.ascontiguousarray(pixels[labels.pixel_rows[row]]).tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path | None, key: str) -> dict[str, Any] | None:
    """Return the state in a checkpoint of the same key; None where there is none that can be used."""
    if path is None or not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError):
        log.warning("the checkpoint is broken: training starts anew")
        return None
    if not isinstance(state, dict) or state.get("key") != key:
        log.warning("the checkpoint is of other settings: training starts anew")
        return None
    return state


def _plan_phases(heads: tuple[str, ...], config: VisionConfig) -> list[tuple[str, ...]]:
    """Return the heads of each phase; frozen heads do not see each other and need no chain."""
    levels = [head for head in heads if head in LEVELS]
    if not config.chain or config.freeze_trunk:
        return [heads]
    phases = [tuple(levels[: count + 1]) for count in range(len(levels))]
    return phases if len(levels) == len(heads) else [*phases, heads]


def _rate(done: float) -> float:
    """Return the learning rate's share after `done` of a phase's steps: warm-up, then half a cosine."""
    if done < _WARM_UP:
        return done / _WARM_UP
    fall = 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
    return _LAST_RATE + (1 - _LAST_RATE) * fall
