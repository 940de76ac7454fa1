"""The page: whole, closed to the outside, escaped, and honest about what is missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from radfast import evaluate
from radfast.errors import UsageError
from radfast.report import ReportContext, StageCost, render_report
from radfast.report.passages import Mark, cut_passage
from radfast.report.svg import DotRow, draw_bars, draw_curve, draw_dots, draw_matrix, draw_stack, nice_ticks
from radfast.report.texts import say_bytes, say_number, say_seconds
from radfast.types import TABLES, make_table

_THEMES = (
    ("lung", "nodule", "lobe", "mass"),
    ("liver", "lesion", "cyst", "hepatic"),
    ("bone", "fracture", "spine", "callus"),
)
_EMPTY = {name: make_table(schema, []) for name, schema in TABLES.items() if name != "evidence"}


def make_context(n_patients: int = 12, **changes: Any) -> ReportContext:
    """A small run: one CT image per patient, cited by one report, and one image that nothing cites."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _EMPTY}
    pictures = rng.integers(0, 255, (n_patients + 1, 64, 64), dtype=np.uint8)
    for p in range(n_patients + 1):
        theme = p % len(_THEMES)
        image, report = f"1.2.{p:03d}", f"report-{p}"
        rows["images"].append(
            {"image_id": image, "patient_id": f"SECRET{p}", "modality": "CT", "body_part": "CHEST"}
            | {"series_number": 3, "instance_number": p, "rows": 512, "columns": 512, "pixel_row": p}
            | {"window_center": 40.0, "window_width": 400.0}
        )
        cited = p < n_patients
        if cited:
            _add_report(rows, image, report, _THEMES[theme])
        for level in ("document", "second", "sentence"):
            for rank in range(3):
                rows["labels"].append(
                    {"image_id": image, "level": level, "rank": rank, "predicted": str((theme + rank) % 3)}
                    | {"split": ("train", "test")[p % 2] if cited else "none", "score": 0.7 / (rank + 1)}
                    | {"target": str(theme) if cited else None, "report_id": report if cited else None}
                )
    for level in ("document", "second", "sentence"):
        for topic, words in enumerate(_THEMES):
            rows["topic_words"] += [
                {"level": level, "topic": topic, "rank": i, "word": word, "weight": 0.2 / (i + 1)}
                for i, word in enumerate((*words, *(f"more{j}" for j in range(12))))
            ]
            rows["topics"].append(
                {"level": level, "unit_id": f"u{topic}", "topic": topic, "probability": 1.0}
            )
    rows["ledger"] = [
        {"input_id": f"SECRET1/{i}.dcm", "kind": "dicom", "state": state, "reason": reason}
        for i, (state, reason) in enumerate([("labeled", ""), ("labeled", ""), ("rejected", "truncated")])
    ]
    tables = {name: make_table(TABLES[name], rows[name]) for name in _EMPTY}
    values: dict[str, Any] = {"run_id": "0123abcd", "created": "2026-01-02", "pictures": pictures} | tables
    values["nearest"] = {"mass": [("nodule", 0.81), ("lesion", 0.7)]}
    values["bigrams"] = [("lung", "mass", 4)]
    values["config"] = {"seed": 0, "vision": {"network": "alexnet"}}
    values["versions"] = {"radfast": "0.1.0"}
    values["hardware"] = {"cores": "2"}
    values["stages"] = [StageCost("ingest", 12.5, 812_000_000, "13 images"), StageCost("topics", 61.0)]
    return ReportContext(**values | changes)


def _add_report(
    rows: dict[str, list[dict[str, Any]]], image: str, report: str, words: tuple[str, ...]
) -> None:
    before, citing, after = (
        "Größe unverändert. ",
        f"There is a {words[3]} in the {words[0]} (series 3, image 7). ",
        "No effusion <b>seen</b>.",
    )
    text = before + citing + after
    at = {part: len(text[: text.index(part)].encode()) for part in (citing, "(series", words[3], "effusion")}
    rows["reports"].append({"report_id": report, "text": text, "patient_id": "SECRET"})
    rows["links"].append(
        {"report_id": report, "image_id": image, "series": 3, "image": 7, "reference": 0, "status": "linked"}
        | {"span_start": at["(series"], "span_end": at["(series"] + len("(series 3, image 7)")}
        | {"sentence_start": at[citing], "sentence_end": at[citing] + len(citing) - 1, "window_start": 0}
        | {"window_end": len(text.encode()), "prior": False, "ambiguous": False, "evidence": "reference"}
    )
    for name, kind in ((words[3], "present"), ("effusion", "absent")):
        span = {"span_start": at[name], "span_end": at[name] + len(name)}
        rows["findings"].append(
            {"report_id": report, "concept_id": name, "name": name, "assertion": kind, "cue": "no"} | span
        )
    rows["descriptions"].append(
        {"image_id": image, "level": "document", "keyword": words[3], "score": 0.9, "in_window": True}
        | {"report_id": report, "span_start": at[words[3]], "span_end": at[words[3]] + len(words[3])}
    )
    rows["descriptions"].append(
        {"image_id": image, "level": "sentence", "keyword": "ghost", "score": 0.2, "in_window": False}
    )


def make_metrics(context: ReportContext) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    target = np.repeat([0, 1, 2], [30, 15, 15])
    scores = rng.random((60, 3))
    scores[np.arange(60), target] += 0.4
    patients = np.arange(60) // 2
    classes = ["document 0", "1", "2"]
    score = evaluate.score_classification(target, scores, names=classes, groups=patients, draws=50)
    words = {level: [[("mass", 0.9), ("lung", 0.1)]] * 8 for level in ("document", "second", "sentence")}
    given = {name: [["mass", None, None]] * 8 for name in ("ontology", "unfiltered")}
    diseases = (rng.random((60, 2)) > 0.6).astype(int)
    names = ["mass present", "effusion absent"]
    return {
        "corpus": evaluate.corpus_statistics([120, 90, 200], [10, 12], [24, 30], {"lung": 9, "right": 30}),
        "links": evaluate.link_statistics(context.links, context.images),
        "curve": evaluate.summarize_curve([5, 10, 20], [[90, 92], [80, 83], [85, 84]]),
        "topics": {"document": {"n_topics": 3, "coherence": 0.21}, "sentence": {"n_topics": 3}},
        "label_set": {
            "levels": {"document": evaluate.class_counts(["0", "1", "2"], target, {"9": 4})},
            "disease_classes": [{"name": "mass present", "n": 7}],
            "splits": {"train": {"images": 9, "patients": 6}, "test": {"images": 6, "patients": 6}},
        },
        "classification": dict.fromkeys(("document", "second", "sentence"), score),
        "vectors": evaluate.score_vectors(rng.normal(size=(9, 4)), np.eye(4), [[i % 4] for i in range(9)]),
        "keywords": evaluate.score_keywords(words, given, [{"mass"}, {"liver"}] * 4, {"mass"}, ["liver"]),
        "findings": {"present": 12, "absent": 12},
        "truth": {
            "links": evaluate.score_links(context.links, context.links),
            "findings": evaluate.score_assertions(context.findings, context.findings),
            "topics": evaluate.score_topics(["a", "a", "b"], [0, 0, 1]),
        },
        "diseases": evaluate.score_diseases(diseases, rng.random((60, 2)), names, groups=patients),
        "disease_ranking": evaluate.score_disease_ranking(diseases, rng.random((60, 2)), names),
        "published": evaluate.published_figures(),
    }


class Outline(HTMLParser):
    """Collects what is checked: open tags, ids, links, attributes, text."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"stray </{tag}>"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.text.append(data)

    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def page() -> str:
    context = make_context()
    return render_report(make_metrics(context), context)


def test_page_is_well_formed_and_closed(page: str) -> None:
    outline = Outline(page)
    assert outline.stack == []
    assert page.startswith("<!doctype html>")
    for tag, attributes in outline.seen:
        assert tag not in ("link", "iframe", "object", "base")
        assert "style" not in attributes, "the content policy forbids inline style attributes"
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,")), value
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_policy_matches_style_and_script(page: str) -> None:
    import base64
    import hashlib

    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert body is not None
        mark = base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode()
        assert f"sha256-{mark}" in policy.group(1).replace("&#39;", "'").replace("&#43;", "+")


def test_page_is_accessible(page: str) -> None:
    outline = Outline(page)
    ids = [a["id"] for _, a in outline.seen if a.get("id")]
    assert len(ids) == len(set(ids))
    targets = {(a["href"] or "")[1:] for tag, a in outline.seen if tag == "a"}
    assert targets <= set(ids)
    assert all(a.get("alt") for tag, a in outline.seen if tag == "img")
    assert all(a.get("scope") for tag, a in outline.seen if tag == "th")
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in outline.seen if tag == "svg")
    assert sum(tag == "h1" for tag, _ in outline.seen) == 1
    assert page.count("<table") == page.count("<caption")


def test_page_tells_everything(page: str) -> None:
    words = Outline(page).words()
    assert "Contains patient data." in words
    assert "not measured in this run" not in words
    assert "0123abcd" in words
    for expected in (
        "alexnet",
        "truncated",
        "lung mass",
        "nodule",
        "12 s",
        "812 MB",
        "majority",
        "✓ in window",
    ):
        assert expected in words
    assert words.count("Reading") >= 9


def test_patient_ids_stay_out(page: str) -> None:
    assert "SECRET" not in page
    assert "…/2.dcm" in page


def test_report_text_is_escaped_and_marked(page: str) -> None:
    assert "<b>seen</b>" not in page
    assert "&lt;b&gt;seen&lt;/b&gt;" in page
    assert 'title="image reference">(series 3, image 7)</span>' in page
    assert "Größe unverändert." in page
    assert re.search(r'<span class="finding absent" title="effusion: absent">effusion</span>', page)
    assert re.search(r'<span class="sentence finding present keyword" title="[^"]+">mass</span>', page)


def test_hostile_words_are_escaped() -> None:
    context = make_context(2, run_id="<script>alert(1)</script>", nearest={"<img src=x>": [('"onload', 0.5)]})
    page = render_report({}, context)
    assert "<script>alert" not in page
    assert "<img src=x>" not in page


def test_same_input_same_page() -> None:
    first, second = (render_report(make_metrics(c), c) for c in (make_context(4), make_context(4)))
    assert first == second


def test_order_of_json_keys_does_not_matter() -> None:
    context = make_context(6)
    metrics = make_metrics(context)
    shuffled = json.loads(json.dumps(metrics, sort_keys=True))
    assert render_report(shuffled, context) == render_report(metrics, context)


def test_empty_run() -> None:
    context = ReportContext("r", "now", **_EMPTY, pictures=np.zeros((0, 8, 8), np.uint8))
    page = render_report({}, context)
    outline = Outline(page)
    assert outline.stack == []
    assert outline.words().count("not measured in this run") == 16
    assert "No image to show" in page


def test_metrics_of_empty_inputs() -> None:
    nothing: Any = np.zeros((0, 0))
    metrics = {
        "corpus": evaluate.corpus_statistics([], [], [], {}),
        "links": evaluate.link_statistics(_EMPTY["links"], _EMPTY["images"]),
        "curve": evaluate.summarize_curve([10], [[5.0]]),
        "label_set": {"levels": {"document": evaluate.class_counts([], [])}, "splits": {}},
        "classification": {"document": evaluate.score_classification([], nothing)},
        "vectors": evaluate.score_vectors(np.zeros((0, 3)), np.zeros((0, 3)), []),
        "keywords": evaluate.score_keywords({"document": []}, {"ontology": [], "unfiltered": []}, [], [], []),
        "truth": {
            "links": evaluate.precision_recall_f([], []),
            "findings": evaluate.score_assertions(_EMPTY["findings"], _EMPTY["findings"]),
            "topics": evaluate.score_topics([], []),
        },
        "diseases": evaluate.score_diseases(nothing, nothing, []),
        "disease_ranking": evaluate.score_disease_ranking(nothing, nothing, []),
    }
    json.dumps(metrics, allow_nan=False)
    context = ReportContext("r", "now", **_EMPTY, pictures=np.zeros((0, 8, 8), np.uint8))
    assert Outline(render_report(metrics, context)).stack == []


def test_one_class_and_one_image() -> None:
    context = make_context(1)
    score = evaluate.score_classification([0], [[1.0]], names=["0"])
    page = render_report({"classification": {"document": score}}, context)
    assert Outline(page).stack == []
    assert "1 classes, 1 of 1 on the diagonal" in page


def test_limits_are_kept_and_said() -> None:
    context = make_context(12)
    page = render_report({}, context, max_examples=5, max_topics=2)
    assert page.count('class="example card"') == 5
    assert "outside the label set" in page  # the uncited image is among them
    assert "3 topics, the 2 largest shown" in page
    assert page.count("data-topic=") == 6
    assert render_report({}, context, max_topics=0).count("data-topic=") == 9


def test_examples_are_held_out_and_spread_over_topics() -> None:
    context = make_context(12)
    page = render_report({}, context, max_examples=5)
    shown = re.findall(r'class="example card".*?</article>', page, re.S)
    assert [re.search(r"(\w+) split|outside", part).group() for part in shown] == ["test split"] * 3 + [  # type: ignore[union-attr]
        "test split",
        "outside",
    ]
    topics = [re.search(r"report says topic (\d)", part) for part in shown[:3]]
    assert sorted(found.group(1) for found in topics if found) == ["0", "1", "2"]


def test_bad_context_refused() -> None:
    with pytest.raises(UsageError, match="pictures must be uint8"):
        render_report({}, make_context(2, pictures=np.zeros((3, 4, 4))))
    with pytest.raises(UsageError, match="ledger must have the columns"):
        render_report({}, make_context(2, ledger=_EMPTY["images"]))


# pieces of the page


def test_passage_cuts_at_overlaps() -> None:
    text = "äb cd ef".encode()
    pieces = cut_passage(text, 0, len(text), [Mark(0, 6, "x"), Mark(4, 9, "y", "tip"), Mark(50, 60, "z")])
    assert [(p.text, p.kinds, p.tip) for p in pieces] == [
        ("äb ", "x", ""),
        ("cd", "x y", "tip"),
        (" ef", "y", "tip"),
    ]
    assert "".join(p.text for p in cut_passage(text, 3, 99, [])) == text[3:].decode()
    assert cut_passage(b"", 0, 5, [Mark(0, 3, "x")]) == []
    assert cut_passage(b"\xff", 0, 1, [])[0].text == "\ufffd"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3, 3), (0, 0), (1e-6, 2e-6), (905.5, 1004), (-3, 7)])
def test_ticks_cover_the_range(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert ticks[0] < ticks[-1]
    assert 2 <= len(ticks) <= 12


def test_charts_are_well_formed_at_the_edges() -> None:
    curve = draw_curve([7], [3.0], [3.0], [3.0], chosen=7, title="<t>", x_label="&", y_label="y")
    drawn = [
        curve,
        draw_bars([], title="none", unit=""),
        draw_bars([("a<b", 0)], title="zero", unit="x"),
        draw_dots(
            [DotRow("a", None), DotRow("b", 0.5, 0.4, 0.6, [("m", None), ("n", 1.2)])], title="t", ours="o"
        ),
        draw_matrix([], [], title="empty"),
        draw_matrix(["only"], [[3]], title="one"),
        draw_stack([("a", 0), ("b", 2)], title="s"),
    ]
    for chart in drawn:
        assert Outline(chart).stack == []
        assert "nan" not in chart
        assert "<t>" not in chart


def test_matrix_shades_by_row() -> None:
    chart = draw_matrix(["a", "b"], [[3, 1], [0, 0]], title="m")
    assert "true a, answered b: 1 of 4 (25%)" in chart
    assert 'fill-opacity="0.31"' in chart  # 0.08 + 0.92 / 4
    assert chart.count("true b") == 0


def test_numbers_in_words() -> None:
    assert (say_number(None), say_number(1234.5, 1)) == ("–", "1,234.5")
    assert [say_seconds(s) for s in (0.04, 59.4, 185, 7620)] == ["0.0 s", "59 s", "3 min 05 s", "2 h 07 min"]
    assert (say_bytes(None), say_bytes(812_000_000), say_bytes(3_400_000_000)) == ("–", "812 MB", "3.4 GB")
