"""Pictures: decoding, modality and VOI transforms against pydicom, inversion, padding, colour, geometry."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import CT, make_image, ramp, save
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from radfast.archive import Instance, Reason, read_instance, read_picture
from radfast.archive.instance import silence
from radfast.archive.pixels import fit_square
from radfast.errors import UsageError


def read(dataset: Dataset, tmp_path: Path, size: int = 16) -> Instance:
    return read_instance(save(dataset, tmp_path / "x.dcm"), size)


def grey(dataset: Dataset, tmp_path: Path, size: int = 16) -> np.ndarray[Any, Any]:
    instance = read(dataset, tmp_path, size)
    assert instance.picture is not None, (instance.reason, instance.detail)
    return instance.picture


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_each_lossless_syntax_gives_the_native_picture(syntax: str, dtype: str, tmp_path: Path) -> None:
    values = ramp(64, 64, dtype, 1) - (100 if dtype == "int16" else 0)
    window = {"WindowCenter": 60, "WindowWidth": 200}
    native = grey(make_image("a", values, **window), tmp_path, 64)
    assert np.unique(native).size > 100
    np.testing.assert_array_equal(grey(make_image("a", values, syntax, **window), tmp_path, 64), native)


def test_big_endian_pixels(tmp_path: Path) -> None:
    values = ramp()
    dataset = make_image("a", values, WindowCenter=1280, WindowWidth=2560)
    native = grey(dataset, tmp_path)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = values.astype(">u2").tobytes()
    np.testing.assert_array_equal(grey(dataset, tmp_path), native)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(600.0, 900.0), (0.0, 1.0), (2000.0, 3.5)])
def test_windows_agree_with_pydicom(function: str, center: float, width: float, tmp_path: Path) -> None:
    dataset = make_image(
        "a",
        ramp(step=13),
        Modality="CT",
        RescaleSlope=1.5,
        RescaleIntercept=-1000,
        WindowCenter=[center, 1],
        WindowWidth=[width, 1],
        VOILUTFunction=function,
    )
    instance = read(dataset, tmp_path)
    assert instance.picture is not None
    numbers = apply_modality_lut(ramp(step=13), dataset)
    shown = apply_windowing(numbers, dataset, index=0)
    # pydicom's output range is that of the modality values
    low, high = -1000.0, 65535 * 1.5 - 1000
    expected = np.clip((shown - low) / (high - low), 0, 1) * 255
    assert np.abs(instance.picture - expected).max() <= 0.51
    assert (instance.image["window_center"], instance.image["window_width"]) == (center, width)
    assert instance.image["window_source"] == "voi"


def test_window_of_width_zero_is_no_window(tmp_path: Path) -> None:
    instance = read(make_image("a", ramp(), WindowCenter=[0, 900], WindowWidth=[0, 1800]), tmp_path)
    assert instance.image["window_center"] == 900
    instance = read(make_image("a", ramp(), WindowCenter=100, WindowWidth=0), tmp_path)
    assert instance.image["window_source"] == "percentile"


def test_ct_without_window_takes_soft_tissue_in_hu(tmp_path: Path) -> None:
    values = np.repeat(np.array([[864, 1064, 1264, 0]], dtype=np.uint16), 4, axis=0)
    dataset = make_image("a", values, sop_class=CT, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    instance = read(dataset, tmp_path, 4)
    assert instance.image["window_source"] == "modality_default"
    assert (instance.image["window_center"], instance.image["window_width"]) == (40.0, 400.0)
    assert instance.picture is not None
    # -160, 40 and 240 HU are the ends and the middle
    assert instance.picture[0].tolist() == [0, 128, 255, 0]


def test_other_modalities_span_the_percentiles(tmp_path: Path) -> None:
    values = ramp(100, 100, "uint16", 1)
    values[0, 0] = 65535
    instance = read(make_image("a", values), tmp_path)
    low, high = np.percentile(values, [1, 99])
    assert instance.image["window_source"] == "percentile"
    assert instance.image["window_center"] == pytest.approx((low + high) / 2)
    assert instance.image["window_width"] == pytest.approx(high - low)


def test_flat_picture_is_mid_grey(tmp_path: Path) -> None:
    assert set(np.unique(grey(make_image("a", np.full((8, 8), 77, np.uint8)), tmp_path))) == {128}


@pytest.mark.parametrize(
    "change", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}]
)
def test_inverted_pictures(change: dict[str, str], tmp_path: Path) -> None:
    window = {"WindowCenter": 1280, "WindowWidth": 2560}
    straight = grey(make_image("a", ramp(), **window), tmp_path)
    inverted = grey(make_image("a", ramp(), **window, **change), tmp_path)
    assert np.abs(255 - straight.astype(int) - inverted).max() <= 1
    assert inverted[0, 0] > inverted[-1, -1]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_stretch_the_span(photometric: str, tmp_path: Path) -> None:
    values = (ramp(step=1) + 500).astype("int16")
    values[:4] = -2000
    dataset = make_image("a", values, PhotometricInterpretation=photometric)
    dataset.add_new(0x00280120, "SS", -2000)
    instance = read(dataset, tmp_path)
    assert instance.picture is not None
    assert not instance.picture[:4].any()
    assert instance.image["window_width"] < 256
    # the same value written as unsigned, as some devices do
    dataset.add_new(0x00280120, "US", 65536 - 2000)
    np.testing.assert_array_equal(grey(dataset, tmp_path), instance.picture)


def test_padding_range(tmp_path: Path) -> None:
    values = ramp(step=1)
    dataset = make_image("a", values, PixelPaddingValue=0, PixelPaddingRangeLimit=15)
    assert not grey(dataset, tmp_path)[0].any()
    assert grey(dataset, tmp_path)[2].all()


def _lut(first: int, bits: int, entries: list[int], **values: str) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries), first, bits])
    item.add_new(0x00283006, "US", entries)
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def test_voi_lut_agrees_with_pydicom_and_goes_before_the_window(tmp_path: Path) -> None:
    entries = [int(4095 * (step / 199) ** 2) for step in range(200)]
    dataset = make_image(
        "a", ramp(step=1), WindowCenter=100, WindowWidth=10, VOILUTSequence=[_lut(20, 12, entries)]
    )
    instance = read(dataset, tmp_path)
    expected = apply_voi_lut(ramp(step=1), dataset) / 4095 * 255
    assert instance.picture is not None
    assert np.abs(instance.picture - expected).max() <= 0.51
    assert instance.image["window_source"] == "voi_lut"
    assert instance.image["window_center"] is None


def test_modality_lut_agrees_with_pydicom(tmp_path: Path) -> None:
    entries = [1000 + 3 * step for step in range(256)]
    dataset = make_image(
        "a", ramp(step=1), ModalityLUTSequence=[_lut(0, 16, entries, ModalityLUTType="US")],
        WindowCenter=1300.5, WindowWidth=601,
    )  # fmt: skip
    numbers = apply_modality_lut(ramp(step=1), dataset).astype(float)
    expected = np.clip((numbers - 1300) / 600 + 0.5, 0, 1) * 255
    assert np.abs(grey(dataset, tmp_path) - expected).max() <= 0.51


def test_enhanced_object_uses_the_groups_of_its_frame(tmp_path: Path) -> None:
    def group(slope: float, center: float) -> Dataset:
        transform, window, item = Dataset(), Dataset(), Dataset()
        transform.RescaleSlope, transform.RescaleIntercept = slope, 0
        window.WindowCenter, window.WindowWidth = center, 100
        item.PixelValueTransformationSequence, item.FrameVOILUTSequence = [transform], [window]
        return item

    frames = np.stack([ramp(), ramp(), ramp()])
    dataset = make_image("a", frames, NumberOfFrames=3)
    dataset.PerFrameFunctionalGroupsSequence = [group(1, 10), group(2, 20), group(3, 30)]
    dataset.SharedFunctionalGroupsSequence = [group(9, 90)]
    instance = read(dataset, tmp_path)
    assert (instance.image["frames"], instance.image["frame"]) == (3, 1)
    assert instance.image["window_center"] == 20
    assert instance.picture is not None
    assert instance.picture[0, 1] == round(255 * ((20 - 19.5) / 99 + 0.5))


@pytest.mark.parametrize("frames", [2, 5])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLELossless])
def test_the_middle_frame_stands_for_the_object(frames: int, syntax: str, tmp_path: Path) -> None:
    values = np.stack([np.full((8, 8), 20 * index, np.uint8) for index in range(frames)])
    dataset = make_image("a", values, syntax, NumberOfFrames=frames, WindowCenter=128, WindowWidth=256)
    assert set(np.unique(grey(dataset, tmp_path))) == {20 * (frames // 2)}


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 3), np.uint8)
    values[:, :4] = (255, 0, 0)
    values[:, 4:] = (10, 200, 30)
    instance = read(make_image("a", values), tmp_path, 8)
    assert instance.picture is not None
    assert set(np.unique(instance.picture)) == {76, round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)}
    assert instance.image["window_source"] == "none"


def test_sixteen_bit_colour_uses_its_full_range(tmp_path: Path) -> None:
    values = np.full((8, 8, 3), 32768, np.uint16)
    assert set(np.unique(grey(make_image("a", values), tmp_path))) == {128}


def test_palette(tmp_path: Path) -> None:
    dataset = make_image("a", np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 4))
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for offset, colour in enumerate(([0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255])):
        dataset.add_new(0x00281101 + offset, "US", [4, 0, 8])
        dataset.add_new(0x00281201 + offset, "OW", bytes(colour))
    assert grey(dataset, tmp_path, 4)[:, 0].tolist() == [0, 76, 150, 29]


def test_longer_side_fills_the_square_and_the_rest_is_black(tmp_path: Path) -> None:
    picture = grey(
        make_image("a", np.full((20, 40), 200, np.uint8), WindowCenter=128, WindowWidth=256), tmp_path
    )
    assert not picture[:4].any()
    assert not picture[12:].any()
    assert (picture[4:12] == 200).all()


def test_pixel_spacing_gives_the_shape(tmp_path: Path) -> None:
    # pixels twice as high as wide make a square of a wide matrix
    values = np.full((20, 40), 200, np.uint8)
    assert (grey(make_image("a", values, PixelSpacing=[1.0, 0.5]), tmp_path) > 0).all()
    assert (grey(make_image("a", values, PixelAspectRatio=[2, 1]), tmp_path) > 0).all()
    assert not (grey(make_image("a", values, PixelSpacing=[0, 0]), tmp_path) > 0).all()


def test_shrinking_averages_areas() -> None:
    fine = np.kron(np.array([[0, 200], [100, 40]], np.uint8), np.ones((8, 8), np.uint8))
    fine[0, 0] = 64
    np.testing.assert_array_equal(fit_square(fine, 1.0, 2), [[1, 200], [100, 40]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (97, 2), (31, 32)])
def test_awkward_shapes(shape: tuple[int, int], tmp_path: Path) -> None:
    assert grey(make_image("a", np.full(shape, 9, np.uint8)), tmp_path, 32).shape == (32, 32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 0}, Reason.BAD_GEOMETRY),
        ({"Columns": None}, Reason.BAD_GEOMETRY),
        ({"Rows": 65535, "Columns": 65535}, Reason.TOO_LARGE),
        ({"Rows": 17}, Reason.TRUNCATED),
        ({"NumberOfFrames": 3}, Reason.TRUNCATED),
        ({"NumberOfFrames": -1}, Reason.BAD_GEOMETRY),
        ({"BitsAllocated": 12}, Reason.BAD_GEOMETRY),
        ({"SamplesPerPixel": 2}, Reason.BAD_GEOMETRY),
        ({"PhotometricInterpretation": "CMYK"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"StudyInstanceUID": None}, Reason.MISSING_UID),
        ({"SOPInstanceUID": ""}, Reason.MISSING_UID),
        ({"PixelData": None}, Reason.NO_PIXEL_DATA),
    ],
)
def test_refusals_name_the_rule(change: dict[str, Any], reason: Reason, tmp_path: Path) -> None:
    dataset = make_image("a", ramp())
    for keyword, value in change.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    path = tmp_path / "x.dcm"
    dataset.save_as(path, enforce_file_format=False)
    instance = read_instance(path, 16)
    assert instance.reason == reason.value
    assert instance.picture is None
    assert instance.kind == "dicom"


def test_odd_values_never_cost_the_picture(tmp_path: Path) -> None:
    dataset = make_image("a", ramp())
    with silence():
        dataset.SeriesNumber = ""
        dataset.add_new(0x00091001, "UN", b"\xff\xfe")
        dataset.WindowCenter, dataset.WindowWidth = "40", "400"
        dataset.StudyDate = "31.01.2020"
        dataset.PatientID = "Müller\\7"
        dataset.SpecificCharacterSet = "ISO_IR 100"
    path = save(dataset, tmp_path / "x.dcm")
    data = path.read_bytes()
    for old, new in ((b"IS\x02\x003 ", b"IS\x02\x00x "), (b"DS\x04\x00400 ", b"DS\x04\x00n/a ")):
        assert old in data
        data = data.replace(old, new)
    path.write_bytes(data)
    instance = read_instance(path, 16)
    assert instance.state == "described"
    assert instance.image["series_number"] is None
    assert instance.image["instance_number"] is None
    assert instance.image["study_date"] == ""
    assert instance.image["patient_id"] == "Müller\\7"
    assert instance.image["window_source"] == "percentile"


def test_files_without_preamble_and_without_meta(tmp_path: Path) -> None:
    dataset = make_image("a", ramp())
    whole = save(dataset, tmp_path / "whole").read_bytes()
    expected = read_picture(tmp_path / "whole", 16)
    (tmp_path / "prefix").write_bytes(whole[128:])
    (tmp_path / "meta").write_bytes(whole[132:])
    del dataset.file_meta
    for name, implicit in (("explicit", False), ("implicit", True)):
        dataset.save_as(tmp_path / name, implicit_vr=implicit, little_endian=True)
    for name in ("prefix", "meta", "explicit", "implicit"):
        instance = read_instance(tmp_path / name, 16)
        assert instance.state == "described", name
        np.testing.assert_array_equal(instance.picture, expected)
        assert instance.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_read_picture_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_picture(tmp_path / "absent")
    (tmp_path / "x").write_text("no DICOM")
    with pytest.raises(UsageError, match="not_dicom"):
        read_picture(tmp_path / "x")


def test_large_files_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.stack([ramp(), ramp() + 7, ramp() + 90])
    path = save(make_image("a", values, NumberOfFrames=3), tmp_path / "x.dcm")
    expected = read_instance(path, 16)
    monkeypatch.setattr("radfast.archive.dicom.IN_MEMORY_BYTES", 100)
    found = read_instance(path, 16)
    np.testing.assert_array_equal(found.picture, expected.picture)
    assert found.image == expected.image
    assert found.sha256 == expected.sha256


def test_deflated_files_that_grow_without_end_or_end_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_image("a", np.zeros((400, 400), np.uint16), DeflatedExplicitVRLittleEndian)
    path = save(dataset, tmp_path / "x.dcm")
    assert path.stat().st_size < 3000
    assert read_instance(path, 16).state == "described"
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-60])
    assert read_instance(tmp_path / "cut", 16).reason == "truncated"
    (tmp_path / "broken").write_bytes(path.read_bytes()[:400] + b"\xff" * 600)
    assert read_instance(tmp_path / "broken", 16).reason == "bad_header"
    monkeypatch.setattr("radfast.archive.dicom.MAX_INFLATED_BYTES", 100_000)
    assert read_instance(path, 16).reason == "too_large"
