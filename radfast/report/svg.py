"""Charts as inline SVG: plain marks with CSS classes, so that light, dark and print share one drawing.

Every chart is drawn 420 units wide and set in columns of about that many pixels: text keeps its size on a
phone. Each carries a title and a description for screen readers, and tool tips on its marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, log10

from markupsafe import Markup

WIDTH = 420.0


@dataclass
class _Canvas:
    height: float
    css: str = "chart"
    parts: list[str] = field(default_factory=list)

    def rect(
        self, x: float, y: float, w: float, h: float, css: str, tip: str = "", **more: float | str
    ) -> None:
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        body = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(
            f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}"'
            f"{extra}>{body}</rect>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.parts.append(f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def path(self, points: Sequence[tuple[float, float]], css: str, *, closed: bool = False) -> None:
        d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")
        self.parts.append(f'<path class="{css}" d="{d}"/>')

    def dot(self, x: float, y: float, r: float, css: str, tip: str = "") -> None:
        body = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}">{body}</circle>')

    def draw(self, title: str, about: str) -> Markup:
        fit = "none" if "stack" in self.css else "xMidYMid"
        frame = f'viewBox="0 0 {WIDTH:.0f} {self.height:.0f}" preserveAspectRatio="{fit}"'
        said = escape(f"{title}. {about}")
        return Markup(
            f'<svg class="{self.css}" {frame} role="img" aria-label="{said}">{"".join(self.parts)}</svg>'
        )


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round values from at or below `low` to at or above `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def format_tick(value: float) -> str:
    """Return 1,200 for 1200.0, 0.25 for 0.25."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def shorten(text: str, length: int) -> str:
    """Cut `text` to `length` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def draw_curve(
    x: Sequence[float],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    chosen: float | None,
    title: str,
    x_label: str,
    y_label: str,
) -> Markup:
    """Draw a curve with the band low..high around it and a mark at `chosen`."""
    canvas = _Canvas(250)
    left, right, top, bottom = 52.0, WIDTH - 14, 30.0, 206.0
    ticks = nice_ticks(min(low), max(high))
    span_x = (max(x) - min(x)) or 1.0

    def place(a: float, b: float) -> tuple[float, float]:
        across = (a - min(x)) / span_x if len(x) > 1 else 0.5
        up = (b - ticks[0]) / (ticks[-1] - ticks[0])
        return left + 8 + across * (right - left - 16), bottom - up * (bottom - top)

    for tick in ticks:
        _, y = place(min(x), tick)
        canvas.line(left, y, right, y, "grid")
        canvas.text(left - 6, y + 4, format_tick(tick), "tick", "end")
    step = max(1, ceil(len(x) / 9))
    for i, value in enumerate(x):
        if i % step == 0 or i == len(x) - 1:
            canvas.text(place(value, ticks[0])[0], bottom + 16, format_tick(value), "tick", "middle")
    upper = [place(a, b) for a, b in zip(x, high, strict=True)]
    lower = [place(a, b) for a, b in zip(x, low, strict=True)]
    canvas.path([*upper, *reversed(lower)], "band", closed=True)
    canvas.path([place(a, b) for a, b in zip(x, mean, strict=True)], "curve")
    for a, b, c, d in zip(x, mean, low, high, strict=True):
        tip = f"{format_tick(a)}: {b:,.1f} ({c:,.1f} to {d:,.1f})"
        if a == chosen:
            px, py = place(a, b)
            canvas.line(px, top, px, bottom, "chosen")
            canvas.text(
                min(max(px, left + 30), right - 34),
                top - 8,
                f"{format_tick(a)} by the rule",
                "label strong",
                "middle",
            )
            canvas.dot(px, py, 6, "dot now", tip)
        else:
            canvas.dot(*place(a, b), 3.5, "dot", tip)
    canvas.text((left + right) / 2, 242, x_label, "label", "middle")
    canvas.text(4, 14, y_label, "label")
    about = f"Lowest mean {min(mean):,.1f} at {format_tick(x[list(mean).index(min(mean))])}."
    return canvas.draw(title, about)


def draw_bars(
    rows: Sequence[tuple[str, float]], *, title: str, unit: str, label_width: float = 130.0
) -> Markup:
    """Draw one horizontal bar per (name, value), in the order given."""
    height = 17.0
    canvas = _Canvas(len(rows) * height + 8)
    most = max((value for _, value in rows), default=0) or 1.0
    room = WIDTH - label_width - 62
    for i, (name, value) in enumerate(rows):
        y = 4 + i * height
        canvas.text(label_width - 8, y + 11.5, shorten(name, int(label_width / 6.3)), "label", "end")
        width = max(value / most * room, 1.5 if value else 0)
        canvas.rect(label_width, y + 2, width, height - 5, "bar", f"{name}: {value:,.6g} {unit}", rx=2)
        canvas.text(label_width + width + 5, y + 11.5, format_tick(round(value, 2)), "tick")
    first = f"Largest: {rows[0][0]}, {rows[0][1]:,.6g} {unit}." if rows else "Nothing to draw."
    return canvas.draw(title, first)


def draw_histogram(edges: Sequence[float], counts: Sequence[int], *, title: str, x_label: str) -> Markup:
    """Draw a histogram; the last bin is open to the right."""
    canvas = _Canvas(178)
    left, right, top, bottom = 44.0, WIDTH - 12, 12.0, 136.0
    most = max(counts, default=0) or 1
    ticks = nice_ticks(0, most, 4)
    for tick in ticks:
        y = bottom - tick / ticks[-1] * (bottom - top)
        canvas.line(left, y, right, y, "grid")
        canvas.text(left - 6, y + 4, format_tick(tick), "tick", "end")
    width = (right - left) / max(len(counts), 1)
    step = max(1, ceil(len(counts) / 8))
    for i, count in enumerate(counts):
        tall = count / ticks[-1] * (bottom - top)
        last = " or more" if i == len(counts) - 1 else f" to {format_tick(edges[i + 1] - 1)}"
        tip = f"{format_tick(edges[i])}{last}: {count:,}"
        canvas.rect(left + i * width + 0.75, bottom - tall, width - 1.5, tall, "bar", tip)
        if i % step == 0:
            canvas.text(left + i * width, bottom + 15, format_tick(edges[i]), "tick", "middle")
    canvas.text((left + right) / 2, 170, x_label, "label", "middle")
    return canvas.draw(title, f"{sum(counts):,} in all.")


@dataclass(frozen=True)
class DotRow:
    """One line of a dot plot: an estimate with its interval, and reference marks (name, value)."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    marks: Sequence[tuple[str, float | None]] = ()
    note: str = ""


def draw_dots(rows: Sequence[DotRow], *, title: str, ours: str, label_width: float = 112.0) -> Markup:
    """Draw estimates on an axis from 0 to 1 with whiskers, and each row's references as hollow marks."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.marks))
    shapes = {name: i for i, name in enumerate(names)}
    places = _wrap_legend([ours, *names])
    height, head = 34.0, places[-1][1] + 17
    canvas = _Canvas(head + len(rows) * height + 24)
    left, right = label_width, WIDTH - 16
    bottom = head + len(rows) * height

    def at(value: float) -> float:
        return left + min(max(value, 0.0), 1.0) * (right - left)

    for i, (name, (x, y)) in enumerate(zip([ours, *names], places, strict=True)):
        if i == 0:
            canvas.dot(x, y, 5, "dot now")
        else:
            _draw_mark(canvas, x, y, i - 1, "")
        canvas.text(x + 10, y + 4, name, "tick")
    for tick in (0, 0.25, 0.5, 0.75, 1):
        canvas.line(at(tick), head, at(tick), bottom, "grid")
        canvas.text(at(tick), bottom + 16, format_tick(tick), "tick", "middle")
    for i, row in enumerate(rows):
        y = head + i * height + height / 2
        canvas.text(
            left - 10,
            y + (0 if row.note else 4),
            shorten(row.name, int(label_width / 6)),
            "label strong",
            "end",
        )
        if row.note:
            canvas.text(left - 10, y + 12, row.note, "tick", "end")
        if row.low is not None and row.high is not None:
            canvas.line(at(row.low), y, at(row.high), y, "whisker")
        for name, value in row.marks:
            if value is not None:
                _draw_mark(canvas, at(value), y, shapes[name], f"{row.name}, {name}: {value:.3f}")
        if row.value is not None:
            span = "" if row.low is None else f" ({row.low:.3f} to {row.high:.3f})"
            canvas.dot(at(row.value), y, 6, "dot now", f"{row.name}, {ours}: {row.value:.3f}{span}")
    said = [f"{row.name} {row.value:.2f}" for row in rows if row.value is not None]
    return canvas.draw(title, "; ".join(said))


def _wrap_legend(names: Sequence[str]) -> list[tuple[float, float]]:
    """Return where each name's mark stands; a name that would leave the chart starts a line."""
    places: list[tuple[float, float]] = []
    x, y = 6.0, 9.0
    for name in names:
        width = 26 + 5.6 * len(name)
        if places and x + width > WIDTH:
            x, y = 6.0, y + 19
        places.append((x, y))
        x += width
    return places


def _draw_mark(canvas: _Canvas, x: float, y: float, shape: int, tip: str) -> None:
    if shape % 3 == 0:
        canvas.rect(x - 1.5, y - 8, 3, 16, "mark solid", tip)
    elif shape % 3 == 1:
        canvas.rect(x - 4.2, y - 4.2, 8.4, 8.4, "mark", tip, transform=f"rotate(45 {x:.1f} {y:.1f})")
    else:
        canvas.dot(x, y, 4.6, "mark", tip)


def draw_matrix(classes: Sequence[str], counts: Sequence[Sequence[int]], *, title: str) -> Markup:
    """Draw a confusion matrix, rows true and columns answered, shaded by share of the row."""
    n = len(classes)
    longest = max((len(name) for name in classes), default=1)
    margin = min(12 + 6.2 * min(longest, 18), 124.0) + 16
    size = WIDTH - margin - 6
    canvas = _Canvas(size + margin + 2)
    cell = size / max(n, 1)
    canvas.rect(margin, margin, size, size, "plate")
    step = max(1, ceil(n / 24))
    for i, name in enumerate(classes):
        if i % step == 0:
            short = shorten(name, 18)
            middle = margin + (i + 0.5) * cell
            canvas.text(margin - 5, middle + 3.5, short, "tick", "end")
            canvas.parts.append(
                f'<text class="tick" text-anchor="start" transform="translate({middle + 3.5:.1f} '
                f'{margin - 5:.1f}) rotate(-90)">{escape(short)}</text>'
            )
    right = total = 0
    for i, row in enumerate(counts):
        whole = sum(row)
        total += whole
        right += row[i]
        for j, count in enumerate(row):
            if count:
                share = count / whole
                css = "cell right" if i == j else "cell"
                tip = f"true {classes[i]}, answered {classes[j]}: {count:,} of {whole:,} ({share:.0%})"
                x, y = margin + j * cell, margin + i * cell
                gap = 0.5 if cell > 6 else 0.0
                opacity = f"{0.08 + 0.92 * share:.2f}"
                canvas.rect(x + gap, y + gap, cell - 2 * gap, cell - 2 * gap, css, tip, fill_opacity=opacity)
                if cell >= 26:
                    shade = "count light" if share > 0.55 else "count"
                    canvas.text(x + cell / 2, y + cell / 2 + 4, f"{count}", shade, "middle")
    canvas.text(margin + 2, 10, "answered →", "tick")
    canvas.text(2, margin - 5, "true ↓", "tick")
    about = f"{n} classes, {right:,} of {total:,} on the diagonal." if total else "No image."
    return canvas.draw(title, about)


def draw_stack(parts: Sequence[tuple[str, int]], *, title: str) -> Markup:
    """Draw one bar divided into named parts; the classes part0, part1 ... color them."""
    total = sum(count for _, count in parts) or 1
    canvas = _Canvas(22, "chart stack")
    x = 0.0
    for i, (name, count) in enumerate(parts):
        width = count / total * WIDTH
        tip = f"{name}: {count:,} ({count / total:.1%})"
        canvas.rect(x, 2, max(width - 1.5, 1 if count else 0), 18, f"part{i % 8}", tip, rx=2)
        x += width
    return canvas.draw(title, ", ".join(f"{name} {count:,}" for name, count in parts))
