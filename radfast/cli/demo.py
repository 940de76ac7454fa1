"""The demo: a synthetic archive, labeled like a real one, its labels held against the known truth."""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from radfast import store
from radfast.cli.progress import Reporter
from radfast.config import load_config
from radfast.pipeline import Summary, label_archive
from radfast.pipeline.memo import hash_code

_PATIENTS = 480


def run_demo(out: Path, seed: int, threads: int, reporter: Reporter) -> Summary:
    """Make the archive in ``OUT/synthetic``, label it into `out`, and say how the labels meet the truth.

    Parameters
    ----------
    out : Path
        Folder of the demo.
    seed : int
        Seed of the archive and of the run.
    threads : int
        0 takes all cores.
    reporter : Reporter
        Is told about progress.
    """
    source = out / "synthetic"
    _make_archive(source, seed, threads, reporter)
    overrides = {
        "seed": seed,
        "threads": threads,
        "findings.ontology": str(source / "ontology.obo"),
        "evaluate.truth": str(source / "truth"),
    }
    with as_file(files("radfast.cli") / "demo.toml") as settings:
        config = load_config(settings, overrides)
    summary = label_archive(
        source / "archive", source / "reports.jsonl", out, config=config, reporter=reporter
    )
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return Summary((*_hold_against_truth(metrics), *summary.lines), summary.rejected, summary.states)


def _make_archive(source: Path, seed: int, threads: int, reporter: Reporter) -> None:
    from radfast.synthetic import make_archive

    mark = source / "made.json"
    made = {"patients": _PATIENTS, "seed": seed, "code": hash_code("synthetic")}
    reporter.begin("synthetic")
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == made:
        reporter.end("unchanged")
        return
    shutil.rmtree(source, ignore_errors=True)
    make_archive(source, n_patients=_PATIENTS, seed=seed, threads=threads, progress=reporter.advance)
    store.write_json(mark, made)
    reporter.end(f"{_PATIENTS} patients in {source}")


def _hold_against_truth(metrics: dict[str, Any]) -> list[str]:
    """Say in a few lines how the labels meet the generator's truth."""
    truth, lines = metrics["truth"], []
    links = truth["links"]
    lines.append(f"links: precision {_show(links['precision'])}, recall {_show(links['recall'])}")
    found = truth["findings"]["micro"]
    lines.append(
        f"findings with assertion: precision {_show(found['precision'])}, recall {_show(found['recall'])}"
    )
    topics = truth["topics"]
    lines.append(
        f"document topics: purity {_show(topics['purity'])} (shuffled {_show(topics['shuffled_purity'])})"
    )
    for level, score in (metrics["classification"] or {}).items():
        top1, base = score["top1"], score["majority"]["top1"]["value"]
        lines.append(
            f"image -> {level} topic: top-1 {_show(top1['value'])} on {score['n_images']} held-out images "
            f"(majority {_show(base)})"
        )
    if metrics["keywords"]:
        methods = metrics["keywords"]["ontology"]
        rates = ", ".join(
            f"{name} {_show(found['image_hit_rate']['value'])}" for name, found in methods.items()
        )
        lines.append(f"keyword hit rate: {rates}")
    return lines


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
