"""From DICOM to labels: images/s of each stage alone and of `radfast label`: bench/results/end-to-end.json.

A network of full width for pictures of 224 px is trained (its heads, on a frozen trunk of random weights; its
labels are of no use, and cost what useful ones cost) on one synthetic archive, and labels another by
`label_images`, which is what ``radfast label FOLDER --model RUN --out OUT`` calls. Then each stage runs alone
on the same files, all of them in the page cache:

- ``files``: every file read, hashed, decoded, windowed and resized, in one process per core;
- ``network``: cut, float32, and the compiled network, on all cores;
- ``tables``: first classes per level, keywords, and three Parquet files;
- ``start``: weights read, transformed, packed, checked against torch; it does not grow with the archive.

One process alone tells what a picture of each transfer syntax costs: header, decoding, window with resize,
and all of it with the hash. The stage of the most seconds limits.

    python -m bench.end_to_end FOLDER [--patients 200] [--network alexnet]

FOLDER keeps archives and runs; what is there is not made again.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydicom.uid import UID

import radfast as rf
from bench.compare import write_result
from radfast import archive, describe, vision
from radfast.archive.decode import decode_frame, read_geometry
from radfast.archive.dicom import open_source, read_header
from radfast.archive.instance import silence
from radfast.archive.pixels import make_picture
from radfast.cli.progress import make_reporter
from radfast.config import Config, load_config
from radfast.device import count_threads
from radfast.pipeline import label_archive, learn
from radfast.pipeline.context import Context
from radfast.pipeline.further import label_images
from radfast.synthetic import make_archive
from radfast.types import no_progress

SIDE, CROP = 256, 224
TEACHING_PATIENTS = 80
PER_SYNTAX = 40
ROUNDS = 3


def make_model(folder: Path, network: str) -> Path:
    """Make a finished run whose network labels; return its folder."""
    source, out = folder / "teaching", folder / f"run-{network}"
    if not (source / "truth" / "images.parquet").is_file():
        make_archive(source, n_patients=TEACHING_PATIENTS, seed=0, threads=1)
    settings = {
        "archive.picture_size": SIDE, "vision.picture_size": SIDE, "vision.crop": CROP, "vision.width": 1.0,
        "vision.network": network, "vision.freeze_trunk": True, "vision.epochs": 2, "vision.batch": 16,
        "vision.min_images": 5,
    }  # fmt: skip
    with as_file(files("radfast.cli") / "demo.toml") as path:
        config = load_config(path, settings)
    if not (out / "model" / "network.safetensors").is_file():
        label_archive(source / "archive", source / "reports.jsonl", out, config=config, last="train")
    return out


def clock(work: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_syntaxes(folder: Path, images: pa.Table) -> list[dict[str, Any]]:
    """Return ms of one picture per transfer syntax and step, in this one process."""
    rows = images.select(["path", "transfer_syntax"]).to_pylist()
    results = []
    for syntax in sorted({row["transfer_syntax"] for row in rows}):
        paths = [folder / row["path"] for row in rows if row["transfer_syntax"] == syntax][:PER_SYNTAX]
        for path in paths[:2]:
            archive.read_instance(path, SIDE)
        steps = np.array([time_steps(path) for path in paths])
        header, decode, window, whole = (1e3 * steps.mean(axis=0)).tolist()
        results.append(
            {
                "syntax": UID(syntax).name,
                "images": len(paths),
                "ms_header": header,
                "ms_decode": decode,
                "ms_window_resize": window,
                "ms_whole": whole,
                "per_second": 1e3 / whole,
            }
        )
    return results


def time_steps(path: Path) -> tuple[float, float, float, float]:
    """Return the seconds of header, decoding, window with resize, and of all that is done to one file."""
    whole = clock(lambda: archive.read_instance(path, SIDE))
    with silence():
        start = time.perf_counter()
        with open_source(path, path.stat().st_size)[0] as source:
            header = read_header(source)
            read = time.perf_counter()
            geometry = read_geometry(header.values)
            frame = geometry.frames // 2
            stored = decode_frame(header, geometry, frame)
            decoded = time.perf_counter()
            make_picture(stored, header, geometry, frame, SIDE)
            return read - start, decoded - read, time.perf_counter() - decoded, whole


def time_stages(source: Path, model: Path, out: Path, config: Config) -> tuple[dict[str, float], pa.Table]:
    """Return the seconds of each stage alone on the files of `source`, and the images."""
    run = Context(source, None, out, config, "0" * 12, "", no_progress)
    run.work.mkdir(parents=True)
    start = time.perf_counter()
    found = archive.ingest(source, None, run.pixels, config.archive, threads=run.threads)
    read = time.perf_counter()
    trained = vision.load_network(model / "model" / "network.safetensors")
    compiled = rf.compile(trained.net, config.backend, threads=run.threads)
    ready = time.perf_counter()
    pixels = np.load(run.pixels, mmap_mode="r")
    outputs = vision.predict(trained, pixels, run=compiled)
    answered = time.perf_counter()
    run.write("images", found.images)
    run.write("labels", learn.tabulate_labels(found.images, outputs, trained, run.run_id))
    words = describe.describe_images(
        image_ids=found.images["image_id"].to_pylist(),
        **learn.candidates(model, config.describe.top_words, outputs, trained),
        evidence={},
        run_id=run.run_id,
        model_hash=trained.model_hash,
        diversity=config.describe.diversity,
        threads=run.threads,
    )
    run.write("descriptions", words)
    end = time.perf_counter()
    stages = {
        "files": read - start,
        "start": ready - read,
        "network": answered - ready,
        "tables": end - answered,
    }
    return stages, found.images


def measure(source: Path, model: Path, folder: Path, network: str) -> tuple[dict[str, Any], pa.Table]:
    """Run the whole and the stages in turn; return the figures with the stage that limits, and the images."""
    config = load_config(model / "config.toml")
    wholes, rounds = [], []
    for turn in range(ROUNDS):
        shutil.rmtree(folder, ignore_errors=True)
        wholes.append(
            clock(lambda: label_images(source, model, folder / "out", reporter=make_reporter("none")))
        )
        stages, images = time_stages(source, model, folder / "stages", config)
        rounds.append(stages)
        print(f"{network} round {turn}: whole {wholes[-1]:.2f} s, {stages}", flush=True)
    shutil.rmtree(folder)
    seconds = {name: float(np.median([stages[name] for stages in rounds])) for name in rounds[0]}
    whole, count = float(np.median(wholes)), images.num_rows
    growing = {name: spent for name, spent in seconds.items() if name != "start"}
    limit = max(growing, key=lambda name: growing[name])
    figures = {
        "network": network,
        "images": count,
        "threads": count_threads(config.threads),
        "rounds": ROUNDS,
        "seconds": seconds,
        "per_second": {name: count / spent for name, spent in growing.items()},
        "seconds_whole": whole,
        "seconds_whole_all": wholes,
        "per_second_whole": count / whole,
        "limit": limit,
        "share_of_limit": growing[limit] / whole,
    }
    return figures, images


def main() -> None:
    """Read the command line, make what is missing, measure, and write the figures."""
    parser = argparse.ArgumentParser(prog="bench.end_to_end", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--network", action="append", help="repeatable; default alexnet and vgg16")
    parser.add_argument("--prepare", action="store_true", help="make archives and runs only")
    options = parser.parse_args()
    source = options.folder / f"fresh-{options.patients}"
    if not (source / "truth" / "images.parquet").is_file():
        make_archive(source, n_patients=options.patients, seed=1, n_text_only=0, threads=1)
    networks = options.network or ["alexnet", "vgg16"]
    models = {network: make_model(options.folder, network) for network in networks}
    if options.prepare:
        return
    results = []
    for network, model in models.items():
        figures, images = measure(source / "archive", model, options.folder / "work", network)
        results.append(figures)
        print(
            f"{network}: {figures['per_second_whole']:.1f} images/s, limited by {figures['limit']}",
            flush=True,
        )
    results.append({"one_process": time_syntaxes(source / "archive", images)})
    print(f"written to {write_result('end-to-end', results)}")


if __name__ == "__main__":
    main()
