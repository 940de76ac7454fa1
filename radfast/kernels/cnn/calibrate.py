"""Ranges of activations from pictures: what of a tensor's values 8-bit codes have to cover.

Two passes over the pictures: the largest absolute value, then a histogram of 2,048 bins up to it. The range
is its largest value, a percentile of it, or the one whose 128-level version has the least relative entropy to
it (Migacz, "8-bit inference with TensorRT", GTC 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from radfast.errors import UsageError
from radfast.kernels.cnn.compiled import RefusedError

METHODS = ("percentile", "entropy", "max")
_BINS = 2048
_LEVELS = 128  # codes of one sign
_PERCENTILE = 0.9999
_BATCH = 8


def calibrate(
    data: bytes, tensors: list[str], images: npt.NDArray[Any], method: str, threads: int
) -> dict[str, float]:
    """Return the largest absolute value to be coded of each of `tensors`, from images (N, C, H, W)."""
    if method not in METHODS:
        raise UsageError(f"[compile] calibration_method must be {', '.join(METHODS)}, is '{method}'")
    if not tensors:
        return {}
    session = _open_with_outputs(data, tensors, threads)
    largest = np.zeros(len(tensors))
    for values in _run(session, tensors, images):
        largest = np.maximum(largest, [np.abs(value).max() for value in values])
    if not np.isfinite(largest).all():
        raise RefusedError("the calibration pictures give values that are not finite")
    if method == "max":
        return dict(zip(tensors, largest.tolist(), strict=True))
    counts = np.zeros((len(tensors), _BINS))
    edges = [max(float(top), 1e-12) for top in largest]
    for values in _run(session, tensors, images):
        for row, value in enumerate(values):
            counts[row] += np.histogram(np.abs(value), _BINS, (0.0, edges[row]))[0]
    choose = choose_percentile if method == "percentile" else choose_entropy
    return {name: edge * choose(count) for name, edge, count in zip(tensors, edges, counts, strict=True)}


def choose_percentile(counts: npt.NDArray[np.float64]) -> float:
    """Return the share of the range (_BINS bins) below which 99.99 % of the values other than zero lie."""
    counts = counts.copy()
    counts[0] = 0  # half of what follows a ReLU is zero and needs no range
    total = np.cumsum(counts)
    if total[-1] == 0:
        return 1.0
    return float(np.searchsorted(total, _PERCENTILE * total[-1]) + 1) / len(counts)


def choose_entropy(counts: npt.NDArray[np.float64]) -> float:
    """Return the share of the range whose 128-level version loses the least information."""
    counts = counts.copy()
    counts[0] = 0
    if counts.sum() == 0:
        return 1.0
    best, chosen = np.inf, len(counts)
    for end in range(_LEVELS, len(counts) + 1, 16):
        clipped = counts[:end].copy()
        clipped[-1] += counts[end:].sum()
        starts = np.arange(_LEVELS) * end // _LEVELS
        level = np.repeat(np.arange(_LEVELS), np.diff([*starts, end]))
        filled = counts[:end] > 0
        sums = np.bincount(level, counts[:end], _LEVELS)
        width = np.maximum(np.bincount(level, filled, _LEVELS), 1)
        coarse = np.where(filled, (sums / width)[level], 0)
        both = (clipped > 0) & (coarse > 0)
        p, q = clipped / clipped.sum(), coarse / max(coarse.sum(), 1e-12)
        # What is clipped onto an empty last bin has no counterpart: it counts as lost whole.
        loss = float((p[both] * np.log(p[both] / q[both])).sum() + p[(clipped > 0) & ~both].sum() * 10)
        if loss < best:
            best, chosen = loss, end
    return chosen / len(counts)


def _open_with_outputs(data: bytes, tensors: list[str], threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RefusedError(f"calibration needs onnxruntime, which cannot be imported: {error}") from error
    model = onnx.load_from_string(data)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: Any, tensors: list[str], images: npt.NDArray[Any]) -> Iterator[list[npt.NDArray[Any]]]:
    for start in range(0, len(images), _BATCH):
        batch = np.ascontiguousarray(images[start : start + _BATCH], dtype=np.float32)
        yield session.run(tensors, {"images": batch})
