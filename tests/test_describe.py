"""Keywords of images, with their evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfast.describe import Evidence, choose_keywords, describe_images
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


def choose_plainly(
    best: np.ndarray, similar: np.ndarray, lists: list[list[int]], per_level: int, diversity: float
) -> list[list[int]]:
    """Choose for one image in plain loops: best cosine less `diversity` times nearness to a given word."""
    given: list[int] = []
    levels = []
    for ids in lists:
        level: list[int] = []
        for _ in range(per_level):
            free = [i for i in ids if i not in given]
            if not free:
                break
            value = {i: best[i] - diversity * max([0.0, *(similar[i, w] for w in given)]) for i in free}
            word = max(free, key=lambda i: value[i])
            given.append(word)
            level.append(word)
        levels.append(level + [-1] * (per_level - len(level)))
    return levels


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), per_level=st.integers(1, 3), diversity=st.sampled_from([0.0, 0.3, 0.5, 1.5])
)
def test_choice_is_that_of_plain_loops(seed: int, per_level: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(12)]
    vectors = rng.standard_normal((12, 5), dtype=np.float32)
    topic_words = [[list(rng.choice(words, rng.integers(0, 6))) for _ in range(n)] for n in (2, 4, 3)]
    topics = np.stack([rng.integers(-1, n, 9) for n in (2, 4, 3)], axis=1)
    predicted = rng.standard_normal((9, 10), dtype=np.float32)
    keep = {f"w{i}" for i in range(0, 12, 2)} if seed % 2 else None
    chosen = choose_keywords(
        topics, predicted, topic_words, words, vectors, keep=keep, per_level=per_level, diversity=diversity
    )
    tables = [reference.cosines(predicted[:, :5], vectors), reference.cosines(predicted[:, 5:], vectors)]
    best, similar = np.maximum(*tables), reference.cosines(vectors, vectors)
    for n in range(9):
        lists = [
            sorted(
                {words.index(w) for w in topic_words[level][topic] if keep is None or w in keep}
                if (topic := topics[n, level]) >= 0
                else set()
            )
            for level in range(3)
        ]
        expected = choose_plainly(best[n], similar, lists, per_level, diversity)
        assert chosen.ids[n].tolist() == expected
        there = chosen.ids[n] >= 0
        np.testing.assert_allclose(chosen.scores[n][there], best[n][chosen.ids[n][there]], atol=1e-6)
        nearer = (tables[1] > tables[0])[n]
        assert chosen.half[n][there].tolist() == nearer[chosen.ids[n][there]].astype(int).tolist()
        assert np.isneginf(chosen.scores[n][~there]).all()
        assert (chosen.half[n][~there] == -1).all()


def test_a_near_synonym_gives_way_to_another_thing() -> None:
    words = ["mass", "masses", "cyst"]
    vectors = np.array([[1, 0, 0], [0.99, 0.14, 0], [0, 0, 1]], dtype=np.float32)
    predicted = np.array([[1, 0, 0.5, 1, 0, 0.5]], dtype=np.float32)
    lists = [[words], [words], [[]]]
    options: dict[str, Any] = {"topic_words": lists, "words": words, "vectors": vectors}
    topics = np.zeros((1, 3), dtype=int)
    for diversity, second in ((0.0, 1), (0.5, 2)):
        chosen = choose_keywords(topics, predicted, **options, diversity=diversity)
        assert chosen.ids[0, :, 0].tolist() == [0, second, -1]


def test_no_images_and_no_words() -> None:
    chosen = choose_keywords(np.empty((0, 3), dtype=int), np.empty((0, 10)), TOPICS, WORDS, VECTORS)
    assert chosen.ids.shape == (0, 3, 1)
    chosen = choose_keywords(np.zeros((2, 3), dtype=int), np.ones((2, 10)), TOPICS, [], np.empty((0, 5)))
    assert (chosen.ids == -1).all()


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
    topics = np.zeros((1, 3), dtype=int)
    with pytest.raises(UsageError, match="3 levels, has 2"):
        choose_keywords(topics, vector, TOPICS[:2], WORDS, VECTORS)
    with pytest.raises(UsageError, match="4 words but 5 vectors"):
        choose_keywords(topics, vector, TOPICS, WORDS[:4], VECTORS)
    with pytest.raises(UsageError, match="diversity must be at least 0, is -1"):
        choose_keywords(topics, vector, TOPICS, WORDS, VECTORS, diversity=-1)
    with pytest.raises(UsageError, match="a row for each of the 1 images, have 2 and 1"):
        describe_images(
            ["a"],
            np.zeros((2, 3), dtype=int),
            vector,
            TOPICS,
            WORDS,
            VECTORS,
            DISEASE,
            {},
            run_id="",
            model_hash="",
        )
