"""Pictures and key object selections as DICOM files, in many encodings.

The modality decides how values are stored (HU with rescale for CT, bare signal for MR, either polarity for
radiographs); the patient's stream decides bits, sign, window and transfer syntax.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items

from radfast.synthetic.canvas import Plane
from radfast.synthetic.study import Picture, Study, make_uid

SIDE = 512

_PLUGINS: dict[str, str] = {
    uids.RLELossless: "pylibjpeg",
    uids.JPEG2000Lossless: "pylibjpeg",
    uids.JPEGLSLossless: "pyjpegls",
}
_SYNTAXES = (
    (uids.ExplicitVRLittleEndian, 28),
    (uids.ImplicitVRLittleEndian, 14),
    (uids.DeflatedExplicitVRLittleEndian, 10),
    (uids.RLELossless, 16),
    (uids.JPEGLSLossless, 18),
    (uids.JPEG2000Lossless, 14),
)
_CLASSES = {
    "CT": uids.CTImageStorage,
    "MR": uids.MRImageStorage,
    "CR": uids.ComputedRadiographyImageStorage,
    "DX": uids.DigitalXRayImageStorageForPresentation,
    "SC": uids.SecondaryCaptureImageStorage,
    "MF": uids.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
}
_PAIRED = ("KNEE", "HAND")
_REGIONS = {"CHEST": ("51185008", "Chest"), "HAND": ("85562004", "Hand")}


@dataclass(frozen=True)
class Storage:
    """How the pictures of a study are stored; one choice for all of them.

    Attributes
    ----------
    modality : str
        CT, MR, CR or DX.
    bits, signed : int, bool
        BitsStored and PixelRepresentation.
    intercept : int or None
        RescaleIntercept, None without rescale.
    inverted : bool
        MONOCHROME1.
    syntax : str
        Transfer syntax UID.
    window : str
        "all" every window of the series, "first" one, "none".
    secondary : bool
        Stored as secondary capture.
    """

    modality: str
    bits: int
    signed: bool
    intercept: int | None
    inverted: bool
    syntax: str
    window: str
    secondary: bool


def choose_storage(study: Study, rng: Random) -> Storage:
    """Draw how the pictures of a study are stored."""
    modality = rng.choice(study.exam.modality)
    syntax = rng.choices([s for s, _ in _SYNTAXES], [w for _, w in _SYNTAXES])[0]
    window = rng.choices(("all", "first", "none"), (5, 3, 2))[0]
    if modality == "CT":
        bits, signed, intercept = rng.choice(
            ((12, False, -1024), (16, True, 0), (16, False, -1024), (16, True, -1024))
        )
        return Storage("CT", bits, signed, intercept, False, syntax, window, False)
    if modality == "MR":
        return Storage("MR", rng.choice((12, 12, 16)), False, None, False, syntax, window, False)
    inverted = rng.random() < 0.4
    if rng.random() < 0.25:
        secondary = rng.random() < 0.5
        return Storage(modality, 8, False, None, inverted, uids.JPEGBaseline8Bit, "none", secondary)
    bits = rng.choice((10, 12, 14))
    return Storage(modality, bits, False, rng.choice((None, 0)), inverted, syntax, window, False)


def take_unsigned(storage: Storage) -> Storage:
    """Give the storage of multi-frame secondary captures, which are unsigned by their definition."""
    return replace(storage, signed=False, intercept=-1024) if storage.signed else storage


def store_values(plane: Plane, storage: Storage) -> NDArray[Any]:
    """Turn a drawn picture into stored values.

    Parameters
    ----------
    plane : float32 (H, W)
        HU, signal, or density in [0, 1].
    storage : Storage
        Bits, sign, rescale, polarity.

    Returns
    -------
    uint8, uint16 or int16 (H, W)
        Stored values.
    """
    top = (1 << storage.bits) - 1
    if storage.modality == "CT":
        values = plane - np.float32(storage.intercept or 0)
        low, high = (-(top + 1) // 2, top // 2) if storage.signed else (0, top)
    elif storage.modality == "MR":
        values, low, high = plane, 0, top
    else:
        values, low, high = plane * np.float32(top / 1.15), 0, top
    kept = np.clip(np.rint(values), low, high)
    if storage.inverted:
        kept = top - kept
    stored: NDArray[Any] = kept.astype(
        np.int16 if storage.signed else np.uint8 if storage.bits == 8 else np.uint16
    )
    return stored


def _windows(picture: Picture, storage: Storage, pixels: NDArray[Any]) -> list[tuple[float, float]]:
    if storage.window == "none":
        full = 1 << storage.bits  # "for presentation" asks for a window
        return [(full / 2, full)] if storage.modality == "DX" and not storage.secondary else []
    if picture.series.windows:
        windows = [(float(center), float(width)) for center, width in picture.series.windows]
    elif storage.modality == "MR":
        windows = [(450.0, 900.0), (600.0, 1300.0)]
    else:
        top = float(1 << storage.bits)
        windows = [(round(top * 0.48), round(top * 0.9))]
    return windows if storage.window == "all" else windows[:1]


def _common(study: Study, modality: str, series_number: int, instance: int, description: str) -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.StudyDate = data.SeriesDate = data.ContentDate = study.date
    data.StudyTime = data.SeriesTime = data.ContentTime = study.time
    data.AccessionNumber = study.accession
    data.Modality = modality
    data.Manufacturer = "radfast"
    data.ReferringPhysicianName = ""
    data.StudyDescription = study.exam.titles[0]
    data.SeriesDescription = description
    data.PatientName = study.patient.name
    data.PatientID = study.patient.patient_id
    data.PatientBirthDate = study.patient.birth_date
    data.PatientSex = study.patient.sex
    data.StudyInstanceUID = study.uid
    data.SeriesInstanceUID = make_uid(study.uid, "series", series_number)
    data.StudyID = study.accession[-4:]
    data.SeriesNumber = series_number
    data.InstanceNumber = instance
    return data


def _add_modality(data: Dataset, study: Study, picture: Picture, storage: Storage) -> None:
    """Add the attributes that the SOP class asks for."""
    data.BodyPartExamined = study.exam.body_part
    if data.SOPClassUID in (_CLASSES["SC"], _CLASSES["MF"]):
        data.ConversionType = "WSD"
        data.PatientOrientation = ""
    if study.exam.body_part in _PAIRED and data.SOPClassUID != _CLASSES["DX"]:
        data.Laterality = ""
    if picture.frames > 1:
        data.NumberOfFrames = picture.frames
        data.BurnedInAnnotation = "NO"
        data.PresentationLUTShape = "IDENTITY"
        data.FrameIncrementPointer = 0x00182001
        data.PageNumberVector = list(range(1, picture.frames + 1))
    if storage.modality in ("CT", "MR"):
        sagittal = study.exam.key in ("spine_mr", "knee_mr")
        data.FrameOfReferenceUID = make_uid(study.uid, "frame")
        data.PositionReferenceIndicator = ""
        data.PatientPosition = "HFS"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if storage.modality == "CT" else "M"]
        data.SliceThickness = 5
        data.PixelSpacing = [0.7, 0.7]
        data.ImagePositionPatient = (
            [0, -179.2, -5 * picture.instance] if sagittal else [-179.2, -179.2, -5 * picture.instance]
        )
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1] if sagittal else [1, 0, 0, 0, 1, 0]
        if storage.modality == "CT":
            data.KVP = 120
            data.AcquisitionNumber = 1
        else:
            data.ScanningSequence, data.SequenceVariant, data.ScanOptions = "SE", "SK", ""
            data.MRAcquisitionType, data.EchoTrainLength = "2D", 1
            data.RepetitionTime, data.EchoTime = (550, 12) if picture.series.contrast == 0 else (4200, 96)
    elif not storage.secondary:
        data.ViewPosition = "PA"
        data.PatientOrientation = ["L", "F"]
        data.ImageType = ["ORIGINAL", "PRIMARY", ""]
        if data.SOPClassUID == _CLASSES["DX"]:
            data.PresentationIntentType = "FOR PRESENTATION"
            data.ImagerPixelSpacing = [0.7, 0.7]
            data.PixelIntensityRelationship = "LOG"
            data.PixelIntensityRelationshipSign = 1 if storage.inverted else -1
            data.PresentationLUTShape = "INVERSE" if storage.inverted else "IDENTITY"
            data.ImageLaterality = "U"
            data.AnatomicRegionSequence = _code(*_REGIONS[study.exam.body_part], scheme="SCT")
            data.AcquisitionContextSequence = Items([])
            data.DetectorType, data.PositionerType = "SCINTILLATOR", "NONE"
            data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
            data.LossyImageCompression = "00"
            data.BurnedInAnnotation = "NO"


def build_image(study: Study, picture: Picture, storage: Storage, pixels: NDArray[Any]) -> FileDataset:
    """Build the DICOM instance of one picture, encoded.

    Parameters
    ----------
    study, picture, storage : Study, Picture, Storage
        Whose, which, how.
    pixels : uint8, uint16 or int16 (H, W) or (frames, H, W)
        Stored values.

    Returns
    -------
    pydicom.FileDataset
        Ready to be saved.
    """
    name = "MF" if picture.frames > 1 else "SC" if storage.secondary else storage.modality
    data = _common(
        study, storage.modality, picture.series_number, picture.instance, picture.series.description
    )
    data.SOPClassUID = _CLASSES[name]
    data.SOPInstanceUID = picture.uid
    _add_modality(data, study, picture, storage)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if storage.inverted else "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored, data.HighBit = storage.bits, storage.bits - 1
    data.PixelRepresentation = int(storage.signed)
    if storage.intercept is not None:
        data.RescaleIntercept, data.RescaleSlope = storage.intercept, 1
        data.RescaleType = "HU" if storage.modality == "CT" else "US"
    if windows := _windows(picture, storage, pixels):
        centers, widths = [center for center, _ in windows], [width for _, width in windows]
        data.WindowCenter = centers if len(windows) > 1 else centers[0]
        data.WindowWidth = widths if len(windows) > 1 else widths[0]
    file = _wrap(data, storage.syntax if storage.syntax not in _PLUGINS else uids.ExplicitVRLittleEndian)
    if storage.syntax == uids.JPEGBaseline8Bit:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=92)
        file.PixelData = encapsulate([buffer.getvalue()])
        file["PixelData"].VR = "OB"
        file.LossyImageCompression = "01"
        file.LossyImageCompressionMethod = "ISO_10918_1"
        file.LossyImageCompressionRatio = round(pixels.nbytes / len(buffer.getvalue()), 2)
        return file
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW"
    if plugin := _PLUGINS.get(storage.syntax):
        file.compress(storage.syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return file


def _wrap(data: Dataset, syntax: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = uids.UID(syntax)
    meta.ImplementationClassUID = uids.UID(make_uid("radfast synthetic"))
    meta.ImplementationVersionName = "RADFAST"
    return FileDataset("", data, file_meta=meta, preamble=b"\0" * 128)


def _code(value: str, meaning: str, scheme: str = "DCM") -> Items:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Items([item])


def build_key_objects(study: Study, storage: Storage) -> FileDataset:
    """Build the key object selection of a study (TID 2010), naming `study.key_objects`."""
    chosen = [picture for picture in study.pictures if picture.uid in study.key_objects]
    data = _common(study, "KO", 9001, 1, "KEY IMAGES")
    data.SOPClassUID = uids.KeyObjectSelectionDocumentStorage
    data.SOPInstanceUID = make_uid(study.uid, "key objects")
    data.ReferencedPerformedProcedureStepSequence = Items([])
    evidence = Dataset()
    evidence.StudyInstanceUID = study.uid
    evidence.ReferencedSeriesSequence = Items([])
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = _code("113000", "Of Interest")
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    data.ContentTemplateSequence = Items([template])
    data.ContentSequence = Items([])
    series_items: dict[int, Dataset] = {}
    for picture in chosen:
        reference = Dataset()
        name = "MF" if picture.frames > 1 else "SC" if storage.secondary else storage.modality
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = _CLASSES[name], picture.uid
        if picture.series_number not in series_items:
            series = Dataset()
            series.SeriesInstanceUID = make_uid(study.uid, "series", picture.series_number)
            series.ReferencedSOPSequence = Items([])
            series_items[picture.series_number] = series
            evidence.ReferencedSeriesSequence.append(series)
        series_items[picture.series_number].ReferencedSOPSequence.append(reference)
        content = Dataset()
        content.RelationshipType, content.ValueType = "CONTAINS", "IMAGE"
        content.ReferencedSOPSequence = Items([reference])
        data.ContentSequence.append(content)
    data.CurrentRequestedProcedureEvidenceSequence = Items([evidence])
    return _wrap(data, uids.ExplicitVRLittleEndian)


def save(file: FileDataset, path: Path) -> None:
    """Write a DICOM file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
