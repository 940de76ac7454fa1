"""Findings, painted into a phantom: one painter per kind of look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from radfast.synthetic.canvas import Canvas, Plane
from radfast.synthetic.exams import Exam, Finding, Look
from radfast.synthetic.phantoms import PHANTOMS


@dataclass(frozen=True)
class Lesion:
    """One finding of one patient: what it is and where."""

    finding: Finding
    place: str

    @property
    def side(self) -> str:
        """The side its place names, empty when none."""
        return next((side for side in ("right", "left") if side in self.place), "")


@dataclass(frozen=True)
class _Spot:
    x: float
    y: float
    size: float
    value: float
    inner: float
    side: str


def _blob(canvas: Canvas, look: Look, spot: _Spot) -> None:
    x, y = (0.17, spot.y) if look.organ == "posterior disc" else (spot.x, spot.y)
    wide = spot.size * float(canvas.rng.uniform(0.85, 1.15))
    canvas.paint(canvas.ellipse(x, y, wide, spot.size, wobble=0.05), spot.value)


def _spiculated(canvas: Canvas, look: Look, spot: _Spot) -> None:
    canvas.paint(canvas.ellipse(spot.x, spot.y, spot.size, spot.size, wobble=0.22, spikes=13), spot.value)
    canvas.paint(canvas.ellipse(spot.x, spot.y, spot.size * 0.8, spot.size * 0.75, wobble=0.1), spot.value)


def _ring(canvas: Canvas, look: Look, spot: _Spot) -> None:
    seed = canvas.ellipse(spot.x, spot.y, spot.size, spot.size * 0.9, wobble=0.08)
    canvas.paint(seed, spot.value)
    canvas.paint(canvas.ellipse(spot.x, spot.y, spot.size * 0.65, spot.size * 0.55, wobble=0.08), spot.inner)


def _scatter(canvas: Canvas, spot: _Spot, count: int, spread: tuple[float, float], stretch: float) -> None:
    for dx, dy in canvas.rng.uniform(-1, 1, (count, 2)):
        size = spot.size * float(canvas.rng.uniform(0.7, 1.3))
        x, y = spot.x + float(dx) * spread[0], spot.y + float(dy) * spread[1]
        canvas.paint(canvas.ellipse(x, y, size * stretch, size, angle=0.6 * float(np.sign(dx))), spot.value)


def _cluster(canvas: Canvas, look: Look, spot: _Spot) -> None:
    _scatter(canvas, spot, 9, (0.48, 0.6), 1.0)


def _ovals(canvas: Canvas, look: Look, spot: _Spot) -> None:
    _scatter(canvas, spot, 8, (0.27, 0.35), 1.8)


def _level(canvas: Canvas, look: Look, spot: _Spot) -> None:
    cx, cy, a, b = canvas.organs[look.organ.format(side=spot.side)]
    mask = canvas.ellipse(cx, cy, a, b) * canvas.below(cy + b * (1 - 1.6 * spot.size))
    canvas.paint(mask, spot.value)


def _crescent(canvas: Canvas, look: Look, spot: _Spot) -> None:
    cx, cy, a, b = canvas.organs[look.organ.format(side=spot.side)]
    toward = 1.0 if spot.side == "right" else -1.0
    inner = canvas.ellipse(cx + toward * spot.size * 0.8, cy + 0.25 * spot.size, a, b * (1 - 0.3 * spot.size))
    half = np.clip(-toward * canvas.x * np.float32(50) + 0.5, 0, 1).astype(np.float32)
    outer = canvas.ellipse(cx, cy, a, b)
    crescent: Plane = np.clip(outer * (1 - inner), 0, 1)
    canvas.paint(crescent * half, spot.value)


def _haze(canvas: Canvas, look: Look, spot: _Spot) -> None:
    soft = canvas.ellipse(spot.x, spot.y, spot.size, spot.size * 0.9, wobble=0.12, soft=0.1)
    grain = np.clip(0.75 + 0.2 * canvas.texture(3), 0.2, 1.0).astype(np.float32)
    canvas.add(soft * grain, spot.value)


def _holes(canvas: Canvas, look: Look, spot: _Spot) -> None:
    cx, cy, a, b = canvas.organs[look.organ.format(side=spot.side)]
    for dx, dy in canvas.rng.uniform(-0.65, 0.65, (14, 2)):
        size = spot.size * float(canvas.rng.uniform(0.8, 1.6))
        canvas.paint(canvas.ellipse(cx + a * float(dx), cy + b * float(dy), size * 1.25, size * 1.25), -700)
        canvas.paint(canvas.ellipse(cx + a * float(dx), cy + b * float(dy), size, size), spot.value)


def _wedge(canvas: Canvas, look: Look, spot: _Spot) -> None:
    soft = canvas.ellipse(spot.x, spot.y, spot.size * 0.8, spot.size, wobble=0.15)
    brain = canvas.ellipse(0, 0, 0.635, 0.785)
    canvas.paint(soft * brain * np.float32(0.85), spot.value)


def _line(canvas: Canvas, look: Look, spot: _Spot) -> None:
    tilt = -0.35 if spot.x > 0 else 0.35
    canvas.paint(canvas.box(spot.x, spot.y + 0.02, spot.size, 0.022, angle=tilt), spot.value)


def _gap(canvas: Canvas, look: Look, spot: _Spot) -> None:
    turn = float(np.arctan2(spot.y, spot.x))
    x, y = 0.68 * np.cos(turn), 0.83 * np.sin(turn)
    canvas.paint(canvas.ellipse(x * 1.12, y * 1.1, 0.13, 0.13), 45)
    canvas.paint(canvas.box(x, y, 0.11, spot.size * 1.4, angle=turn + 0.35), spot.value)


def _break(canvas: Canvas, look: Look, spot: _Spot) -> None:
    canvas.paint(canvas.ellipse(spot.x, spot.y, spot.size * 1.5, spot.size * 1.4), spot.value - 0.02)
    tilt = float(canvas.rng.uniform(-0.3, 0.3))
    for end in (-1, 1):
        x, y = spot.x + 0.03 * end, spot.y + end * spot.size * 0.55
        canvas.paint(canvas.ellipse(x, y, 0.036, spot.size * 0.62, angle=0.25 * end), 0.72)
    canvas.paint(canvas.box(spot.x, spot.y, 0.09, spot.inner * 0.25, angle=tilt), 0.24)


def _needle(canvas: Canvas, look: Look, spot: _Spot) -> None:
    canvas.paint(
        canvas.box(spot.x, spot.y, spot.size, 0.016, angle=float(canvas.rng.uniform(0, 3))), spot.value
    )


def _swelling(canvas: Canvas, look: Look, spot: _Spot) -> None:
    soft = canvas.ellipse(spot.x, spot.y, spot.size, spot.size, wobble=0.06)
    canvas.values = np.maximum(canvas.values, soft * np.float32(spot.value))


_PAINTERS: dict[str, Callable[[Canvas, Look, _Spot], None]] = {
    "blob": _blob,
    "spiculated": _spiculated,
    "ring": _ring,
    "cluster": _cluster,
    "ovals": _ovals,
    "level": _level,
    "crescent": _crescent,
    "haze": _haze,
    "holes": _holes,
    "wedge": _wedge,
    "line": _line,
    "gap": _gap,
    "break": _break,
    "needle": _needle,
    "swelling": _swelling,
}


def _changes(lesions: list[Lesion], rng: np.random.Generator) -> Mapping[str, float]:
    """Return how much the lesions alter the anatomy, for the phantom."""
    change: dict[str, float] = {}
    for lesion in lesions:
        look = lesion.finding.look
        if look.kind == "organ":
            change[look.organ.format(side=lesion.side)] = float(rng.uniform(*look.size))
            change["at"] = lesion.finding.places[lesion.place][1]
    return change


def draw_picture(exam: Exam, lesions: list[Lesion], contrast: int, rng: np.random.Generator) -> Plane:
    """Draw one picture of an examination.

    Parameters
    ----------
    exam : Exam
        Kind of examination.
    lesions : list of Lesion
        What is to be seen in it.
    contrast : int
        0 or 1: kind of the series (T1, T2).
    rng : numpy.random.Generator
        Pose, texture, sizes, noise.

    Returns
    -------
    float32 (512, 512)
        HU for CT, signal for MR, density in [0, 1] for radiographs.
    """
    phantom, background, noise, (turn, zoom, shift) = PHANTOMS[exam.key]
    canvas = Canvas(rng, background, turn=turn, zoom=zoom, shift=shift)
    phantom(canvas, contrast, _changes(lesions, rng))
    for lesion in lesions:
        look = lesion.finding.look
        if look.kind == "organ":
            continue
        x, y = lesion.finding.places[lesion.place]
        inner = look.inner or (0.0,)
        spot = _Spot(
            x + float(rng.normal(0, 0.02)),
            y + float(rng.normal(0, 0.02)),
            float(rng.uniform(*look.size)),
            look.value[contrast % len(look.value)],
            inner[contrast % len(inner)],
            lesion.side,
        )
        _PAINTERS[look.kind](canvas, look, spot)
    return canvas.finish(noise)
