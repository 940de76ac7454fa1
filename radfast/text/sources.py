"""Texts from wherever they are: iterables, Arrow arrays, files; as batches for the tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from radfast.errors import UsageError
from radfast.kernels.tokenize import Lines, Slices

_DOCUMENTS = 16384
_BLOCK = 32 << 20  # bytes read at a time
_LONGEST = 2**32 - 2


def batch_texts(texts: Any) -> Iterator[Sequence[str | bytes] | Slices]:
    """Cut texts into batches.

    Parameters
    ----------
    texts : iterable of str or bytes, or a pyarrow string or binary array, chunked or not
        A null of an Arrow array is an empty document.

    Raises
    ------
    UsageError
        If `texts` is one str or bytes, or an Arrow array of another type.
    """
    if isinstance(texts, (str, bytes)):
        raise UsageError("[Tokenizer] texts must be an iterable of texts, is one text")
    if isinstance(texts, pa.ChunkedArray):
        for chunk in texts.chunks:
            yield from batch_texts(chunk)
    elif isinstance(texts, pa.Array):
        for first in range(0, len(texts), _DOCUMENTS):
            yield slice_arrow(texts[first : first + _DOCUMENTS])
    else:
        yield from _batch_iterable(texts)


def _batch_iterable(texts: Iterable[str | bytes]) -> Iterator[Sequence[str | bytes]]:
    stream = iter(texts)
    while batch := list(islice(stream, _DOCUMENTS)):
        yield batch


def slice_arrow(array: Any) -> Slices:
    """View a pyarrow string or binary array without copying its text."""
    kind = array.type
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        array = _cast(array)
        kind = array.type
    if array.null_count:
        array = pc.fill_null(array, b"" if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else "")
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    _, offsets, data = array.buffers()
    width = np.int64 if wide else np.int32
    bounds = np.zeros(1, np.int64)
    if len(array):
        bounds = np.frombuffer(offsets, width, len(array) + 1, array.offset * np.dtype(width).itemsize)
    return Slices(b"" if data is None else data, np.ascontiguousarray(bounds, np.int64))


def _cast(array: Any) -> Any:
    try:
        return array.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UsageError(f"[Tokenizer] an Arrow array must hold strings, holds {array.type}") from error


def read_texts(paths: Iterable[str | Path], column: str) -> Iterator[Slices | Lines]:
    """Stream the texts of files: .parquet, .csv and .jsonl by a column, all others one document per line.

    Raises
    ------
    UsageError
        If a file is missing or broken, or has no such column.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"[Tokenizer.fit_files] no such file: {path}")
        try:
            match path.suffix.lower():
                case ".parquet":
                    yield from _read_parquet(path, column)
                case ".csv":
                    yield from _read_csv(path, column)
                case ".jsonl" | ".ndjson":
                    yield from _read_jsonl(path, column)
                case _:
                    yield Lines(str(path))
        except KeyError as error:
            raise UsageError(f"[Tokenizer.fit_files] {path} has no column {column!r}") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(
                f"[Tokenizer.fit_files] {path} cannot be read: {type(error).__name__}"
            ) from error


def _read_parquet(path: Path, column: str) -> Iterator[Slices]:
    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            raise KeyError(column)
        for batch in file.iter_batches(_DOCUMENTS, columns=[column]):
            yield slice_arrow(batch.column(0))


def _read_csv(path: Path, column: str) -> Iterator[Slices]:
    read = pyarrow.csv.ReadOptions(block_size=_BLOCK)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    convert = pyarrow.csv.ConvertOptions(
        include_columns=[column], column_types={column: pa.large_string()}, strings_can_be_null=False
    )
    with pyarrow.csv.open_csv(path, read, parse, convert) as reader:
        for batch in reader:
            yield slice_arrow(batch.column(0))


def _read_jsonl(path: Path, column: str) -> Iterator[Slices]:
    schema = pa.schema([(column, pa.large_string())])
    parse = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    with path.open("rb") as file:
        for block in _read_blocks(file):
            if not block.strip():
                continue
            if f'"{column}"'.encode() not in block:
                raise KeyError(column)
            read = pyarrow.json.ReadOptions(block_size=len(block) + 1)
            table = pyarrow.json.read_json(pa.BufferReader(block), read, parse)
            for chunk in table.column(column).chunks:
                yield slice_arrow(chunk)


def read_lines(path: Path) -> Iterator[Slices]:
    """Stream the lines of a file, with their line breaks."""
    with path.open("rb") as file:
        for block in _read_blocks(file):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
            if not block.endswith(b"\n"):
                ends = np.append(ends, len(block))
            yield Slices(block, np.concatenate([[0], ends]).astype(np.int64))


def _read_blocks(file: Any) -> Iterator[bytes]:
    """Yield blocks that end with a line, or with the file."""
    rest = b""
    while block := file.read(_BLOCK):
        last = block.rfind(b"\n") + 1
        if last == 0:
            rest += block
            if len(rest) > _LONGEST:
                raise UsageError(
                    f"[Tokenizer.fit_files] {file.name}: a line must be shorter than 2^32 - 1 bytes"
                )
            continue
        yield rest + block[:last]
        rest = block[last:]
    if rest:
        yield rest
