"""Keywords of images, with their evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfast.describe import Evidence, describe_images, rank_candidates
from radfast.errors import UsageError
from radfast.kernels.cosine import reference
from radfast.types import DESCRIPTIONS

WORDS = ["mass", "nodule", "right", "effusion", "cyst"]
VECTORS = np.eye(5, dtype=np.float32)
TOPICS = [
    [["mass", "right", "nodule", "unseen"], ["cyst"]],
    [["mass", "nodule"], []],
    [["nodule", "effusion"], ["mass", "cyst"], ["right"]],
]
DISEASE = {"mass", "nodule", "effusion", "cyst"}


def halves(first: dict[str, float], second: dict[str, float]) -> np.ndarray:
    """Return a predicted vector of two halves with the given cosines."""
    return np.concatenate([[part.get(w, 0.0) for w in WORDS] for part in (first, second)]).astype(np.float32)


def describe(topics: Any, predicted: Any, **options: Any) -> pa.Table:
    """Describe images a, b, c, ... by the small vocabulary."""
    ids = [chr(97 + i) for i in range(len(topics))]
    options = {"evidence": {}, "run_id": "run", "model_hash": "hash", **options}
    evidence = options.pop("evidence")
    return describe_images(
        ids, np.array(topics), predicted, TOPICS, WORDS, VECTORS, DISEASE, evidence, **options
    )


def test_one_word_per_level_each_once() -> None:
    vector = halves({"mass": 0.8, "nodule": 0.5}, {"effusion": 0.9, "right": 1.0})
    table = describe([[0, 0, 0]], vector[None])
    assert table.schema == DESCRIPTIONS
    assert table.column("keyword").to_pylist() == ["mass", "nodule", "effusion"]
    assert table.column("level").to_pylist() == ["document", "second", "sentence"]
    assert table.column("half").to_pylist() == [0, 0, 1]
    assert set(table.column("disease_word").to_pylist()) == {True}
    assert set(table.column("image_id").to_pylist()) == {"a"}
    for name in ("in_window", "report_id", "span_start", "span_end", "sentence"):
        assert table.column(name).to_pylist() == [None] * 3
    expected = np.array([0.8, 0.5]) / np.hypot(0.8, 0.5)
    np.testing.assert_allclose(table.column("score").to_pylist()[:2], expected, atol=1e-6)


def test_unfiltered_candidates_may_be_any_word() -> None:
    vector = halves({"mass": 0.8}, {"right": 1.0})
    table = describe([[0, 0, 2]], vector[None], disease_only=False)
    assert table.column("keyword").to_pylist() == ["mass", "nodule"] or table.num_rows == 3
    table = describe([[-1, -1, 2]], vector[None], disease_only=False)
    assert table.column("keyword").to_pylist() == ["right"]
    assert table.column("disease_word").to_pylist() == [False]


def test_levels_without_topic_or_words_give_nothing() -> None:
    vector = halves({"cyst": 1.0}, {"mass": 1.0})
    table = describe([[1, 1, 2], [-1, -1, -1], [1, -1, 1]], np.stack([vector] * 3))
    assert table.column("image_id").to_pylist() == ["a", "c", "c"]
    # Image c: 'cyst' is taken by the document level, the sentence level gives its next best.
    assert table.column("keyword").to_pylist() == ["cyst", "cyst", "mass"]
    assert describe(np.empty((0, 3), dtype=int), np.empty((0, 10))).num_rows == 0


def test_several_words_per_level() -> None:
    vector = halves({"mass": 0.8, "nodule": 0.5}, {"effusion": 0.9, "cyst": 0.3})
    table = describe([[0, 0, 0]], vector[None], per_level=2)
    assert table.column("keyword").to_pylist() == ["mass", "nodule", "effusion"]


def test_evidence_tells_the_bytes_of_the_word() -> None:
    report = "Größe: 5 mm. MASS, (nodules) near the nodule; cyst_like. End."
    window = report[13:]
    found = Evidence("r1", window, len(report[:13].encode()), "MASS, (nodules) near the nodule; cyst_like.")
    vector = halves({"mass": 0.9, "nodule": 0.5}, {"cyst": 0.4})
    table = describe([[0, 0, 1]], vector[None], evidence={"a": found})
    assert table.column("keyword").to_pylist() == ["mass", "nodule", "cyst"]
    assert table.column("in_window").to_pylist() == [True, True, True]
    raw = report.encode()
    spans = zip(table.column("span_start").to_pylist(), table.column("span_end").to_pylist(), strict=True)
    assert [raw[a:b].decode() for a, b in spans] == ["MASS", "nodule", "cyst"]
    assert raw.index(b"nodule;") == table.column("span_start").to_pylist()[1]
    assert table.column("report_id").to_pylist() == ["r1"] * 3
    assert table.column("sentence").to_pylist() == [found.sentence] * 3
    table = describe([[0, -1, 0]], halves({"effusion": 1.0}, {})[None], evidence={"a": found})
    effusion = table.to_pylist()[-1]
    assert effusion["keyword"] == "effusion"
    assert effusion["in_window"] is False
    assert effusion["span_start"] is None
    assert effusion["report_id"] == "r1"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 20))
def test_ranking_is_that_of_the_union(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(12)]
    vectors = rng.standard_normal((12, 5), dtype=np.float32)
    topic_words = [[list(rng.choice(words, rng.integers(0, 6))) for _ in range(n)] for n in (2, 4, 3)]
    topics = np.stack([rng.integers(-1, n, 9) for n in (2, 4, 3)], axis=1)
    predicted = rng.standard_normal((9, 10), dtype=np.float32)
    keep = {f"w{i}" for i in range(0, 12, 2)} if seed % 2 else None
    ranking = rank_candidates(topics, predicted, topic_words, words, vectors, k, keep=keep)
    tables = [reference.cosines(predicted[:, :5], vectors), reference.cosines(predicted[:, 5:], vectors)]
    best = np.maximum(*tables)
    for n in range(9):
        union = {
            w for level in range(3) if topics[n, level] >= 0 for w in topic_words[level][topics[n, level]]
        }
        expected = [
            i for i in np.argsort(-best[n]) if words[i] in union and (keep is None or words[i] in keep)
        ]
        there = ranking.ids[n] >= 0
        assert ranking.ids[n][there].tolist() == expected[:k]
        np.testing.assert_allclose(ranking.scores[n][there], best[n][expected[:k]], atol=1e-6)
        assert ranking.half[n][there].tolist() == [
            int(tables[1][n, i] > tables[0][n, i]) for i in expected[:k]
        ]


def test_ranking_of_no_images() -> None:
    ranking = rank_candidates(np.empty((0, 3), dtype=int), np.empty((0, 10)), TOPICS, WORDS, VECTORS, 5)
    assert ranking.ids.shape == (0, 5)


def test_what_does_not_fit_is_named() -> None:
    vector = np.ones((1, 10))
    with pytest.raises(UsageError, match=r"topics of level second must be in \[-1, 2\), are in \[2, 2\]"):
        describe([[0, 2, 0]], vector)
    with pytest.raises(UsageError, match=r"topics must have shape \(1, 3\)"):
        describe([[0, 0]], vector)
    with pytest.raises(UsageError, match="per_level must be at least 1"):
        describe([[0, 0, 0]], vector, per_level=0)
    with pytest.raises(UsageError, match="twice the 5 features"):
        describe([[0, 0, 0]], np.ones((1, 9)))
    with pytest.raises(UsageError, match="3 levels, has 2"):
        rank_candidates(np.zeros((1, 3), dtype=int), vector, TOPICS[:2], WORDS, VECTORS, 5)
    with pytest.raises(UsageError, match="4 words but 5 vectors"):
        rank_candidates(np.zeros((1, 3), dtype=int), vector, TOPICS, WORDS[:4], VECTORS, 5)
