"""Metrics of keywords, findings and diseases against hand-worked values and scikit-learn."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from radfast import evaluate
from radfast.errors import UsageError
from radfast.types import FINDINGS, make_table


def as_json(value: Any) -> Any:
    """Every result must survive strict JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


# keywords

_LEVELS = {
    "document": [[("lung", 0.1), ("mass", 0.9)], [("cyst", 0.2), ("liver", 0.8)]],
    "sentence": [[("edema", 0.5), ("mass", 0.4)], [("cyst", 0.7), ("ghost", math.nan)]],
}
_DISEASE = {"mass", "cyst", "edema"}
_WINDOWS = [{"mass", "lung", "of"}, {"liver", "without"}]
_GIVEN = {
    "ontology": [["mass", "edema"], ["cyst", None]],
    "unfiltered": [["mass", "edema"], ["liver", "cyst"]],
}
_FREQUENT = ["of", "cyst", "mass", "liver"]


def test_keywords_by_hand() -> None:
    got = as_json(evaluate.score_keywords(_LEVELS, _GIVEN, _WINDOWS, _DISEASE, _FREQUENT, ranks=(1, 2)))
    value = {
        m: {k: v["value"] for k, v in got["unfiltered"][m].items() if "value" in v} for m in got["unfiltered"]
    }
    assert value["radfast"] == {
        "image_hit_rate": 1.0,
        "image_hit_rate_possible": 1.0,
        "word_precision": pytest.approx(1 / 3),  # of mass, edema, cyst
    }
    levels = got["unfiltered"]["radfast"]["level_recall"]
    assert (levels["document"]["value"], levels["sentence"]["value"]) == (1.0, 0.0)
    # Ordered union: mass .9, edema .5, lung .1 | liver .8, cyst .7, ghost.
    assert got["unfiltered"]["radfast"]["recall_at"]["2"]["value"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    # "cyst" and "mass" for everybody: image 0 is hit.
    assert value["frequent_words"]["image_hit_rate"] == 0.5
    # lung, edema | cyst, cyst
    assert value["topic_top_word"] == {
        "image_hit_rate": 0.5,
        "image_hit_rate_possible": 0.5,
        "word_precision": 0.0,
    }
    # Random, image 0: document 1 (lung and mass both stand there); image 1: 1 - (1/2)(1) = 1/2.
    assert value["random_candidate"]["image_hit_rate"] == pytest.approx((1 + 1 / 2) / 2)
    ontology = got["ontology"]
    # Only image 0 has a disease word in its window, and mass is found for it.
    assert got["n_with_disease_word"] == 1
    assert ontology["radfast"]["image_hit_rate"]["value"] == 0.5
    assert ontology["radfast"]["image_hit_rate_possible"]["value"] == 1.0
    assert ontology["radfast"]["image_hit_rate_possible"]["n"] == 1
    assert ontology["radfast"]["gain"]["frequent_words"]["value"] == 0.0  # cyst, mass: hits image 0 too


def test_random_baseline_is_its_expectation() -> None:
    rng = np.random.default_rng(2)
    words = [f"w{i}" for i in range(8)]
    window = {"w1", "w4", "w5"}
    lists = {"a": [[(w, 0.0) for w in words[:5]]], "b": [[(w, 0.0) for w in words[3:]]]}
    given = {key: [[None, None]] for key in ("ontology", "unfiltered")}
    got = evaluate.score_keywords(lists, given, [window], set(words), [], ranks=(3,))["unfiltered"][
        "random_candidate"
    ]
    trials = 20000
    hit = np.mean([bool(window & {rng.choice(words[:5]), rng.choice(words[3:])}) for _ in range(trials)])
    found = [len(window.intersection(rng.permutation(words)[:3])) for _ in range(trials)]
    assert got["image_hit_rate"]["value"] == pytest.approx(hit, abs=0.012)
    assert got["hit_at"]["3"]["value"] == pytest.approx(np.mean(np.array(found) > 0), abs=0.012)
    assert got["recall_at"]["3"]["value"] == pytest.approx(np.mean(found) / 3, abs=0.012)


def test_keywords_edges() -> None:
    given = {key: [[None], [None]] for key in ("ontology", "unfiltered")}
    got = as_json(evaluate.score_keywords({"a": [[], []]}, given, [None, {"x"}], {"x"}, [], ranks=(1,)))
    ours = got["ontology"]["radfast"]
    assert got["n_images"] == 1
    assert ours["image_hit_rate"]["value"] == 0.0
    assert ours["word_precision"]["value"] is None
    assert ours["level_recall"]["a"]["value"] is None
    for bad in ({"a": [[]]}, {}):
        with pytest.raises(UsageError, match="score_keywords"):
            evaluate.score_keywords(bad, given, [None, None], {"x"}, [])
    for short in ([[None]], [[None], []]):
        with pytest.raises(UsageError, match="given 'unfiltered' needs 2 lists of 1 words"):
            evaluate.score_keywords({"a": [[], []]}, {**given, "unfiltered": short}, [None, None], {"x"}, [])
    with pytest.raises(UsageError, match="ranks"):
        evaluate.score_keywords({"a": [[], []]}, given, [None, None], {"x"}, [], ranks=(0,))


# findings


def finding(report: str, concept: str, start: int, assertion: str) -> dict[str, Any]:
    return {
        "report_id": report,
        "concept_id": concept,
        "span_start": start,
        "span_end": start + 5,
        "assertion": assertion,
    }


def test_assertions_by_hand() -> None:
    truth = make_table(
        FINDINGS,
        [
            finding("r", "mass", 0, "present"),
            finding("r", "mass", 20, "absent"),
            finding("r", "cyst", 40, "absent"),
            finding("r", "cyst", 80, "present"),
        ],
    )
    found = make_table(
        FINDINGS,
        [
            finding("r", "mass", 2, "present"),  # overlaps
            finding("r", "mass", 20, "present"),  # wrong class
            finding("r", "cyst", 40, "absent"),
            finding("r", "edema", 40, "absent"),  # invented
            finding("other", "cyst", 0, "absent"),  # a report nobody annotated
        ],
    )
    got = as_json(evaluate.score_assertions(truth, found))
    assert (got["mentions"]["precision"], got["mentions"]["recall"]) == (0.75, 0.75)
    present, absent = got["per_class"]["present"], got["per_class"]["absent"]
    assert (present["correct"], present["found"], present["true"]) == (1, 2, 2)
    assert (absent["correct"], absent["found"], absent["true"]) == (1, 2, 2)
    assert got["accuracy"] == pytest.approx(2 / 3)
    assert got["micro"]["f"] == 0.5
    assert got["confusion"] == {"classes": ["absent", "present"], "counts": [[1, 1], [0, 1]]}


def test_one_mention_is_matched_once() -> None:
    truth = make_table(FINDINGS, [finding("r", "mass", 0, "present"), finding("r", "mass", 3, "present")])
    found = make_table(FINDINGS, [finding("r", "mass", 1, "present")])
    assert evaluate.score_assertions(truth, found)["mentions"]["correct"] == 1
    empty = evaluate.score_assertions(make_table(FINDINGS, []), found)
    assert empty["accuracy"] is None


def test_auc_against_sklearn() -> None:
    rng = np.random.default_rng(7)
    target = rng.integers(-1, 2, (200, 4))
    target[:, 3] = 0
    scores = rng.random((200, 4)).round(1) + 0.2 * (target == 1)
    got = as_json(evaluate.score_diseases(target, scores, list("abcd")))
    for c in range(3):
        known = target[:, c] >= 0
        row = got["per_class"][c]
        assert row["auc"]["value"] == pytest.approx(sk.roc_auc_score(target[known, c], scores[known, c]))
        assert row["auc"]["low"] < row["auc"]["value"] < row["auc"]["high"]
    assert got["per_class"][3]["auc"]["value"] is None
    assert got["n_scored"] == 3


def test_auc_interval_covers_and_knows_patients() -> None:
    rng = np.random.default_rng(11)
    covered, single, doubled = 0, [], []
    truth = 0.760249938906523  # P(N(1,1) > N(0,1)) = Phi(1/sqrt 2)
    for _ in range(300):
        target = np.repeat([1, 0], 40)
        scores = rng.normal(size=80) + target
        one = evaluate.score_diseases(target[:, None], scores[:, None], ["x"])["per_class"][0]["auc"]
        covered += one["low"] <= truth <= one["high"]
        twice = evaluate.score_diseases(
            np.repeat(target, 2)[:, None],
            np.repeat(scores, 2)[:, None],
            ["x"],
            groups=np.repeat(np.arange(80), 2),
        )["per_class"][0]["auc"]
        single.append(one["high"] - one["low"])
        doubled.append(twice["high"] - twice["low"])
    assert 0.90 <= covered / 300 <= 0.985
    # The same patients seen twice tell nothing new.
    assert np.mean(doubled) == pytest.approx(np.mean(single), rel=0.02)


def test_disease_ranking() -> None:
    target = [[1, 1, 0], [0, 0, 1], [0, -1, 0], [1, 0, 0]]
    scores = [[0.1, 0.8, 0.9], [0.3, 0.3, 0.1], [1, 0, 0], [0.5, 0.5, 0.1]]
    got = as_json(evaluate.score_disease_ranking(target, scores, ["a", "b", "c"]))
    assert got["n_images"] == 3  # the third image has no class
    assert got["top1"]["value"] == pytest.approx(1 / 3)
    assert got["top5"]["value"] == 1.0
    assert got["majority"]["name"] == "a"
    assert got["majority"]["top1"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (3, 0), (1, 1)])
def test_disease_edges(shape: tuple[int, int]) -> None:
    names = [f"d{c}" for c in range(shape[1])]
    zeros = np.zeros(shape)
    assert as_json(evaluate.score_diseases(zeros, zeros, names))["mean_auc"] is None
    assert as_json(evaluate.score_disease_ranking(zeros, zeros, names))["top1"]["value"] is None


def test_diseases_refuse() -> None:
    for target, scores, names in (
        ([[1]], [[1.0, 2.0]], ["a"]),
        ([[2]], [[1.0]], ["a"]),
        ([[1]], [[math.inf]], ["a"]),
    ):
        with pytest.raises(UsageError, match="score_diseases"):
            evaluate.score_diseases(target, scores, names)


def test_published_figures_are_json() -> None:
    got = as_json(evaluate.published_figures())
    assert got["classification"]["document"]["vgg19"] == [0.66, 0.95]
    precision, recall = got["references"]["precision"], got["references"]["recall"]
    assert got["references"]["f"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-4)
