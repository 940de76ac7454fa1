"""JPEG lossless (ITU-T T.81 process 14): the usual syntax of older archives, which no trusted package reads.

Sample x is predicted from its left (a), upper (b) and upper left (c) neighbours; the Huffman-coded difference
is added modulo 2^16. Predictors 1 to 7: a, b, c, a+b-c, a+(b-c)/2, b+(a-c)/2, (a+b)/2. The first sample of a
scan or of a restart interval is predicted as 2^(P-Pt-1), the rest of that line by a, the first sample of any
other line by b.
Limits: precision 2 to 16 bits, 1 to 4 components without subsampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SOF3, _DHT, _SOS, _EOI, _DRI = 0xC3, 0xC4, 0xDA, 0xD9, 0xDD
_OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - {_SOF3, _DHT, 0xC8, 0xCC}
_BAD_CODE, _ENDED = 1, 2


class BrokenStreamError(ValueError):
    """The bytes are no JPEG lossless stream that can be decoded."""


@dataclass
class _Stream:
    precision: int = 0
    samples: NDArray[np.uint16] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint16))
    components: list[int] = field(default_factory=list)
    tables: dict[int, NDArray[np.uint16]] = field(default_factory=dict)
    restart: int = 0


def decode_jpeg_lossless(data: bytes, rows: int, columns: int) -> NDArray[np.uint16]:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
        From SOI on.
    rows, columns : int
        What the DICOM header says; a stream of another size is refused before memory is taken for it.

    Returns
    -------
    uint16, (H, W, components)

    Raises
    ------
    BrokenStreamError
        If the stream is broken, of another process or of another size.
    """
    stream, at, scanned = _Stream(), 2, 0
    if data[:2] != b"\xff\xd8":
        raise BrokenStreamError("no SOI marker")
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BrokenStreamError("no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EOI:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if length < 2 or len(segment) != length - 2:
            raise BrokenStreamError("a segment ends early")
        at += 2 + length
        if marker == _SOF3:
            _read_frame(stream, segment, rows, columns)
        elif marker in _OTHER_FRAMES:
            raise BrokenStreamError("not process 14")
        elif marker == _DHT:
            _read_tables(stream, segment)
        elif marker == _DRI and length == 4:
            stream.restart = int.from_bytes(segment, "big")
        elif marker == _SOS:
            at, count = _read_scan(stream, data, segment, at)
            scanned += count
    if not stream.components or scanned != len(stream.components):
        raise BrokenStreamError("components without data")
    return stream.samples


def _read_frame(stream: _Stream, segment: bytes, rows: int, columns: int) -> None:
    if (
        stream.components
        or len(segment) < 6
        or len(segment) != 6 + 3 * segment[5]
        or not 1 <= segment[5] <= 4
    ):
        raise BrokenStreamError("bad frame header")
    size = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if size != (rows, columns) or not 2 <= segment[0] <= 16:
        raise BrokenStreamError("size or precision differs from the header")
    parts = [segment[6 + 3 * index : 9 + 3 * index] for index in range(segment[5])]
    if len({part[1] for part in parts}) != 1 or (len(parts) > 1 and parts[0][1] != 0x11):
        raise BrokenStreamError("subsampled components")
    stream.precision = segment[0]
    stream.components = [part[0] for part in parts]
    stream.samples = np.zeros((rows, columns, len(parts)), np.uint16)


def _read_tables(stream: _Stream, segment: bytes) -> None:
    """Read Huffman tables into look-ups: 16 bits ahead -> code length * 256 + category, 0 for no code."""
    at = 0
    while at + 17 <= len(segment):
        where, counts = segment[at], segment[at + 1 : at + 17]
        values = segment[at + 17 : at + 17 + sum(counts)]
        at += 17 + len(values)
        look = np.zeros(1 << 16, np.uint16)
        code = used = 0
        for length, count in enumerate(counts, 1):
            for value in values[used : used + count]:
                first, last = code << (16 - length), (code + 1) << (16 - length)
                if last > 1 << 16 or value > 16:
                    raise BrokenStreamError("bad Huffman table")
                look[first:last] = length << 8 | value
                code += 1
            used += count
            code <<= 1
        if used != len(values):
            raise BrokenStreamError("bad Huffman table")
        stream.tables[where] = look
    if at != len(segment):
        raise BrokenStreamError("bad Huffman table")


def _read_scan(stream: _Stream, data: bytes, segment: bytes, start: int) -> tuple[int, int]:
    """Decode the components of one scan; return where its data end and how many components it had."""
    count = segment[0] if segment else 0
    if not 1 <= count <= len(stream.components) or len(segment) != 4 + 2 * count:
        raise BrokenStreamError("bad scan header")
    chosen, tables = [], []
    for index in range(count):
        component, where = segment[1 + 2 * index], segment[2 + 2 * index] >> 4
        if component not in stream.components or where not in stream.tables:
            raise BrokenStreamError("a scan names what was not defined")
        chosen.append(stream.components.index(component))
        tables.append(stream.tables[where])
    predictor, transform = segment[1 + 2 * count], segment[3 + 2 * count] & 15
    columns = stream.samples.shape[1]
    if not 1 <= predictor <= 7 or transform >= stream.precision or stream.restart % columns:
        raise BrokenStreamError("bad predictor, point transform or restart interval")
    status, end = _decode_scan(
        np.frombuffer(data, np.uint8),
        start,
        np.stack(tables),
        np.array(chosen),
        stream.samples,
        predictor,
        stream.precision,
        transform,
        stream.restart // columns,
    )
    if status:
        raise BrokenStreamError("no such code" if status == _BAD_CODE else "the scan ends early")
    return int(end), count


@njit(cache=True)
def _decode_scan(
    data: Any,
    at: int,
    tables: Any,
    chosen: Any,
    samples: Any,
    predictor: int,
    precision: int,
    transform: int,
    restart_rows: int,
) -> tuple[int, int]:
    rows, columns = samples.shape[0], samples.shape[1]
    size = data.size
    bits, held, padded = np.uint64(0), 0, 0
    origin = 1 << (precision - transform - 1)
    line_zero = 0
    for row in range(rows):
        if restart_rows and row and row % restart_rows == 0:
            # drop the bits that fill the last byte, step over the RST marker
            bits, held = np.uint64(0), 0
            while at + 1 < size and not (data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7):
                if data[at] == 0xFF and data[at + 1] != 0 and data[at + 1] != 0xFF:
                    return _ENDED, at
                at += 1
            at += 2
            line_zero, padded = row, 0
        for column in range(columns):
            for order in range(chosen.size):
                component = chosen[order]
                while held < 32:
                    byte = 0
                    if at < size and data[at] != 0xFF:
                        byte = data[at]
                        at += 1
                    elif at + 1 < size and data[at] == 0xFF and data[at + 1] == 0:
                        byte = 255
                        at += 2
                    else:
                        padded += 1  # a marker or the end: zeros follow
                    bits = (bits << np.uint64(8)) | np.uint64(byte)
                    held += 8
                entry = tables[order, (bits >> np.uint64(held - 16)) & np.uint64(0xFFFF)]
                if entry == 0:
                    return (_ENDED if padded else _BAD_CODE), at
                held -= entry >> 8
                category = entry & 255
                difference = np.int64(0)
                if category == 16:
                    difference = np.int64(32768)
                elif category:
                    held -= category
                    difference = np.int64((bits >> np.uint64(held)) & np.uint64((1 << category) - 1))
                    if difference < 1 << (category - 1):
                        difference -= (1 << category) - 1
                if held < 8 * padded:
                    return _ENDED, at
                if row == line_zero:
                    guess = origin if column == 0 else np.int64(samples[row, column - 1, component])
                elif column == 0:
                    guess = np.int64(samples[row - 1, column, component])
                else:
                    left = np.int64(samples[row, column - 1, component])
                    above = np.int64(samples[row - 1, column, component])
                    corner = np.int64(samples[row - 1, column - 1, component])
                    if predictor == 1:
                        guess = left
                    elif predictor == 2:
                        guess = above
                    elif predictor == 3:
                        guess = corner
                    elif predictor == 4:
                        guess = left + above - corner
                    elif predictor == 5:
                        guess = left + ((above - corner) >> 1)
                    elif predictor == 6:
                        guess = above + ((left - corner) >> 1)
                    else:
                        guess = (left + above) >> 1
                samples[row, column, component] = (guess + difference) & 0xFFFF
    if transform:
        for order in range(chosen.size):
            for row in range(rows):
                for column in range(columns):
                    samples[row, column, chosen[order]] <<= transform
    while at + 1 < size and not (data[at] == 0xFF and data[at + 1] not in (0, 0xFF)):
        at += 1
    return 0, at
