"""How dictation cites images: every written form, with the references a careful reader takes from it.

Each form turns a target into text pieces; the mark of a piece holds the `Citation` list the text means. A
range is one reference. Numbers that a form leaves out ("88-95", "101-4") are counted in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from radfast.synthetic.grammar import Citation, Piece

#: Images of one series: single numbers and (first, last) ranges, in reading order.
Item = int | tuple[int, int]
Group = tuple[int, Sequence[Item]]


def _short_range(first: int, last: int, rng: Random) -> str:
    """Write a range, its end in full or abbreviated to the digits that change: 84-7, 1013-78."""
    a, b = str(first), str(last)
    if len(a) == len(b) and len(a) > 1 and rng.random() < 0.5:
        same = next((i for i in range(len(a)) if a[i] != b[i]), len(a) - 1)
        if last > first and int(b[same:]) < 10 ** (len(a) - same):
            return f"{a}-{b[same:]}"
    return f"{a}-{b}"


def _write_items(items: Sequence[Item], rng: Random, joiner: str) -> str:
    words = [str(item) if isinstance(item, int) else _short_range(*item, rng) for item in items]
    if joiner == "and" and len(words) > 1:
        return ", ".join(words[:-1]) + f" and {words[-1]}"
    return joiner.join(words)


def _read(group: Group, kind: str = "current", date: str = "") -> tuple[Citation, ...]:
    series, items = group
    return tuple(
        Citation(series, (item,) if isinstance(item, int) else tuple(range(item[0], item[1] + 1)), kind, date)
        for item in items
    )


def _plural(items: Sequence[Item]) -> str:
    return "image" if len(items) == 1 and isinstance(items[0], int) else "images"


def _one(rng: Random, series: int, image: int) -> tuple[str, str, str]:
    """Return (before, reference, after) of one image of one series."""
    forms: list[tuple[str, str, str]] = [
        (" (", f"series {series}, image {image}", ")"),
        (" (e.g. ", f"series {series} image {image}", ")"),
        (" (", f"series {series} image {image}", ")"),
        (" (", f"image {image}, series {series}", ")"),
        (" (", f"se {series}, im {image}", ")"),
        (" (", f"{series}/{image}", ")"),
        (" (", f"series #{series} image #{image}", ")"),
        (" (", f"Series {series}, Image {image}", ")"),
        (" (", f"ser {series}, img {image}", ")"),
        (", best seen on ", f"series {series} image {image}", ""),
        (" on ", f"image {image} of series {series}", ""),
        (" as shown on ", f"series {series}, image {image}", ""),
    ]
    return rng.choice(forms)


def _many(rng: Random, series: int, items: Sequence[Item]) -> tuple[str, str, str]:
    """Return (before, reference, after) of several images of one series."""
    word = rng.choice((_plural(items), _plural(items), "image"))
    listed = _write_items(items, rng, rng.choice((", ", "and")))
    forms: list[tuple[str, str, str]] = [
        (" (", f"series {series} {word} {listed}", ")"),
        (" (", f"series {series}, {word} {listed}", ")"),
        (" seen on ", f"series {series} {word} {listed}", ""),
        (" (", f"series #{series} {word} #{listed}", ")"),
    ]
    if all(isinstance(item, int) for item in items):
        forms.append((" (", f"series {series} image {_write_items(items, rng, '/')}", ")"))
        if len(items) > 2:
            head, tail = _write_items(items[:2], rng, "and"), _write_items(items[2:], rng, "and")
            forms.append((" (", f"series {series} images {head}; {_plural(items[2:])} {tail}", ")"))
    return forms[rng.randrange(len(forms))]


def cite(rng: Random, groups: Sequence[Group]) -> list[Piece]:
    """Write a citation of images of the current study, with a leading blank.

    Parameters
    ----------
    rng : random.Random
        Chooses the form.
    groups : sequence of (series, items)
        What to cite; an item is an image number or a (first, last) range.

    Returns
    -------
    list of Piece
        Text with the marks that say what it means.
    """
    if len(groups) == 1:
        series, items = groups[0]
        first = items[0]
        single = len(items) == 1 and isinstance(first, int)
        before, text, after = (
            _one(rng, series, first) if single and isinstance(first, int) else _many(rng, series, items)
        )
        return [(before, None), (text, _read(groups[0])), (after, None)]
    hashes = rng.random() < 0.4
    pieces: list[Piece] = [(" (" if hashes else " on ", None)]
    for index, group in enumerate(groups):
        series, items = group
        if index:
            pieces.append((", " if hashes else " ", None))
        listed = _write_items(items, rng, ", " if hashes else "and")
        text = (
            f"series #{series} {_plural(items)} #{listed}"
            if hashes
            else f"series {series} {_plural(items)} {listed}"
        )
        pieces.append((text, _read(group)))
    if hashes:
        pieces.append((")", None))
    return pieces


def cite_ambiguous(rng: Random, series: tuple[int, int], image: int) -> list[Piece]:
    """Write a citation that can be read in two ways: "(series 3/4, image 12)"."""
    text = rng.choice(
        (f"series {series[0]}/{series[1]}, image {image}", f"series {series[0]}/{series[1]} image {image}")
    )
    return [(" (", None), (text, (Citation(None, (image,), "ambiguous"),)), (")", None)]


def write_date(date: str, rng: Random) -> str:
    """Write YYYYMMDD as dictated: 3/4/2012 or 03/04/2012."""
    year, month, day = int(date[:4]), int(date[4:6]), int(date[6:])
    return rng.choice((f"{month}/{day}/{year}", f"{month}/{day}/{year}", f"{month:02d}/{day:02d}/{year}"))


def cite_prior(rng: Random, date: str, group: Group, exam: str) -> list[Piece]:
    """Write a citation of an earlier study: "on prior CT of 3/4/2012 (series 2, image 40)".

    Parameters
    ----------
    rng : random.Random
        Chooses the form.
    date : str
        YYYYMMDD of the prior study; empty for "the previous CT" without a date.
    group : (series, items)
        What to cite.
    exam : str
        What the study is called: "CT".
    """
    said = write_date(date, rng) if date else ""
    named: Sequence[str] = (
        (
            f" on prior {exam} of {said}",
            f" on the prior {exam} dated {said}",
            f" on the previous {exam} from {said}",
        )
        if date
        else (f" on the prior {exam}", f" on the previous {exam}")
    )
    series, items = group
    listed = _write_items(items, rng, ", ")
    forms: Sequence[Callable[[], str]] = (
        lambda: f"series {series}, {_plural(items)} {listed}",
        lambda: f"series {series} {_plural(items)} {listed}",
        lambda: f"se {series}, im {listed}",
    )
    text = rng.choice(forms)()
    return [(f"{rng.choice(named)} (", None), (text, _read(group, "prior", date)), (")", None)]
