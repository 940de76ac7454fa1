"""What a person types and reads: one clear line and the right exit code for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from radfast import __version__

RADFAST = Path(sys.executable).parent / "radfast"


def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(RADFAST), *(str(argument) for argument in arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    """Assert the exit code and that the message is one line without a traceback; return it."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith("radfast: ")]
    assert len(said) == 1, result.stderr
    return said[0]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from radfast.synthetic import make_archive

    folder = tmp_path_factory.mktemp("cli")
    make_archive(folder, n_patients=2, seed=3, threads=1)
    return folder


def test_help_and_version() -> None:
    shown = call("--help").stdout
    for command in (
        "demo",
        "run",
        "ingest",
        "link",
        "tokenize",
        "topics",
        "vectors",
        "findings",
        "train",
        "label",
    ):
        assert command in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert call("--version").stdout == f"radfast {__version__}\n"


def test_a_wrong_option_is_a_usage_error() -> None:
    assert call("run", "--no-such").returncode == 2
    assert call("no-such-command").returncode == 2


def test_missing_archive(tmp_path: Path) -> None:
    assert "no folder" in one_line(call("run", tmp_path / "absent", "--out", tmp_path / "out"), 2)


def test_no_dicom(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text("no image here")
    assert "DICOM" in one_line(call("run", source, "--out", tmp_path / "out"), 3)


def test_missing_reports(archive: Path, tmp_path: Path) -> None:
    result = call("run", archive / "archive", "--reports", tmp_path / "absent.csv", "--out", tmp_path / "out")
    assert "absent.csv" in one_line(result, 2)


def test_unreadable_reports(archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "reports.parquet"
    broken.write_bytes(b"PAR1 but not really")
    result = call("run", archive / "archive", "--reports", broken, "--out", tmp_path / "out")
    assert "reports.parquet" in one_line(result, 2)


def test_wrong_column(archive: Path, tmp_path: Path) -> None:
    result = call(
        "run", archive / "archive", "--reports", archive / "reports.jsonl", "--out", tmp_path / "out",
        "--set", "archive.columns.text=report_body",
    )  # fmt: skip
    assert "report_body" in one_line(result, 2)


def test_reports_that_match_no_study(archive: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (archive / "reports.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line.update(patient_id="X", study_uid="1.2.3", accession_number="X")
    reports = tmp_path / "reports.jsonl"
    reports.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    result = call("run", archive / "archive", "--reports", reports, "--out", tmp_path / "out")
    assert "matches a study" in one_line(result, 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_cannot_be_written(archive: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot write" in one_line(call("run", archive / "archive", "--out", tmp_path / "out"), 5)


def test_an_output_below_a_file(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot write" in one_line(call("run", archive / "archive", "--out", tmp_path / "file" / "out"), 5)


def test_an_output_inside_the_archive(archive: Path) -> None:
    result = call("run", archive / "archive", "--out", archive / "archive" / "out")
    assert "lies in the archive" in one_line(result, 2)
    assert not (archive / "archive" / "out").exists()


def test_unknown_configuration_key(archive: Path, tmp_path: Path) -> None:
    config = tmp_path / "radfast.toml"
    config.write_text("[vision]\nepoch = 3\n")
    result = call("run", archive / "archive", "--out", tmp_path / "out", "--config", config)
    assert "'vision.epoch'" in one_line(result, 2)
    assert "key=value" in one_line(call("config", "show", "--set", "vision.epochs"), 2)


def test_missing_ontology(archive: Path, tmp_path: Path) -> None:
    result = call(
        "run", archive / "archive", "--out", tmp_path / "out", "--ontology", tmp_path / "absent.obo"
    )
    assert "absent.obo" in one_line(result, 2)
    assert not (tmp_path / "out" / "images.parquet").exists()


def test_stages_want_a_run(tmp_path: Path) -> None:
    assert "holds no run" in one_line(call("link", tmp_path), 2)
    assert "holds no run" in one_line(call("verify", tmp_path), 2)
    assert "--model and --out" in one_line(call("label", tmp_path, "--model", tmp_path), 2)


def test_config_show_prints_toml_that_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "radfast.toml"
    path.write_text(call("config", "show", "--set", "vision.epochs=7").stdout, encoding="utf-8")
    assert "epochs = 7" in call("config", "show", "--config", path).stdout


def test_info_says_why_a_backend_is_missing() -> None:
    shown = call("info").stdout
    assert "backend cpu: available" in shown
    assert "backend cuda: " in shown
    assert "networks run on the first that works of: tensorrt, torch-cuda, native, onnx, torch" in shown


def test_json_progress_and_ingest_alone(archive: Path, tmp_path: Path) -> None:
    shutil.copy(archive / "reports.jsonl", tmp_path / "r.jsonl")
    result = call(
        "ingest", archive / "archive", "--reports", tmp_path / "r.jsonl", "--out", tmp_path / "out",
        "--progress", "json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == ["begin", "end"]
    again = call("ingest", archive / "archive", "--reports", tmp_path / "r.jsonl", "--out", tmp_path / "out")
    assert "unchanged" in again.stderr
