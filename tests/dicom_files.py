"""DICOM files for tests, written with pydicom alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT = "1.2.840.10008.5.1.4.1.1.2"
KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.59"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


def make_dataset(name: str = "a", sop_class: str = SECONDARY_CAPTURE, **values: Any) -> Dataset:
    """A patient, a study, a series and an instance; `name` seeds the SOPInstanceUID, `values` overwrite."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", name])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", "1"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", "1"])
    dataset.PatientID = "P1"
    dataset.AccessionNumber = "ACC1"
    dataset.StudyDate = "20200131"
    dataset.Modality = "OT"
    dataset.SeriesNumber = 2
    dataset.InstanceNumber = 3
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def make_image(
    name: str, pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **values: Any
) -> Dataset:
    """An image object around `pixels`: (H, W) or (H, W, 3), frames first where NumberOfFrames is given."""
    colour = pixels.ndim >= 3 and pixels.shape[-1] == 3
    frames = values.get("NumberOfFrames")
    rows, columns = pixels.shape[1:3] if frames else pixels.shape[:2]
    base: dict[str, Any] = {
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "HighBit": 8 * pixels.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if colour:
        base["PlanarConfiguration"] = 0
    dataset = make_dataset(name, **(base | values))
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    if syntax != ExplicitVRLittleEndian:
        if UID(syntax).is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write with preamble and file meta."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def ramp(rows: int = 16, columns: int = 16, dtype: str = "uint16", step: int = 10) -> NDArray[Any]:
    """Values 0, step, 2 step, ... in reading order."""
    return (np.arange(rows * columns).reshape(rows, columns) * step).astype(dtype)
