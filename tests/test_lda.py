"""LDA as an estimator, the choice of K, coherence and stability."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from radfast.errors import UsageError
from radfast.topics import (
    LDA,
    match_topics,
    npmi_coherence,
    read_documents,
    seed_stability,
    select_n_topics,
)

K, BLOCK = 5, 8


def planted(n_documents=150, length=40, seed=0):
    """Counts whose topics are blocks of words of their own; each document has one main topic."""
    rng = np.random.default_rng(seed)
    main = rng.integers(0, K, n_documents)
    topic = np.where(
        rng.random((n_documents, length)) < 0.9, main[:, None], rng.integers(0, K, (n_documents, length))
    )
    words = topic * BLOCK + rng.integers(0, BLOCK, topic.shape)
    counts = np.zeros((n_documents, K * BLOCK), int)
    np.add.at(counts, (np.repeat(np.arange(n_documents), length), words.ravel()), 1)
    return sp.csr_matrix(counts), main


def as_corpus(counts, words=None):
    documents = read_documents(counts)
    words = words or [f"w{i}" for i in range(documents.n_words)]
    return SimpleNamespace(indptr=documents.indptr, tokens=documents.tokens, vocabulary=words)


def small(**changes):
    return LDA(**{"n_topics": K, "alpha": 0.1, "n_sweeps": 60, "random_state": 1, **changes})


@pytest.fixture(scope="module")
def fitted():
    counts, main = planted()
    return small().fit(as_corpus(counts)), counts, main


def test_finds_the_planted_topics(fitted):
    model, counts, main = fitted
    blocks = model.components_.reshape(K, K, BLOCK).sum(axis=2)
    assert (blocks.max(axis=1) > 0.95).all()
    assert sorted(blocks.argmax(axis=1)) == list(range(K))
    theta = model.transform(counts)
    assert theta.dtype == np.float32
    assert theta.shape == (150, K)
    np.testing.assert_allclose(theta.sum(axis=1), 1, atol=1e-5)
    assert (blocks.argmax(axis=1)[theta.argmax(axis=1)] == main).mean() > 0.97
    np.testing.assert_allclose(model.components_.sum(axis=1), 1, atol=1e-5)
    assert model.log_likelihood_[-1] > model.log_likelihood_[0]
    assert model.topic_tokens_.sum() == counts.sum()


def test_top_words(fitted):
    model, *_ = fitted
    tops = model.top_words(4)
    assert len(tops) == K
    for topic, words in enumerate(tops):
        weights = [weight for _, weight in words]
        assert weights == sorted(weights, reverse=True)
        assert len({int(word[1:]) // BLOCK for word, _ in words}) == 1
        assert weights[0] == pytest.approx(model.components_[topic].max())
    unused = small(n_topics=30, alpha=0.01).fit(sp.csr_matrix([[1, 2]])).top_words(5)
    assert sum(bool(words) for words in unused) <= 3
    assert {word for words in unused for word, _ in words} == {"0", "1"}


def test_perplexity_is_near_that_of_the_generator(fitted):
    model, *_ = fitted
    held, _ = planted(seed=7)
    # Knowing the main topic, a token is one of 8 words with p 0.92/8, or one of 32 others with p 0.08/32.
    best = np.exp(-(0.92 * np.log(0.92 / 8) + 0.08 * np.log(0.08 / 32)))
    assert best < model.perplexity(held) < 1.15 * best
    assert model.score(held) == pytest.approx(-np.log(model.perplexity(held)))
    documents = read_documents(held)
    backwards = as_corpus(held)
    parts = np.split(documents.tokens, documents.indptr[1:-1])
    backwards.tokens = np.concatenate([part[::-1] for part in parts])
    assert model.perplexity(backwards) == model.perplexity(held)
    with pytest.raises(UsageError, match="2 tokens"):
        model.perplexity(sp.csr_matrix(([1], ([0], [3])), shape=(2, 40)))


def test_same_bits_for_a_seed_at_any_number_of_threads():
    counts, _ = planted()
    models = [small(threads=threads, n_sweeps=15).fit(counts) for threads in (1, 2, 3)]
    assert len({model.components_.tobytes() for model in models}) == 1
    assert len({model.transform(counts).tobytes() for model in models}) == 1
    assert len({model.log_likelihood_.tobytes() for model in models}) == 1
    assert (
        small(random_state=2, n_sweeps=15).fit(counts).components_.tobytes()
        != models[0].components_.tobytes()
    )


def test_scikit_learn_contract(tmp_path):
    counts, _ = planted(n_documents=60)
    model = small(n_sweeps=10)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.set_params(n_topics=3).n_topics == 3
    assert get_tags(model).input_tags.positive_only
    assert get_tags(model).input_tags.sparse
    texts = [" ".join(f"word{w}" for w in row.indices for _ in range(2)) for row in counts]
    pipeline = make_pipeline(CountVectorizer(), small(n_sweeps=10))
    assert pipeline.fit_transform(texts).shape == (60, K)
    assert list(pipeline[-1].get_feature_names_out()) == [f"lda{k}" for k in range(K)]
    search = GridSearchCV(small(n_sweeps=10), {"n_topics": np.array([2, 5])}, cv=2).fit(counts)
    assert search.best_params_["n_topics"] == 5
    search.best_estimator_.save(tmp_path / "m.safetensors")
    assert LDA.load(tmp_path / "m.safetensors").n_topics == 5


def test_save_and_load(fitted, tmp_path):
    model, counts, _ = fitted
    model.save(tmp_path / "sub" / "lda.safetensors")
    again = LDA.load(tmp_path / "sub" / "lda.safetensors")
    assert again.get_params() == model.get_params()
    assert again.top_words(5) == model.top_words(5)
    np.testing.assert_array_equal(again.transform(counts), model.transform(counts))
    with pytest.raises(UsageError, match="missing"):
        LDA.load(tmp_path / "no.safetensors")
    (tmp_path / "bad").write_bytes(b"no tensors here, only text")
    with pytest.raises(UsageError, match="not a topic model"):
        LDA.load(tmp_path / "bad")


def test_callback_ends_the_training_and_progress_counts_it():
    counts, _ = planted(n_documents=20)
    seen, done = [], []
    model = small(n_sweeps=50).fit(
        counts,
        callback=lambda sweep, value: seen.append((sweep, value)) or sweep == 30,
        progress=lambda *now: done.append(now),
    )
    assert [sweep for sweep, _ in seen] == [10, 20, 30] == list(model.log_likelihood_sweeps_)
    assert [value for _, value in seen] == list(model.log_likelihood_)
    assert model.n_sweeps_ == 30
    assert done == [(0, 50), (10, 50), (20, 50), (30, 50)]


def test_unknown_words_and_other_orders_of_words(fitted):
    model, counts, _ = fitted
    shuffled = np.random.default_rng(0).permutation(40)
    moved = as_corpus(counts[:, shuffled], [f"w{i}" for i in shuffled])
    moved.vocabulary.append("never")
    moved.tokens = np.append(moved.tokens, [40, 40])
    moved.indptr = np.append(moved.indptr, moved.indptr[-1] + 2)
    theta = model.transform(moved)
    # The order of tokens within a document moves the fold-in's last digits.
    np.testing.assert_allclose(theta[:150], model.transform(counts), atol=0.01)
    np.testing.assert_allclose(theta[150], 1 / K, rtol=1e-6)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([[1, -1]], "0 or more"),
        ([[0.5, 1.0]], "whole numbers"),
        ([[np.nan, 1.0]], "finite"),
        ([[np.inf, 1.0]], "finite"),
        ([["a", "b"]], "counts"),
        (None, "corpus or a matrix"),
        (np.zeros((3, 0)), "at least 1 word"),
        (SimpleNamespace(indptr=[0, 1], tokens=[5], vocabulary=["a"]), "tokens must be"),
    ],
)
def test_wrong_input_is_named(X, words):
    with pytest.raises(UsageError, match=words):
        LDA(2).fit(X)


@pytest.mark.parametrize(
    "change",
    [{"n_topics": 0}, {"alpha": -1.0}, {"eta": 0.0}, {"n_sweeps": 0}, {"random_state": -1}, {"threads": -1}],
)
def test_wrong_parameters_are_named(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        small(**change).fit(sp.csr_matrix([[1, 2]]))


def test_other_width_is_refused(fitted):
    with pytest.raises(UsageError, match="40 columns"):
        fitted[0].transform(sp.csr_matrix((2, 39), dtype=int))


@pytest.mark.parametrize(
    "X",
    [
        sp.csr_matrix((3, 4), dtype=int),
        sp.csr_matrix([[5]]),
        sp.csr_matrix([[1, 0, 2]]),
        sp.csr_matrix([[2, 1], [2, 1], [2, 1], [0, 0]]),
        np.array([[True, False], [True, True]]),
    ],
)
@pytest.mark.parametrize("n_topics", [1, 40])
def test_degenerate_input_is_defined(X, n_topics):
    model = LDA(n_topics, n_sweeps=3).fit(X)
    np.testing.assert_allclose(model.components_.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.transform(X).sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(model.log_likelihood_).all()


def test_entries_stored_twice_add_up():
    twice = sp.csr_matrix((np.ones(3), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 2))
    np.testing.assert_array_equal(read_documents(twice).tokens, [0, 1, 1])
    assert twice.nnz == 3


def test_select_n_topics_finds_the_planted_number():
    counts, _ = planted(n_documents=120)
    patients = np.repeat(np.arange(40), 3)
    done = []
    curve = select_n_topics(
        counts, (2, 5, 12), 2, groups=patients, alpha=0.1, n_sweeps=40, progress=lambda *now: done.append(now)
    )
    assert curve.perplexity.shape == (3, 2)
    assert curve.chosen == 5
    assert curve.mean[0] > 1.2 * curve.mean[1]
    np.testing.assert_allclose(curve.sd, curve.perplexity.std(axis=1, ddof=1))
    assert done[-1] == (6, 6)
    again = select_n_topics(counts, (2, 5, 12), 2, groups=patients, alpha=0.1, n_sweeps=40, threads=1)
    np.testing.assert_array_equal(curve.perplexity, again.perplexity)


def test_groups_stand_on_one_side(monkeypatch):
    counts, _ = planted(n_documents=30)
    patients = [f"p{i % 7}" for i in range(30)]
    # A word of the patient's own in every document tells which patients were trained on.
    marks = sp.csr_matrix((np.ones(30, int), (np.arange(30), [i % 7 for i in range(30)])), shape=(30, 7))
    sides = {}
    monkeypatch.setattr(
        LDA, "fit", lambda self, X: (sides.update(train=set(X.tokens[X.tokens < 7])), self)[1]
    )
    monkeypatch.setattr(
        LDA, "perplexity", lambda self, X: (sides.update(test=set(X.tokens[X.tokens < 7])), 1.0)[1]
    )
    select_n_topics(sp.hstack([marks, counts]).tocsr(), (2,), 1, groups=patients, hold_out=0.3)
    assert len(sides["test"]) == 2
    assert sides["train"] | sides["test"] == set(range(7))
    assert not sides["train"] & sides["test"]


def test_select_refuses_what_it_cannot_do():
    counts, _ = planted(n_documents=4)
    for arguments, words in (
        ({"candidates": ()}, "candidates"),
        ({"seeds": 0}, "seeds"),
        ({"hold_out": 1.0}, "hold_out"),
        ({"groups": [1, 1, 1, 1]}, "different groups"),
        ({"groups": [1]}, "shape"),
    ):
        with pytest.raises(UsageError, match=words):
            select_n_topics(counts, **arguments)


def test_npmi_by_hand():
    X = sp.csr_matrix([[1, 1, 0, 0], [2, 3, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0]])
    value = npmi_coherence([[0, 1], [0, 2], [0, 3], [1, 2]], X)
    together = np.log(0.5 / (0.5 * 0.75)) / -np.log(0.5)
    once = np.log(0.25 / (0.75 * 0.5)) / -np.log(0.25)
    np.testing.assert_allclose(value, [together, -1, np.nan, once])
    assert npmi_coherence([[0, 1]], sp.csr_matrix([[1, 1], [1, 1]]))[0] == 1


def test_coherence_prefers_planted_topics(fitted):
    model, counts, _ = fitted
    mixed = npmi_coherence([[BLOCK * i for i in range(K)]], counts)
    assert model.coherence(counts, 5).min() > mixed[0] + 0.05


def test_matching_undoes_a_permutation(fitted):
    model, counts, _ = fitted
    order = np.array([3, 1, 4, 0, 2])
    partners, similarity = match_topics(model.components_, model.components_[order])
    np.testing.assert_array_equal(order[partners], np.arange(K))
    np.testing.assert_allclose(similarity, 1, atol=1e-5)
    other = small(random_state=9).fit(counts)
    assert seed_stability([model.components_, other.components_]) > 0.95
    assert seed_stability([model.components_, np.full_like(other.components_, 1 / 40)]) < 0.6
    with pytest.raises(UsageError, match="2 models"):
        seed_stability([model.components_])
