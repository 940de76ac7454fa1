"""The topic review sheet: words, sample images and room for a radiologist's reading, topic by topic."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

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
    picture_of = {}
    levels = []
    rows = dict(
        zip(context.images["image_id"].to_pylist(), context.images["pixel_row"].to_pylist(), strict=True)
    )
    kind_of = dict(
        zip(context.images["image_id"].to_pylist(), context.images["modality"].to_pylist(), strict=True)
    )
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
            chosen = [image for image in sorted(members.get(name, ())) if image in rows][:samples]
            for image in chosen:
                if image not in picture_of:
                    picture_of[image] = encode_picture(context.pictures[rows[image]], side)
            shown.append(
                SheetTopic(
                    name,
                    units.get(name, 0),
                    len(members.get(name, ())),
                    [(word, weight, weight / heaviest) for word, weight in words[name][:_HEAD]],
                    [word for word, _ in words[name][_HEAD:]],
                    topics.name(level, name, 5),
                    [(picture_of[image], f"{kind_of[image]} image of topic {name}") for image in chosen],
                )
            )
        levels.append(SheetLevel(level, "windows" if level == "sentence" else "reports", shown, len(names)))
    return levels


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
