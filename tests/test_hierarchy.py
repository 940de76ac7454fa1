"""Three levels of topics on a corpus that was made with two."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from radfast.errors import InputError, UsageError
from radfast.topics import LDA, TopicHierarchy, read_documents
from radfast.topics.second import SecondLevel
from radfast.topics.training import Schedule
from radfast.types import no_progress

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


EMPTY = SimpleNamespace(indptr=[0, 0, 0], tokens=[], vocabulary=["a", "b"])
NO_WORDS = SimpleNamespace(indptr=[0, 0, 0], tokens=[], vocabulary=[])
NO_DOCUMENTS = SimpleNamespace(indptr=[0], tokens=[], vocabulary=["a", "b"])
NOTHING = SimpleNamespace(indptr=[0], tokens=[], vocabulary=[])


@pytest.mark.parametrize("documents", [EMPTY, NO_WORDS, NO_DOCUMENTS, NOTHING])
@pytest.mark.parametrize("windows", [EMPTY, NO_WORDS, NO_DOCUMENTS, NOTHING])
def test_nothing_to_learn_from(documents, windows, tmp_path):
    done = []
    model = TopicHierarchy(2, 2, 3, n_sweeps=3).fit(documents, windows, progress=lambda *n: done.append(n))
    assert done[-1] == (9, 9)
    model.save(tmp_path)
    for hierarchy in (model, TopicHierarchy.load(tmp_path)):
        np.testing.assert_array_equal(hierarchy.document_topic_, [-1] * (len(documents.indptr) - 1))
        np.testing.assert_array_equal(hierarchy.second_topic_, hierarchy.document_topic_)
        np.testing.assert_array_equal(hierarchy.sentence_topic_, [-1] * (len(windows.indptr) - 1))
        assert not hierarchy.sentence_probability_.any()
        assert hierarchy.top_words("document", 3) == [[], []]
        assert hierarchy.top_words("second", 3) == [[], [], [], []]
        assert hierarchy.top_words("sentence", 3) == [[], [], []]


def test_windows_alone_may_be_missing(fitted):
    model, corpus, *_ = fitted
    without = fit(corpus, NO_WORDS)
    np.testing.assert_array_equal(without.second_topic_, model.second_topic_)
    assert without.sentence_ is None


def test_a_model_that_lost_a_file_is_refused(fitted, tmp_path):
    fitted[0].save(tmp_path)
    (tmp_path / "sentence.safetensors").unlink()
    with pytest.raises(UsageError, match="is missing"):
        TopicHierarchy.load(tmp_path)


@pytest.mark.parametrize("name", ["n_document", "n_second", "n_sentence"])
def test_levels_without_topics_are_refused(fitted, name):
    with pytest.raises(InputError, match=name):
        fit(fitted[1], fitted[2], **{name: 0})


@pytest.mark.parametrize("stop", [20, 100, 180])
def test_a_resumed_run_is_its_twin(fitted, tmp_path, stop):
    model, corpus, windows, *_ = fitted

    def interrupt(done, total):
        if done == stop:
            raise KeyboardInterrupt

    settings = {"n_document": N_MAIN, "n_second": N_SUB, "n_sentence": 7, "alpha": 0.1, "n_sweeps": 80}
    with pytest.raises(KeyboardInterrupt):
        TopicHierarchy(**settings).fit(
            corpus, windows, progress=interrupt, checkpoint=tmp_path / "c", checkpoint_seconds=0
        )
    seen = []
    twin = TopicHierarchy(**settings, threads=1).fit(
        corpus, windows, progress=lambda done, _: seen.append(done), checkpoint=tmp_path / "c"
    )
    # The level that was cut short goes on from its last checkpoint; those before it are finished.
    assert stop - 10 in seen
    assert not set(range(stop // 80 * 80 + 10, stop - 10)) & set(seen)
    for level in ("document", "second", "sentence"):
        assert twin.top_words(level, 9) == model.top_words(level, 9)
        for what in ("topic", "probability"):
            name = f"{level}_{what}_"
            np.testing.assert_array_equal(getattr(twin, name), getattr(model, name))
    with pytest.raises(UsageError, match="n_sweeps differs"):
        TopicHierarchy(**{**settings, "n_sweeps": 90}).fit(corpus, windows, checkpoint=tmp_path / "c")


def fit_second(documents, group, method, seed=3):
    level, theta = SecondLevel.fit(
        documents, group, (N_MAIN, N_SUB), alpha=0.1, eta=0.01, seed=seed,
        schedule=Schedule(30, method=method), progress=no_progress, checkpoint=None,
    )  # fmt: skip
    return level, theta


def of_one_group(documents, group, g):
    """The same documents, those of the other groups emptied: random numbers are named by the document."""
    return documents.keep(np.repeat(group == g, np.diff(documents.indptr)))


def test_the_batch_is_the_separate_models_to_the_bit():
    corpus, main, _ = planted(n_documents=60)
    documents, group = read_documents(corpus), np.append(main, 0).astype(np.int32)
    batch, theta = fit_second(documents, group, "exact")
    for g in range(N_MAIN):
        alone, own = fit_second(of_one_group(documents, group, g), group, "exact")
        rows = batch.row_group == g
        np.testing.assert_array_equal(alone.row_word, batch.row_word[rows])
        np.testing.assert_array_equal(alone.counts, batch.counts[rows])
        np.testing.assert_array_equal(alone.totals[g], batch.totals[g])
        np.testing.assert_array_equal(own[group == g], theta[group == g])


def test_a_separate_model_is_a_plain_lda():
    # One group alone is an LDA over the same documents.
    corpus, *_ = planted(n_documents=60)
    documents = read_documents(corpus)
    level, theta = fit_second(documents, np.zeros(61, np.int32), "exact", seed=4)
    model = LDA(N_SUB, 0.1, 0.01, 30, random_state=4, method="exact").fit(corpus)
    np.testing.assert_array_equal(level.counts, model.word_topic_[level.row_word])
    np.testing.assert_array_equal(theta, model.transform(corpus))


@pytest.mark.parametrize("method", ["dense", "mh"])
def test_delayed_counts_find_as_likely_models_in_a_batch(method):
    corpus, main, sub = planted()
    documents, group = read_documents(corpus), np.append(main, 0).astype(np.int32)
    _, theta = fit_second(documents, group, method)
    for g in range(N_MAIN):
        _, alone = fit_second(of_one_group(documents, group, g), group, method)
        truth = sub[group[:-1] == g]
        together, apart = (purity(shares[:-1][main == g].argmax(axis=1), truth) for shares in (theta, alone))
        assert min(together, apart) > 0.9
