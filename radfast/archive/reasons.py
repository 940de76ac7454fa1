"""Reason codes of the ledger: why an input ended in the state it ended in."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Code of a ledger row; each member's comment is the meaning that docs/inputs.md prints."""

    NONE = ""  # the state says all

    # files
    NOT_DICOM = "not_dicom"  # neither the DICM prefix nor a first element that can be one
    EMPTY_FILE = "empty_file"  # 0 bytes
    UNREADABLE = "unreadable"  # no permission, read error, or a folder that cannot be listed
    BROKEN_LINK = "broken_link"  # symbolic link to nothing, or to itself
    SPECIAL_FILE = "special_file"  # pipe, socket or device: never opened

    # DICOM that is no picture
    DICOMDIR = "dicomdir"  # index of a medium; the files themselves are found without it
    NOT_AN_IMAGE = "not_an_image"  # RT object, waveform, PDF, segmentation, map, raw data
    NO_PIXEL_DATA = "no_pixel_data"  # no Pixel Data element
    NO_REFERENCE = "no_reference"  # key object, presentation state or SR that names no image

    # DICOM that is broken or that cannot be decoded here
    BAD_HEADER = "bad_header"  # the data set cannot be parsed
    TRUNCATED = "truncated"  # the file ends before the data it announces
    MISSING_UID = "missing_uid"  # no SOPInstanceUID or no StudyInstanceUID
    BAD_GEOMETRY = "bad_geometry"  # rows, columns, frames, samples or bits absent or impossible
    TOO_LARGE = "too_large"  # more pixels or memory than one file may take
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"  # no decoder for it
    UNSUPPORTED_PHOTOMETRIC = "unsupported_photometric"  # neither grey, RGB, YBR nor palette
    DECODER_FAILED = "decoder_failed"  # the decoder refused the data
    DECODE_TIMEOUT = "decode_timeout"  # not done within archive.decode_timeout
    WORKER_CRASHED = "worker_crashed"  # killed its process twice

    DUPLICATE_INSTANCE = "duplicate_instance"  # an earlier path holds the same SOPInstanceUID

    # reports
    EMPTY_TEXT = "empty_text"  # no text, or blanks only
    NOT_TEXT = "not_text"  # a report file with NUL bytes
    MALFORMED_ROW = "malformed_row"  # a row that does not fit the table, a line that is no JSON object
    BAD_TABLE = "bad_table"  # a table that cannot be read, or not to its end
    DUPLICATE_REPORT_ID = "duplicate_report_id"  # an earlier report has the same id
    NO_STUDY = "no_study"  # no study of the archive has its keys
    AMBIGUOUS_STUDY = "ambiguous_study"  # several studies fit
    NOT_A_REPORT = "not_a_report"  # file in the reports folder that report_glob does not name
    REPORT_TABLE = "report_table"  # the table of reports itself, where it lies inside the archive


class Refused(Exception):
    """A file cannot become a picture; carries the reason code and what the rule saw."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail
