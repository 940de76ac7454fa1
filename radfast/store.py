"""Files that are whole or absent: written to a temporary name, fsynced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from radfast.errors import CannotWriteError, UsageError

_ROW_GROUP = 1 << 16


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, on error it vanishes.

    Raises
    ------
    CannotWriteError
        If the folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}") from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with write_atomically(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write `array` as .npy."""
    with write_atomically(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write `table` as Parquet (zstd) after checking it against `schema`.

    Raises
    ------
    UsageError
        If a column is missing, in excess or of another type.
    """
    if table.column_names != schema.names:
        raise UsageError(f"[write_table] {path.name}: columns {table.column_names}, expected {schema.names}")
    table = table.cast(schema).replace_schema_metadata(schema.metadata)
    with write_atomically(path) as part:
        pq.write_table(table, part, compression="zstd", row_group_size=_ROW_GROUP)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet file written by `write_table`; a file of another schema version is refused."""
    if not path.is_file():
        raise UsageError(f"{path} is missing: run the stage that writes it first")
    table = pq.read_table(path)
    found = (table.schema.metadata or {}).get(b"radfast.schema_version", b"none")
    wanted = schema.metadata[b"radfast.schema_version"]
    if found != wanted:
        raise UsageError(f"{path} has schema version {found.decode()}, this radfast reads {wanted.decode()}")
    return table


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
