"""Example images with everything the run says of them.

They are chosen by rule, not by result: the first image (by id) of each document topic, largest topic first,
among held-out patients; then images that no sentence cites.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from radfast.report.context import ReportContext
from radfast.report.passages import Mark, Piece, cut_passage
from radfast.report.pictures import encode_picture
from radfast.report.topic_words import LEVEL_NAMES, TopicWords

_ANSWERS = 3
_SIGNS = {"present": "+", "absent": "−", "uncertain": "?"}


@dataclass(frozen=True)
class Answer:
    """One answer of the network."""

    name: str
    words: str
    score: float
    right: bool


@dataclass(frozen=True)
class LevelAnswers:
    """Target and answers of one level."""

    level: str
    target: str | None
    target_words: str
    answers: list[Answer]


@dataclass(frozen=True)
class Example:
    """One image as the page shows it."""

    heading: str
    facts: str
    image_id: str
    split: str
    picture: str
    alt: str
    passage: list[Piece]
    evidence: str
    levels: list[LevelAnswers]
    keywords: list[dict[str, Any]]
    findings: list[dict[str, str]]


def choose_images(labels: pa.Table, links: pa.Table, limit: int, blind: int = 2) -> list[str]:
    """Return image ids by the rule of this module.

    Parameters
    ----------
    labels, links : pyarrow.Table
        LABELS and LINKS.
    limit : int
        Images in all.
    blind : int
        Of these, images without a citing sentence, if there are any.
    """
    first = labels.filter(pc.and_(pc.equal(labels["level"], "document"), pc.equal(labels["rank"], 0)))
    held = first.filter(pc.and_(pc.equal(first["split"], "test"), pc.is_valid(first["target"])))
    if not held.num_rows:
        held = first.filter(pc.is_valid(first["target"]))
    by_target: dict[str, list[str]] = defaultdict(list)
    for target, image in zip(held["target"].to_pylist(), held["image_id"].to_pylist(), strict=True):
        by_target[target].append(image)
    queues = [
        sorted(images) for _, images in sorted(by_target.items(), key=lambda row: (-len(row[1]), row[0]))
    ]
    outside = first.filter(pc.equal(first["split"], "none"))["image_id"]
    uncited = sorted(outside.to_pylist())[: min(blind, limit)]
    cited: list[str] = []
    for turn in range(max((len(queue) for queue in queues), default=0)):
        cited += [queue[turn] for queue in queues if turn < len(queue)]
    if not cited:
        linked = links.filter(pc.and_(pc.equal(links["status"], "linked"), pc.is_valid(links["image_id"])))
        cited = sorted(set(linked["image_id"].to_pylist()) - set(uncited))
    return cited[: limit - len(uncited)] + uncited


def show_examples(context: ReportContext, topics: TopicWords, limit: int, side: int) -> list[Example]:
    """Gather all that is known of the chosen images."""
    chosen = choose_images(context.labels, context.links, limit)
    wanted = pa.array(chosen, pa.string())

    def rows_of(table: pa.Table, key: str, values: pa.Array) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in table.filter(pc.is_in(table[key], value_set=values)).to_pylist():
            rows[row[key]].append(row)
        return rows

    images = rows_of(context.images, "image_id", wanted)
    labels = rows_of(context.labels, "image_id", wanted)
    keywords = rows_of(context.descriptions, "image_id", wanted)
    links = rows_of(context.links, "image_id", wanted)
    evidence = {name: _choose_link(links.get(name, []), labels.get(name, [])) for name in chosen}
    cited = pa.array(sorted({link["report_id"] for link in evidence.values() if link}), pa.string())
    reports = rows_of(context.reports, "report_id", cited)
    findings = rows_of(context.findings, "report_id", cited)
    examples = []
    for name in chosen:
        if name not in images:
            continue
        image, link = images[name][0], evidence[name]
        text = (
            reports[link["report_id"]][0]["text"].encode() if link and reports.get(link["report_id"]) else b""
        )
        mentions = _inside(findings.get(link["report_id"], []), link) if link else []
        words = sorted(keywords.get(name, []), key=lambda row: list(LEVEL_NAMES).index(row["level"]))
        heading = " · ".join(part for part in (image["modality"], image["body_part"].capitalize()) if part)
        examples.append(
            Example(
                heading=heading or "Image",
                facts=_facts(image),
                image_id=name,
                split=labels[name][0]["split"] if labels.get(name) else "none",
                picture=encode_picture(context.pictures[image["pixel_row"]], side),
                alt=f"{heading or 'Image'}, {_facts(image)}",
                passage=_passage(text, link, mentions, words),
                evidence=link["evidence"].replace("_", " ") if link else "",
                levels=_levels(labels.get(name, []), topics),
                keywords=words,
                findings=_say_findings(mentions),
            )
        )
    return examples


def _facts(image: dict[str, Any]) -> str:
    parts = []
    if image["series_number"] is not None:
        parts.append(f"series {image['series_number']}")
    if image["instance_number"] is not None:
        parts.append(f"image {image['instance_number']}")
    parts.append(f"{image['columns']} × {image['rows']} px")
    if image["window_center"] is not None and image["window_width"] is not None:
        parts.append(f"window {image['window_center']:g} / {image['window_width']:g}")
    return ", ".join(parts)


def _choose_link(links: list[dict[str, Any]], labels: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the link that the labels name as evidence, else the first usable one."""
    usable = [
        link for link in links if link["status"] == "linked" and not link["prior"] and not link["ambiguous"]
    ]
    named = {(row["report_id"], row["span_start"]) for row in labels}
    usable.sort(
        key=lambda link: (
            (link["report_id"], link["span_start"]) not in named,
            link["window_start"] is None,
            link["report_id"],
            link["span_start"] or 0,
        )
    )
    return usable[0] if usable else None


def _inside(findings: list[dict[str, Any]], link: dict[str, Any]) -> list[dict[str, Any]]:
    if link["window_start"] is None:
        return []
    rows = [
        row
        for row in findings
        if link["window_start"] <= row["span_start"] and row["span_end"] <= link["window_end"]
    ]
    return sorted(rows, key=lambda row: (row["span_start"], row["span_end"]))


def _passage(
    text: bytes, link: dict[str, Any] | None, findings: list[dict[str, Any]], keywords: list[dict[str, Any]]
) -> list[Piece]:
    if link is None or link["window_start"] is None:
        return []
    marks = [Mark(link["sentence_start"], link["sentence_end"], "sentence")]
    marks.append(Mark(link["span_start"], link["span_end"], "reference", "image reference"))
    marks += [
        Mark(
            row["span_start"], row["span_end"], f"finding {_kind(row)}", f"{row['name']}: {row['assertion']}"
        )
        for row in findings
    ]
    marks += [
        Mark(row["span_start"], row["span_end"], "keyword", "keyword found here")
        for row in keywords
        if row["span_start"] is not None and row["report_id"] == link["report_id"]
    ]
    return cut_passage(text, link["window_start"], link["window_end"], marks)


def _kind(row: dict[str, Any]) -> str:
    return row["assertion"] if row["assertion"] in _SIGNS else "other"


def _say_findings(mentions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return each finding of the window once, with the cue of its first mention."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    for row in mentions:
        said.setdefault(
            (row["name"], row["assertion"]),
            {
                "name": row["name"],
                "assertion": row["assertion"],
                "kind": _kind(row),
                "sign": _SIGNS.get(row["assertion"], "·"),
                "cue": row["cue"] or "",
            },
        )
    return list(said.values())


def _levels(labels: list[dict[str, Any]], topics: TopicWords) -> list[LevelAnswers]:
    by_level: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in labels:
        by_level[row["level"]].append(row)
    shown = []
    for level in LEVEL_NAMES:
        rows = sorted(by_level.get(level, []), key=lambda row: row["rank"])
        if not rows:
            continue
        target = rows[0]["target"]
        wanted = set() if target is None else set(target.split("; ")) if level == "disease" else {target}
        shown.append(
            LevelAnswers(
                level,
                target,
                topics.name(level, target) if target is not None else "",
                [
                    Answer(
                        row["predicted"],
                        topics.name(level, row["predicted"]),
                        float(row["score"]),
                        row["predicted"] in wanted,
                    )
                    for row in rows[:_ANSWERS]
                ],
            )
        )
    return shown
