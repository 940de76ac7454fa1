"""The whole system: every stage in its order, resumable to the very same bytes.

`order` and with it torch, gensim and the rest are imported when a run starts, after the checks at the door: a
wrong path is told at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from radfast import store
from radfast.config import Config, load_config, resolve_paths, write_toml
from radfast.errors import UsageError
from radfast.pipeline.context import Context
from radfast.pipeline.memo import Memo, describe_machine, fingerprint_input, hash_code, open_output
from radfast.pipeline.verify import Summary, summarize, verify_run
from radfast.types import no_progress

if TYPE_CHECKING:
    from radfast.pipeline.order import Stage

__all__ = [
    "Summary",
    "describe_machine",
    "label_archive",
    "resume_run",
    "verify_run",
]


class Reporter(Protocol):
    """Who is told about progress."""

    def begin(self, stage: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def end(self, note: str) -> None: ...
    def close(self) -> None: ...


class _Quiet:
    def begin(self, stage: str) -> None: ...
    def advance(self, done: int, total: int) -> None:
        no_progress(done, total)

    def end(self, note: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class _Inputs:
    archive: Path
    reports: Path | None


def label_archive(
    archive: str | Path,
    reports: str | Path | None,
    out: str | Path,
    config: Config | None = None,
    *,
    last: str = "report",
    reporter: Reporter | None = None,
) -> Summary:
    """Label a radiology archive from its own reports: ingest, link, tokenize, topics, vectors, findings,
    train, label, describe, evaluate, report.

    A stage whose inputs, settings and code are unchanged is not run again; a run that was killed goes on
    with the stage it was in and ends with the same content.

    Parameters
    ----------
    archive : str or Path
        Folder of DICOM files, of any depth and naming.
    reports : str or Path or None
        CSV, JSONL or Parquet file, or a folder of texts; None takes the files named by
        ``archive.report_glob`` beside the studies.
    out : str or Path
        Output folder; made when absent.
    config : Config, optional
        Settings; the defaults are the paper's.
    last : str
        Stage to stop after.
    reporter : Reporter, optional
        Is told about progress.

    Returns
    -------
    Summary
        Ledger counts and the lines the command line prints.

    Raises
    ------
    UsageError
        For a missing folder, a wrong column name, a report file that cannot be read.
    NothingFoundError
        If there is no DICOM file, or no report matches a study.
    CannotWriteError
        If `out` cannot be written.

    References
    ----------
    Shin et al., Interleaved text/image deep mining on a very large-scale radiology database, CVPR 2015.
    """
    inputs = _Inputs(Path(archive), None if reports is None else Path(reports))
    out = Path(out)
    config = config or Config()
    if not inputs.archive.is_dir():
        raise UsageError(f"no folder {inputs.archive}")
    if inputs.reports is not None and not inputs.reports.exists():
        raise UsageError(f"no report file or folder {inputs.reports}")
    for named in (config.findings.ontology, config.vision.weights, config.evaluate.truth):
        if named is not None and not named.exists():
            raise UsageError(f"no file or folder {named}, named in the configuration")
    if out.resolve() == inputs.archive.resolve() or inputs.archive.resolve() in out.resolve().parents:
        raise UsageError(f"the output folder {out} lies in the archive: choose another one")
    with open_output(out):
        _write_run(out, inputs, config)
        return _run_stages(out, inputs, config, last, reporter or _Quiet())


def resume_run(
    out: str | Path, last: str, config: Config | None = None, *, reporter: Reporter | None = None
) -> Summary:
    """Bring the run in `out` up to stage `last`; what is unchanged is skipped.

    Raises
    ------
    UsageError
        If `out` holds no run or `last` names no stage.
    """
    out = Path(out)
    inputs, stored = read_run(out)
    config = config or stored
    with open_output(out):
        _write_run(out, inputs, config)
        return _run_stages(out, inputs, config, last, reporter or _Quiet())


def read_run(out: Path) -> tuple[_Inputs, Config]:
    """Return inputs and settings of the run in `out`."""
    try:
        values = json.loads((out / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{out} holds no run: start one with radfast run ARCHIVE --out {out}") from error
    reports = Path(values["reports"]) if values["reports"] else None
    return _Inputs(Path(values["archive"]), reports), load_config(out / "config.toml")


def _write_run(out: Path, inputs: _Inputs, config: Config) -> None:
    store.write_bytes(out / "config.toml", write_toml(resolve_paths(config)).encode())
    values = {
        "archive": str(inputs.archive.resolve()),
        "reports": str(inputs.reports.resolve()) if inputs.reports else None,
        "run_id": _name_run(inputs, config),
        "config_hash": store.hash_value(config.model_dump(mode="json")),
        "machine": describe_machine(),
    }
    store.write_json(out / "run.json", values)


def _name_run(inputs: _Inputs, config: Config) -> str:
    """Name a run by settings and inputs, wherever these and the output lie."""
    settings = config.model_dump(exclude={"threads", "evaluate"})
    for section in settings.values():
        for key, value in section.items() if isinstance(section, dict) else ():
            if isinstance(value, Path):
                section[key] = value.name
    names = [inputs.archive.name, inputs.reports.name if inputs.reports else ""]
    return store.hash_value([settings, names])[:12]


def _run_stages(out: Path, inputs: _Inputs, config: Config, last: str, reporter: Reporter) -> Summary:
    from radfast.pipeline.order import NAMES, STAGES

    if last not in NAMES:
        raise UsageError(f"no stage '{last}': choose from {', '.join(NAMES)}")
    memo, run_id = Memo(out), _name_run(inputs, config)
    run = Context(inputs.archive, inputs.reports, out, config, run_id, "", reporter.advance)
    seen = store.hash_value([fingerprint_input(inputs.archive), fingerprint_input(inputs.reports)])
    try:
        for stage in STAGES[: NAMES.index(last) + 1]:
            key = _make_key(stage, memo, config, seen)
            reporter.begin(stage.name)
            if memo.is_current(stage.name, key):
                reporter.end("unchanged")
                continue
            at_work = partial(stage.work, replace(run, key=key))
            reporter.end(memo.run(stage.name, key, stage.outputs, at_work))
    finally:
        reporter.close()
    return summarize(out, last)


def _make_key(stage: Stage, memo: Memo, config: Config, seen: str) -> str:
    before = {}
    for name in stage.after:
        record = memo.read(name)
        assert record is not None  # the order of STAGES puts it before
        before[name] = record.outputs
    settings = {name: getattr(config, name).model_dump(mode="json") for name in stage.settings}
    ontology = config.findings.ontology
    return store.hash_value(
        {
            "stage": stage.name,
            "seed": config.seed,
            "settings": settings,
            "code": hash_code("pipeline", *stage.code),
            "before": before,
            "inputs": seen if stage.reads_inputs else "",
            "ontology": fingerprint_input(ontology) if stage.name == "findings" and ontology else "",
        }
    )
