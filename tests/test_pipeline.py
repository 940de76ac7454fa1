"""The whole system on small archives: complete, repeatable, resumable, verifiable."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from radfast.archive.discover import printable
from radfast.config import Config, load_config
from radfast.errors import UsageError
from radfast.pipeline import label_archive, resume_run, verify_run
from radfast.pipeline.further import label_images
from radfast.pipeline.memo import Memo
from radfast.pipeline.order import NAMES
from radfast.pipeline.verify import VerificationError
from radfast.types import TABLES, State

TABLE_NAMES = [name for name in TABLES if name != "evidence"]


@pytest.fixture(scope="session")
def small() -> Config:
    """Settings of a run that takes seconds."""
    return load_config(
        None,
        {
            "archive.picture_size": 64,
            "text.min_df": 1,
            "topics.n_sweeps": 30,
            "topics.n_document": 4,
            "topics.candidates": [2, 4],
            "topics.curve_sweeps": 10,
            "topics.curve_seeds": 2,
            "vectors.size": 16,
            "vectors.epochs": 2,
            "findings.min_images": 2,
            "vision.width": 0.0625,
            "vision.picture_size": 64,
            "vision.crop": 64,
            "vision.epochs": 2,
            "vision.batch": 16,
            "vision.min_images": 2,
            "vision.split": [0.5, 0.2, 0.3],
            "evaluate.draws": 20,
        },
    )


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from radfast.synthetic import make_archive

    folder = tmp_path_factory.mktemp("source")
    make_archive(folder, n_patients=12, seed=5, n_broken=3, threads=2)
    whole = max((folder / "archive").rglob("I*"), key=lambda path: path.stat().st_size * path.is_file())
    (folder / "archive" / "half.dcm").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "archive" / os.fsdecode(b"caf\xe9.dcm")).write_bytes(b"a name that is no UTF-8")
    return folder


@pytest.fixture(scope="session")
def finished(source: Path, small: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it first."""
    out = tmp_path_factory.mktemp("run")
    config = small.model_copy(
        update={"evaluate": small.evaluate.model_copy(update={"truth": source / "truth"})}
    )
    label_archive(source / "archive", source / "reports.jsonl", out, config=config)
    return out


def contents(out: Path) -> dict[str, bytes]:
    """Return every table, weights file and array of a run by name."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix in {".parquet", ".safetensors", ".npy"}:
            found[path.relative_to(out).as_posix()] = path.read_bytes()
    return found


def test_every_output_is_there(finished: Path) -> None:
    for name in (*TABLE_NAMES, "evidence"):
        assert pq.read_schema(finished / f"{name}.parquet").names == TABLES[name].names
    for name in ("metrics.json", "report.html", "run.json", "config.toml", "model/network.onnx"):
        assert (finished / name).stat().st_size > 0
    assert not list(finished.rglob("*.part"))


def test_every_input_ended_in_one_state(finished: Path, source: Path) -> None:
    ledger = pq.read_table(finished / "ledger.parquet").to_pylist()
    files = [
        printable(path.relative_to(source / "archive").as_posix())
        for path in (source / "archive").rglob("*")
        if path.is_file()
    ]
    listed = [row["input_id"] for row in ledger]
    assert len(set(listed)) == len(listed)
    assert set(files) <= set(listed)
    assert sum(row["kind"] == "report" for row in ledger) == len(
        (source / "reports.jsonl").read_text("utf-8").splitlines()
    )
    assert {row["state"] for row in ledger} <= {state.value for state in State}
    assert all(row["reason"] for row in ledger)
    assert any(row["state"] == State.REJECTED.value for row in ledger)
    assert "verified" in verify_run(finished).lines[-1]


def test_links_equal_the_truth(finished: Path) -> None:
    score = json.loads((finished / "metrics.json").read_text("utf-8"))["truth"]["links"]
    assert (score["precision"], score["recall"]) == (1.0, 1.0)
    assert score["true"] > 10


def test_every_label_row_carries_its_evidence(finished: Path) -> None:
    labels = pq.read_table(finished / "labels.parquet").to_pylist()
    assert {row["level"] for row in labels} >= {"document", "sentence"}
    texts = dict(
        zip(
            *pq.read_table(finished / "reports.parquet", columns=["report_id", "text"]).to_pydict().values(),
            strict=True,
        )
    )
    run_id = json.loads((finished / "run.json").read_text("utf-8"))["run_id"]
    cited = 0
    for row in labels:
        assert row["run_id"] == run_id
        assert len(row["model_hash"]) == 64
        assert 0 <= row["score"] <= 1
        if row["split"] != "none":
            assert row["report_id"] in texts
        if row["sentence"] is not None:
            cited += 1
            assert row["sentence"] in texts[row["report_id"]]
    assert cited


def test_a_second_run_gives_the_same_bytes(
    finished: Path, source: Path, small: Config, tmp_path: Path
) -> None:
    label_archive(source / "archive", source / "reports.jsonl", tmp_path / "again", config=small)
    first, second = contents(finished), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    # The first run names a folder of truth, which is part of its run id, which stands in every label row.
    same = {name for name in first if name not in {"labels.parquet", "descriptions.parquet"}}
    assert [name for name in sorted(same) if first[name] != second[name]] == []
    for name in ("labels", "descriptions"):
        columns = [column for column in TABLES[name].names if column != "run_id"]
        tables = [
            pq.read_table(out / f"{name}.parquet", columns=columns) for out in (finished, tmp_path / "again")
        ]
        assert tables[0].equals(tables[1])


def test_an_unchanged_run_runs_nothing(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    resume_run(out, "report")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_a_changed_setting_runs_only_what_depends_on_it(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    config = load_config(out / "config.toml", {"describe.top_words": 20})
    before = {name: (out / "stages" / f"{name}.json").stat().st_mtime_ns for name in NAMES}
    resume_run(out, "report", config)
    ran = [name for name in NAMES if (out / "stages" / f"{name}.json").stat().st_mtime_ns != before[name]]
    assert ran == ["describe", "evaluate", "report"]


@pytest.mark.parametrize("stage", ["ingest", "tokenize", "label"])
def test_a_lost_output_is_made_again(finished: Path, stage: str, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    record = Memo(out).read(stage)
    assert record is not None
    name = sorted(record.outputs)[0]
    target = out / name
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(VerificationError, match="is gone"):
        verify_run(out)
    resume_run(out, "report")
    assert contents(out) == contents(finished)


def test_verify_sees_what_was_changed(finished: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    metrics = out / "metrics.json"
    metrics.write_text(metrics.read_text("utf-8").replace("1", "2", 1), encoding="utf-8")
    with pytest.raises(VerificationError, match=r"metrics\.json was changed"):
        verify_run(out)
    added = source / "archive" / "added.dcm"
    added.write_bytes(b"later")
    try:
        with pytest.raises(VerificationError, match=r"added\.dcm"):
            verify_run(finished)
    finally:
        added.unlink()


def test_further_images_are_labeled(finished: Path, source: Path, tmp_path: Path) -> None:
    class Quiet:
        def begin(self, stage: str) -> None: ...
        def advance(self, done: int, total: int) -> None: ...
        def end(self, note: str) -> None: ...
        def close(self) -> None: ...

    summary = label_images(source / "archive", finished, tmp_path / "out", reporter=Quiet())
    old = pq.read_table(finished / "labels.parquet").to_pylist()
    new = pq.read_table(tmp_path / "out" / "labels.parquet").to_pylist()
    key = ("image_id", "level", "rank", "predicted", "model_hash")
    assert [[row[name] for name in key] for row in new] == [[row[name] for name in key] for row in old]
    assert {row["split"] for row in new} == {"none"}
    assert summary.rejected > 0
    with pytest.raises(UsageError, match="no trained network"):
        label_images(source / "archive", tmp_path, tmp_path / "out2", reporter=Quiet())


def test_two_runs_never_write_into_one_folder(finished: Path) -> None:
    from radfast.pipeline.memo import open_output

    with open_output(finished), pytest.raises(UsageError, match="another run"):
        resume_run(finished, "report")


def test_an_archive_without_reports_still_ends(source: Path, small: Config, tmp_path: Path) -> None:
    summary = label_archive(source / "archive", None, tmp_path / "out", config=small)
    assert summary.rejected > 0
    assert pq.read_table(tmp_path / "out" / "labels.parquet").num_rows == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert "verified" in verify_run(tmp_path / "out").lines[-1]
