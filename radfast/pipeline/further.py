"""Further images: labeled by the networks of a finished run, without reports."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radfast import archive, describe, store, vision
from radfast.config import load_config
from radfast.errors import UsageError
from radfast.pipeline import learn
from radfast.pipeline.context import Context, plural
from radfast.pipeline.memo import Memo, fingerprint, fingerprint_input, hash_code, open_output
from radfast.pipeline.verify import Summary, summarize
from radfast.types import LEDGER, LEVELS

if TYPE_CHECKING:
    from radfast.pipeline import Reporter

_OUTPUTS = ("images.parquet", "labels.parquet", "descriptions.parquet", "ledger.parquet", "work/pixels.npy")


def label_images(source: str | Path, model: str | Path, out: str | Path, *, reporter: Reporter) -> Summary:
    """Label the images of a folder with the networks of a finished run.

    Parameters
    ----------
    source : str or Path
        Folder of DICOM files.
    model : str or Path
        Output folder of a finished run.
    out : str or Path
        Folder for images, labels, descriptions and ledger.
    reporter : Reporter
        Is told about progress.

    Returns
    -------
    Summary

    Raises
    ------
    UsageError
        If a folder is missing or `model` holds no trained network.
    NothingFoundError
        If `source` holds no DICOM file.
    """
    source, model, out = Path(source), Path(model), Path(out)
    if not source.is_dir():
        raise UsageError(f"no folder {source}")
    network = model / "model" / "network.safetensors"
    if not network.is_file():
        raise UsageError(f"{model} holds no trained network: it must be the output of a finished run")
    config = load_config(model / "config.toml")
    parts = [
        fingerprint_input(source),
        fingerprint(network),
        hash_code("pipeline", "archive", "vision", "describe"),
    ]
    run_id = store.hash_value(["label", fingerprint(network), source.name])[:12]
    run = Context(source, None, out, config, run_id, store.hash_value(parts), reporter.advance)
    with open_output(out):
        memo = Memo(out)
        store.write_json(
            out / "run.json",
            {
                "archive": str(source.resolve()),
                "reports": None,
                "model": str(model.resolve()),
                "run_id": run_id,
            },
        )
        reporter.begin("label")
        try:
            if memo.is_current("label", run.key):
                reporter.end("unchanged")
            else:
                reporter.end(memo.run("label", run.key, _OUTPUTS, partial(_label, run, model)))
        finally:
            reporter.close()
        return summarize(out, "label")


def _label(run: Context, model: Path) -> str:
    found = archive.ingest(
        run.archive, None, run.pixels, run.config.archive, threads=run.threads, progress=run.progress
    )
    trained = vision.load_network(model / "model" / "network.safetensors")
    outputs = learn.answer(trained, np.load(run.pixels, mmap_mode="r"), found.images, run)
    labels = learn.tabulate_labels(found.images, outputs, trained, run.run_id)
    run.write("images", found.images)
    run.write("labels", labels)
    if "vector" in outputs and set(outputs) & set(LEVELS):
        words = describe.describe_images(
            image_ids=found.images["image_id"].to_pylist(),
            **learn.candidates(model, run.config.describe.top_words, outputs, trained),
            evidence={},
            run_id=run.run_id,
            model_hash=trained.model_hash,
            diversity=run.config.describe.diversity,
            threads=run.threads,
        )
        run.write("descriptions", words)
    store.write_table(run.out / "ledger.parquet", found.ledger, LEDGER)
    return f"{plural(labels.num_rows, 'label')} for {plural(found.images.num_rows, 'image')}"
