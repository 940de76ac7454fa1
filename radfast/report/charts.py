"""From metrics to charts: which figures are drawn, under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from radfast.report.svg import DotRow, draw_bars, draw_curve, draw_dots, draw_histogram, draw_matrix
from radfast.report.topic_words import LEVEL_NAMES, TopicWords

_BARS = 20
KEYWORD_METHODS = {
    "radfast": "radfast",
    "frequent_words": "frequent disease words",
    "topic_top_word": "topic's top word",
    "random_candidate": "random word",
}


def draw_charts(metrics: Mapping[str, Any], topics: TopicWords) -> dict[str, Any]:
    """Draw every chart that the metrics have figures for; the others are missing from the result."""
    charts: dict[str, Any] = {}
    if curve := metrics.get("curve"):
        charts["curve"] = draw_curve(
            curve["candidates"],
            curve["mean"],
            curve["low"],
            curve["high"],
            chosen=curve["chosen"],
            title="Held-out perplexity by number of topics",
            x_label="document-level topics",
            y_label=f"perplexity, {curve['seeds']} hold-outs" if curve["seeds"] > 1 else "perplexity",
        )
    if corpus := metrics.get("corpus"):
        if corpus["frequent"]:
            charts["words"] = draw_bars(
                [(row["word"], row["count"]) for row in corpus["frequent"][:_BARS]],
                title="Most frequent words",
                unit="times",
            )
        if (histogram := corpus["words_per_report"]["histogram"])["counts"]:
            charts["lengths"] = draw_histogram(
                histogram["edges"], histogram["counts"], title="Words per report", x_label="words per report"
            )
    if scores := metrics.get("classification"):
        charts["networks"] = _draw_networks(scores, metrics)
        charts["confusion"] = {
            level: draw_matrix(
                [_class_name(topics, level, name) for name in score["confusion"]["classes"]],
                score["confusion"]["counts"],
                title=f"Confusion, {LEVEL_NAMES[level].lower()} topics",
            )
            for level, score in scores.items()
            if score["n_images"]
        }
    if label_set := metrics.get("label_set"):
        classes = {level: counts["classes"] for level, counts in label_set["levels"].items()}
        diseases = sorted(label_set.get("disease_classes", []), key=lambda row: (-row["n"], row["name"]))
        charts["classes"] = {
            level: (_draw_classes(topics, level, rows), len(rows))
            for level, rows in sorted(
                {**classes, "disease": diseases}.items(), key=lambda row: list(LEVEL_NAMES).index(row[0])
            )
            if rows
        }
    if findings := metrics.get("findings"):
        charts["mentions"] = draw_bars(
            sorted(findings.items(), key=lambda row: (-row[1], row[0])),
            title="Mentions by assertion",
            unit="mentions",
        )
    if (keywords := metrics.get("keywords")) and keywords["n_images"]:
        charts["keywords"] = _draw_keywords(keywords)
    if (auc := metrics.get("diseases")) and auc["n_scored"]:
        scored = [row for row in auc["per_class"] if row["auc"]["value"] is not None]
        scored.sort(key=lambda row: (-row["auc"]["value"], row["name"]))
        charts["auc"] = draw_dots(
            [
                DotRow(
                    row["name"],
                    row["auc"]["value"],
                    row["auc"]["low"],
                    row["auc"]["high"],
                    [("chance", 0.5)],
                    f"{row['positives']:,} of {row['positives'] + row['negatives']:,}",
                )
                for row in scored[:_BARS]
            ],
            title="AUC by disease class",
            ours="AUC, 95 % interval",
            label_width=170,
        )
    return charts


def _draw_classes(topics: TopicWords, level: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    return draw_bars(
        [(_class_name(topics, level, row["name"]), row["n"]) for row in rows[:_BARS]],
        title=f"Samples per class, {LEVEL_NAMES[level].lower()}",
        unit="samples",
        label_width=170,
    )


def _class_name(topics: TopicWords, level: str, name: str) -> str:
    """Return a topic's number with its first words; a number may come with its level before it."""
    number = name.removeprefix(f"{level} ")
    words = topics.name(level, number, 2)
    return f"{number} {words}" if words and words != number else number


def _draw_networks(scores: Mapping[str, Any], metrics: Mapping[str, Any]) -> Markup:
    published = (metrics.get("published") or {}).get("classification", {})
    rows = []
    for level in (level for level in LEVEL_NAMES if level in scores):
        score = scores[level]
        best = published.get(level, {}).get("vgg19")
        rows.append(
            DotRow(
                LEVEL_NAMES[level],
                score["top1"]["value"],
                score["top1"]["low"],
                score["top1"]["high"],
                [
                    ("majority", score["majority"]["top1"]["value"]),
                    ("published", best[0] if best else None),
                ],
                f"{score['n_classes']} classes",
            )
        )
    return draw_dots(rows, title="Top-1 on held-out patients", ours="top-1, 95 %")


def _draw_keywords(keywords: Mapping[str, Any]) -> Markup:
    shown = keywords["ontology"]
    ours, others = shown["radfast"], list(KEYWORD_METHODS)[1:]

    def row(name: str, key: str, note: str) -> DotRow:
        marks = [(KEYWORD_METHODS[other], shown[other][key]["value"]) for other in others]
        return DotRow(name, ours[key]["value"], ours[key]["low"], ours[key]["high"], marks, note)

    rows = [
        row("A image hit", "image_hit_rate", "all images"),
        row("A possible", "image_hit_rate_possible", "could be hit"),
        row("B precision", "word_precision", "of words"),
    ]
    for level in keywords["levels"]:
        mine = ours["level_recall"][level]
        marks = [(KEYWORD_METHODS[other], shown[other]["level_recall"][level]["value"]) for other in others]
        rows.append(
            DotRow(
                f"C {LEVEL_NAMES[level].split()[0].lower()}", mine["value"], mine["low"], mine["high"], marks
            )
        )
    return draw_dots(rows, title="Keywords in the citing window", ours="radfast")
