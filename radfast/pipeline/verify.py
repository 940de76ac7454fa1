"""Prove that nothing was lost: every input in exactly one state, every output as its stage left it."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from radfast import store
from radfast.archive.discover import printable
from radfast.errors import RadfastError, UsageError
from radfast.pipeline.context import count_values, plural
from radfast.pipeline.memo import Memo, fingerprint
from radfast.types import IMAGES, LEDGER, REPORTS, State

_IMAGE_STATES = {State.LABELED.value, State.DESCRIBED.value}
_REPORT_STATES = {State.USED.value, State.UNMATCHED.value}
_SHOWN = 10


@dataclass(frozen=True)
class Summary:
    """What a command has to say when it is done.

    Attributes
    ----------
    lines : tuple of str
        Lines for a person.
    rejected : int
        Inputs that were rejected.
    states : dict of str to int
        Ledger rows per state.
    """

    lines: tuple[str, ...]
    rejected: int
    states: dict[str, int]


class VerificationError(RadfastError):
    """The ledger does not balance, or an output was changed."""


def summarize(out: Path, last: str) -> Summary:
    """Sum up the run in `out` after stage `last`."""
    path = out / "ledger.parquet"
    if not path.is_file() or last not in ("label", "describe", "evaluate", "report"):
        path = out / "work" / "ingested.parquet"
    ledger = store.read_table(path, LEDGER)
    states = count_values(ledger, "state")
    lines = ["ledger: " + ", ".join(f"{count:,} {state}" for state, count in states.items())]
    rejected = states.get(State.REJECTED.value, 0)
    if rejected:
        rows = [row for row in ledger.to_pylist() if row["state"] == State.REJECTED.value]
        reasons = Counter(row["reason"] for row in rows)
        said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        lines.append(f"{plural(rejected, 'input')} rejected ({said}): see ledger.parquet")
    if last == "report":
        lines.append(f"report: {out / 'report.html'}")
    return Summary(tuple(lines), rejected, states)


def verify_run(out: str | Path) -> Summary:
    """Hold the ledger of a finished run against its inputs and its outputs.

    Checked: each file of the archive and each report has exactly one row; each row has a known state, each
    rejected one a reason; images and reports of the tables are those of the ledger; labels and descriptions
    name known images; every output is byte for byte what its stage wrote.

    Raises
    ------
    VerificationError
        Naming the first things that do not hold.
    UsageError
        If `out` holds no finished run.
    """
    out = Path(out)
    try:
        archive = Path(json.loads((out / "run.json").read_text(encoding="utf-8"))["archive"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{out} holds no run") from error
    if not (out / "ledger.parquet").is_file():
        raise UsageError(f"{out} holds no finished run: its ledger is written by the label stage")
    ledger = store.read_table(out / "ledger.parquet", LEDGER)
    problems = [
        *_check_rows(ledger),
        *_check_archive(ledger, archive),
        *_check_tables(ledger, out),
        *_check_outputs(out),
    ]
    if problems:
        more = f" (+{len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise VerificationError(f"{out} does not verify: " + "; ".join(problems[:_SHOWN]) + more)
    states = count_values(ledger, "state")
    lines = [f"{state:<10} {count:>10,}" for state, count in states.items()]
    inputs = plural(ledger.num_rows, "input")
    lines.append(f"verified: {inputs}, each in exactly one state; outputs unchanged")
    return Summary(tuple(lines), 0, states)


def _check_rows(ledger: pa.Table) -> list[str]:
    problems = []
    known = {state.value for state in State}
    for name, count in Counter(ledger.column("input_id").to_pylist()).items():
        if count > 1:
            problems.append(f"input '{name}' has {count} rows")
    for row in ledger.select(["input_id", "state", "reason"]).to_pylist():
        if row["state"] not in known:
            problems.append(f"input '{row['input_id']}' has the unknown state '{row['state']}'")
        if row["state"] == State.REJECTED.value and not row["reason"]:
            problems.append(f"input '{row['input_id']}' was rejected without a reason")
    return problems


def _check_archive(ledger: pa.Table, archive: Path) -> list[str]:
    if not archive.is_dir():
        return [f"the archive {archive} is gone"]
    listed = set(ledger.column("input_id").to_pylist())
    problems = []
    for folder, _, names in os.walk(archive):
        for name in names:
            path = Path(folder) / name
            relative = printable(path.relative_to(archive).as_posix())
            if path.is_file() and relative not in listed:
                problems.append(f"file '{relative}' is not in the ledger")
    return problems


def _check_tables(ledger: pa.Table, out: Path) -> list[str]:
    rows = ledger.select(["object_id", "kind", "state"]).to_pylist()
    problems = []
    for name, schema, column, states in (
        ("images", IMAGES, "image_id", _IMAGE_STATES),
        ("reports", REPORTS, "report_id", _REPORT_STATES),
    ):
        kind = "dicom" if name == "images" else "report"
        listed = sorted(row["object_id"] for row in rows if row["kind"] == kind and row["state"] in states)
        found = sorted(store.read_table(out / f"{name}.parquet", schema).column(column).to_pylist())
        if listed != found:
            problems.append(f"{name}.parquet has {len(found)} rows, the ledger {len(listed)} of them")
    images = {row["object_id"] for row in rows if row["kind"] == "dicom" and row["state"] in _IMAGE_STATES}
    for name in ("labels", "descriptions"):
        path = out / f"{name}.parquet"
        if path.is_file():
            unknown = set(pq.read_table(path, columns=["image_id"]).column(0).to_pylist()) - images
            if unknown:
                problems.append(f"{name}.parquet names {len(unknown)} images the ledger does not have")
    return problems


def _check_outputs(out: Path) -> list[str]:
    problems = []
    memo = Memo(out)
    for record in sorted(memo.folder.glob("*.json")):
        stage = memo.read(record.stem)
        for name, mark in (stage.outputs if stage else {}).items():
            path = out / name
            if not path.exists():
                problems.append(f"output {name} is gone")
            elif fingerprint(path) != mark:
                problems.append(f"output {name} was changed after {record.stem} wrote it")
    return problems
