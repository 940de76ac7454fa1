"""Both training recipes on a synthetic archive, against what its truth allows: bench/results/recipes.json.

Two label sets of the same archive are learned, each from random weights on one core:

- ``findings``: every image, with what was drawn into it: the examination, and the examination with its first
  finding;
- ``topics``: the images that reports cite, with the LDA topics of those reports at three levels.

The best rate is what one scores who sees in a picture exactly what was drawn: for each held-out image the
majority label of the training images with the same examination and findings (of the same examination where
none has the same findings). Patients are split; the figures are of the held-out ones.

    python -m bench.recipes FOLDER [--patients 1600] [--epochs 40] [--recipe modern] [--set findings]

FOLDER keeps archive and tables; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.compare import write_result
from bench.label_sets import label_pictures
from radfast.config import VisionConfig, load_config
from radfast.pipeline import label_archive
from radfast.store import read_table
from radfast.synthetic import make_archive
from radfast.types import LEVELS, SPLITS, TABLES
from radfast.vision import LabelSet, build_label_set, predict, train

SEED = 0
SPLIT = (0.7, 0.1, 0.2)
SETTINGS: dict[str, Any] = {
    "network": "alexnet", "width": 0.25, "picture_size": 128, "crop": 112, "batch": 32, "chain": False,
    "patience": 1000, "split": SPLIT,
}  # fmt: skip
#: From random weights a trunk needs a larger rate than the paper's, which starts from ImageNet's.
RECIPES: dict[str, dict[str, Any]] = {
    "modern": {"recipe": "modern", "learning_rate": 1e-3, "head_learning_rate": 1e-3, "weight_decay": 1e-2},
    "paper": {"recipe": "paper", "learning_rate": 1e-2, "head_learning_rate": 1e-2, "weight_decay": 5e-4},
}

Drawn = tuple[str, tuple[str, ...]]


def make_run(folder: Path, patients: int) -> Path:
    """Make archive and tables up to the findings; return the output folder."""
    source, out = folder / "source", folder / "out"
    if not (source / "truth" / "images.parquet").is_file():
        make_archive(source, n_patients=patients, seed=SEED, threads=1)
    if (out / "findings.parquet").is_file():
        return out
    with as_file(files("radfast.cli") / "demo.toml") as settings:
        config = load_config(settings, {"seed": SEED, "threads": 1, "topics.candidates": [16]})
    label_archive(source / "archive", source / "reports.jsonl", out, config=config, last="findings")
    return out


def read_drawn(folder: Path) -> dict[str, tuple[Drawn, str]]:
    """Return of each image its examination with all findings drawn into it, and the first finding's name."""
    rows = pq.read_table(folder / "source" / "truth" / "images.parquet").to_pylist()
    return {
        row["image_id"]: ((row["topic"], tuple(sorted(row["findings"]))), f"{row['topic']} {row['subtopic']}")
        for row in rows
    }


def label_topics(out: Path) -> LabelSet:
    """Return the label set of the run's topics, without its other heads."""
    tables = [
        read_table(out / f"{name}.parquet", TABLES[name])
        for name in ("images", "links", "topics", "findings")
    ]
    labels = build_label_set(*tables, min_images=10, split=SPLIT, seed=SEED)
    count = len(labels)
    return replace(
        labels,
        classes={**labels.classes, "disease": []},
        disease=np.zeros((count, 0), np.int8),
        vector_counts=np.zeros(count, np.int32),
    )


def label_findings(out: Path, drawn: dict[str, tuple[Drawn, str]]) -> LabelSet:
    """Return every image with its examination, and with its examination and first finding."""
    images = read_table(out / "images.parquet", TABLES["images"])
    known = [
        row
        for row in images.select(["image_id", "pixel_row", "patient_id"]).to_pylist()
        if row["image_id"] in drawn
    ]
    truth = [drawn[row["image_id"]] for row in known]
    return label_pictures(
        {"document": [exam for (exam, _), _ in truth], "second": [name for _, name in truth]},
        [row["patient_id"] for row in known],
        SPLIT,
        SEED,
        image_ids=[row["image_id"] for row in known],
        pixel_rows=[row["pixel_row"] for row in known],
    )


def find_best_rates(labels: LabelSet, drawn: Sequence[Drawn]) -> dict[str, float]:
    """Return per level the best rate on the held-out images; `drawn` is of each row of the label set."""
    trained = np.flatnonzero(labels.splits == SPLITS.index("train"))
    rates = {}
    for level in LEVELS:
        target = labels.targets[level]
        same: dict[Drawn, Counter[int]] = {}
        exam: dict[str, Counter[int]] = {}
        for row in trained[target[trained] >= 0]:
            same.setdefault(drawn[row], Counter())[int(target[row])] += 1
            exam.setdefault(drawn[row][0], Counter())[int(target[row])] += 1
        rows = labels.rows("test")
        rows = rows[target[rows] >= 0]
        guesses = [(same.get(drawn[row]) or exam[drawn[row][0]]).most_common(1)[0][0] for row in rows]
        if len(rows):
            rates[level] = float(np.mean(guesses == target[rows]))
    return rates


def try_recipe(
    name: str, labels: LabelSet, pixels: NDArray[np.uint8], epochs: int, checkpoint: Path
) -> dict[str, Any]:
    """Train once on one thread; return held-out top-1 per level, CPU time and the last epoch's record."""
    config = VisionConfig(**SETTINGS, **RECIPES[name], epochs=epochs)

    def tell(entry: dict[str, Any]) -> None:
        top1 = {level: round(value, 3) for level, value in entry["validation_top1"].items()}
        print(f"{name} epoch {entry['epoch']}: loss {entry['train_loss']:.3f}, validation {top1}", flush=True)

    start, clock = time.process_time(), time.perf_counter()
    net = train(
        pixels, labels, config, seed=SEED, threads=1, backend="cpu", checkpoint=checkpoint, record=tell
    )
    seconds, wall = time.process_time() - start, time.perf_counter() - clock
    rows = labels.rows("test")
    answers = predict(net, pixels, rows=labels.pixel_rows[rows])
    top1, counts = {}, {}
    for level in net.classes:
        target = labels.targets[level][rows]
        known = target >= 0
        top1[level] = float((answers[level].argmax(1)[known] == target[known]).mean())
        counts[level] = int(known.sum())
    shown = int((labels.splits == SPLITS.index("train")).sum())
    return {
        "recipe": name,
        "settings": config.model_dump(mode="json"),
        "seed": SEED,
        "epochs": len(net.history),
        "cpu_seconds": seconds,
        "wall_seconds": wall,
        "train_images": shown,
        "test_images": counts,
        "top1": top1,
    }


def main() -> None:
    """Read the command line, train, and write the table."""
    parser = argparse.ArgumentParser(prog="bench.recipes", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--recipe", action="append", choices=sorted(RECIPES), help="repeatable; default both")
    parser.add_argument(
        "--set", action="append", choices=["findings", "topics"], help="repeatable; default both"
    )
    options = parser.parse_args()
    out = make_run(options.folder, options.patients)
    drawn = read_drawn(options.folder)
    pixels = np.load(out / "work" / "pixels.npy", mmap_mode="r")
    results = []
    for kind in options.set or ("findings", "topics"):
        labels = label_findings(out, drawn) if kind == "findings" else label_topics(out)
        best = find_best_rates(labels, [drawn[image][0] for image in labels.image_ids])
        for name in options.recipe or RECIPES:
            checkpoint = options.folder / f"{kind}-{name}.pt"
            found = try_recipe(name, labels, pixels, options.epochs, checkpoint)
            results.append({"set": kind, "patients": options.patients, "best_rate": best, **found})
            print(
                f"{kind} {name}: top-1 {found['top1']}, best {best}, {found['cpu_seconds']:.0f} CPU s",
                flush=True,
            )
    print(f"written to {write_result('recipes', [*_read_others(results), *results])}")


def _read_others(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of the file that are not measured anew."""
    path = Path(__file__).parent / "results" / "recipes.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    fresh = {(result["set"], result["recipe"]) for result in results}
    return [result for result in kept if (result["set"], result["recipe"]) not in fresh]


if __name__ == "__main__":
    main()
