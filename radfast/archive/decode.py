"""Image Pixel module: its numbers checked, and one frame decoded by a decoder that is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from radfast.archive.dicom import Header, name_of, read_int, read_text
from radfast.archive.reasons import Reason, Refused

#: Pixels of one frame; more is taken for a decompression bomb (large radiographs have about 2 ** 26).
MAX_PIXELS = 1 << 27

_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_RLE = "1.2.840.10008.1.2.5"
# The decoders this project trusts; others may be installed and are not asked (wrong pixels or crashes).
_PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    **dict.fromkeys(_JPEG_LS, "pyjpegls"),
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    _RLE: "pylibjpeg",
}
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")
_TOO_SHORT = "less pixel data than rows, columns, frames and bits ask for"


@dataclass(frozen=True)
class Geometry:
    """Checked numbers of the Image Pixel module."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str


def read_geometry(values: Dataset) -> Geometry:
    """Check rows, columns, frames, samples and bits.

    Raises
    ------
    Refused
        bad_geometry, too_large or unsupported_photometric.
    """
    rows, columns = read_int(values, 0x00280010), read_int(values, 0x00280011)
    if rows is None or columns is None or not (0 < rows < 1 << 16 and 0 < columns < 1 << 16):
        raise Refused(Reason.BAD_GEOMETRY, "Rows and Columns must be 1 to 65535")
    if rows * columns > MAX_PIXELS:
        raise Refused(Reason.TOO_LARGE, f"{rows} x {columns} pixels exceed {MAX_PIXELS}")
    frames = read_int(values, 0x00280008)
    if frames is None:
        if read_text(values, 0x00280008):
            raise Refused(Reason.BAD_GEOMETRY, "NumberOfFrames is no integer")
        frames = 1
    if frames < 0 or frames > 1 << 24:
        raise Refused(Reason.BAD_GEOMETRY, "NumberOfFrames is out of range")
    allocated = read_int(values, 0x00280100)
    if allocated not in (1, 8, 16, 24, 32, 64):
        raise Refused(Reason.BAD_GEOMETRY, "BitsAllocated must be 1, 8, 16, 24, 32 or 64")
    stored = read_int(values, 0x00280101)
    if stored is None or not 1 <= stored <= allocated:
        stored = allocated
    high = read_int(values, 0x00280102)
    if high is None or not stored <= high < allocated:
        high = stored - 1
    samples = read_int(values, 0x00280002) or 1
    photometric = read_text(values, 0x00280004).upper() or ("MONOCHROME2" if samples == 1 else "RGB")
    grey = photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if not grey and photometric not in _COLOURS:
        raise Refused(Reason.UNSUPPORTED_PHOTOMETRIC, "neither grey nor a known colour space")
    if samples != (1 if grey else 3):
        raise Refused(Reason.BAD_GEOMETRY, f"SamplesPerPixel is {samples} for {photometric}")
    signed = read_int(values, 0x00280103) == 1
    return Geometry(rows, columns, max(frames, 1), samples, allocated, stored, high, signed, photometric)


def check_transfer_syntax(syntax: str) -> None:
    """Refuse what no trusted decoder reads.

    Raises
    ------
    Refused
        unsupported_transfer_syntax.
    """
    if syntax in _NATIVE or syntax in _JPEG_LOSSLESS:
        return
    plugin = _PLUGINS.get(syntax)
    if plugin is None or plugin not in get_decoder(UID(syntax)).available_plugins:
        raise Refused(Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"transfer syntax {name_of(syntax)}")


def decode_frame(header: Header, geometry: Geometry, frame: int) -> NDArray[Any]:
    """Decode one frame.

    Returns
    -------
    array, (H, W) or (H, W, 3)
        Stored values; colours as RGB; palette indices as they are.

    Raises
    ------
    Refused
        unsupported_transfer_syntax, truncated or decoder_failed.
    """
    syntax, pixels = header.transfer_syntax, header.pixels
    check_transfer_syntax(syntax)
    if pixels is None:
        raise Refused(Reason.NO_PIXEL_DATA)
    native = syntax in _NATIVE
    if native and pixels.length is None:
        raise Refused(Reason.DECODER_FAILED, f"encapsulated pixels in a file of {name_of(syntax)}")
    if native and pixels.length is not None and pixels.length < _end_of_frame(geometry, frame):
        raise Refused(Reason.TRUNCATED, _TOO_SHORT)
    # other codecs say themselves where their bits are
    high = (native or syntax == _RLE) and geometry.samples == 1 and geometry.high_bit >= geometry.bits_stored
    uid = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else UID(syntax)
    options: dict[str, Any] = {
        "rows": geometry.rows,
        "columns": geometry.columns,
        "bits_allocated": geometry.bits_allocated,
        "bits_stored": geometry.high_bit + 1 if high else geometry.bits_stored,
        "samples_per_pixel": geometry.samples,
        "photometric_interpretation": geometry.photometric,
        "pixel_representation": int(geometry.signed),
        "planar_configuration": 1 if read_int(header.values, 0x00280006) == 1 else 0,
        "number_of_frames": geometry.frames,
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.vr,
        "transfer_syntax_uid": uid,
    }
    if not native and 0x7FE00001 in header.values and 0x7FE00002 in header.values:
        tables = header.values[0x7FE00001].value, header.values[0x7FE00002].value
        options["extended_offsets"] = tables
    header.source.seek(pixels.offset)
    try:
        if syntax in _JPEG_LOSSLESS:
            stored = _decode_jpeg_lossless(header, geometry, frame, options.get("extended_offsets"))
        else:
            if syntax in _JPEG_LS:
                _check_end(header, geometry, frame, options.get("extended_offsets"))
            decoder, plugin = get_decoder(uid), _PLUGINS.get(syntax, "")
            stored, _ = decoder.as_array(header.source, index=frame, decoding_plugin=plugin, **options)
    except (MemoryError, KeyboardInterrupt, SystemExit, Refused):
        raise
    except BaseException as error:  # a panic of a decoder written in Rust is no Exception
        if native and isinstance(error, ValueError):
            raise Refused(Reason.TRUNCATED, _TOO_SHORT) from error
        raise Refused(Reason.DECODER_FAILED, f"{name_of(syntax)}: {type(error).__name__}") from error
    shape = (
        (geometry.rows, geometry.columns) if geometry.samples == 1 else (geometry.rows, geometry.columns, 3)
    )
    if stored.shape != shape:
        raise Refused(Reason.DECODER_FAILED, "the decoded frame has another shape than the header says")
    return _shift_down(stored, geometry) if high else stored


def _shift_down(stored: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Move values that end at HighBit down to bit 0, as old writers left them.

    Others write a wrong HighBit over values that are in place: then the bits below the value are not empty.
    """
    below = geometry.high_bit + 1 - geometry.bits_stored
    if not (stored & ((1 << below) - 1)).any():
        return stored >> below
    unused = 8 * stored.dtype.itemsize - geometry.bits_stored
    return (stored << unused) >> unused


def _check_end(header: Header, geometry: Geometry, frame: int, offsets: Any) -> None:
    """Refuse JPEG-LS without its end marker: CharLS does so, too, after seconds of reading zeros."""
    data = get_frame(header.source, frame, number_of_frames=geometry.frames, extended_offsets=offsets)
    if b"\xff\xd9" not in data:
        raise Refused(Reason.TRUNCATED, "the JPEG-LS stream has no end")
    assert header.pixels is not None
    header.source.seek(header.pixels.offset)


def _decode_jpeg_lossless(header: Header, geometry: Geometry, frame: int, offsets: Any) -> NDArray[Any]:
    # the one decoder that is compiled here: most archives never need it
    from radfast.archive.jpeg_lossless import decode_jpeg_lossless

    data = get_frame(header.source, frame, number_of_frames=geometry.frames, extended_offsets=offsets)
    values: NDArray[Any] = decode_jpeg_lossless(data, geometry.rows, geometry.columns)
    if geometry.signed:
        # the sign bit is the highest stored one, whatever the container
        unused = 16 - min(geometry.bits_stored, 16)
        values = (values << unused).view(np.int16) >> unused
    if geometry.bits_allocated <= 8:
        values = values.astype(np.int8 if geometry.signed else np.uint8)
    if geometry.samples == 1:
        return values[..., 0] if values.shape[2] == 1 else values
    return convert_color_space(values, "YBR_FULL", "RGB") if geometry.photometric == "YBR_FULL" else values


def _end_of_frame(geometry: Geometry, frame: int) -> int:
    """Return the bytes that native pixels need up to the end of a frame."""
    samples = geometry.samples
    if geometry.photometric == "YBR_FULL_422":
        samples = 2
    return (geometry.rows * geometry.columns * samples * geometry.bits_allocated * (frame + 1) + 7) // 8
