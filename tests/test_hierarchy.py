"""Three levels of topics on a corpus that was made with two."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from radfast.errors import UsageError
from radfast.topics import TopicHierarchy

N_MAIN, N_SUB, WORDS = 3, 2, 6


def planted(seed=0, n_documents=240, length=60):
    """Half of a document's words tell its main topic, the other half its sub-topic."""
    rng = np.random.default_rng(seed)
    main, sub = rng.integers(0, N_MAIN, n_documents), rng.integers(0, N_SUB, n_documents)
    general = main[:, None] * WORDS + rng.integers(0, WORDS, (n_documents, length * 2 // 3))
    block = N_MAIN + main * N_SUB + sub
    special = block[:, None] * WORDS + rng.integers(0, WORDS, (n_documents, length // 3))
    tokens = rng.permuted(np.concatenate((general, special), axis=1), axis=1)
    # The last document is empty.
    indptr = np.append(np.arange(n_documents + 1) * length, n_documents * length)
    words = [f"w{i}" for i in range((N_MAIN + N_MAIN * N_SUB) * WORDS)]
    corpus = SimpleNamespace(indptr=indptr, tokens=tokens.ravel().astype(np.int32), vocabulary=words)
    return corpus, main, sub


def fit(corpus, windows, **changes):
    settings = {
        "n_document": N_MAIN,
        "n_second": N_SUB,
        "n_sentence": 7,
        "alpha": 0.1,
        "n_sweeps": 80,
        **changes,
    }
    return TopicHierarchy(**settings).fit(corpus, windows)


@pytest.fixture(scope="module")
def fitted():
    corpus, main, sub = planted()
    windows, *_ = planted(seed=5, n_documents=50, length=12)
    return fit(corpus, windows), corpus, windows, main, sub


def purity(found, truth):
    table = np.zeros((found.max() + 1, truth.max() + 1))
    np.add.at(table, (found, truth), 1)
    return table.max(axis=1).sum() / len(found)


def test_levels_follow_the_generator(fitted):
    model, _, windows, main, sub = fitted
    assert purity(model.document_topic_[:-1], main) > 0.95
    assert purity(model.second_topic_[:-1], main * N_SUB + sub) > 0.9
    assert (model.second_topic_[:-1] // N_SUB == model.document_topic_[:-1]).all()
    assert model.sentence_topic_.shape == (len(windows.indptr) - 1,)
    for name in ("document", "second", "sentence"):
        topic, probability = getattr(model, f"{name}_topic_"), getattr(model, f"{name}_probability_")
        assert topic.dtype == np.int32
        assert probability.dtype == np.float32
        assert topic[-1] == -1
        assert probability[-1] == 0
        assert (probability[:-1] > 1 / 7).all()
        assert (probability <= 1 + 1e-6).all()


def test_top_words_of_each_level(fitted):
    model, *_ = fitted
    assert [len(model.top_words(level, 4)) for level in ("document", "second", "sentence")] == [3, 6, 7]
    # The heaviest words beyond the general ones are those of one sub-topic.
    for words in model.top_words("second", 40):
        ids = [int(word[1:]) for word, _ in words]
        special = [i // WORDS for i in ids if i >= N_MAIN * WORDS][:WORDS]
        assert len(set(special)) == 1
        weights = [weight for _, weight in words]
        assert weights == sorted(weights, reverse=True)
    with pytest.raises(UsageError, match="level"):
        model.top_words("third", 4)


def test_same_bits_at_any_number_of_threads(fitted):
    model, corpus, windows, *_ = fitted
    for threads in (1, 3):
        twin = fit(corpus, windows, threads=threads)
        np.testing.assert_array_equal(twin.second_topic_, model.second_topic_)
        np.testing.assert_array_equal(twin.second_probability_, model.second_probability_)
        assert twin.top_words("second", 5) == model.top_words("second", 5)


def test_unused_topics_have_no_words(fitted):
    _, corpus, windows, *_ = fitted
    model = fit(corpus, windows, n_document=40, n_second=3, n_sweeps=10)
    tops = model.top_words("second", 5)
    assert len(tops) == 120
    used = set(model.document_topic_[:-1].tolist())
    assert len(used) < 40
    for topic in range(40):
        assert any(tops[3 * topic : 3 * topic + 3]) == (topic in used)


def test_save_and_load(fitted, tmp_path):
    model, *_ = fitted
    model.save(tmp_path / "topics")
    again = TopicHierarchy.load(tmp_path / "topics")
    for level in ("document", "second", "sentence"):
        assert again.top_words(level, 9) == model.top_words(level, 9)
        for what in ("topic", "probability"):
            name = f"{level}_{what}_"
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    with pytest.raises(UsageError, match="missing"):
        TopicHierarchy.load(tmp_path)


def test_progress_counts_all_levels():
    corpus, *_ = planted(n_documents=12)
    seen = []
    TopicHierarchy(2, 2, 2, n_sweeps=25).fit(corpus, corpus, progress=lambda *now: seen.append(now))
    assert seen[-1] == (75, 75)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_nothing_to_learn_from():
    empty = SimpleNamespace(indptr=[0, 0, 0], tokens=[], vocabulary=["a", "b"])
    model = TopicHierarchy(2, 2, 2, n_sweeps=3).fit(empty, empty)
    assert (model.document_topic_ == -1).all()
    assert (model.second_topic_ == -1).all()
    assert model.top_words("second", 3) == [[], [], [], []]
