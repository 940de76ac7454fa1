"""The topic review sheet: words, sample images and room for a radiologist's reading, topic by topic."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from radfast.report.context import ReportContext
from radfast.report.pictures import encode_picture
from radfast.report.topic_words import TopicWords
from radfast.types import LEVELS

_HEAD = 12  # words shown with their weight; the rest follows in small print


@dataclass(frozen=True)
class SheetTopic:
    """One topic to be read."""

    name: str
    units: int
    images: int
    head: list[tuple[str, float, float]]  # word, weight, weight as a share of the heaviest
    rest: list[str]
    telling: str  # the words that set it apart
    samples: list[tuple[str, str]]  # data URI, alternative text


@dataclass(frozen=True)
class SheetLevel:
    """The topics of one level, largest first."""

    level: str
    unit: str
    topics: list[SheetTopic]
    total: int


def show_sheet(
    context: ReportContext, topics: TopicWords, max_topics: int, samples: int, side: int
) -> list[SheetLevel]:
    """Build the sheet.

    Parameters
    ----------
    context : ReportContext
    topics : TopicWords
    max_topics : int
        Topics shown per level, those with most images first, then most units; 0 shows all.
    samples : int
        Images per topic, the first by id among those whose report has the topic.
    side : int
        Longer side of a sample, pixels.
    """
    shots = _Shots(context, side)
    levels = []
    for level in LEVELS:
        members = _members(context, level)
        words = topics.words.get(level, {})
        units = topics.units.get(level, {})
        names = sorted(
            (name for name in words if words[name]),
            key=lambda name: (-len(members.get(name, ())), -units.get(name, 0), int(name)),
        )
        shown = []
        for name in names[: max_topics or None]:
            heaviest = words[name][0][1] or 1.0
            shown.append(
                SheetTopic(
                    name,
                    units.get(name, 0),
                    len(members.get(name, ())),
                    [(word, weight, weight / heaviest) for word, weight in words[name][:_HEAD]],
                    [word for word, _ in words[name][_HEAD:]],
                    topics.name(level, name, 5),
                    shots.take(sorted(members.get(name, ()))[:samples], f"image of topic {name}"),
                )
            )
        levels.append(SheetLevel(level, "windows" if level == "sentence" else "reports", shown, len(names)))
    return levels


class _Shots:
    """Small pictures, each read and encoded once."""

    def __init__(self, context: ReportContext, side: int) -> None:
        self.context = context
        self.side = side
        self.done: dict[str, tuple[str, str]] = {}

    def take(self, images: list[str], what: str) -> list[tuple[str, str]]:
        """Return (data URI, alternative text) of the images that the archive has."""
        table = self.context.images
        new = pa.array([image for image in images if image not in self.done], pa.string())
        if len(new):
            for row in table.filter(pc.is_in(table["image_id"], value_set=new)).to_pylist():
                picture = encode_picture(self.context.pictures[row["pixel_row"]], self.side)
                self.done[row["image_id"]] = (picture, row["modality"] or "")
        found = [self.done[image] for image in images if image in self.done]
        return [(picture, f"{kind} {what}".strip()) for picture, kind in found]


def _members(context: ReportContext, level: str) -> dict[str, list[str]]:
    """Return the images of the label set by their target class."""
    labels = context.labels
    rows = labels.filter(
        pc.and_(
            pc.and_(pc.equal(labels["level"], level), pc.equal(labels["rank"], 0)),
            pc.is_valid(labels["target"]),
        )
    )
    members: dict[str, list[str]] = defaultdict(list)
    for target, image in zip(rows["target"].to_pylist(), rows["image_id"].to_pylist(), strict=True):
        members[target].append(image)
    return members
