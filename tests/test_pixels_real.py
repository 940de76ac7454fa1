"""Pictures of real files: equal to the inventory of decoded values, and like the PNG they were made of."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from radfast.archive import Reason, read_picture
from radfast.archive.decode import decode_frame, read_geometry
from radfast.archive.dicom import open_source, read_header
from radfast.archive.instance import silence
from radfast.archive.reasons import Refused


def test_decoded_values_equal_the_inventory(data: Path) -> None:
    """Every single frame that a trusted decoder reads is the very array pydicom gave when it was listed."""
    folder = data / "dicom"
    refused, equal = set(), 0
    with (folder / "inventory.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pydicom_decode"].startswith("ok")]
    for row in rows:
        path = folder / row["file"]
        with silence(), open_source(path, path.stat().st_size)[0] as source:
            header = read_header(source)
            geometry = read_geometry(header.values)
            if geometry.frames > 1:
                continue
            try:
                stored = decode_frame(header, geometry, 0)
            except Refused as refusal:
                refused.add(refusal.reason)
                continue
        assert hashlib.sha256(stored.tobytes()).hexdigest() == row["decoded_array_sha256"], row["file"]
        equal += 1
    assert equal >= 120
    assert refused <= {Reason.UNSUPPORTED_TRANSFER_SYNTAX, Reason.DECODER_FAILED}


def test_constructed_images_look_like_their_sources(data: Path) -> None:
    """Six syntaxes, both polarities, signed values with rescale: all must show the PNG they were made of."""
    folder = data / "dicom" / "constructed_nih"
    with (folder / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["photometric"] for row in rows} == {"MONOCHROME1", "MONOCHROME2"}
    for row in rows[::3]:
        picture = read_picture(folder / row["file"], 64)
        with Image.open(data / "images" / row["source_image"]) as source:
            expected = np.asarray(source.convert("L").resize((64, 64), Image.Resampling.BOX))
        alike = np.corrcoef(picture.ravel(), expected.ravel())[0, 1]
        assert alike > 0.97, (row["file"], row["transfer_syntax"], row["photometric"], alike)
