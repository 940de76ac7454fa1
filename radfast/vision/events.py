"""TensorBoard's event files, written without TensorBoard.

A file is a row of records: length (8 bytes), masked CRC-32C of it, the record, masked CRC-32C of that. A
record is an Event message: wall time, step, and a summary of scalars. Both are formats of TensorFlow
(``tfrecord``, ``event.proto``).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from radfast.errors import CannotWriteError


def _make_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli's polynomial, reflected
        table.append(value)
    return table


_TABLE = _make_table()


def mask_crc(data: bytes) -> int:
    """Return the CRC-32C of `data`, rotated and shifted as the format wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class EventWriter:
    """One event file in a folder; each call of `add` is on disk when it returns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"events.out.tfevents.{time.time_ns() // 10**9}.radfast.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._write(_double(1, time.time()) + _text(3, b"brain.Event:2"))
        except OSError as error:
            raise CannotWriteError(f"cannot write {self.path}: {error.strerror}") from error

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of a step."""
        values = b"".join(
            _text(1, _text(1, tag.encode()) + _key(2, 5) + struct.pack("<f", value))
            for tag, value in scalars.items()
        )
        self._write(_double(1, time.time()) + _key(2, 0) + _varint(step) + _text(5, values))

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + struct.pack("<I", mask_crc(length)) + event + struct.pack("<I", mask_crc(event))
        with self.path.open("ab") as file:
            file.write(record)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _double(field: int, value: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", value)


def _text(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value
