"""One file of an archive: what it is, its values, its picture, or the reason why not."""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray

from radfast.archive import dicom
from radfast.archive.decode import decode_frame, read_geometry
from radfast.archive.dicom import Header, attempt, read_int, read_text
from radfast.archive.evidence import read_references
from radfast.archive.pixels import make_picture
from radfast.archive.reasons import Reason, Refused
from radfast.errors import UsageError


@dataclass
class Instance:
    """What one file gave.

    Attributes
    ----------
    state : str
        described | evidence | ignored | rejected (radfast.types.State).
    reason, detail : str
        Why, as in the ledger.
    kind : str
        dicom | other.
    sha256 : str or None
        Of the file's bytes; None where they could not be read.
    study : dict
        object_id, study_uid, patient_id, accession_number, study_date; '' where absent.
    image : dict
        Row of the images table but path, sha256 and pixel_row; {} where there is no picture.
    title : str
        Title of an evidence object.
    references : list of (SOPInstanceUID, text)
        What an evidence object names.
    picture : uint8, (size, size), or None
    """

    state: str
    reason: str = ""
    detail: str = ""
    kind: str = "dicom"
    sha256: str | None = None
    study: dict[str, str] = field(default_factory=dict)
    image: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    evidence: str = ""
    references: list[tuple[str, str]] = field(default_factory=list)
    picture: NDArray[np.uint8] | None = None

    def refuse(self, state: str, reason: Reason, detail: str = "") -> Instance:
        """Set the end state and return the instance."""
        self.state, self.reason, self.detail = state, reason.value, detail
        return self


@contextmanager
def silence() -> Iterator[None]:
    """Keep pydicom's warnings, which quote values, out of streams and logs; take odd values as they are."""
    logger, mode = logging.getLogger("pydicom"), pydicom.config.settings.reading_validation_mode
    disabled, logger.disabled = logger.disabled, True
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        pydicom.config.settings.reading_validation_mode = mode


def read_instance(path: Path, size: int = 256) -> Instance:
    """Read one file; whatever it holds, the answer is an Instance.

    Parameters
    ----------
    path : Path
        Any regular file.
    size : int
        Side of the picture, pixels.

    Notes
    -----
    Decoders are native code: `ingest` calls this in processes that may die. It never raises for what a file
    holds.
    """
    instance = Instance("ignored", kind="other")
    try:
        length = path.stat().st_size
        if length == 0:
            instance.sha256 = hashlib.sha256(b"").hexdigest()
            return instance.refuse("ignored", Reason.EMPTY_FILE)
        source, instance.sha256 = dicom.open_source(path, length)
        with source:
            source.seek(0)
            if not dicom.is_dicom(source.read(132)):
                return instance.refuse("ignored", Reason.NOT_DICOM)
            instance.kind = "dicom"
            with silence():
                return _read_dicom(source, instance, size)
    except OSError as error:
        return instance.refuse("rejected", Reason.UNREADABLE, type(error).__name__)
    except MemoryError:
        return instance.refuse("rejected", Reason.TOO_LARGE, "out of memory")
    except Refused as refusal:
        return instance.refuse("rejected", refusal.reason, refusal.detail)


def _read_dicom(source: BinaryIO, instance: Instance, size: int) -> Instance:
    try:
        header = dicom.read_header(source)
    except (MemoryError, Refused):
        raise
    except EOFError:
        return instance.refuse("rejected", Reason.TRUNCATED, "the header ends early")
    except Exception as error:  # pydicom raises nearly anything on a broken data set
        if isinstance(error, OSError) and not isinstance(source, io.BytesIO):
            raise
        return instance.refuse("rejected", Reason.BAD_HEADER, type(error).__name__)
    values = header.values
    meta = getattr(values, "file_meta", pydicom.Dataset())
    sop_class = read_text(values, 0x00080016) or read_text(meta, 0x00020002)
    uid = read_text(values, 0x00080018) or read_text(meta, 0x00020003)
    kind = dicom.classify(sop_class)
    instance.study = {
        "object_id": uid,
        "study_uid": read_text(values, 0x0020000D),
        "patient_id": read_text(values, 0x00100020),
        "accession_number": read_text(values, 0x00080050),
        "study_date": dicom.read_date(values),
    }
    if kind == "dicomdir" or 0x00041220 in values:
        return instance.refuse("ignored", Reason.DICOMDIR)
    if kind in ("key_object", "presentation_state", "structured_report"):
        return _read_evidence(header.source, instance, kind)
    if kind == "other":
        return instance.refuse("ignored", Reason.NOT_AN_IMAGE, dicom.name_of(sop_class))
    if header.pixels is None:
        if not dicom.is_whole(header):
            return instance.refuse("rejected", Reason.TRUNCATED, "the header ends early")
        return instance.refuse("ignored", Reason.NO_PIXEL_DATA)
    if not uid or not instance.study["study_uid"]:
        missing = "StudyInstanceUID" if uid else "SOPInstanceUID"
        return instance.refuse("rejected", Reason.MISSING_UID, f"{missing} is absent")
    return _read_image(instance, header, sop_class, size)


def _read_evidence(source: BinaryIO, instance: Instance, kind: str) -> Instance:
    if not instance.study["object_id"]:
        return instance.refuse("rejected", Reason.MISSING_UID, "SOPInstanceUID is absent")
    source.seek(0)
    values = attempt(lambda: pydicom.dcmread(source, force=True, stop_before_pixels=True), None)
    if values is None:
        return instance.refuse("rejected", Reason.BAD_HEADER)
    instance.evidence = kind
    instance.title, instance.references = read_references(values, kind)
    return instance.refuse("evidence", Reason.NONE if instance.references else Reason.NO_REFERENCE)


def _read_image(instance: Instance, header: Header, sop_class: str, size: int) -> Instance:
    values = header.values
    geometry = read_geometry(values)
    frame = geometry.frames // 2
    stored = decode_frame(header, geometry, frame)
    instance.picture, window = make_picture(stored, header, geometry, frame, size)
    study = instance.study
    instance.image = {
        "image_id": study["object_id"],
        "patient_id": study["patient_id"],
        "study_uid": study["study_uid"],
        "series_uid": read_text(values, 0x0020000E),
        "accession_number": study["accession_number"],
        "study_date": study["study_date"],
        "modality": read_text(values, 0x00080060),
        "body_part": read_text(values, 0x00180015),
        "series_number": read_int(values, 0x00200011),
        "instance_number": read_int(values, 0x00200013),
        "sop_class": sop_class,
        "transfer_syntax": header.transfer_syntax,
        "photometric": geometry.photometric,
        "rows": geometry.rows,
        "columns": geometry.columns,
        "frames": geometry.frames,
        "frame": frame,
        "bits_stored": geometry.bits_stored,
        "window_center": window.center,
        "window_width": window.width,
        "window_source": window.source,
    }
    return instance.refuse("described", Reason.NONE)


def read_picture(path: Path, size: int = 256) -> NDArray[np.uint8]:
    """Read the picture of one DICOM image, as `ingest` makes it.

    Parameters
    ----------
    path : Path
        DICOM file.
    size : int
        Side of the picture, pixels.

    Returns
    -------
    uint8, (size, size)
        Windowed, fitted into the square, 0 is black.

    Raises
    ------
    UsageError
        If the file is missing or holds no picture, with the reason code.

    Notes
    -----
    It decodes in the calling process, without the protection and the time limit that `ingest` has.
    """
    if not path.is_file():
        raise UsageError(f"[read_picture] file does not exist: {path}")
    instance = read_instance(path, size)
    if instance.picture is None:
        why = f"{instance.reason} {instance.detail}".rstrip()
        raise UsageError(f"[read_picture] {path.name} holds no picture: {why}")
    return instance.picture
