"""What each head is trained on, from the label set to one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from radfast.types import SPLITS
from radfast.vision.labels import LabelSet

_MAX_POSITIVE_WEIGHT = 10.0


def split_halves(vectors: Tensor) -> Tensor:
    """Return vectors (N, 2F) as unit halves (N, 2, F); a half of zeros stays zero."""
    return functional.normalize(_halve(vectors), dim=2)


class Targets:
    """The label set as tensors, with the loss of each head.

    Parameters
    ----------
    labels : LabelSet
    balanced : bool
        Rare classes weigh more, by the root of their share.
    vector_loss : str
        "cosine": 1 - mean cosine of the two halves. "sigmoid": the original's cross-entropy against
        (vector + 1) / 2, which for unit vectors spans 0.6912 to 0.6931 only.
    device : torch.device
    smoothing : float
        Share of a label that is spread over all classes, in training.
    """

    def __init__(
        self,
        labels: LabelSet,
        balanced: bool,
        vector_loss: str,
        device: torch.device,
        *,
        smoothing: float = 0.0,
    ) -> None:
        heads = labels.heads()
        self.vector_loss = vector_loss
        self.smoothing = smoothing
        trained = labels.representative & (labels.splits == SPLITS.index("train"))
        self.classes = {
            level: torch.from_numpy(target.astype(np.int64)).to(device)
            for level, target in labels.targets.items()
            if level in heads
        }
        self.class_weights = {
            level: torch.from_numpy(_weigh(labels.targets[level][trained], heads[level])).to(device)
            for level in self.classes
            if balanced
        }
        self.disease = torch.from_numpy(labels.disease.astype(np.float32)).to(device)
        positive = (labels.disease[trained] == 1).sum(0)
        negative = (labels.disease[trained] == 0).sum(0)
        ratio = (
            np.sqrt(np.maximum(negative, 1) / np.maximum(positive, 1)) if balanced else np.ones(len(positive))
        )
        self.positive_weight = torch.from_numpy(
            np.clip(ratio, 1, _MAX_POSITIVE_WEIGHT).astype(np.float32)
        ).to(device)
        self.vectors = torch.from_numpy(labels.vectors).to(device)
        self.has_vector = torch.from_numpy(labels.vector_counts > 0).to(device)

    def knows(self, heads: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Tell which rows (N,) have a target for one of `heads`."""
        known = torch.zeros(len(self.has_vector), dtype=torch.bool, device=self.has_vector.device)
        for head in heads:
            known |= self._valid(head)
        return known.cpu().numpy()

    def weigh_rows(self, heads: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return how often each row (N,) should be drawn: by the root of its classes' inverse shares."""
        weights = np.ones(len(self.has_vector))
        for head in heads:
            if head in self.classes:
                target = self.classes[head].cpu().numpy()
                known = target >= 0
                weights[known] *= _weigh(target, int(target.max(initial=0)) + 1)[target[known]]
        return weights

    def _valid(self, head: str) -> Tensor:
        if head == "vector":
            return self.has_vector
        if head == "disease":
            return (self.disease >= 0).any(1)
        return self.classes[head] >= 0

    def sum_losses(
        self, outputs: dict[str, Tensor], rows: Tensor, *, training: bool
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return per head the sum of the loss over rows (B,) with a target, and their weight.

        In training the sum is balanced and smoothed as the recipe says; otherwise it is the plain loss.
        """
        return {head: self._sum_loss(head, output, rows, training) for head, output in outputs.items()}

    def _sum_loss(self, head: str, output: Tensor, rows: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        if head == "vector":
            target, valid = self.vectors[rows], self.has_vector[rows].float()
            if self.vector_loss == "sigmoid":
                each = functional.binary_cross_entropy_with_logits(
                    output, (target + 1) / 2, reduction="none"
                ).mean(1)
            else:
                each = 1 - (split_halves(output) * _halve(target)).sum(2).mean(1)
            return (each * valid).sum(), valid.sum()
        if head == "disease":
            target = self.disease[rows]
            valid = (target >= 0).float()
            each = functional.binary_cross_entropy_with_logits(
                output,
                target.clamp(min=0),
                reduction="none",
                pos_weight=self.positive_weight if training else None,
            )
            return (each * valid).sum(), valid.sum()
        target = self.classes[head][rows]
        weights = self.class_weights.get(head) if training else None
        total = functional.cross_entropy(
            output,
            target,
            weights,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=self.smoothing if training else 0.0,
        )
        valid = (target >= 0).float()
        return total, (valid if weights is None else weights[target.clamp(min=0)] * valid).sum()

    def count_hits(self, outputs: dict[str, Tensor], rows: Tensor) -> dict[str, int]:
        """Return per class head how many of rows (B,) are answered rightly."""
        return {
            head: int((output.argmax(1) == self.classes[head][rows]).sum())
            for head, output in outputs.items()
            if head in self.classes
        }


def _weigh(target: npt.NDArray[np.signedinteger[Any]], count: int) -> npt.NDArray[np.float32]:
    """Return weights (C,) by the root of the inverse class share, of mean 1 over the samples."""
    counts = np.maximum(np.bincount(target[target >= 0], minlength=count), 1)
    weights = 1 / np.sqrt(counts)
    weights *= counts.sum() / (weights * counts).sum()
    return weights.astype(np.float32)


def _halve(vectors: Tensor) -> Tensor:
    return vectors.reshape(len(vectors), 2, vectors.shape[1] // 2)
