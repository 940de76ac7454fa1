"""The page: one HTML file that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.compute as pc
from markupsafe import Markup

from radfast.report import texts
from radfast.report.charts import KEYWORD_METHODS, draw_charts
from radfast.report.checklist import list_rows
from radfast.report.context import ReportContext
from radfast.report.examples import show_examples
from radfast.report.sheet import show_sheet
from radfast.report.svg import draw_stack
from radfast.report.topic_words import LEVEL_NAMES, read_topic_words
from radfast.types import SPLITS

_FOLDER = Path(__file__).parent
_METRICS = (
    "corpus", "links", "curve", "topics", "label_set", "classification", "vectors", "keywords", "findings",
    "diseases", "disease_ranking", "truth", "published",
)  # fmt: skip
_LEDGER_ROWS = 200
_COLUMNS = {
    "n_topics": "topics",
    "n_used": "in use",
    "n_units": "units",
    "largest_share": "largest share",
    "npmi": "NPMI",
    "samples": "samples",
    "images": "images",
    "patients": "patients",
}


def render_report(
    metrics: Mapping[str, Any],
    context: ReportContext,
    *,
    max_examples: int = 12,
    max_topics: int = 60,
    picture_side: int = 256,
    sample_side: int = 72,
) -> str:
    """Render a run as one self-contained HTML page.

    The page loads nothing: styles, script, charts and pictures stand inside, and its content policy forbids
    all else. It shows report sentences and pictures, hence patient data, and says so; patient ids are left
    out.

    Parameters
    ----------
    metrics : mapping
        Results of `radfast.evaluate`, each key optional or None; what is missing is named as not measured:
        ``corpus`` (`corpus_statistics`), ``links`` (`link_statistics`), ``curve`` (`summarize_curve`),
        ``topics`` (per level a dict of named numbers), ``label_set`` (``levels``: per level `class_counts`;
        ``disease_classes``: list of name and n; ``splits``: per split a dict of counts), ``classification``
        (per level `score_classification`), ``vectors`` (`score_vectors`), ``keywords`` (`score_keywords`),
        ``findings`` (mentions by assertion), ``diseases`` (`score_diseases`), ``disease_ranking``
        (`score_disease_ranking`), ``truth`` (``links``: `score_links`, ``findings``: `score_assertions`,
        ``topics``: `score_topics` of the documents), ``published`` (`published_figures`).
    context : ReportContext
        The run's tables, pictures and provenance.
    max_examples : int
        Example images.
    max_topics : int
        Topics per level on the review sheet; 0 shows all.
    picture_side, sample_side : int
        Longer side of example pictures and of the sheet's samples, pixels.

    Returns
    -------
    str
        HTML; the same input gives the same text.

    Raises
    ------
    UsageError
        If a table lacks a column or the pictures have the wrong shape.
    """
    context.check()
    topics = read_topic_words(context.topic_words, context.topics)
    shown = {name: metrics.get(name) for name in _METRICS}
    style = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))
    script = Markup((_FOLDER / "report.js").read_text(encoding="utf-8"))
    reasons = _count_reasons(context)
    states: Counter[str] = Counter()
    for state, _, _, count in reasons:
        states[state] += count
    ordered = sorted(states.items(), key=lambda row: (-row[1], row[0]))
    longest = max((stage.seconds for stage in context.stages), default=0.0) or 1.0
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **shown,
            context=context,
            style=style,
            script=script,
            policy=_policy(style, script),
            charts=draw_charts(shown, topics),
            checklist=list_rows(shown, context),
            examples=show_examples(context, topics, max_examples, picture_side),
            sheet=show_sheet(context, topics, max_topics, samples=4, side=sample_side),
            splits=SPLITS,
            by_level=_by_level,
            by_number=_by_number,
            name_columns=_name_columns,
            n_document=len(topics.words["document"]),
            level_names=LEVEL_NAMES,
            keyword_methods=KEYWORD_METHODS,
            states=ordered,
            state_bar=draw_stack(ordered, title="States of all inputs"),
            reasons=reasons,
            refused=_list_refused(context),
            stages=[(stage, stage.seconds / longest) for stage in context.stages],
            seconds=sum(stage.seconds for stage in context.stages),
            peak=max((stage.peak_memory for stage in context.stages if stage.peak_memory), default=None),
            config_text=json.dumps(context.config, indent=2, ensure_ascii=False, default=str),
        )
    )


def _by_level(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the items in the order of the levels: JSON keeps keys in none."""
    return [(level, values[level]) for level in LEVEL_NAMES if level in values]


def _by_number(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda row: float(row[0]))


def _name_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the columns that occur, with their titles; those of no known name come last."""
    found = {name for row in rows for name in row}
    others = {name: texts.say_code(name) for name in sorted(found - set(_COLUMNS))}
    return {name: title for name, title in _COLUMNS.items() if name in found} | others


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": texts.say_number,
        "rate": texts.say_rate,
        "share": texts.say_share,
        "interval": texts.say_interval,
        "seconds": texts.say_seconds,
        "bytes": texts.say_bytes,
        "code": texts.say_code,
    }
    return environment


def _policy(style: str, script: str) -> str:
    """Return a content policy that allows this page's own style and script and inline pictures, no more."""
    marks = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in (style, script)
    ]
    return f"default-src 'none'; img-src data:; style-src 'sha256-{marks[0]}'; script-src 'sha256-{marks[1]}'"


def _count_reasons(context: ReportContext) -> list[tuple[str, str, str, int]]:
    """Return (state, reason, kind, inputs), largest first."""
    grouped = context.ledger.group_by(["state", "reason", "kind"]).aggregate([([], "count_all")])
    rows = [(row["state"], row["reason"] or "", row["kind"], row["count_all"]) for row in grouped.to_pylist()]
    return sorted(rows, key=lambda row: (-row[3], row[:3]))


def _list_refused(context: ReportContext) -> tuple[list[dict[str, Any]], int]:
    """Return the first rejected inputs by id and how many there are in all."""
    names = ["input_id", "kind", "reason", "detail"]
    rejected = context.ledger.filter(pc.equal(context.ledger["state"], "rejected")).select(names)
    rows = rejected.sort_by([("reason", "ascending"), ("input_id", "ascending")]).slice(0, _LEDGER_ROWS)
    known = {
        name
        for table in (context.images, context.reports)
        for name in table["patient_id"].unique().to_pylist()
    }
    shown = [{**row, "input_id": _mask(row["input_id"], known)} for row in rows.to_pylist()]
    return shown, rejected.num_rows


def _mask(path: str, known: set[str]) -> str:
    """Hide folders that are named after a patient."""
    return "/".join("…" if part and part in known else part for part in path.split("/"))
