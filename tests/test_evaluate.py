"""Metrics against hand-worked values, closed forms and scikit-learn."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from radfast import evaluate
from radfast.errors import UsageError
from radfast.types import IMAGES, LINKS, make_table


def as_json(value: Any) -> Any:
    """Every result must survive strict JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


# intervals


def test_wilson_textbook() -> None:
    # Wilson for 0 of 10 has the closed form z^2 / (n + z^2) as its upper end.
    low, high = evaluate.wilson_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)
    low, high = evaluate.wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 4), (5, 4)])
def test_wilson_refuses(hits: float, n: float) -> None:
    with pytest.raises(UsageError, match="wilson_interval"):
        evaluate.wilson_interval(hits, n)


def test_bootstrap_matches_normal_theory() -> None:
    values = (np.arange(400) % 4 == 0).astype(float)[:, None]
    ((estimate,), _) = evaluate.estimate_ratios(values, np.ones_like(values), draws=4000, seed=1)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert estimate["value"] == 0.25
    assert estimate["low"] == pytest.approx(0.25 - half, abs=0.006)
    assert estimate["high"] == pytest.approx(0.25 + half, abs=0.006)


def test_bootstrap_draws_patients() -> None:
    # 40 patients of 10 equal images each: the interval is that of 40 samples, not of 400.
    values = np.repeat(np.arange(40) % 2, 10).astype(float)[:, None]
    patients = np.repeat([f"p{i}" for i in range(40)], 10)
    ones = np.ones_like(values)
    ((by_patient,), _) = evaluate.estimate_ratios(values, ones, patients, draws=2000)
    ((by_image,), _) = evaluate.estimate_ratios(values, ones, None, draws=2000)
    wide, narrow = (e["high"] - e["low"] for e in (by_patient, by_image))
    assert wide / narrow == pytest.approx(math.sqrt(10), rel=0.15)


def test_bootstrap_without_spread_takes_wilson_over_patients() -> None:
    ones = np.ones((12, 1))
    ((estimate,), _) = evaluate.estimate_ratios(ones, ones, np.arange(12) // 2)
    assert (estimate["low"], estimate["high"]) == evaluate.wilson_interval(6, 6)
    ((estimate,), _) = evaluate.estimate_ratios(ones, ones, proportion=False)
    assert (estimate["value"], estimate["low"], estimate["high"]) == (1.0, None, None)


def test_paired_difference_and_undefined_ratio() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(50).round()
    columns = np.stack((a, a, np.zeros(50)), axis=1)
    bottoms = np.stack((np.ones(50), np.ones(50), np.zeros(50)), axis=1)
    ratios, (gap,) = evaluate.estimate_ratios(columns, bottoms, differences=[(0, 1)])
    assert gap == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 50}
    assert ratios[2] == {"value": None, "low": None, "high": None, "n": 0}
    assert evaluate.estimate_ratios(columns, bottoms, seed=3) == evaluate.estimate_ratios(
        columns, bottoms, seed=3
    )


def test_ratio_shapes_refused() -> None:
    with pytest.raises(UsageError, match="one shape"):
        evaluate.estimate_ratios(np.ones((3, 1)), np.ones((3, 2)))
    with pytest.raises(UsageError, match="groups"):
        evaluate.estimate_ratios(np.ones((3, 1)), np.ones((3, 1)), ["a", "b"])


# corpus


def test_corpus_statistics_by_hand() -> None:
    got = evaluate.corpus_statistics(
        [2, 4, 6], [1, 3], [], {"lung": 5, "heart": 5, "mass": 9}, disease_words_per_window=[1], n_frequent=2
    )
    as_json(got)
    report = got["words_per_report"]
    assert (report["n"], report["total"], report["mean"], report["sd"], report["max"]) == (3, 12, 4.0, 2.0, 6)
    assert sum(report["histogram"]["counts"]) == 3
    assert got["words_per_window"]["mean"] is None
    assert got["disease_words_per_window"]["sd"] is None
    assert got["vocabulary"] == 3
    assert got["frequent"] == [{"word": "mass", "count": 9}, {"word": "heart", "count": 5}]


def test_histogram_holds_every_value() -> None:
    values = np.random.default_rng(0).zipf(1.5, 5000).clip(max=10**6)
    histogram = evaluate.describe_counts(values)["histogram"]
    assert sum(histogram["counts"]) == 5000
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1 <= 26


@pytest.mark.parametrize("bad", [[-1], [0.5], [[1]]])
def test_counts_refused(bad: Any) -> None:
    with pytest.raises(UsageError, match="describe_counts"):
        evaluate.describe_counts(bad)


def test_class_counts() -> None:
    got = evaluate.class_counts(["7", "9"], [0, 1, 1, -1], {"3": 2, "4": 1})
    assert got["classes"] == [{"name": "9", "n": 2}, {"name": "7", "n": 1}]
    assert got["largest_share"] == pytest.approx(2 / 3)
    assert (got["dropped"], got["dropped_samples"]) == (2, 3)
    assert evaluate.class_counts([], [])["largest_share"] is None
    with pytest.raises(UsageError, match="class_counts"):
        evaluate.class_counts(["7"], [1])


# references


def link(report: str, image: str | None, status: str = "linked", **more: Any) -> dict[str, Any]:
    row = {"report_id": report, "image_id": image, "status": status, "evidence": "reference", "reference": 0}
    return {**row, "span_start": 3, "prior": False, "ambiguous": False, **more}


def test_precision_recall_f() -> None:
    got = evaluate.precision_recall_f([1, 2, 3, 3], [2, 3, 4, 5])
    assert (got["precision"], got["recall"]) == (0.5, pytest.approx(2 / 3))
    assert got["f"] == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert evaluate.precision_recall_f([], [])["f"] is None
    assert evaluate.precision_recall_f([1], [2])["f"] == 0.0


def test_links_scored_and_counted() -> None:
    links = make_table(
        LINKS,
        [
            link("r1", "a"),
            link("r1", "b"),  # the same range
            link("r1", None, "no_such_image", reference=1, span_start=30),
            link("r2", "c", "prior", prior=True),
            link("r2", "a", evidence="key_object", reference=None, span_start=None),
        ],
    )
    truth = pa.table({"report_id": ["r1", "r1", "r3"], "image_id": ["a", "b", "z"]})
    got = evaluate.score_links(truth, links)
    assert (got["correct"], got["found"], got["true"]) == (2, 3, 3)
    images = make_table(
        IMAGES,
        [{"image_id": name, "modality": kind} for name, kind in (("a", "CT"), ("b", "CT"), ("q", "MR"))],
    )
    counts = as_json(evaluate.link_statistics(links, images))
    assert (counts["references"], counts["references_linked"], counts["images_linked"]) == (3, 1, 2)
    assert counts["by_status"] == {"linked": 3, "no_such_image": 1, "prior": 1}
    assert counts["by_evidence"] == {"reference": 2}
    assert counts["by_modality"] == {"CT": {"images": 2, "linked": 2}, "MR": {"images": 1, "linked": 0}}
    assert evaluate.link_statistics(make_table(LINKS, []))["references"] == 0


# topics


def test_topics_against_sklearn_and_by_hand() -> None:
    truth = list("aaaabbbbcc")
    topics = [0, 0, 0, 1, 1, 1, 1, 1, 7, 0]
    got = as_json(evaluate.score_topics(truth, topics))
    assert got["purity"] == pytest.approx((3 + 4 + 1) / 10)
    assert got["nmi"] == pytest.approx(sk.normalized_mutual_info_score(truth, topics))
    assert got["majority"] == 0.4
    assert 0.4 <= got["shuffled_purity"] < got["purity"]


def test_topics_edges() -> None:
    assert evaluate.score_topics(["a", "b"], [-1, -1])["purity"] is None
    assert evaluate.score_topics(["a", "b"], [-1, -1])["without_topic"] == 2
    same = evaluate.score_topics(["a", "a"], [4, 4])
    assert (same["purity"], same["nmi"]) == (1.0, None)
    with pytest.raises(UsageError, match="score_topics"):
        evaluate.score_topics(["a"], [1, 2])


def test_curve() -> None:
    got = as_json(evaluate.summarize_curve((10, 20), [[9.0, 11.0], [8.0, 9.0]], rule="lowest"))
    assert (got["mean"], got["best"], got["chosen"], got["seeds"]) == ([10.0, 8.5], 20, 20, 2)
    assert got["sd"] == pytest.approx([math.sqrt(2), math.sqrt(0.5)])
    assert evaluate.summarize_curve([5], [[3.0]], chosen=7)["chosen"] == 7
    for bad in ([[1.0]], [[1.0], [math.nan]]):
        with pytest.raises(UsageError, match="summarize_curve"):
            evaluate.summarize_curve([10, 20], bad)


# classification


def test_classification_against_sklearn() -> None:
    rng = np.random.default_rng(5)
    target = rng.integers(0, 9, 300)
    scores = rng.random((300, 12))
    scores[np.arange(300), target] += 0.3
    got = as_json(evaluate.score_classification(target, scores, groups=np.arange(300) // 3, draws=200))
    answer = scores.argmax(axis=1)
    labels = np.arange(12)
    assert got["top1"]["value"] == pytest.approx(sk.accuracy_score(target, answer))
    assert got["top5"]["value"] == pytest.approx(sk.top_k_accuracy_score(target, scores, k=5, labels=labels))
    assert got["balanced_accuracy"]["value"] == pytest.approx(
        np.mean([np.mean(answer[target == c] == c) for c in np.unique(target)])
    )
    assert got["macro_f1"]["value"] == pytest.approx(sk.f1_score(target, answer, average="macro"))
    assert got["confusion"]["counts"] == sk.confusion_matrix(target, answer, labels=labels).tolist()
    assert got["n_groups"] == 100
    for name in ("top1", "top5", "balanced_accuracy", "macro_f1", "gain"):
        assert got[name]["low"] < got[name]["value"] < got[name]["high"]
    largest = np.bincount(target).max() / 300
    assert got["majority"]["top1"]["value"] == pytest.approx(largest)
    assert got["majority"]["balanced_accuracy"] == pytest.approx(1 / 9)
    assert got["gain"]["value"] == pytest.approx(got["top1"]["value"] - largest)
    assert {row["name"]: row["recall"] for row in got["per_class"]}["3"] == pytest.approx(
        np.mean(answer[target == 3] == 3)
    )


def test_classification_by_hand() -> None:
    scores = [[0.5, 0.5, 0.0], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0, 0, 1]]
    got = evaluate.score_classification([0, 1, 2, -1], scores, names=["x", "y", "z"])
    # A tie goes to the smaller class; the last image has no class.
    assert got["n_images"] == 3
    assert got["top1"]["value"] == pytest.approx(2 / 3)
    assert got["top5"]["value"] == 1.0
    assert got["majority"]["name"] == "x"
    assert got["confusion"] == {"classes": ["x", "y", "z"], "counts": [[1, 0, 0], [0, 0, 1], [0, 0, 1]]}


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (1, 1), (2, 1)])
def test_classification_edges(shape: tuple[int, int]) -> None:
    got = as_json(evaluate.score_classification(np.zeros(shape[0], int), np.ones(shape)))
    assert got["n_images"] == shape[0]
    assert got["top1"]["value"] == (1.0 if shape[0] else None)


def test_classification_refuses() -> None:
    for target, scores, names in (
        ([0, 1], [[1.0]], None),
        ([3], [[1.0, 2.0]], None),
        ([0], [[math.nan, 1.0]], None),
        ([0], [[1.0, 2.0]], ["a"]),
    ):
        with pytest.raises(UsageError, match="score_classification"):
            evaluate.score_classification(target, scores, names=names)


def test_confusion_joins_rare_classes() -> None:
    names = [f"c{i}" for i in range(6)]
    got = evaluate.count_confusion([0, 0, 0, 4, 4, 2, 5], [0, 4, 0, 4, 2, 2, 1], names, max_classes=2)
    assert got["classes"] == ["c0", "c4", "other"]
    assert got["counts"] == [[2, 1, 0], [0, 1, 1], [0, 0, 2]]


# vectors


def test_vectors_by_hand() -> None:
    candidates = np.eye(3)
    predicted = [[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    got = as_json(evaluate.score_vectors(predicted, candidates, [[0], [0, 2], []], groups=["p", "q", "r"]))
    # Image 0: cosine 2/sqrt5, rank 1. Image 1: cosines 0 and 0; its targets stand behind candidate 1.
    assert got["n_images"] == 2
    assert got["cosine"]["value"] == pytest.approx((2 / math.sqrt(5)) / 2)
    assert got["mrr"]["value"] == pytest.approx((1 + 1 / 2) / 2)
    assert got["median_rank"] == 1.5
    assert got["recall_at"]["1"]["value"] == 0.5
    # The blind vector is the mean of (1,0,0) and (.5,0,.5).
    blind = np.array([1.5, 0, 0.5]) / math.hypot(1.5, 0.5)
    assert got["baseline"]["cosine"]["value"] == pytest.approx((blind[0] + (blind[0] + blind[2]) / 2) / 2)
    assert got["baseline"]["median_rank"] == 1.0
    assert got["gain"]["value"] == pytest.approx(got["cosine"]["value"] - got["baseline"]["cosine"]["value"])


def test_vectors_edges() -> None:
    got = as_json(evaluate.score_vectors(np.zeros((2, 4)), np.ones((1, 4)), [[], []]))
    assert (got["n_images"], got["cosine"]["value"], got["median_rank"]) == (0, None, None)
    for predicted, candidates, targets in (
        (np.zeros((1, 2)), np.ones((1, 3)), [[0]]),
        (np.zeros((1, 2)), np.ones((1, 2)), [[1]]),
        (np.full((1, 2), np.nan), np.ones((1, 2)), [[0]]),
    ):
        with pytest.raises(UsageError, match="score_vectors"):
            evaluate.score_vectors(predicted, candidates, targets)
