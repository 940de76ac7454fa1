"""Reports as they come: tables (CSV, TSV, JSON lines, Parquet) and text files, one at a time."""

from __future__ import annotations

import datetime
import fnmatch
import hashlib
import itertools
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from radfast.archive.dicom import clean, parse_date
from radfast.archive.discover import Found, find_files, printable
from radfast.archive.reasons import Reason
from radfast.archive.tables import (
    HEAD_ROWS,
    LATIN,
    MAX_TEXT_BYTES,
    OPTIONAL_COLUMNS,
    TableError,
    decode_text,
    kind_of,
    read_records,
)
from radfast.config import ArchiveConfig, ColumnsConfig
from radfast.errors import UsageError


@dataclass
class RawReport:
    """A report before it is known whose it is.

    Attributes
    ----------
    input_id : str
        Ledger name: file, and ':row' in a table (1 is the first data row, or the line of a JSON lines file).
    refusal : Reason or None
        Why it cannot be used.
    path : str or None
        Of a text file, relative to its root: its folder and its name help to find the study.
    """

    input_id: str
    report_id: str = ""
    patient_id: str = ""
    study_uid: str = ""
    accession_number: str = ""
    study_date: str = ""
    text: str = ""
    detail: str = ""
    refusal: Reason | None = None
    path: str | None = None
    sha256: str | None = None


def read_reports(reports: Path, config: ArchiveConfig) -> Generator[RawReport, None, None]:
    """Read a table of reports, or a folder of tables and text files.

    A table that cannot be read, or not to its end, is one refused report where it lies in a folder; the rows
    before the break and all other files of the folder are read.

    Raises
    ------
    UsageError
        If the path does not exist, has a suffix of no known kind, lacks a column, or cannot be read.
    """
    if reports.is_dir():
        yield from _read_folder(reports, config)
    elif reports.is_file():
        yield from _read_table(reports, reports.name, config.columns)
    else:
        raise UsageError(f"[reports] file or folder does not exist: {reports}")


def read_checked_reports(reports: Path, config: ArchiveConfig) -> Iterator[RawReport]:
    """Read what `check_reports` let pass: a single table that breaks off later is a refused report, too.

    By then the archive is decoded, and that work must not be lost.
    """
    try:
        yield from read_reports(reports, config)
    except TableError as error:
        yield _refuse_table(reports.name, error)


def _refuse_table(name: str, error: TableError) -> RawReport:
    return RawReport(name, refusal=Reason.BAD_TABLE, detail=error.rule)


def check_reports(reports: Path, config: ArchiveConfig) -> None:
    """Read the first rows and drop them: a wrong column should be known before hours of decoding.

    Raises
    ------
    UsageError
        As `read_reports`, and where a folder holds tables alone of which none can be read.
    """
    if not reports.is_dir():
        _check_rows(read_reports(reports, config))
        return
    first: TableError | None = None
    names = _list_folder(reports).files
    if any(kind_of(name) is None and matches_glob(name, config.report_glob) for name in names):
        return
    for name in names:
        if kind_of(name) is not None:
            try:
                _check_rows(_read_table(reports / name, printable(name), config.columns))
            except TableError as error:
                first = first or error
            else:
                return
    if first is not None:
        raise first


def _check_rows(rows: Generator[RawReport, None, None]) -> None:
    with closing(rows):
        for _ in itertools.islice(rows, HEAD_ROWS + 1):
            pass


def _list_folder(folder: Path) -> Found:
    try:
        found = find_files(folder)
    except OSError as error:
        raise UsageError(f"[reports] folder cannot be listed: {folder}") from error
    if not found.files:
        raise UsageError(f"[reports] folder holds no file: {folder}")
    return found


def _read_folder(folder: Path, config: ArchiveConfig) -> Iterator[RawReport]:
    found = _list_folder(folder)
    for name, reason in sorted(found.odd.items()):
        yield RawReport(name, refusal=reason)
    for name in found.files:
        if kind_of(name) is not None:
            try:
                yield from _read_table(folder / name, printable(name), config.columns)
            except TableError as error:
                yield _refuse_table(printable(name), error)
        elif matches_glob(name, config.report_glob):
            yield read_text_file(folder, name)
        else:
            yield RawReport(printable(name), refusal=Reason.NOT_A_REPORT)


def matches_glob(name: str, pattern: str) -> bool:
    """Say whether the last part of a relative path matches the pattern of report files, capitals or not."""
    return fnmatch.fnmatchcase(PurePosixPath(name).name.lower(), pattern.lower())


def read_text_file(root: Path, name: str) -> RawReport:
    """Read one text file as a report; its id is its path relative to `root`."""
    shown = printable(name)
    report = RawReport(shown, report_id=shown, path=shown)
    try:
        with (root / name).open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError:
        report.refusal = Reason.UNREADABLE
        return report
    report.sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > MAX_TEXT_BYTES:
        report.sha256, report.refusal = None, Reason.TOO_LARGE
        return report
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        report.text = data.decode("utf-16", "replace")
        report.detail = "read as utf-16"
    elif b"\0" in data:
        report.refusal = Reason.NOT_TEXT
    else:
        report.text, latin = decode_text(data.removeprefix(b"\xef\xbb\xbf"))
        report.detail = LATIN if latin else ""
    return report


def _read_table(path: Path, name: str, columns: ColumnsConfig) -> Generator[RawReport, None, None]:
    for number, values, detail in read_records(path, columns):
        yield _make_report(f"{name}:{number}", values, detail, columns)


def _make_report(
    input_id: str, values: dict[str, Any] | None, detail: str, columns: ColumnsConfig
) -> RawReport:
    report = RawReport(input_id, report_id=input_id, detail=detail)
    if values is None:
        report.refusal = Reason.MALFORMED_ROW
        return report
    text = values.get(columns.text)
    if text is not None and not isinstance(text, str | bytes):
        if not _is_missing(text):
            report.refusal, report.detail = Reason.MALFORMED_ROW, f"text is a {type(text).__name__}"
            return report
        text = ""
    for field in OPTIONAL_COLUMNS:
        setattr(report, field, _as_text(values.get(getattr(columns, field))))
    report.report_id = report.report_id or input_id
    report.study_date = parse_date(report.study_date)
    if isinstance(text, bytes):
        text, latin = decode_text(text)
        report.detail = LATIN if latin else detail
    # JSON can spell half a surrogate pair, which UTF-8 cannot hold
    report.text = (
        (text or "").encode("utf-8", "surrogatepass").decode("utf-8", "replace").removeprefix("\ufeff")
    )
    return report


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_text(value: Any) -> str:
    if _is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime.date):
        value = value.isoformat()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return clean(str(value))
