"""The first stage: an archive and its reports become tables, pictures and a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from radfast.archive.dicom import is_dicom
from radfast.archive.discover import Found, find_files, printable
from radfast.archive.match import Studies
from radfast.archive.pool import DecodePool
from radfast.archive.reasons import Reason
from radfast.archive.reports import (
    RawReport,
    check_reports,
    matches_glob,
    read_checked_reports,
    read_text_file,
)
from radfast.config import ArchiveConfig
from radfast.device import count_threads
from radfast.errors import NothingFoundError, UsageError
from radfast.store import write_atomically
from radfast.types import EVIDENCE, IMAGES, LEDGER, REPORTS, Progress, State, make_table, no_progress

_ROWS = 1 << 14
_TEXT_BYTES = 64 << 20
_NPY_HEADER = 128


@dataclass(frozen=True)
class Ingested:
    """Tables of the first stage; schemas are in radfast.types.

    Attributes
    ----------
    images : pyarrow.Table
        One row per picture, sorted by path; ``pixel_row`` counts 0, 1, 2, ...
    reports : pyarrow.Table
        Reports with text, each id once, in the order of their source.
    evidence : pyarrow.Table
        One row per image that an evidence object names.
    ledger : pyarrow.Table
        One row per file of the archive, then one per report.
    """

    images: pa.Table
    reports: pa.Table
    evidence: pa.Table
    ledger: pa.Table


class _Rows:
    """Rows of a table, packed into Arrow every few thousand so that Python objects do not pile up."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._packed: list[pa.Table] = []

    def add(self, weight: int = 0, **row: Any) -> None:
        self._rows.append(row)
        self._bytes += weight
        if len(self._rows) >= _ROWS or self._bytes >= _TEXT_BYTES:
            self._pack()

    def _pack(self) -> None:
        self._packed.append(make_table(self._schema, self._rows))
        self._rows, self._bytes = [], 0

    def table(self) -> pa.Table:
        self._pack()
        return pa.concat_tables(self._packed)


class _PixelWriter:
    """Pictures as one .npy of uint8 (N, H, W), N written at the end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self.count = file, size, 0
        file.write(bytes(_NPY_HEADER))

    def add(self, picture: bytes) -> int:
        self._file.write(picture)
        self.count += 1
        return self.count - 1

    def close(self) -> None:
        shape = f"({self.count}, {self._size}, {self._size})"
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        # format 1.0: magic, version, length of the rest, dictionary padded to a multiple of 64
        head = b"\x93NUMPY\x01\x00" + (_NPY_HEADER - 10).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write(head + text.ljust(_NPY_HEADER - 11).encode("ascii") + b"\n")
        self._file.flush()


def ingest(
    archive: Path,
    reports: Path | None,
    pixels: Path,
    config: ArchiveConfig,
    *,
    threads: int = 0,
    progress: Progress = no_progress,
) -> Ingested:
    """Read every file below `archive` and every report, and account for each.

    Parameters
    ----------
    archive : Path
        Folder of DICOM files: any depth, any names. The folder of `pixels` is left out where it lies inside.
    reports : Path or None
        CSV, TSV, JSON lines (each also .gz) or Parquet file, or a folder of such files and of text files.
        None takes the files of the archive that match ``config.report_glob``.
    pixels : Path
        File to write: .npy, uint8 (N, H, W), H = W = config.picture_size, row order of ``images.pixel_row``.
    config : ArchiveConfig
    threads : int
        Processes that decode; 0 takes all cores. The result does not depend on it.
    progress : callable
        Called with (files done, files).

    Returns
    -------
    Ingested

    Raises
    ------
    UsageError
        If the archive or the reports do not exist, or the reports cannot be read or lack a column.
    NothingFoundError
        If no file is a DICOM image that can be decoded; the counts of the reasons are in the message.
    CannotWriteError
        If `pixels` cannot be written.
    """
    if not archive.is_dir():
        raise UsageError(f"[ingest] archive folder does not exist: {archive}")
    if reports is not None and reports.is_dir() and reports.resolve() == archive.resolve():
        reports = None
    if reports is not None:
        check_reports(reports, config)
    try:
        found = find_files(archive, _left_out(archive, reports, pixels))
    except OSError as error:
        raise UsageError(f"[ingest] archive folder cannot be listed: {archive}") from error
    beside = _find_reports(archive, found, config) if reports is None else []
    taken = set(beside)
    stage = _Stage(config.picture_size)
    with write_atomically(pixels) as part, part.open("wb") as file:
        names = [name for name in found.files if name not in taken]
        stage.read_files(archive, names, found, config, count_threads(threads), progress, file)
    source: Iterable[RawReport]
    if reports is None:
        source = (read_text_file(archive, name) for name in beside)
    else:
        source = read_checked_reports(reports, config)
        if reports.is_file() and archive.resolve() in reports.resolve().parents:
            name = printable(reports.resolve().relative_to(archive.resolve()).as_posix())
            stage.ledger.add(
                input_id=name,
                kind="report",
                state=State.IGNORED.value,
                reason=Reason.REPORT_TABLE.value,
                detail="",
            )
    stage.read_reports(source)
    return Ingested(stage.images.table(), stage.reports.table(), stage.evidence.table(), stage.ledger.table())


def _left_out(archive: Path, reports: Path | None, pixels: Path) -> frozenset[Path]:
    """Return what a walk must not take for input: the output, and reports that are read elsewhere."""
    output = pixels.resolve()
    if archive.resolve() in output.parent.parents:
        output = output.parent
    return frozenset({output} if reports is None else {output, reports.resolve()})


def _find_reports(archive: Path, found: Found, config: ArchiveConfig) -> list[str]:
    """Return the files that match report_glob and are not DICOM under a misleading name."""
    names = []
    for name in found.files:
        if matches_glob(name, config.report_glob):
            try:
                with (archive / name).open("rb") as file:
                    disguised = is_dicom(file.read(132))
            except OSError:
                disguised = False
            if not disguised:
                names.append(name)
    return names


class _Stage:
    """Tables under construction."""

    def __init__(self, size: int) -> None:
        self.images, self.reports = _Rows(IMAGES), _Rows(REPORTS)
        self.evidence, self.ledger = _Rows(EVIDENCE), _Rows(LEDGER)
        self._studies = Studies()
        self._size = size

    def read_files(
        self,
        archive: Path,
        names: list[str],
        found: Found,
        config: ArchiveConfig,
        workers: int,
        progress: Progress,
        file: BinaryIO,
    ) -> None:
        """Decode files and write pictures; raises NothingFoundError where there is not one picture."""
        writer = _PixelWriter(file, self._size)
        seen: set[str] = set()
        counts: Counter[str] = Counter()
        dicoms = 0
        step = max(1, len(names) // 1000)
        with DecodePool(self._size, config.decode_timeout, workers) as pool:
            for done, (answer, picture) in enumerate(pool.decode(archive, names), 1):
                name = printable(names[done - 1])
                self._settle_file(name, answer, picture, seen, writer)
                dicoms += answer["kind"] == "dicom"
                counts[answer["reason"] or answer["state"]] += 1
                if done % step == 0 or done == len(names):
                    progress(done, len(names))
        for name, reason in sorted(found.odd.items()):
            state = State.IGNORED if reason is Reason.SPECIAL_FILE else State.REJECTED
            self.ledger.add(input_id=name, kind="other", state=state.value, reason=reason.value, detail="")
            counts[reason.value] += 1
        if writer.count == 0:
            what = "image that can be used" if dicoms else "DICOM file"
            why = (
                ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
                or "the folder is empty"
            )
            raise NothingFoundError(f"[ingest] no {what} among {len(names)} files of {archive}: {why}")
        writer.close()

    def _settle_file(
        self, name: str, answer: dict[str, Any], picture: bytes, seen: set[str], writer: _PixelWriter
    ) -> None:
        study = answer.get("study") or {}
        uid = study.get("object_id") or None
        self._studies.add(name, study)
        if uid is not None and answer["state"] in (State.DESCRIBED.value, State.EVIDENCE.value):
            if uid in seen:
                answer |= {"state": State.DUPLICATE.value, "reason": Reason.DUPLICATE_INSTANCE.value}
                answer["detail"] = "an earlier path has this SOPInstanceUID"
            seen.add(uid)
        if answer["state"] == State.DESCRIBED.value:
            row = writer.add(picture)
            self.images.add(**answer["image"], path=name, sha256=answer["sha256"], pixel_row=row)
        elif answer["state"] == State.EVIDENCE.value:
            for image_id, text in answer["references"]:
                self.evidence.add(
                    len(text),
                    kind=answer["evidence"],
                    image_id=image_id,
                    study_uid=study["study_uid"],
                    source_uid=uid,
                    path=name,
                    title=answer["title"],
                    text=text,
                )
        self.ledger.add(
            input_id=name,
            kind=answer["kind"],
            object_id=uid,
            state=answer["state"],
            reason=answer["reason"],
            detail=answer["detail"],
            sha256=answer["sha256"],
        )

    def read_reports(self, source: Iterable[RawReport]) -> None:
        """Give each report its study and its state."""
        seen: set[str] = set()
        for report in source:
            state, reason, detail = self._settle_report(report, seen)
            self.ledger.add(
                input_id=report.input_id,
                kind="other" if reason is Reason.NOT_A_REPORT else "report",
                object_id=report.report_id or None,
                state=state.value,
                reason=reason.value,
                detail=detail,
                sha256=report.sha256,
            )

    def _settle_report(self, report: RawReport, seen: set[str]) -> tuple[State, Reason, str]:
        if report.refusal is not None:
            ignored = report.refusal in (Reason.NOT_A_REPORT, Reason.SPECIAL_FILE)
            return State.IGNORED if ignored else State.REJECTED, report.refusal, report.detail
        if not report.text.strip():
            return State.REJECTED, Reason.EMPTY_TEXT, report.detail
        if report.report_id in seen:
            return State.DUPLICATE, Reason.DUPLICATE_REPORT_ID, report.detail
        seen.add(report.report_id)
        uid, match, reason = self._studies.find(report)
        study = self._studies.by_uid.get(uid)
        self.reports.add(
            len(report.text),
            report_id=report.report_id,
            patient_id=report.patient_id or (study.patient_id if study else ""),
            study_uid=uid,
            accession_number=report.accession_number or (study.accession_number if study else ""),
            study_date=report.study_date or (study.study_date if study else ""),
            text=report.text,
            source=report.input_id,
            match=match,
        )
        return (State.USED if uid else State.UNMATCHED), reason, report.detail
