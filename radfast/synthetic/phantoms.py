"""Body regions, drawn from ellipses: one function per kind of examination.

Each takes a canvas, the contrast (index of the series' kind) and `change`: factors by which findings alter
the anatomy itself. CT is in HU, MR in arbitrary signal up to about 1000, radiographs in density 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from radfast.synthetic.canvas import Canvas

Phantom = Callable[[Canvas, int, Mapping[str, float]], None]


def _vary(canvas: Canvas, value: float, share: float = 0.06) -> float:
    return float(value * (1 + canvas.rng.normal(0, share)))


def draw_chest_ct(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw an axial chest: fat, muscle, two lungs with vessels, heart, aorta, spine, ribs."""
    rng = canvas.rng
    enhanced = float(rng.uniform(50, 190))
    canvas.paint(canvas.ellipse(0, 0, 0.92, _vary(canvas, 0.66)), -95)
    canvas.paint(canvas.ellipse(0, 0, 0.86, 0.6), 48)
    for turn in np.linspace(0.2, 6.0, 14):
        canvas.paint(
            canvas.ellipse(0.82 * np.cos(turn), 0.56 * np.sin(turn), 0.05, 0.025, angle=turn + 1.57), 420
        )
    for side, x in (("right", -0.43), ("left", 0.43)):
        lung = canvas.name(f"{side} lung", x, _vary(canvas, -0.02), _vary(canvas, 0.33), _vary(canvas, 0.47))
        canvas.paint(lung, -840)
        canvas.values += lung * canvas.texture(4) * np.float32(18)
        for vx, vy in rng.uniform(-0.7, 0.7, (12, 2)):
            canvas.paint(canvas.ellipse(x + 0.3 * vx, 0.42 * vy, 0.016, 0.013), -250)
    canvas.paint(canvas.ellipse(0, -0.1, 0.15, 0.38), 35)
    heart = _vary(canvas, 1.0, 0.1)
    canvas.paint(canvas.ellipse(0.1, -0.14, 0.24 * heart, 0.21 * heart, angle=0.5), 20 + 0.6 * enhanced)
    canvas.paint(canvas.ellipse(0.13, 0.22, 0.075, 0.075), enhanced)
    canvas.paint(canvas.ellipse(0, 0.1, 0.05, 0.045), -980)
    canvas.paint(canvas.ellipse(0, 0.42, 0.13, 0.11), 320)
    canvas.paint(canvas.ellipse(0, 0.53, 0.05, 0.045), 30)
    canvas.paint(canvas.ellipse(0, -0.55, 0.1, 0.03), 300)


def draw_abdomen_ct(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw an axial abdomen: liver, stomach, spleen, kidneys, aorta, bowel, spine."""
    rng = canvas.rng
    enhanced = float(rng.uniform(60, 200))
    canvas.paint(canvas.ellipse(0, 0, 0.94, _vary(canvas, 0.7)), -100)
    canvas.paint(canvas.ellipse(0, 0, 0.85, 0.61), 50)
    inside = canvas.ellipse(0, -0.03, 0.79, 0.54)
    canvas.paint(inside, 8 if "peritoneal fluid" in change else -85)
    shrink = 1 - change.get("peritoneal fluid", 0.0)
    canvas.paint(canvas.ellipse(0, 0.4, 0.17, 0.13), 300)
    canvas.paint(canvas.ellipse(0, 0.53, 0.05, 0.045), 25)
    for x in (-0.24, 0.24):
        canvas.paint(canvas.ellipse(x, 0.4, 0.11, 0.12), 52)
    liver = canvas.name("liver", -0.4, -0.1, 0.37 * shrink, 0.37 * shrink)
    canvas.paint(liver, _vary(canvas, 85))
    canvas.paint(canvas.ellipse(-0.1, -0.24, 0.26 * shrink, 0.17 * shrink, angle=0.2), _vary(canvas, 85))
    canvas.values += liver * canvas.texture(3) * np.float32(6)
    canvas.paint(canvas.ellipse(0.56, 0.05, 0.16 * shrink, 0.27 * shrink), 95)
    canvas.paint(canvas.ellipse(0.35, -0.28, 0.2, 0.14), 15)
    canvas.paint(canvas.ellipse(0.35, -0.34, 0.14, 0.06), -950)
    for bx, by in rng.uniform((-0.1, -0.15), (0.35, 0.15), (6, 2)):
        canvas.paint(canvas.ellipse(bx, by, 0.075, 0.065, wobble=0.1), 38)
        canvas.paint(canvas.ellipse(bx, by - 0.02, 0.03, 0.02), -600)
    for side, x in (("right", -0.42), ("left", 0.42)):
        canvas.paint(canvas.name(f"{side} kidney", x, 0.27, 0.14, 0.17), _vary(canvas, 60 + 0.6 * enhanced))
        pelvis = change.get(f"{side} renal pelvis", 0.6)
        toward = 0.05 if x < 0 else -0.05
        canvas.paint(canvas.ellipse(x + toward, 0.27, 0.065 * pelvis, 0.07 * pelvis), 5)
    wide = 0.065 * change.get("aorta", 1.0)
    canvas.paint(canvas.ellipse(0.03, 0.27 - wide, wide * 1.1, wide * 1.1), 30 + 0.3 * enhanced)
    canvas.paint(canvas.ellipse(0.03, 0.27 - wide, wide * 0.8, wide * 0.8), enhanced)
    canvas.paint(canvas.ellipse(-0.11, 0.2, 0.06, 0.045), 30 + 0.5 * enhanced)


def draw_head_ct(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw an axial head: scalp, skull, brain with sulci, ventricles."""
    canvas.paint(canvas.ellipse(0, 0, 0.76, 0.91), 20)
    canvas.paint(canvas.name("skull", 0, 0, 0.72, 0.87), 1100)
    brain = canvas.ellipse(0, 0, 0.64, 0.79)
    canvas.paint(brain, 38)
    _draw_brain(canvas, brain, cortex=41, white=30, fluid=6, change=change)


def _draw_brain(
    canvas: Canvas, brain: np.ndarray, cortex: float, white: float, fluid: float, change: Mapping[str, float]
) -> None:
    canvas.organs["brain"] = (0.0, 0.0, 0.64, 0.79)
    canvas.paint(brain, cortex)
    folds = np.clip(canvas.texture(3) - 1.1, 0, 1) * (1 - canvas.ellipse(0, 0, 0.55, 0.69))
    canvas.paint(brain * folds, fluid)
    for x in (-0.28, 0.28):
        canvas.paint(canvas.ellipse(x, 0, 0.22, 0.58, wobble=0.06), white)
    for x in (-0.19, 0.19):
        canvas.paint(canvas.ellipse(x, 0.02, 0.08, 0.13), cortex)
    canvas.paint(brain * canvas.box(0, 0, 0.012, 0.75), fluid)
    wide = change.get("ventricles", 1.0) * _vary(canvas, 1.0, 0.12)
    for x in (-1, 1):
        canvas.paint(canvas.ellipse(0.085 * wide * x, -0.2, 0.05 * wide, 0.15 * wide, angle=0.35 * x), fluid)
        canvas.paint(canvas.ellipse(0.12 * wide * x, 0.24, 0.055 * wide, 0.16 * wide, angle=-0.3 * x), fluid)
    canvas.paint(canvas.ellipse(0, 0.02, 0.022 * wide, 0.09), fluid)


def draw_brain_mr(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw an axial brain in T1 or T2 contrast: bright fat, dark skull, grey and white matter, fluid."""
    fat, grey, white, fluid = ((900, 480, 620, 170), (560, 560, 400, 940))[contrast]
    canvas.paint(canvas.ellipse(0, 0, 0.76, 0.91), fat)
    canvas.paint(canvas.ellipse(0, 0, 0.71, 0.86), 60)
    canvas.paint(canvas.ellipse(0, 0, 0.66, 0.81), fluid)
    _draw_brain(canvas, canvas.ellipse(0, 0, 0.64, 0.79), grey, white, fluid, change)


def draw_spine_mr(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw a sagittal lumbar spine: vertebrae, discs, canal with cord or roots, fat behind."""
    fat, marrow, disc, fluid, cord = ((850, 560, 300, 190, 420), (600, 430, 520, 950, 380))[contrast]
    at = change.get("at", 9.0)
    canvas.paint(canvas.box(0, 0, 0.8, 1.4), 240)
    canvas.paint(canvas.box(0.68, 0, 0.16, 1.4), fat)
    canvas.values += canvas.box(-0.55, 0, 0.25, 1.4) * canvas.texture(4) * np.float32(60)
    canvas.paint(canvas.box(0.27, 0, 0.11, 1.4), fluid)
    canvas.paint(canvas.box(0.26, -0.75, 0.035, 0.35), cord)
    for x in (0.23, 0.27, 0.31):
        canvas.paint(canvas.box(x, 0.4, 0.008, 0.8), cord)
    for index in range(-5, 5):
        y = 0.14 + 0.28 * index
        slip = -change.get("slip", 0.0) if y < at else 0.0
        high = change.get("vertebra", 1.0) if abs(y - at) < 0.1 else 1.0
        canvas.paint(canvas.box(slip, y, 0.165, 0.115 * high), marrow)
        worn = canvas.rng.uniform(0.45, 1.0)
        canvas.paint(canvas.ellipse(slip / 2, y + 0.14, 0.17, 0.035), disc * worn if contrast else disc)
        canvas.paint(canvas.ellipse(0.52, y + 0.06, 0.1, 0.07, angle=0.5), marrow)
    if "canal" in change:
        for x in (0.15, 0.4):
            canvas.paint(canvas.ellipse(x, at, 0.13 * (1 - change["canal"] / 2), 0.11), 200)


def draw_knee_mr(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw a sagittal knee: femur, tibia, patella, menisci, cruciate ligament, fat pad."""
    fat, marrow, muscle, cartilage, dark = ((800, 700, 300, 560, 80), (180, 260, 220, 640, 60))[contrast]
    canvas.paint(canvas.ellipse(0, 0, 0.86, 1.5), fat)
    canvas.paint(canvas.ellipse(0.42, -0.5, 0.3, 0.7), muscle)
    canvas.paint(canvas.ellipse(0.5, 0.7, 0.25, 0.5), muscle)
    canvas.paint(canvas.box(-0.05, -0.85, 0.22, 0.5), marrow)
    canvas.paint(canvas.ellipse(0, -0.3, 0.43, 0.37), cartilage)
    canvas.paint(canvas.ellipse(0, -0.32, 0.4, 0.34), marrow)
    canvas.paint(canvas.box(0, 0.6, 0.42, 0.45), cartilage)
    canvas.paint(canvas.box(0, 0.63, 0.4, 0.45), marrow)
    for x, angle in ((-0.27, 0.35), (0.27, -0.35)):
        canvas.paint(canvas.ellipse(x, 0.09, 0.15, 0.06, angle=angle), dark)
    canvas.paint(canvas.ellipse(-0.62, -0.28, 0.1, 0.2, angle=0.15), marrow)
    canvas.paint(canvas.ellipse(-0.6, 0.22, 0.05, 0.32, angle=0.25), dark)
    torn = change.get("cruciate", 0.0)
    if torn:
        canvas.paint(canvas.ellipse(0.02, -0.02, 0.13, 0.12, wobble=0.2), 0.5 * (dark + 900))
        canvas.paint(canvas.ellipse(0.13, 0.06, 0.1, 0.025, angle=0.3), dark)
    else:
        canvas.paint(canvas.ellipse(0.02, -0.02, 0.035, 0.2, angle=0.7), dark)


def draw_chest_xr(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw a frontal chest radiograph: lungs, heart, diaphragm, spine, ribs, clavicles."""
    rng = canvas.rng
    canvas.paint(canvas.box(0, 0.3, 0.86, 1.2), 0.58)
    canvas.paint(canvas.ellipse(0, -0.95, 0.3, 0.4), 0.62)
    for side, x in (("right", -0.42), ("left", 0.42)):
        lung = canvas.name(f"{side} lung", x, -0.05, _vary(canvas, 0.3), _vary(canvas, 0.6))
        canvas.paint(lung, 0.2)
        canvas.values += lung * canvas.texture(3) * np.float32(0.018)
    for y in np.linspace(-0.55, 0.45, 7):
        for x in (-0.44, 0.44):
            rib = canvas.ellipse(x, y + 0.06, 0.4, 0.12) - canvas.ellipse(x, y + 0.095, 0.4, 0.12)
            canvas.add(np.clip(rib, 0, 1), 0.07)
    for x in (-1, 1):
        canvas.add(canvas.box(0.36 * x, -0.66, 0.3, 0.025, angle=-0.15 * x), 0.12)
    canvas.paint(canvas.box(0, 0, 0.1, 1.3), 0.74)
    heart = change.get("heart", 1.0) * _vary(canvas, 1.0, 0.05)
    canvas.paint(
        canvas.ellipse(0.1 + 0.05 * heart, 0.22, 0.27 * heart, 0.26 * (0.6 + 0.4 * heart), angle=0.5), 0.76
    )
    for x, y in ((-0.44, 0.66), (0.44, 0.7)):
        canvas.paint(canvas.ellipse(x, y, 0.42, 0.22), 0.8)
    canvas.paint(canvas.box(0, 1.15, 0.86, 0.4), 0.82)
    canvas.values += np.float32(0.02) * canvas.x * np.float32(rng.normal(0, 1))


def draw_bone_xr(canvas: Canvas, contrast: int, change: Mapping[str, float]) -> None:
    """Draw a hand radiograph: soft tissue, five rays of tubular bones, carpus, radius and ulna."""
    rays = (((-0.17, 0.28), (-0.3, -0.72)), ((-0.06, 0.26), (0.0, -0.82)), ((0.08, 0.27), (0.28, -0.74)),
            ((0.19, 0.31), (0.55, -0.5)), ((-0.3, 0.42), (-0.7, -0.1)))  # fmt: skip
    parts = (0.0, 0.42, 0.7, 0.86, 1.0)
    canvas.paint(canvas.ellipse(0.02, 0.22, 0.42, 0.4), 0.22)
    canvas.paint(canvas.box(0.02, 0.9, 0.24, 0.5), 0.22)
    for (x0, y0), (x1, y1) in rays:
        dx, dy = x1 - x0, y1 - y0
        length, angle = float(np.hypot(dx, dy)), float(np.arctan2(dy, dx))
        canvas.paint(canvas.ellipse(x0 + dx * 0.62, y0 + dy * 0.62, length * 0.47, 0.1, angle=angle), 0.2)
        for start, end in pairwise(parts):
            middle, half = (start + end) / 2, (end - start) / 2 * length - 0.012
            x, y = x0 + dx * middle, y0 + dy * middle
            wide = 0.048 - 0.018 * middle
            canvas.paint(canvas.ellipse(x, y, half * 1.1, wide, angle=angle), 0.72)
            canvas.paint(canvas.ellipse(x, y, half * 0.8, wide * 0.45, angle=angle), 0.56)
    for x, y in (
        (-0.2, 0.44),
        (-0.06, 0.42),
        (0.08, 0.44),
        (0.18, 0.48),
        (-0.12, 0.57),
        (0.02, 0.57),
        (0.14, 0.6),
    ):
        canvas.paint(canvas.ellipse(x, y, 0.075, 0.07, wobble=0.08), 0.68)
    canvas.paint(canvas.box(-0.08, 1.0, 0.1, 0.34), 0.7)
    canvas.paint(canvas.box(0.16, 1.02, 0.06, 0.34), 0.7)
    canvas.values += canvas.values * canvas.texture(2) * np.float32(0.02)


#: Kind of examination: phantom, value of the background, noise, pose spread (turn, zoom, shift).
PHANTOMS: dict[str, tuple[Phantom, float, float, tuple[float, float, float]]] = {
    "chest_ct": (draw_chest_ct, -1000.0, 22.0, (0.05, 0.06, 0.03)),
    "abdomen_ct": (draw_abdomen_ct, -1000.0, 16.0, (0.05, 0.06, 0.03)),
    "head_ct": (draw_head_ct, -1000.0, 5.0, (0.1, 0.05, 0.03)),
    "brain_mr": (draw_brain_mr, 10.0, 22.0, (0.1, 0.05, 0.03)),
    "spine_mr": (draw_spine_mr, 10.0, 28.0, (0.06, 0.06, 0.04)),
    "knee_mr": (draw_knee_mr, 10.0, 24.0, (0.08, 0.06, 0.04)),
    "chest_xr": (draw_chest_xr, 0.02, 0.012, (0.03, 0.05, 0.03)),
    "bone_xr": (draw_bone_xr, 0.02, 0.01, (0.12, 0.06, 0.04)),
}
