"""JPEG lossless against a plain encoder: predictors, precisions, restarts, components, broken streams."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import make_image, save
from numpy.typing import NDArray
from pydicom.encaps import encapsulate

from radfast.archive import read_instance
from radfast.archive.decode import decode_frame, read_geometry
from radfast.archive.dicom import open_source, read_header
from radfast.archive.jpeg_lossless import BrokenStreamError, decode_jpeg_lossless

SHAPES = [(1, 1), (1, 2), (2, 1), (31, 33), (8, 97)]


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def predict(
    samples: NDArray[Any], row: int, column: int, part: int, predictor: int, start: int, origin: int
) -> int:
    if row == start:
        return origin if column == 0 else int(samples[row, column - 1, part])
    if column == 0:
        return int(samples[row - 1, column, part])
    left, above = int(samples[row, column - 1, part]), int(samples[row - 1, column, part])
    corner = int(samples[row - 1, column - 1, part])
    choices = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + (above - corner >> 1),
        6: above + (left - corner >> 1),
        7: left + above >> 1,
    }
    return choices[predictor]


def encode_scan(
    samples: NDArray[Any], parts: list[int], predictor: int, precision: int, transform: int, restart_rows: int
) -> bytes:
    """All 17 categories have codes of 5 bits: the category itself."""
    out, bits, start = bytearray(), "", 0

    def flush() -> None:
        padded = bits + "1" * (-len(bits) % 8)
        for at in range(0, len(padded), 8):
            byte = int(padded[at : at + 8], 2)
            out.extend(b"\xff\x00" if byte == 0xFF else bytes([byte]))

    for row in range(samples.shape[0]):
        if restart_rows and row and row % restart_rows == 0:
            flush()
            out.extend(bytes([0xFF, 0xD0 + (row // restart_rows - 1) % 8]))
            bits, start = "", row
        for column in range(samples.shape[1]):
            for part in parts:
                guess = predict(
                    samples, row, column, part, predictor, start, 1 << (precision - transform - 1)
                )
                difference = (int(samples[row, column, part]) - guess + 32767) % 65536 - 32767
                category = abs(difference).bit_length()
                bits += f"{category:05b}"
                if 0 < category < 16:
                    low = difference if difference > 0 else difference + (1 << category) - 1
                    bits += f"{low:0{category}b}"
    flush()
    return bytes(out)


def encode(
    samples: NDArray[Any], predictor: int = 1, precision: int = 16, transform: int = 0, restart_rows: int = 0,
    interleaved: bool = True,
) -> bytes:  # fmt: skip
    rows, columns, count = samples.shape
    stored = samples >> transform
    frame = bytes([precision]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + bytes([count])
    frame += b"".join(bytes([part + 1, 0x11, 0]) for part in range(count))
    table = bytes([0x00]) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    data = b"\xff\xd8" + segment(0xC4, table) + segment(0xC3, frame)
    if restart_rows:
        data += segment(0xDD, (restart_rows * columns).to_bytes(2, "big"))
    for parts in [list(range(count))] if interleaved else [[part] for part in range(count)]:
        head = bytes([len(parts)]) + b"".join(bytes([part + 1, 0x00]) for part in parts)
        data += segment(0xDA, head + bytes([predictor, 0, transform]))
        data += encode_scan(stored, parts, predictor, precision, transform, restart_rows)
    return data + b"\xff\xd9"


def noise(shape: tuple[int, ...], precision: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 1 << precision, shape).astype(np.uint16)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [2, 8, 12, 16])
def test_predictors_and_precisions(predictor: int, precision: int) -> None:
    for shape in SHAPES:
        samples = noise((*shape, 1), precision)
        np.testing.assert_array_equal(
            decode_jpeg_lossless(encode(samples, predictor, precision), *shape), samples
        )


@pytest.mark.parametrize("restart_rows", [1, 3, 31])
@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_restart_intervals(restart_rows: int, predictor: int) -> None:
    samples = noise((31, 9, 1), 12)
    stream = encode(samples, predictor, 12, restart_rows=restart_rows)
    np.testing.assert_array_equal(decode_jpeg_lossless(stream, 31, 9), samples)


@pytest.mark.parametrize("interleaved", [True, False])
def test_components(interleaved: bool) -> None:
    samples = noise((7, 11, 3), 8)
    stream = encode(samples, 2, 8, interleaved=interleaved)
    np.testing.assert_array_equal(decode_jpeg_lossless(stream, 7, 11), samples)


def test_point_transform() -> None:
    samples = noise((9, 9, 1), 12)
    np.testing.assert_array_equal(decode_jpeg_lossless(encode(samples, 5, 12, 3), 9, 9), samples >> 3 << 3)


@pytest.mark.parametrize("value", [0, 32767, 32768, 65535])
def test_largest_differences(value: int) -> None:
    samples = np.array([[[value], [0], [65535], [32768]]], np.uint16)
    np.testing.assert_array_equal(decode_jpeg_lossless(encode(samples), 1, 4), samples)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        encode(noise((4, 4, 1), 8), precision=8)[:-20] + b"\xff\xd9",
        encode(noise((4, 4, 1), 8), precision=8).replace(b"\xff\xc3", b"\xff\xc0"),
        encode(noise((4, 5, 1), 8), precision=8),
        encode(noise((4, 4, 2), 8), precision=8, interleaved=False)[:70],
    ],
)
def test_broken_streams_are_refused(stream: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        decode_jpeg_lossless(stream, 4, 4)


def test_mutated_streams_never_do_worse_than_an_error() -> None:
    rng = random.Random(0)
    whole = encode(noise((16, 16, 1), 12), 4, 12, restart_rows=4)
    refused = 0
    for _ in range(2000):
        stream = bytearray(whole)
        for _ in range(rng.choice((1, 3))):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        try:
            assert decode_jpeg_lossless(bytes(stream[: rng.choice((len(stream), 60, 200))]), 16, 16).shape[
                :2
            ] == (16, 16)
        except BrokenStreamError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(("dtype", "stored"), [("uint8", 8), ("uint16", 12), ("int16", 16), ("int16", 12)])
def test_in_dicom(dtype: str, stored: int, tmp_path: Path) -> None:
    values = (noise((20, 20), stored).astype(int) - (1 << (stored - 1) if dtype == "int16" else 0)).astype(
        dtype
    )
    dataset = make_image("a", values, BitsStored=stored, HighBit=stored - 1)
    raw = (values.astype(int) & ((1 << stored) - 1)).astype(np.uint16)[..., None]
    dataset.PixelData = encapsulate([encode(raw, 1, max(stored, 2))])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    path = save(dataset, tmp_path / "x")
    with open_source(path, path.stat().st_size)[0] as source:
        header = read_header(source)
        decoded = decode_frame(header, read_geometry(header.values), 0)
    assert decoded.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(decoded, values)
    assert read_instance(path, 16).state == "described"
