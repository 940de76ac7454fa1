"""Files are whole or absent; tables are checked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from radfast import store
from radfast.errors import CannotWriteError, UsageError
from radfast.types import IMAGES, LEDGER, TABLES, make_table


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"

    def fail() -> None:
        with store.write_atomically(path) as part:
            part.write_bytes(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(path.parent.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    store.write_bytes(path, b"old")
    with pytest.raises(TypeError):
        store.write_bytes(path, "new")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWriteError, match=r"cannot write .*file"):
        store.write_bytes(tmp_path / "file" / "below", b"")


def test_a_table_comes_back_with_its_schema(tmp_path: Path) -> None:
    table = make_table(
        LEDGER, [{"input_id": "a.dcm", "kind": "dicom", "state": "rejected", "reason": "truncated"}]
    )
    store.write_table(tmp_path / "ledger.parquet", table, LEDGER)
    back = store.read_table(tmp_path / "ledger.parquet", LEDGER)
    assert back.equals(table)
    assert back.schema.metadata[b"radfast.table"] == b"ledger"


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="columns"):
        store.write_table(tmp_path / "x.parquet", pa.table({"a": [1]}), IMAGES)


def test_a_file_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    newer = LEDGER.with_metadata({**LEDGER.metadata, b"radfast.schema_version": b"99"})
    store.write_table(tmp_path / "x.parquet", make_table(LEDGER, []), newer)
    with pytest.raises(UsageError, match="schema version 99"):
        store.read_table(tmp_path / "x.parquet", LEDGER)


def test_every_column_says_what_it_is() -> None:
    for name, schema in TABLES.items():
        for field in schema:
            assert field.metadata[b"about"], (name, field.name)
