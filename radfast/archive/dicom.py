"""DICOM headers: is it DICOM, what kind of object is it, and its values without ever failing."""

from __future__ import annotations

import hashlib
import io
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import pydicom
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from radfast.archive.reasons import Reason, Refused

#: Files up to this size are read once and hashed, parsed and decoded from memory.
IN_MEMORY_BYTES = 256 << 20

#: What a deflated data set may grow to.
MAX_INFLATED_BYTES = 1 << 30

_T = TypeVar("_T")

_BLOCK = 1 << 20
_PREFIX = 132
_NUMBER = re.compile(r"[+-]?\d{1,18}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_DIGITS = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})(?!\d)")

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.59"
_STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88."
_PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11."
# Storage classes whose pixels, where they have some, are no picture of the patient: raw data, spectroscopy,
# registration, segmentations, maps, waveforms, eye measurements, tractography, radiotherapy, documents.
_NO_PICTURE = tuple(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in (
        "4.2", "8", "9", "9.", "10", "30", "66", "66.", "67", "68.", "78.", "79.", "80.", "81.", "82.", "90.",
        "104.", "129", "131", "200.", "201.", "481.", "501.", "601.",
    )
)  # fmt: skip

HEADER_TAGS = [
    0x00020010, 0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080050, 0x00080060, 0x00100020,
    0x00180015, 0x00181164, 0x0020000D, 0x0020000E, 0x00200011, 0x00200013, 0x00280002, 0x00280004,
    0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280034, 0x00280100, 0x00280101,
    0x00280102, 0x00280103, 0x00280106, 0x00280107, 0x00280120, 0x00280121, 0x00281050, 0x00281051,
    0x00281052, 0x00281053, 0x00281056, 0x00281101, 0x00281102, 0x00281103, 0x00281199, 0x00281201,
    0x00281202, 0x00281203, 0x00281221, 0x00281222, 0x00281223, 0x00283000, 0x00283010, 0x00041220,
    0x20500020, 0x52009229, 0x52009230, 0x7FE00001, 0x7FE00002,
]  # fmt: skip

_PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels of a file lie.

    Attributes
    ----------
    keyword, vr : str
        PixelData, FloatPixelData or DoubleFloatPixelData, and its value representation.
    offset : int
        First byte of the value.
    length : int or None
        Bytes of the value, None for encapsulated pixels.
    """

    keyword: str
    vr: str
    offset: int
    length: int | None


@dataclass(frozen=True)
class Header:
    """What the first pass over a file gives.

    Attributes
    ----------
    values : Dataset
        The elements of HEADER_TAGS that are present.
    transfer_syntax : str
        TransferSyntaxUID; where the file does not say, the one its bytes were read with.
    pixels : PixelElement or None
        None where the object has no pixels.
    source : BinaryIO
        Stream that the offset of the pixels counts in: the file, or its inflated data set.
    """

    values: Dataset
    transfer_syntax: str
    pixels: PixelElement | None
    source: BinaryIO


def open_source(path: Path, size: int) -> tuple[BinaryIO, str]:
    """Open a file and return it with its SHA-256; small ones are read whole. The caller closes it."""
    if size > IN_MEMORY_BYTES:
        source = path.open("rb")
        try:
            digest = hashlib.sha256()
            while block := source.read(_BLOCK):
                digest.update(block)
        except BaseException:
            source.close()
            raise
        return source, digest.hexdigest()
    data = path.read_bytes()
    # of the very bytes that are parsed: a file may change between two looks at it
    sha256 = hashlib.sha256(data).hexdigest()
    if data[:4] == b"DICM":
        # some writers leave out the 128 bytes before the prefix
        data = bytes(128) + data
    return io.BytesIO(data), sha256


def is_dicom(start: bytes) -> bool:
    """Say whether the first 132 bytes of a file can be those of a DICOM file.

    Without the prefix the first element must be one of group 0002, 0004 or 0008 with a value representation
    of two capitals or a length below 1 MiB, in either byte order; text and other formats fail that.
    """
    if start[128:_PREFIX] == b"DICM" or start[:4] == b"DICM":
        return True
    if len(start) < 8:
        return False
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        group, element = int.from_bytes(start[0:2], order), int.from_bytes(start[2:4], order)
        if group not in (0x0002, 0x0004, 0x0008) or element > 0x3000:
            continue
        explicit = all(65 <= byte <= 90 for byte in start[4:6])
        if explicit or int.from_bytes(start[4:8], order) < (1 << 20):
            return True
    return False


def read_header(source: BinaryIO) -> Header:
    """Read the elements that decide about a file, and stop before its pixels.

    Raises
    ------
    Refused
        If the header ends early, or a deflated data set is too large or broken.
    Exception
        Whatever pydicom raises on a data set it cannot parse.
    """
    syntax, start = _find_syntax(source)
    if syntax == DeflatedExplicitVRLittleEndian:
        source = _inflate(source, start)
    source.seek(0)
    values = pydicom.dcmread(source, force=True, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))
    implicit, little = values.original_encoding
    syntax = syntax or read_text(getattr(values, "file_meta", Dataset()), 0x00020010)
    if not syntax:
        syntax = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
    end = source.tell()
    pixels = _read_pixel_element(source, little is not False)
    cut_in_meta = start > 0 and not values
    if pixels is None and (cut_in_meta or _ends_early(values, end, source.seek(0, io.SEEK_END))):
        raise Refused(Reason.TRUNCATED, "the header ends early")
    return Header(values, syntax, pixels, source)


def _ends_early(values: Dataset, end: int, size: int) -> bool:
    """Say whether the last element is longer than the file; pydicom steps over it without a word."""
    if end > size:
        return True
    last: Any = values.get_item(max(values.keys())) if values else None
    return isinstance(last, RawDataElement) and last.value is not None and 0 < len(last.value) < last.length


def is_whole(header: Header) -> bool:
    """Say whether a data set without pixels ends where an element ends.

    pydicom takes half an element at the end for the end. With an empty Pixel Data element put behind, it
    finds that one where the file ended, or the file is cut. Files not held in memory count as whole.
    """
    if not isinstance(header.source, io.BytesIO):
        return True
    data = header.source.getvalue()
    implicit, little = header.values.original_encoding
    tag = b"\xe0\x7f\x10\0" if little is not False else b"\x7f\xe0\0\x10"
    longer = io.BytesIO(data + tag + (bytes(4) if implicit else b"OW" + bytes(6)))
    if attempt(lambda: pydicom.dcmread(longer, force=True, stop_before_pixels=True), None) is None:
        return False
    return longer.tell() == len(data)


def _find_syntax(source: BinaryIO) -> tuple[str, int]:
    """Return TransferSyntaxUID and the end of the meta group; ('', 0) for a file without prefix."""
    source.seek(128)
    if source.read(4) != b"DICM":
        return "", 0
    syntax = ""
    while True:
        start = source.tell()
        head = source.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return syntax, start
        long = head[4:6] in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        length = int.from_bytes(source.read(4) if long else head[6:8], "little")
        value = source.read(length) if length < 1 << 16 else b""
        if len(value) < length:
            return syntax, start
        if head[:4] == b"\x02\x00\x10\x00":
            syntax = clean(value.decode("latin-1"))


def _inflate(source: BinaryIO, start: int) -> BinaryIO:
    """Return a deflated data set as a plain one."""
    source.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(source.read(), MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise Refused(Reason.BAD_HEADER, "the deflated data set is broken") from error
    if inflater.unconsumed_tail:
        raise Refused(Reason.TOO_LARGE, f"the data set inflates to more than {MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise Refused(Reason.TRUNCATED, "the deflated data set ends early")
    return io.BytesIO(plain)


def _read_pixel_element(source: BinaryIO, little: bool) -> PixelElement | None:
    """Read the head of the element that the source stands at; its own bytes say whether it is explicit."""
    order: Literal["little", "big"] = "little" if little else "big"
    start, head = source.tell(), source.read(12)
    keyword = _PIXEL_KEYWORDS.get(int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order))
    if keyword is None or len(head) < 8:
        return None
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[8:12] if explicit else head[4:8], order)
    return PixelElement(
        keyword,
        head[4:6].decode("ascii") if explicit else "OW",
        start + (12 if explicit else 8),
        None if length == 0xFFFFFFFF else length,
    )


def classify(sop_class: str) -> str:
    """Name the kind: image, key_object, presentation_state, structured_report, dicomdir or other."""
    if sop_class == _MEDIA_DIRECTORY:
        return "dicomdir"
    if sop_class == _KEY_OBJECT:
        return "key_object"
    if sop_class.startswith(_STRUCTURED_REPORT):
        return "structured_report"
    if sop_class.startswith(_PRESENTATION_STATE):
        return "presentation_state"
    if any(sop_class == tail or (tail.endswith(".") and sop_class.startswith(tail)) for tail in _NO_PICTURE):
        return "other"
    return "image"


def attempt(read: Callable[[], _T], default: _T) -> _T:
    """Return ``read()``, or `default` where the value cannot be read.

    pydicom converts a value when it is asked for, and a broken one may raise nearly anything.
    """
    try:
        return read()
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:  # noqa: BLE001  one odd element must not cost the file
        return default


def read_text(values: Dataset, tag: int) -> str:
    """Return an element as clean text, '' where it is absent or unreadable."""

    def read() -> str:
        value = values[tag].value
        if value is None:
            return ""
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "family_name"):
            value = "\\".join(str(part) for part in value)
        return clean(str(value))

    return attempt(read, "") if tag in values else ""


def clean(value: str) -> str:
    """Drop control characters and what UTF-8 cannot hold, and trim."""
    value = value.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(" ", value).strip()


def read_floats(values: Dataset, tag: int) -> list[float]:
    """Return the finite numbers of an element, in order; [] where one of them is not a number."""

    def read() -> list[float]:
        value = values[tag].value
        if value is None or value == "":
            return []
        if isinstance(value, bytes):
            value = value.decode("ascii").strip("\0 ").split("\\")
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
        numbers = [float(part) for part in parts]
        return numbers if all(math.isfinite(number) for number in numbers) else []

    return attempt(read, []) if tag in values else []


def read_int(values: Dataset, tag: int) -> int | None:
    """Return the first value of an element as an integer, None where it is absent or no integer."""

    def read() -> int | None:
        value = values[tag].value
        if isinstance(value, bytes):
            value = value.decode("ascii").strip("\0 ")
        if not isinstance(value, str) and hasattr(value, "__iter__"):
            value = next(iter(value))
        number = str(value).strip()
        if _NUMBER.fullmatch(number):
            return int(number)
        as_float = float(number)
        return int(as_float) if as_float.is_integer() and abs(as_float) < 1e18 else None

    return attempt(read, None) if tag in values else None


def read_items(values: Dataset, tag: int) -> list[Dataset]:
    """Return the items of a sequence, [] where it is absent or unreadable."""
    return attempt(lambda: [item for item in values[tag].value if isinstance(item, Dataset)], [])


def read_date(values: Dataset, tag: int = 0x00080020) -> str:
    """Return a date as YYYYMMDD, '' where there is none."""
    return parse_date(read_text(values, tag))


def parse_date(value: str) -> str:
    """Return the date that `value` starts with (year first, as '2012-03-04') as YYYYMMDD, else ''."""
    found = _DIGITS.match(value.strip())
    if found is None:
        return ""
    year, month, day = found.groups()
    return f"{year}{month}{day}" if 1 <= int(month) <= 12 and 1 <= int(day) <= 31 else ""


def name_of(uid: str) -> str:
    """Return the registered name of a UID for a message, or 'private'."""
    name = UID(uid).name
    return name if name != uid else "not registered"
