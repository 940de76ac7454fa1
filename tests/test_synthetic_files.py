"""The DICOM files of the synthetic archive: encodings, stored values, object definitions."""

from __future__ import annotations

import shutil
import subprocess
from random import Random

import numpy as np
import pydicom
import pytest
from pydicom import uid as uids

from radfast.synthetic import make_archive
from radfast.synthetic.catalog import EXAMS
from radfast.synthetic.dicom import Storage, build_image, save, store_values
from radfast.synthetic.lesions import draw_picture
from radfast.synthetic.study import choose_patient, plan_studies

LOSSLESS = (
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.RLELossless,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
)


def _study(exam_key):
    rng = Random(exam_key)
    while True:
        study = plan_studies(choose_patient("RF000001", rng), 0, rng)[0]
        if study.exam.key == exam_key:
            return study


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, True), (16, False)])
def test_lossless_syntaxes_give_back_the_stored_values(tmp_path, syntax, bits, signed):
    study = _study("chest_ct")
    pixels = (
        np.random.default_rng(bits)
        .integers(-900 if signed else 0, 3000, (512, 512))
        .astype("i2" if signed else "u2")
    )
    storage = Storage("CT", bits, signed, 0 if signed else -1024, False, syntax, "all", False)
    save(build_image(study, study.pictures[0], storage, pixels), tmp_path / "a" / "b")
    data = pydicom.dcmread(tmp_path / "a" / "b")
    assert data.file_meta.TransferSyntaxUID == syntax
    assert data.SOPInstanceUID == study.pictures[0].uid
    np.testing.assert_array_equal(data.pixel_array, pixels)


def test_jpeg_keeps_a_smooth_picture(tmp_path):
    study = _study("chest_xr")
    plane = draw_picture(study.exam, [], 0, np.random.default_rng(0))
    for inverted in (False, True):
        storage = Storage("CR", 8, False, None, inverted, uids.JPEGBaseline8Bit, "none", True)
        pixels = store_values(plane, storage)
        save(build_image(study, study.pictures[0], storage, pixels), tmp_path / "x.dcm")
        data = pydicom.dcmread(tmp_path / "x.dcm")
        assert data.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
        assert np.abs(data.pixel_array.astype(int) - pixels).mean() < 3


def test_stored_values_turn_back_into_hounsfield_units():
    plane = draw_picture(EXAMS[0], [], 0, np.random.default_rng(1))
    for bits, signed, intercept in ((12, False, -1024), (16, True, 0), (16, False, -1024), (16, True, -1024)):
        storage = Storage("CT", bits, signed, intercept, False, uids.ExplicitVRLittleEndian, "all", False)
        back = store_values(plane, storage).astype(np.float64) + intercept
        inside = (plane > -1020) & (plane < 3000)
        assert np.abs(back - plane)[inside].max() <= 0.51


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_files_keep_their_object_definitions(tmp_path):
    make_archive(tmp_path, 25, 3, n_text_only=0, threads=1)
    checked = set()
    for path in sorted(path for path in (tmp_path / "archive").rglob("*") if path.is_file()):
        data = pydicom.dcmread(path, stop_before_pixels=True)
        if data.file_meta.TransferSyntaxUID == uids.DeflatedExplicitVRLittleEndian:
            continue  # dciodvfy does not inflate
        run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        wrong = [line for line in run.stderr.splitlines() if line.startswith(("Error", "Abort", "Usage"))]
        assert not wrong, (data.SOPClassUID.name, wrong)
        checked.add(data.SOPClassUID.name)
    assert len(checked) >= 5
