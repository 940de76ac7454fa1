"""One frame of a DICOM object as an 8-bit grey picture.

Order of work (PS3.3 C.7.6.3, C.11.1, C.11.2): decode the frame, palette or colour to luminance; modality LUT
or rescale; VOI LUT or window, else the modality's default, else percentiles; inversion for MONOCHROME1 or an
INVERSE presentation LUT; padding pixels black; then the frame is fitted into a square without distortion and
centred on black.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from radfast.archive.decode import Geometry
from radfast.archive.dicom import Header, attempt, read_floats, read_int, read_items, read_text
from radfast.archive.reasons import Reason, Refused

#: Window of a CT without one: center and width in HU, soft tissue.
CT_WINDOW = (40.0, 400.0)
PERCENTILES = (1.0, 99.0)

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_SAMPLE = 1 << 18

Array = NDArray[Any]
Transform = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Window:
    """How values became grey levels; center and width are None where there was no window."""

    source: str
    center: float | None = None
    width: float | None = None
    function: str = "LINEAR"


def make_picture(
    stored: Array, header: Header, geometry: Geometry, frame: int, size: int
) -> tuple[NDArray[np.uint8], Window]:
    """Turn a decoded frame into a square picture.

    Returns
    -------
    picture : uint8, (size, size)
        0 is black.
    window : Window
        What mapped values to grey levels.
    """
    values = header.values
    if geometry.samples == 3:
        full = float(2**geometry.bits_stored - 1)
        grey, window = _luminance(stored, full), Window("none")
    elif geometry.photometric == "PALETTE COLOR":
        try:
            colours = apply_color_lut(stored, _with_palettes(values))
        except Exception as error:
            raise Refused(Reason.DECODER_FAILED, f"palette: {type(error).__name__}") from error
        grey, window = _luminance(colours, float(np.iinfo(colours.dtype).max)), Window("none")
    else:
        grey, window = _make_grey(stored, values, geometry, frame)
    return fit_square(grey, _aspect(values), size), window


def _make_grey(stored: Array, values: Dataset, geometry: Geometry, frame: int) -> tuple[Array, Window]:
    modality = find_modality_transform(values, frame)
    padding = _find_padding(stored, values)
    voi, window = find_voi(values, frame)
    if voi is None:
        calibrated = read_text(values, 0x00080060) == "CT" and modality is not _identity
        window = Window("modality_default", *CT_WINDOW) if calibrated else _span(stored, padding, modality)
        voi = _windowing(window)
    inverted = geometry.photometric == "MONOCHROME1" or read_text(values, 0x20500020).upper() == "INVERSE"

    def shade(numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
        grey = voi(modality(numbers))
        return _quantize(1.0 - grey if inverted else grey)

    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        # at most 65536 distinct values: shade each once
        low, high = int(stored.min()), int(stored.max())
        grey = shade(np.arange(low, high + 1, dtype=np.float64))[stored.astype(np.intp) - low]
    else:
        grey = shade(stored.astype(np.float64))
    if padding is not None:
        grey[padding] = 0
    return grey, window


def _luminance(colours: Array, full: float) -> NDArray[np.uint8]:
    return _quantize((colours[..., :3] @ _LUMA) / full)


def _quantize(grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(np.nan_to_num(grey), 0.0, 1.0) * 255.0).astype(np.uint8)


def _identity(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers


def _functional(values: Dataset, frame: int, group: int) -> Dataset | None:
    """Return a functional group of an enhanced object: the frame's own, else the shared one."""
    per_frame = read_items(values, 0x52009230) if 0x52009230 in values else []
    shared = read_items(values, 0x52009229) if 0x52009229 in values else []
    for holder in ([per_frame[frame]] if frame < len(per_frame) else []) + shared[:1]:
        if group in holder and (items := read_items(holder, group)):
            return items[0]
    return None


def find_modality_transform(values: Dataset, frame: int) -> Transform:
    """Return the map from stored values to modality units: modality LUT, else rescale, else identity."""
    holder = _functional(values, frame, 0x00289145) or values
    if 0x00283000 in values and (items := read_items(values, 0x00283000)):
        table = attempt(partial(_read_lut, items[0]), None)
        if table is not None:
            return partial(_look_up, first=table[0], entries=table[1])
    slope, intercept = read_floats(holder, 0x00281053)[:1], read_floats(holder, 0x00281052)[:1]
    if not slope and not intercept:
        return _identity
    scale, offset = (slope or [1.0])[0] or 1.0, (intercept or [0.0])[0]
    return lambda numbers: numbers * scale + offset


def find_voi(values: Dataset, frame: int) -> tuple[Transform | None, Window]:
    """Return the map from modality units to 0..1 that the object asks for, and its window."""
    for holder in (_functional(values, frame, 0x00289132), values):
        if holder is None:
            continue
        if 0x00283010 in holder and (items := read_items(holder, 0x00283010)):
            table = attempt(partial(_read_lut, items[0]), None)
            if table is not None:
                return _scaled_look_up(*table), Window("voi_lut")
        centers, widths = read_floats(holder, 0x00281050), read_floats(holder, 0x00281051)
        function = read_text(holder, 0x00281056).upper()
        if function not in ("LINEAR_EXACT", "SIGMOID"):
            function = "LINEAR"
        for center, width in zip(centers, widths, strict=False):
            if width >= 1 or (width > 0 and function != "LINEAR"):
                window = Window("voi", center, width, function)
                return _windowing(window), window
    return None, Window("none")


def _windowing(window: Window) -> Transform:
    """Return the VOI function of PS3.3 C.11.2.1.2 and C.11.2.1.3 with output 0..1."""
    center, width = float(window.center or 0.0), float(window.width or 1.0)
    if window.function == "SIGMOID":
        return lambda numbers: 1.0 / (1.0 + np.exp(np.clip(-4.0 * (numbers - center) / width, -700.0, 700.0)))
    if window.function == "LINEAR_EXACT":
        return lambda numbers: (numbers - center) / width + 0.5
    if width == 1.0:
        return lambda numbers: (numbers > center - 0.5).astype(np.float64)
    return lambda numbers: (numbers - (center - 0.5)) / (width - 1.0) + 0.5


def _span(stored: Array, padding: NDArray[np.bool_] | None, modality: Transform) -> Window:
    """Return the window from the 1st to the 99th percentile of the values that are no padding."""
    flat = stored.ravel() if padding is None else stored[~padding]
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    numbers = modality(sample)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return Window("percentile", 0.0, 1.0, "LINEAR_EXACT")
    low, high = (float(bound) for bound in np.percentile(numbers, PERCENTILES))
    if high <= low:
        low, high = float(numbers.min()), float(numbers.max())
    # a flat picture has no span: it becomes mid-grey
    return Window("percentile", (low + high) / 2, (high - low) or 1.0, "LINEAR_EXACT")


def _find_padding(stored: Array, values: Dataset) -> NDArray[np.bool_] | None:
    if stored.dtype.kind not in "iu":
        return None
    bits = 8 * stored.dtype.itemsize
    value, limit = read_int(values, 0x00280120), read_int(values, 0x00280121)
    if value is None:
        return None
    bounds = [value] if limit is None else [value, limit]
    # the value may be written with the other signedness: compare modulo the stored width
    wrapped = [bound % (1 << bits) for bound in bounds]
    if stored.dtype.kind == "i":
        wrapped = [bound - (1 << bits) if bound >= 1 << (bits - 1) else bound for bound in wrapped]
    mask = (stored >= min(wrapped)) & (stored <= max(wrapped))
    return mask if mask.any() else None


def _read_lut(item: Dataset) -> tuple[float, NDArray[np.float64], float] | None:
    """Return (first value mapped, entries, full scale) of a LUT item, None where it holds no table."""
    descriptor = [int(number) for number in read_floats(item, 0x00283002)]
    if len(descriptor) != 3:
        return None
    count, first, bits = descriptor
    count = count or 1 << 16
    data = _read_words(item, 0x00283006)
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        entries = np.frombuffer(data, dtype="<u2" if wide else "u1")[:count].astype(np.float64)
    else:
        entries = np.asarray(data, dtype=np.float64).ravel()[:count] % 65536
    if entries.size == 0 or not 1 <= bits <= 16:
        return None
    return float(first), entries, max(float(2**bits - 1), float(entries.max()))


def _read_words(holder: Dataset, tag: int) -> Any:
    """Return the value of an element; words of a big-endian file as little-endian bytes."""
    element = holder[tag]
    if element.VR == "OW" and isinstance(element.value, bytes) and holder.original_encoding[1] is False:
        return np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    return element.value


def _with_palettes(values: Dataset) -> Dataset:
    """Return `values` with its palettes in little endian, which pydicom takes them for."""
    palettes = copy.copy(values)
    for tag in (0x00281201, 0x00281202, 0x00281203):
        if tag in values:
            palettes.add_new(tag, "OW", _read_words(values, tag))
    return palettes


def _look_up(numbers: NDArray[np.float64], first: float, entries: NDArray[np.float64]) -> NDArray[np.float64]:
    return entries[np.clip(np.rint(numbers) - first, 0, entries.size - 1).astype(np.intp)]


def _scaled_look_up(first: float, entries: NDArray[np.float64], full: float) -> Transform:
    def look_up(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        # a first value below 0 is read as unsigned where the stored values are: then nothing reaches it
        signed = first >= 1 << 15 and numbers.size > 0 and numbers.max() < first
        return _look_up(numbers, first - (1 << 16) if signed else first, entries) / full

    return look_up


def _aspect(values: Dataset) -> float:
    """Return height / width of one pixel, 1 where the object does not say or says nonsense."""
    for tag in (0x00280030, 0x00181164, 0x00280034):
        pair = read_floats(values, tag)
        if len(pair) == 2 and pair[0] > 0 and pair[1] > 0 and 0.05 <= pair[0] / pair[1] <= 20:
            return pair[0] / pair[1]
    return 1.0


def fit_square(grey: NDArray[np.uint8], aspect: float, size: int) -> NDArray[np.uint8]:
    """Scale a picture so that its longer side fills a square, and centre it on black.

    Shrinking averages over the area each new pixel covers; enlarging is bilinear.

    Parameters
    ----------
    grey : uint8, (H, W)
    aspect : float
        Height of a pixel divided by its width.
    size : int
        Side of the square, pixels.

    Returns
    -------
    uint8, (size, size)
    """
    height, width = grey.shape[0] * aspect, float(grey.shape[1])
    scale = size / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.ascontiguousarray(grey))
    if target[0] > image.width or target[1] > image.height:
        image = image.resize(target, Image.Resampling.BILINEAR)
    elif image.width % target[0] == 0 and image.height % target[1] == 0:
        # the mean over whole pixels in one pass: twice as fast as the general case
        image = image.reduce((image.width // target[0], image.height // target[1]))
    else:
        image = image.resize(target, Image.Resampling.BOX)
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = (size - target[1]) // 2, (size - target[0]) // 2
    square[top : top + target[1], left : left + target[0]] = np.asarray(image)
    return square
