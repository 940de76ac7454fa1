"""Both training recipes on a synthetic archive, against what its truth allows: bench/results/recipes.json.

Two label sets of the same archive are learned on one core, patients split alike in both:

- ``findings``: every image, with what was drawn into it: the examination, and the examination with its first
  finding;
- ``topics``: the images that reports cite, with the LDA topics of those reports at three levels.

Training starts from random weights, or from the trunk that the modern recipe learned on the findings of the
training patients, in the place of the paper's ImageNet.

The best rate is what one scores who sees in a picture exactly what was drawn: for each held-out image the
majority label of the training images with the same examination and findings (of the same examination where
none has the same findings). The figures are of the held-out patients; settings were chosen on the validation
patients.

    python -m bench.recipes FOLDER [--patients 1600] [--recipe modern] [--set findings] [--start random]

FOLDER keeps archive, tables and networks; what is there, made by the same settings, is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
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
from radfast.store import hash_file, read_table
from radfast.synthetic import make_archive
from radfast.types import LEVELS, SPLITS, TABLES
from radfast.vision import (
    LabelSet,
    TrainedNetwork,
    build_label_set,
    load_network,
    predict,
    save_network,
    train,
)

SEED = 0
SPLIT = (0.7, 0.1, 0.2)
SETTINGS: dict[str, Any] = {
    "network": "alexnet", "width": 0.25, "picture_size": 256, "crop": 224, "batch": 32, "chain": False,
    "patience": 1000, "split": SPLIT,
}  # fmt: skip
#: Of each label set, start and recipe: rate of the trunk, of the heads, decay of the weights, epochs. From
#: random weights the paper's recipe needs a larger rate than from a trunk.
RUNS: dict[tuple[str, str, str], tuple[float, float, float, int]] = {
    ("findings", "random", "modern"): (1e-3, 1e-3, 1e-2, 64),
    ("findings", "random", "paper"): (1e-2, 1e-2, 5e-4, 12),
    ("findings", "trunk", "modern"): (1e-3, 1e-3, 1e-2, 30),
    ("findings", "trunk", "paper"): (1e-3, 1e-3, 5e-4, 30),
    ("topics", "trunk", "modern"): (1e-3, 1e-3, 1e-2, 30),
    ("topics", "trunk", "paper"): (1e-3, 1e-3, 5e-4, 30),
}
#: From a trunk only the heads are learned, on its features, computed once. The labels of topics are noisy,
#: and the best rate counts images: rare classes that weigh more cost 2 points on the validation patients.
FROM_TRUNK: dict[str, Any] = {"freeze_trunk": True, "balance": "none", "label_smoothing": 0.0}
#: The run whose trunk the others start from.
TRUNK = ("findings", "random", "modern")

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


def label_topics(out: Path, side: Mapping[str, int]) -> LabelSet:
    """Return the label set of the run's topics alone; `side` is the split of each image."""
    tables = [
        read_table(out / f"{name}.parquet", TABLES[name])
        for name in ("images", "links", "topics", "findings")
    ]
    labels = build_label_set(*tables, min_images=10, split=SPLIT, seed=SEED)
    count = len(labels)
    return replace(
        labels,
        splits=np.array([side[image] for image in labels.image_ids], np.int8),
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


def train_once(
    run: tuple[str, str, str], labels: LabelSet, pixels: NDArray[np.uint8], folder: Path
) -> tuple[TrainedNetwork, VisionConfig]:
    """Train on one thread, or read what the same settings gave; `about` holds the CPU seconds."""
    _, start, name = run
    rates = zip(("learning_rate", "head_learning_rate", "weight_decay", "epochs"), RUNS[run], strict=True)
    weights = None if start == "random" else folder / f"{'-'.join(TRUNK)}.safetensors"
    more = FROM_TRUNK if start == "trunk" else {}
    config = VisionConfig(**SETTINGS, **more, **dict(rates), recipe=name, weights=weights)
    made = folder / f"{'-'.join(run)}.safetensors"
    trunk = "" if weights is None else hash_file(weights)
    settings = json.dumps([config.model_dump(mode="json", exclude={"weights"}), trunk, len(labels)])
    if made.is_file() and (net := load_network(made)).about["settings"] == settings:
        return net, config

    def tell(entry: dict[str, Any]) -> None:
        top1 = {level: round(value, 3) for level, value in entry["validation_top1"].items()}
        print(f"{run} epoch {entry['epoch']}: loss {entry['train_loss']:.3f}, validation {top1}", flush=True)

    begin = time.process_time()
    checkpoint = made.with_suffix(".pt")
    net = train(
        pixels, labels, config, seed=SEED, threads=1, backend="cpu", checkpoint=checkpoint, record=tell
    )
    seconds = time.process_time() - begin
    net = replace(net, about={"settings": settings, "cpu_seconds": f"{seconds:.1f}"})
    return save_network(made, net, onnx=False), config


def try_recipe(
    run: tuple[str, str, str], labels: LabelSet, pixels: NDArray[np.uint8], folder: Path
) -> dict[str, Any]:
    """Return held-out top-1 per level of a run, its CPU time and what was set."""
    net, config = train_once(run, labels, pixels, folder)
    rows = labels.rows("test")
    answers = predict(net, pixels, rows=labels.pixel_rows[rows])
    top1, counts = {}, {}
    for level in net.classes:
        target = labels.targets[level][rows]
        known = target >= 0
        top1[level] = float((answers[level].argmax(1)[known] == target[known]).mean())
        counts[level] = int(known.sum())
    trained = labels.splits == SPLITS.index("train")
    return {
        "settings": config.model_dump(mode="json", exclude={"weights"}),
        "seed": SEED,
        "epochs": len(net.history),
        "cpu_seconds": float(net.about["cpu_seconds"]),
        "train_images": int(trained.sum()),
        "test_images": counts,
        "top1": top1,
        "validation_top1": min(net.history, key=lambda entry: entry["validation_loss"])["validation_top1"],
    }


def main() -> None:
    """Read the command line, train, and write the table."""
    parser = argparse.ArgumentParser(prog="bench.recipes", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=1600)
    for place, option in enumerate(("set", "start", "recipe")):
        choices = sorted({run[place] for run in RUNS})
        parser.add_argument(f"--{option}", action="append", choices=choices, help="repeatable; default all")
    options = parser.parse_args()
    out = make_run(options.folder, options.patients)
    drawn = read_drawn(options.folder)
    pixels = np.load(out / "work" / "pixels.npy", mmap_mode="r")
    findings = label_findings(out, drawn)
    side = dict(zip(findings.image_ids, findings.splits.tolist(), strict=True))
    sets = {"findings": findings, "topics": label_topics(out, side)}
    for run in RUNS:
        chosen = (options.set, options.start, options.recipe)
        if any(names and part not in names for part, names in zip(run, chosen, strict=True)):
            continue
        labels = sets[run[0]]
        best = find_best_rates(labels, [drawn[image][0] for image in labels.image_ids])
        found = try_recipe(run, labels, pixels, options.folder)
        print(f"{run}: top-1 {found['top1']}, best {best}, {found['cpu_seconds']:.0f} CPU s", flush=True)
        about = dict(zip(("set", "start", "recipe"), run, strict=True))
        patients = count_patients(labels)
        write_row({**about, "patients": patients, "best_rate": best, **found})


def count_patients(labels: LabelSet) -> dict[str, int]:
    """Return the patients of each split."""
    sides = set(zip(labels.patient_ids, labels.splits.tolist(), strict=True))
    return {name: sum(side == number for _, side in sides) for number, name in enumerate(SPLITS)}


def write_row(row: dict[str, Any]) -> None:
    """Put a row into the table, in place of the one of the same run."""
    path = Path(__file__).parent / "results" / "recipes.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    keep = {(old["set"], old.get("start"), old["recipe"]): old for old in rows}
    keep[row["set"], row["start"], row["recipe"]] = row
    write_result("recipes", [keep[run] for run in RUNS if run in keep])


if __name__ == "__main__":
    main()
