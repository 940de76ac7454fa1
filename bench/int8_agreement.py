"""Does an 8-bit network keep its answers? Agreement with float32 on real images: bench/results/int8.json.

A network is trained on chest radiographs from random weights (one core, a fixed seed), on 0.6 of the patients
and to the last epoch: the one of the best validation loss has hardly begun to tell classes apart. It is
calibrated on 128 of its training images and run by ONNX Runtime in int8. The agreement is the share of
pictures whose largest output is the same class as torch's in float32, on 500 pictures (all those of patients
it never saw, filled up from the others) and on the unseen ones alone.

    python -m bench.int8_agreement DATA [--epochs 60]

DATA is the folder with images/nih_manifest.csv and the pictures it names.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import radfast as rf
from bench.compare import write_result
from bench.label_sets import label_pictures
from radfast.config import VisionConfig
from radfast.vision import LabelSet, TrainedNetwork, train

SEED = 0
SIDE, CROP = 72, 64
IMAGES = 500
CALIBRATION = 128
METHODS = ("percentile", "entropy", "max")
SETTINGS: dict[str, Any] = {
    "network": "alexnet", "width": 0.5, "picture_size": SIDE, "crop": CROP, "batch": 32, "chain": False,
    "patience": 1000, "recipe": "modern", "learning_rate": 1e-3, "head_learning_rate": 1e-3,
    "weight_decay": 1e-2, "split": (0.6, 0.0, 0.4),
}  # fmt: skip


def read_pictures(folder: Path) -> tuple[NDArray[np.uint8], list[str], list[str]]:
    """Return pictures (N, SIDE, SIDE), patients, and the first finding of each."""
    with (folder / "images" / "nih_manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = []
    for row in rows:
        with Image.open(folder / "images" / row["image"]) as picture:
            pictures.append(np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
    findings = [row["findings"].split("|")[0] or "none" for row in rows]
    return np.stack(pictures), [row["patient_id"] for row in rows], findings


def measure_agreement(
    trained: TrainedNetwork, pictures: NDArray[np.uint8], labels: LabelSet, method: str
) -> dict[str, Any]:
    """Compile in int8 and compare with torch; all numbers are shares."""
    start = (SIDE - CROP) // 2
    cut = np.ascontiguousarray(pictures[:, None, start : start + CROP, start : start + CROP])
    seen = np.flatnonzero(labels.splits == 0)
    unseen = np.flatnonzero(labels.splits != 0)
    run = rf.compile(
        trained.net, "onnx", "int8", threads=1, calibration=cut[seen[:CALIBRATION]], calibration_method=method
    )
    exact = rf.compile(trained.net, "torch", threads=1)(cut)["document"]
    same = run(cut)["document"].argmax(1) == exact.argmax(1)
    rows = np.concatenate([unseen, seen])[:IMAGES]
    ordered = np.sort(exact, axis=1)
    right = exact.argmax(1) == labels.targets["document"]
    return {
        "method": method,
        "precision": run.precision,
        "images": len(rows),
        "agreement": float(same[rows].mean()),
        "unseen": len(unseen),
        "agreement_unseen": float(same[unseen].mean()),
        "top1": float(right[rows].mean()),
        "top1_unseen": float(right[unseen].mean()),
        "top1_seen": float(right[seen].mean()),
        "classes_answered": len(set(exact[rows].argmax(1))),
        "most_answered": float(np.bincount(exact[rows].argmax(1)).max() / len(rows)),
        "median_margin": float(np.median(ordered[rows, -1] - ordered[rows, -2])),
        "reason": run.reason,
    }


def main() -> None:
    """Read the command line, train, compile by each method, and write the figures."""
    parser = argparse.ArgumentParser(prog="bench.int8_agreement", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    pictures, patients, findings = read_pictures(options.data)
    labels = label_pictures({"document": findings}, patients, SETTINGS["split"], SEED)
    config = VisionConfig(**SETTINGS, epochs=options.epochs)
    start = time.process_time()
    trained = train(pictures, labels, config, seed=SEED, threads=1, backend="cpu")
    seconds = time.process_time() - start
    results = [measure_agreement(trained, pictures, labels, method) for method in METHODS]
    for result in results:
        result |= {"epochs": options.epochs, "cpu_seconds": seconds, "seed": SEED}
        print({name: value for name, value in result.items() if name != "reason"})
    print(f"written to {write_result('int8', results)}")


if __name__ == "__main__":
    main()
