"""Pixels and headers that break the standard: bits in odd places, no numbers, cut files, wrong syntaxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import make_image, ramp, save
from pydicom import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from radfast.archive import Reason, read_instance, read_picture


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("in_place", [True, False])
def test_high_bit_above_the_stored_ones(syntax: str, dtype: str, in_place: bool, tmp_path: Path) -> None:
    values = ramp(32, 32, dtype, 3) - (1500 if dtype == "int16" else 0)
    depth = {"BitsStored": 12, "WindowCenter": 500, "WindowWidth": 4000}
    native = read_picture(save(make_image("a", values, HighBit=11, **depth), tmp_path / "a"), 32)
    written = values if in_place else (values << 4).astype(dtype)
    found = read_picture(save(make_image("a", written, syntax, HighBit=15, **depth), tmp_path / "b"), 32)
    np.testing.assert_array_equal(found, native)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_do_not_hide_the_others(odd: float, tmp_path: Path) -> None:
    values = ramp(16, 16, "float32", 1)
    values[0, 0] = odd
    dataset = make_image("f", values)
    dataset.FloatPixelData = dataset.PixelData
    del dataset.PixelData
    instance = read_instance(save(dataset, tmp_path / "a"), 16)
    assert instance.picture is not None
    assert instance.picture[1:].std() > 60
    assert np.isfinite([instance.image["window_center"], instance.image["window_width"]]).all()


def test_encapsulated_pixels_under_a_native_syntax_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), "uint8")
    data = save(make_image("a", noise, RLELossless), tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(data.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"))
    instance = read_instance(tmp_path / "b")
    assert (instance.state, instance.reason) == ("rejected", Reason.DECODER_FAILED.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_header_that_is_cut_anywhere_is_rejected(syntax: str, tmp_path: Path) -> None:
    dataset = make_image("a", ramp())
    dataset.file_meta.TransferSyntaxUID = syntax
    data = save(dataset, tmp_path / "a").read_bytes()
    whole = 0
    for end in range(132, len(data) - 512, 3):
        (tmp_path / "b").write_bytes(data[:end])
        instance = read_instance(tmp_path / "b")
        # a cut between two elements cannot be told from an object without pixels
        whole += instance.state == "ignored"
        assert instance.state == "rejected" or instance.reason == Reason.NO_PIXEL_DATA.value
    assert whole < 15


def test_jpeg_ls_without_its_end_is_not_decoded(tmp_path: Path) -> None:
    path = save(make_image("a", ramp(32, 32, step=3), JPEGLSLossless), tmp_path / "a")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\xff\xd9") - 40])
    instance = read_instance(path)
    assert (instance.state, instance.reason) == ("rejected", Reason.TRUNCATED.value)
    assert instance.detail == "the JPEG-LS stream has no end"  # said before CharLS reads zeros for seconds


def add_table(dataset: Dataset, keyword: str, first: int, data: bytes) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(data) // 2, first, 16])
    item.add_new(0x00283006, "OW", data)
    setattr(dataset, keyword, [item])
    return dataset


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence", "palette"])
def test_tables_of_big_endian_files(keyword: str, tmp_path: Path) -> None:
    found = []
    for order, syntax in (("<u2", ExplicitVRLittleEndian), (">u2", ExplicitVRBigEndian)):
        dataset = make_image("a", ramp(step=1))
        data = (np.arange(256)[::-1] * 251).astype(order).tobytes()
        if keyword == "palette":
            dataset.PhotometricInterpretation = "PALETTE COLOR"
            for colour in ("Red", "Green", "Blue"):
                setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
                setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
        else:
            add_table(dataset, keyword, 0, data)
        dataset.PixelData = ramp(step=1).astype(order).tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        found.append(read_picture(save(dataset, tmp_path / "a"), 16))
    np.testing.assert_array_equal(*found)
    assert np.unique(found[0]).size > 200


def test_voi_lut_that_starts_below_zero(tmp_path: Path) -> None:
    rescaled = make_image("a", ramp(step=1), RescaleSlope=1, RescaleIntercept=-1024)
    data = (np.arange(256) * 257).astype("<u2").tobytes()
    picture = read_picture(
        save(add_table(rescaled, "VOILUTSequence", 65536 - 1024, data), tmp_path / "a"), 16
    )
    np.testing.assert_array_equal(picture.ravel(), np.arange(256))
