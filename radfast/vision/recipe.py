"""The paper's recipe and a modern one: what a training does, with every part open to a setting.

Paper: SGD with momentum at a constant rate, random crops, no balance (Shin et al. 2015, section 4.1). Modern:
AdamW (Loshchilov and Hutter 2019), warm-up and half a cosine, smoothed labels (Szegedy et al. 2016), rare
classes weighing more, radiology-safe variation, averaged weights (Polyak and Juditsky 1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from radfast.config import VisionConfig

_LAST_RATE = 0.01  # of the cosine schedule, share of the first


@dataclass(frozen=True)
class Recipe:
    """The settings of a training with nothing left open; see `radfast.config.VisionConfig`."""

    optimizer: str
    schedule: str
    warm_up: float
    smoothing: float
    balance: str
    augmentation: str
    ema: float
    clip: float

    def rate(self, done: float) -> float:
        """Return the learning rate's share after `done` (0 to 1) of a phase's steps."""
        if self.schedule == "constant":
            return 1.0
        if done < self.warm_up:
            return done / self.warm_up
        fall = 0.5 * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up)))
        return _LAST_RATE + (1 - _LAST_RATE) * fall

    def make_optimizer(self, groups: list[dict[str, Any]], config: VisionConfig) -> torch.optim.Optimizer:
        """Return the optimiser of parameter groups with their learning rates."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)


_PAPER = Recipe("sgd", "constant", 0.0, 0.0, "none", "crop", 0.0, 0.0)
_MODERN = Recipe("adamw", "cosine", 0.1, 0.1, "loss", "radiology", 0.99, 1.0)


def choose_recipe(config: VisionConfig) -> Recipe:
    """Return the recipe that the settings name, with what they change in it."""
    base = _MODERN if config.recipe == "modern" else _PAPER

    def named(value: str, default: str) -> str:
        return default if value == "recipe" else value

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    return Recipe(
        named(config.optimizer, base.optimizer),
        named(config.schedule, base.schedule),
        config.warm_up,
        given(config.label_smoothing, base.smoothing),
        named(config.balance, base.balance),
        named(config.augmentation, base.augmentation),
        given(config.ema, base.ema),
        given(config.clip, base.clip),
    )


class AveragedWeights:
    """The exponential moving average of a network's parameters.

    The decay starts low, ``min(decay, (1 + t) / (10 + t))`` after t steps, so that a short training does not
    keep its first weights.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in net.named_parameters()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take the parameters after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        mine, theirs = list(self.weights.values()), [value.detach() for value in net.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    @torch.no_grad()
    def swap(self, net: nn.Module) -> None:
        """Exchange the network's parameters with the average, without a copy; a second call undoes it."""
        for name, value in net.named_parameters():
            value.data, self.weights[name] = self.weights[name], value.data

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"steps": self.steps, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.steps = state["steps"]
        saved: dict[str, Tensor] = state["weights"]
        self.weights = {name: saved[name].to(value) for name, value in self.weights.items()}
