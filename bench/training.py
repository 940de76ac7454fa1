"""Images/s of training, beside a plain torch loop over the same network: bench/results/training.json.

On random pictures of 256 px, cut to 224, with 60 classes, on all cores:

- ``paper``, ``modern``: `radfast.vision.train` of all weights by a recipe; the plain loop takes the like
  steps (crops, cross-entropy, SGD with momentum or AdamW) in eager torch, without what a recipe adds. Epochs
  take turns.
- ``frozen``: `train` with a frozen trunk: features by the compiled trunk once, then heads on them; the plain
  loop runs the trunk without gradients in each step. The figure is pictures times epochs over all seconds.

    python -m bench.training [--network alexnet] [--kind paper]

Figures of a network and kind that are not measured anew are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.compare import write_result
from bench.label_sets import label_pictures
from radfast.config import VisionConfig
from radfast.device import count_threads
from radfast.vision import LabelSet, build, train

SIDE, CROP, CLASSES = 256, 224, 60
#: Pictures of an epoch and of a batch.
SIZES = {"alexnet": (256, 64), "vgg16": (24, 8)}
KINDS = ("paper", "modern", "frozen")
PAIRS = 5  # epochs of full training, after one that is not timed
FROZEN_EPOCHS = 10


class PlainLoop:
    """Training as it is written without radfast: eager torch, SGD or AdamW, cross-entropy."""

    def __init__(self, network: str, recipe: str, pixels: NDArray[np.uint8], *, frozen: bool) -> None:
        self.net = build(network, {"document": CLASSES}, size=CROP)
        self.pixels, self.batch, self.frozen = pixels, SIZES[network][1], frozen
        self.classes = torch.arange(len(pixels)) % CLASSES
        chosen = self.net.heads.parameters() if frozen else self.net.parameters()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(chosen, 1e-4)
            if recipe == "modern"
            else torch.optim.SGD(chosen, 1e-3, momentum=0.9)
        )
        self.random = np.random.default_rng(0)

    def run_epoch(self) -> None:
        """Take one step for each batch."""
        self.net.train(not self.frozen)
        for start in range(0, len(self.pixels), self.batch):
            top, left = (int(corner) for corner in self.random.integers(SIDE - CROP + 1, size=2))
            cut = self.pixels[start : start + self.batch, top : top + CROP, left : left + CROP]
            pictures = torch.from_numpy(cut).unsqueeze(1).float()
            with torch.set_grad_enabled(not self.frozen):
                features = self.net.embed(pictures)
            answers = self.net.heads["document"](features)
            loss = nn.functional.cross_entropy(answers, self.classes[start : start + self.batch])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def time_epoch(self, threads: int) -> float:
        """Return the seconds of an epoch under torch's own settings."""
        settings = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
        start = time.perf_counter()
        self.run_epoch()
        seconds = time.perf_counter() - start
        torch.set_num_threads(settings[0])
        torch.use_deterministic_algorithms(settings[1])
        return seconds


def make_pictures(network: str) -> tuple[NDArray[np.uint8], LabelSet]:
    """Return random pictures with random classes, all of them for training."""
    count = SIZES[network][0]
    pixels = np.random.default_rng(0).integers(256, size=(count, SIDE, SIDE), dtype=np.uint8)
    names = [f"class {row % CLASSES:02}" for row in range(count)]
    return pixels, label_pictures({"document": names}, [str(row) for row in range(count)], (1.0, 0.0, 0.0), 0)


def run_ours(
    network: str, kind: str, pixels: NDArray[np.uint8], labels: LabelSet, between: Callable[[], None]
) -> list[float]:
    """Train; return the seconds of each epoch, the first with all that is done before it."""
    frozen = kind == "frozen"
    config = VisionConfig.model_validate(
        {
            "network": network, "recipe": "paper" if frozen else kind, "picture_size": SIDE, "crop": CROP,
            "batch": SIZES[network][1], "chain": False, "freeze_trunk": frozen, "learning_rate": 1e-4,
            "epochs": FROZEN_EPOCHS if frozen else 1 + PAIRS, "split": (1.0, 0.0, 0.0),
        }
    )  # fmt: skip
    seconds: list[float] = []
    start = time.perf_counter()

    def note(_record: dict[str, Any]) -> None:
        nonlocal start
        seconds.append(time.perf_counter() - start)
        between()
        start = time.perf_counter()

    train(pixels, labels, config, backend="cpu", record=note)
    return seconds


def measure(network: str, kind: str) -> dict[str, Any]:
    """Return images/s of ours and of the plain loop."""
    pixels, labels = make_pictures(network)
    count, threads = len(pixels), count_threads()
    plain = PlainLoop(network, "paper" if kind == "frozen" else kind, pixels, frozen=kind == "frozen")
    others: list[float] = []
    result = {
        "network": network, "kind": kind, "images": count, "batch": SIZES[network][1], "side": CROP,
        "threads": threads,
    }  # fmt: skip
    if kind == "frozen":
        seconds = run_ours(network, kind, pixels, labels, lambda: None)
        others = [plain.time_epoch(threads) for _ in range(1 + PAIRS)][1:]
        heads = float(np.median(seconds[1:]))
        ours, other = FROZEN_EPOCHS * count / sum(seconds), count / float(np.median(others))
        result |= {
            "epochs": FROZEN_EPOCHS,
            "seconds_features": seconds[0] - heads,
            "per_second_features": count / (seconds[0] - heads),
            "per_second_heads": count / heads,
        }
    else:
        seconds = run_ours(network, kind, pixels, labels, lambda: others.append(plain.time_epoch(threads)))
        seconds, others = seconds[1:], others[1:]
        ours, other = count / float(np.median(seconds)), count / float(np.median(others))
        ratios = [b / a for a, b in zip(seconds, others, strict=True)]
        result |= {"ratios": ratios, "ratio": float(np.median(ratios))}
    return {"ratio": ours / other} | result | {"per_second": ours, "per_second_other": other}


def main() -> None:
    """Read the command line, measure, and write the figures."""
    parser = argparse.ArgumentParser(prog="bench.training", description=__doc__.split("\n")[0])
    parser.add_argument("--network", action="append", choices=sorted(SIZES), help="repeatable; default all")
    parser.add_argument("--kind", action="append", choices=KINDS, help="repeatable; default all")
    options = parser.parse_args()
    path = Path(__file__).parent / "results" / "training.json"
    known = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    results = {(result["network"], result["kind"]): result for result in known}
    for network in options.network or SIZES:
        for kind in options.kind or KINDS:
            result = results[network, kind] = measure(network, kind)
            print(
                f"{network} {kind}: {result['per_second']:.1f} images/s, "
                f"plain torch {result['per_second_other']:.1f}, ratio {result['ratio']:.2f}",
                flush=True,
            )
    print(f"written to {write_result('training', [results[key] for key in sorted(results)])}")


if __name__ == "__main__":
    main()
