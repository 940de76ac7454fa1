"""Reports as they come: tables (CSV, TSV, JSON lines, Parquet) and text files, one at a time."""

from __future__ import annotations

import csv
import datetime
import fnmatch
import gzip
import hashlib
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from radfast.archive.dicom import clean, parse_date
from radfast.archive.discover import find_files, printable
from radfast.archive.reasons import Reason
from radfast.config import ArchiveConfig, ColumnsConfig
from radfast.errors import UsageError

_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_DELIMITERS = ",;\t|"
_OPTIONAL = ("report_id", "patient_id", "study_uid", "accession_number", "study_date")
_MAX_TEXT_BYTES = 64 << 20
_BATCH = 1024
_HEAD_ROWS = 1000
_LATIN = "read as latin-1"
_NO_NAME = re.compile(r"[\d\W]*\d[\d\W]*")

_Record = tuple[int, dict[str, Any] | None, str]  # row number, values or None where malformed, detail


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


def check_reports(reports: Path, config: ArchiveConfig) -> None:
    """Read the first rows and drop them: a wrong column should be known before hours of decoding.

    Raises
    ------
    UsageError
        As `read_reports`.
    """
    with closing(read_reports(reports, config)) as rows:
        for _ in itertools.islice(rows, _HEAD_ROWS + 1):
            pass


def _read_folder(folder: Path, config: ArchiveConfig) -> Iterator[RawReport]:
    try:
        found = find_files(folder)
    except OSError as error:
        raise UsageError(f"[reports] folder cannot be listed: {folder}") from error
    if not found.files:
        raise UsageError(f"[reports] folder holds no file: {folder}")
    for name, reason in sorted(found.odd.items()):
        yield RawReport(name, refusal=reason)
    for name in found.files:
        if _kind(name) is not None:
            yield from _read_table(folder / name, printable(name), config.columns)
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
            data = file.read(_MAX_TEXT_BYTES + 1)
    except OSError:
        report.refusal = Reason.UNREADABLE
        return report
    report.sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > _MAX_TEXT_BYTES:
        report.sha256, report.refusal = None, Reason.TOO_LARGE
        return report
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        report.text = data.decode("utf-16", "replace")
        report.detail = "read as utf-16"
    elif b"\0" in data:
        report.refusal = Reason.NOT_TEXT
    else:
        report.text, latin = _decode(data.removeprefix(b"\xef\xbb\xbf"))
        report.detail = _LATIN if latin else ""
    return report


def _kind(name: str) -> str | None:
    return _SUFFIXES.get(PurePosixPath(name.lower().removesuffix(".gz")).suffix)


def _read_table(path: Path, name: str, columns: ColumnsConfig) -> Iterator[RawReport]:
    kind = _kind(path.name)
    if kind is None or (kind == "parquet" and path.name.lower().endswith(".gz")):
        known = ", ".join(f"{suffix}[.gz]" if suffix != ".parquet" else suffix for suffix in _SUFFIXES)
        raise UsageError(f"[reports] {path} has none of the suffixes {known}, and is no folder")
    try:
        if kind == "parquet":
            records = _read_parquet(path, columns)
        elif kind == "jsonl":
            records = _read_jsonl(path, columns)
        else:
            records = _read_csv(path, columns, "\t" if kind == "tsv" else None)
        for number, values, detail in records:
            yield _make_report(f"{name}:{number}", values, detail, columns)
    except UsageError:
        raise
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError) as error:
        # the library's own words may quote a row
        raise UsageError(f"[reports] {path} cannot be read as {kind}: {type(error).__name__}") from error


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
    for field in _OPTIONAL:
        setattr(report, field, _as_text(values.get(getattr(columns, field))))
    report.report_id = report.report_id or input_id
    report.study_date = parse_date(report.study_date)
    if isinstance(text, bytes):
        text, latin = _decode(text)
        report.detail = _LATIN if latin else detail
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


def _decode(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _check_columns(path: Path, present: Sequence[str], columns: ColumnsConfig) -> None:
    """Refuse a table without the text column, or without a column that the configuration renames."""
    usual = ColumnsConfig()
    for field in ("text", *_OPTIONAL):
        name = getattr(columns, field)
        asked = field == "text" or name != getattr(usual, field)
        if asked and name not in present:
            if any(len(column) > 64 or _NO_NAME.fullmatch(column) for column in present):
                # the first row is data, perhaps of a patient: not for a message
                raise UsageError(f"[reports] {path} has no column '{name}', and its first row is no header")
            shown = ", ".join(f"'{clean(column)}'" for column in present[:50]) or "none"
            raise UsageError(f"[reports] {path} has no column '{name}' (columns.{field}); it has {shown}")


def _open_bytes(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


class _Lines:
    """Lines of a file as text; `latin` tells whether one since the last look was no UTF-8."""

    def __init__(self, file: IO[bytes]) -> None:
        start = file.read(2)
        file.seek(0)
        self._wide = start in (b"\xff\xfe", b"\xfe\xff")
        self._lines: Iterator[Any] = (
            iter(io.TextIOWrapper(file, "utf-16", newline="")) if self._wide else iter(file)
        )
        self._first = True
        self.latin = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if not self._wide:
            line, latin = _decode(line)
            self.latin |= latin
        if self._first:
            line, self._first = line.removeprefix("\ufeff"), False
        return line.replace("\0", "")  # type: ignore[no-any-return]

    def take_detail(self) -> str:
        """Say how the lines since the last call were read."""
        detail, self.latin = (_LATIN if self.latin else ""), False
        return detail


def _read_csv(path: Path, columns: ColumnsConfig, delimiter: str | None) -> Iterator[_Record]:
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_TEXT_BYTES))
    with _open_bytes(path) as file:
        lines = _Lines(file)
        first = next(lines, "")
        if delimiter is None:
            # the first of the usual delimiters with which the header names the text column
            headers = {mark: _split_header(first, mark) for mark in _DELIMITERS}
            delimiter = next((mark for mark in _DELIMITERS if columns.text in headers[mark]), ",")
        header = _split_header(first, delimiter)
        _check_columns(path, header, columns)
        lines.take_detail()
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        number = 0
        while True:
            number += 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error) or "field larger" in str(error):
                    raise UsageError(
                        f"[reports] {path}: a quote opened in row {number} is never closed"
                    ) from error
                yield number, None, "quotes in the middle of a field"
                continue
            detail = lines.take_detail()
            if not row:
                number -= 1
            elif len(row) != len(header):
                yield number, None, f"{len(row)} fields, the header has {len(header)}"
            else:
                yield number, dict(zip(header, row, strict=True)), detail


def _split_header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _read_jsonl(path: Path, columns: ColumnsConfig) -> Iterator[_Record]:
    named: set[str] = set()
    wanted = set(columns.model_dump().values())
    good = 0
    keys: list[str] | None = None
    with _open_bytes(path) as file:
        lines = _Lines(file)
        for number, line in enumerate(lines, 1):
            detail = lines.take_detail()
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                yield number, None, "no JSON object"
                continue
            keys = list(values) if keys is None else keys
            # a key may be left out of single objects, but not out of the first thousand
            good += 1
            if good <= _HEAD_ROWS:
                named.update(values.keys() & wanted)
            if good == _HEAD_ROWS:
                _check_columns(path, [*sorted(named), *(key for key in keys if key not in named)], columns)
            yield number, values, detail
    if good < _HEAD_ROWS:
        _check_columns(path, [*sorted(named), *(key for key in keys or [] if key not in named)], columns)


def _read_parquet(path: Path, columns: ColumnsConfig) -> Iterator[_Record]:
    with pq.ParquetFile(path) as file:
        present = file.schema_arrow.names
        _check_columns(path, present, columns)
        wanted = [name for name in dict.fromkeys(columns.model_dump().values()) if name in present]
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            for values in batch.to_pylist():
                number += 1
                yield number, values, ""
