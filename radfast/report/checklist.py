"""What a run should show in the end, row by row, and where the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radfast.report.context import ReportContext
from radfast.report.texts import say_interval, say_rate


@dataclass(frozen=True)
class CheckRow:
    """One row: what, where on the page, what came out in short; None: this run has none."""

    name: str
    anchor: str
    result: str | None


def _score(estimate: Mapping[str, Any] | None) -> str | None:
    if not estimate or estimate.get("value") is None:
        return None
    span = say_interval(estimate)
    return say_rate(estimate["value"]) + (f" ({span})" if span else "")


def list_rows(metrics: Mapping[str, Any], context: ReportContext) -> list[CheckRow]:
    """Return the sixteen rows; a row without a result says so instead of vanishing."""
    get = metrics.get
    corpus, links, curve, label_set = get("corpus"), get("links"), get("curve"), get("label_set")
    known = get("truth") or {}
    truth, assertions = known.get("links"), known.get("findings")
    vectors, keywords, scores = get("vectors"), get("keywords"), get("classification") or {}
    ranking, diseases = get("disease_ranking"), get("diseases")
    words = context.topic_words
    tops = ", ".join(
        f"{level} {_score(score['top1'])}" for level, score in scores.items() if _score(score["top1"])
    )
    references = None
    if links:
        references = f"{links['references_linked']:,} of {links['references']:,} references linked"
        if truth:
            references += f"; P {say_rate(truth['precision'])}, R {say_rate(truth['recall'])}"
    told = [f"top-1 {_score(ranking['top1'])}"] if ranking and _score(ranking["top1"]) else []
    told += [f"mean AUC {say_rate(diseases['mean_auc'])}"] if diseases and diseases["n_scored"] else []
    seconds = sum(stage.seconds for stage in context.stages)
    n_topics = len(set(zip(words["level"].to_pylist(), words["topic"].to_pylist(), strict=True)))
    cosine = _score(vectors["cosine"]) if vectors else None
    hits = _score(keywords["ontology"]["radfast"]["image_hit_rate"]) if keywords else None
    return [
        CheckRow("Corpus statistics", "corpus", f"{corpus['vocabulary']:,} words" if corpus else None),
        CheckRow("Image references with P/R/F", "links", references),
        CheckRow(
            "Perplexity curve",
            "topics",
            f"{len(curve['candidates'])} sizes, {curve['chosen']} by the rule" if curve else None,
        ),
        CheckRow(
            "Topics at three levels with their words", "sheet", f"{n_topics:,} topics" if n_topics else None
        ),
        CheckRow(
            "Label set: class counts, threshold, split",
            "labels",
            ", ".join(f"{head} {len(row['classes'])}" for head, row in label_set["levels"].items())
            + " classes"
            if label_set
            else None,
        ),
        CheckRow("Top-1 and top-5 with baselines", "networks", tops or None),
        CheckRow("Confusion matrices", "networks", f"{len(scores)} levels" if scores else None),
        CheckRow("Topic review sheet", "sheet", "with room for the reading" if n_topics else None),
        CheckRow("Nearest words", "vectors", f"{len(context.nearest)} words" if context.nearest else None),
        CheckRow(
            "Disease bi-grams", "vectors", f"{len(context.bigrams):,} listed" if context.bigrams else None
        ),
        CheckRow("Image to vector: cosine and rank", "vectors", f"cosine {cosine}" if cosine else None),
        CheckRow("Keywords, definitions A, B, C", "keywords", f"A {hits}" if hits else None),
        CheckRow(
            "Assertion P/R/F", "findings", f"F {say_rate(assertions['micro']['f'])}" if assertions else None
        ),
        CheckRow("Diseases: top-1, top-5, AUC", "findings", ", ".join(told) or None),
        CheckRow(
            "One record per image",
            "examples",
            f"{context.images.num_rows:,} images" if context.images.num_rows else None,
        ),
        CheckRow("Time, memory, hardware", "provenance", f"{seconds:,.0f} s" if context.stages else None),
    ]
