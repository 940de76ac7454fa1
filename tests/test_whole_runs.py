"""Slow: whole runs on real folders, and runs killed in every stage that must end with the same content."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from radfast.config import load_config
from radfast.pipeline.order import NAMES, STAGES

pytestmark = pytest.mark.long

RADFAST = Path(sys.executable).parent / "radfast"
QUICK = [
    "archive.picture_size=64",
    "text.min_df=1",
    "topics.n_sweeps=50",
    "vectors.size=16",
    "vision.width=0.0625",
    "vision.picture_size=64",
    "vision.crop=64",
    "vision.epochs=4",
    "vision.min_images=2",
    "vision.checkpoint_seconds=0",
    "findings.min_images=2",
    "evaluate.draws=20",
]
SETTINGS = [word for setting in QUICK for word in ("--set", setting)]


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(RADFAST), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(out: Path) -> dict[str, bytes]:
    """Return every table and weights file of a run."""
    found = [path for path in out.rglob("*") if path.suffix in {".parquet", ".safetensors", ".npy"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(found)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from radfast.synthetic import make_archive

    folder = tmp_path_factory.mktemp("killed")
    make_archive(folder, n_patients=16, seed=9, threads=1)
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    result = call("run", source / "archive", "--reports", source / "reports.jsonl", "--out", out, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize("stage", NAMES)
def test_a_run_killed_in_any_stage_ends_with_the_same_content(
    stage: str, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [
        RADFAST, "run", source / "archive", "--reports", source / "reports.jsonl", "--out", out,
        "--progress", "json", *SETTINGS,
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["stage"] == stage and event["event"] == "begin":
                time.sleep(0.05)
                os.killpg(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    result = call("run", source / "archive", "--reports", source / "reports.jsonl", "--out", out, *SETTINGS)
    assert result.returncode == 0, result.stderr
    assert contents(out) == contents(undisturbed)
    assert not list(out.rglob("*.part"))
    assert call("verify", out).returncode == 0


def test_ctrl_c_says_how_to_go_on(source: Path, tmp_path: Path) -> None:
    command = [RADFAST, "run", source / "archive", "--out", tmp_path / "out", "--progress", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said


def test_constructed_studies_are_labeled(data: Path, tmp_path: Path) -> None:
    folder, out = data / "dicom" / "constructed_nih", tmp_path / "out"
    result = call("run", folder, "--out", out, *SETTINGS)
    assert result.returncode == 0, result.stderr
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    images = pq.read_table(out / "images.parquet").to_pylist()
    assert {row["image_id"] for row in images} == {row["sop_instance_uid"] for row in truth}
    assert len({row["study_uid"] for row in images}) == 60
    kinds = pq.read_table(out / "evidence.parquet").to_pylist()
    assert len({row["path"] for row in kinds}) == 180
    reports = {
        row["report_id"]: row["text"].encode() for row in pq.read_table(out / "reports.parquet").to_pylist()
    }
    links = [row for row in pq.read_table(out / "links.parquet").to_pylist() if row["status"] == "linked"]
    sentence = {
        row["image_id"]: reports[row["report_id"]][row["sentence_start"] : row["sentence_end"]].decode()
        for row in links
    }
    assert sentence == {
        row["sop_instance_uid"]: row["mentioning_sentence"] for row in truth if row["key_image"] == "True"
    }
    assert (out / "report.html").stat().st_size > 100_000
    assert call("verify", out).returncode == 0


def test_files_broken_on_purpose_all_end_in_the_ledger(data: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    for name in ("pydicom", "pydicom-data"):
        shutil.copytree(data / "dicom" / name, archive / name)
    assert call("run", archive, "--out", out).returncode == 4
    ledger = pq.read_table(out / "ledger.parquet").to_pylist()
    files = [path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()]
    assert sorted(row["input_id"] for row in ledger) == sorted(files)
    assert all(row["reason"] for row in ledger)
    assert call("verify", out).returncode == 0


def test_the_papers_configuration_is_accepted(source: Path, tmp_path: Path) -> None:
    paper = Path(__file__).parents[1] / "configs" / "paper.toml"
    assert load_config(paper).topics.n_sentence == 1000
    result = call(
        "ingest",
        source / "archive",
        "--reports",
        source / "reports.jsonl",
        "--out",
        tmp_path / "out",
        "--config",
        paper,
    )
    assert result.returncode == 0, result.stderr
    assert [stage.name for stage in STAGES] == list(NAMES)
