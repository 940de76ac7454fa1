"""Tables of reports, row by row: CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from radfast.archive.dicom import clean
from radfast.config import ColumnsConfig
from radfast.errors import UsageError

#: Rows of a table that are looked at before the archive is read.
HEAD_ROWS = 1000
#: What one text may hold.
MAX_TEXT_BYTES = 64 << 20
#: Columns that a table may lack.
OPTIONAL_COLUMNS = ("report_id", "patient_id", "study_uid", "accession_number", "study_date")
#: Detail of a text that is no UTF-8.
LATIN = "read as latin-1"

_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_DELIMITERS = ",;\t|"
_BATCH = 1024
_NO_NAME = re.compile(r"[\d\W]*\d[\d\W]*")

_Record = tuple[int, dict[str, Any] | None, str]  # row number, values or None where malformed, detail


class TableError(UsageError):
    """A table that cannot be read, or not to its end; `rule` says why without a path and without a value."""

    def __init__(self, path: Path, rule: str, hint: str = "") -> None:
        super().__init__(f"[reports] {path} {rule}{hint}")
        self.rule = rule


def kind_of(name: str) -> str | None:
    """Return csv, tsv, jsonl or parquet by the suffix of a name, None for no table."""
    return _SUFFIXES.get(PurePosixPath(name.lower().removesuffix(".gz")).suffix)


def read_records(path: Path, columns: ColumnsConfig) -> Iterator[_Record]:
    """Yield the rows of a table.

    Raises
    ------
    TableError
        If the suffix is not known, a column is missing or there twice, or the table cannot be read.
    """
    kind = kind_of(path.name)
    if kind is None or (kind == "parquet" and path.name.lower().endswith(".gz")):
        known = ", ".join(f"{suffix}[.gz]" if suffix != ".parquet" else suffix for suffix in _SUFFIXES)
        raise TableError(path, f"has none of the suffixes {known}, and is no folder")
    try:
        if kind == "parquet":
            yield from _read_parquet(path, columns)
        elif kind == "jsonl":
            yield from _read_jsonl(path, columns)
        else:
            yield from _read_csv(path, columns, "\t" if kind == "tsv" else None)
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError, OverflowError) as error:
        # the library's own words may quote a row
        raise TableError(path, f"cannot be read as {kind}: {type(error).__name__}") from error


def decode_text(data: bytes) -> tuple[str, bool]:
    """Return UTF-8, else Latin-1, and whether it was the latter."""
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _check_columns(path: Path, present: Sequence[str], columns: ColumnsConfig) -> None:
    """Refuse a table without the text column or one that the configuration renames, or with one twice."""
    usual = ColumnsConfig()
    for field in ("text", *OPTIONAL_COLUMNS):
        name = getattr(columns, field)
        asked = field == "text" or name != getattr(usual, field)
        if present.count(name) > 1:
            raise TableError(path, f"has more than one column '{name}' (columns.{field})")
        if asked and name not in present:
            if any(len(column) > 64 or _NO_NAME.fullmatch(column) for column in present):
                # the first row is data, perhaps of a patient: not for a message
                raise TableError(path, f"has no column '{name}', and its first row is no header")
            shown = ", ".join(f"'{clean(column)}'" for column in present[:50]) or "none"
            raise TableError(path, f"has no column '{name}' (columns.{field})", f"; it has {shown}")


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
            iter(io.TextIOWrapper(file, "utf-16", errors="replace", newline="")) if self._wide else iter(file)
        )
        self._first = True
        self.latin = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if not self._wide:
            line, latin = decode_text(line)
            self.latin |= latin
        if self._first:
            line, self._first = line.removeprefix("\ufeff"), False
        return line.replace("\0", "")  # type: ignore[no-any-return]

    def take_detail(self) -> str:
        """Say how the lines since the last call were read."""
        detail, self.latin = (LATIN if self.latin else ""), False
        return detail


def _read_csv(path: Path, columns: ColumnsConfig, delimiter: str | None) -> Iterator[_Record]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_BYTES))
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
                    rule = f"breaks off: a quote opened in row {number} is never closed"
                    raise TableError(path, rule) from error
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
            if good <= HEAD_ROWS:
                named.update(values.keys() & wanted)
            if good == HEAD_ROWS:
                _check_columns(path, [*sorted(named), *(key for key in keys if key not in named)], columns)
            yield number, values, detail
    if good < HEAD_ROWS:
        _check_columns(path, [*sorted(named), *(key for key in keys or [] if key not in named)], columns)


def _read_parquet(path: Path, columns: ColumnsConfig) -> Iterator[_Record]:
    with pq.ParquetFile(path) as file:
        present = file.schema_arrow.names
        _check_columns(path, present, columns)
        wanted = [name for name in dict.fromkeys(columns.model_dump().values()) if name in present]
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            for values in pa.table(batch).cast(_dates_as_text(batch.schema)).to_pylist():
                number += 1
                yield number, values, ""


def _dates_as_text(schema: pa.Schema) -> pa.Schema:
    """Return `schema` with text for dates: Python's know no nanoseconds and no year beyond 9999."""
    dated = (pa.types.is_date, pa.types.is_timestamp)
    fields = [
        field.with_type(pa.string()) if any(is_one(field.type) for is_one in dated) else field
        for field in schema
    ]
    return pa.schema(fields)
