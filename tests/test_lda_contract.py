"""The estimator keeps scikit-learn's contract: its own checks, clone, Pipeline, GridSearchCV."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from lda_corpus import K, as_corpus, planted, small
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.estimator_checks import check_estimator

from radfast.errors import InputError
from radfast.text import Corpus, Tokenizer
from radfast.topics import LDA, TopicHierarchy


class _OnCounts(LDA):
    def __sklearn_tags__(self):
        # There is no tag for counts. This one makes the checks draw whole numbers.
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags


def test_checks_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(_OnCounts(3, n_sweeps=5, threads=1), on_fail=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed == {}
    # The one that needs an environment variable and an array library is left out.
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {
        "check_array_api_input",
        "check_dataframe_column_names_consistency",
    }
    assert len(results) > 40


def test_sparse_counts_of_every_kind_give_the_same_model():
    counts, _ = planted(n_documents=30)
    dense = small(n_sweeps=5).fit(counts.toarray())
    for kind in (sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.lil_matrix, sp.csr_array, sp.coo_array):
        for dtype in (np.uint8, np.int64, np.float32, np.float64):
            X = kind(counts, dtype=dtype)
            before = X.toarray().tobytes()
            model = small(n_sweeps=5).fit(X)
            assert model.components_.tobytes() == dense.components_.tobytes()
            assert model.transform(X).tobytes() == dense.transform(counts).tobytes()
            assert X.toarray().tobytes() == before


def test_clone_and_parameters():
    model = small(n_sweeps=10, alpha=np.full(K, 0.2))
    twin = clone(model)
    assert twin.get_params().keys() == model.get_params().keys()
    np.testing.assert_array_equal(twin.alpha, model.alpha)
    assert twin.set_params(n_topics=3).n_topics == 3
    assert get_tags(model).input_tags.positive_only
    assert get_tags(model).input_tags.sparse
    hierarchy = TopicHierarchy(n_second=4, backend="cpu")
    assert clone(hierarchy).get_params() == hierarchy.get_params()


def test_pipelines_from_texts():
    counts, _ = planted(n_documents=60)
    texts = [" ".join(f"word{w}" for w in row.indices for _ in range(2)) for row in counts]
    pipeline = make_pipeline(CountVectorizer(), small(n_sweeps=10))
    assert pipeline.fit_transform(texts).shape == (60, K)
    assert list(pipeline[-1].get_feature_names_out()) == [f"lda{k}" for k in range(K)]
    own = make_pipeline(Tokenizer(min_df=1, drop_top=0), small(n_sweeps=10))
    theta = own.fit_transform(texts)
    assert theta.shape == (60, K)
    np.testing.assert_array_equal(own.transform(texts), theta)
    # A word that no training text has.
    np.testing.assert_array_equal(own.transform([texts[0] + " unheard"]), own.transform([texts[0]]))


def test_grid_search_takes_the_planted_number(tmp_path):
    counts, _ = planted(n_documents=60)
    search = GridSearchCV(small(n_sweeps=10), {"n_topics": np.array([2, 5])}, cv=2).fit(counts)
    assert search.best_params_["n_topics"] == 5
    search.best_estimator_.save(tmp_path / "m.safetensors")
    assert LDA.load(tmp_path / "m.safetensors").n_topics == 5


def test_scikit_learn_cuts_a_corpus():
    counts, _ = planted(n_documents=60)
    documents = as_corpus(counts)
    corpus = Corpus(documents.indptr, documents.tokens, documents.vocabulary)
    for rows in ([3, 0, 59], np.array([5]), slice(2, 9, 3), np.arange(60) % 7 == 0):
        part = _safe_indexing(corpus, rows)
        assert isinstance(part, Corpus)
        wanted = counts[rows] if isinstance(rows, slice) else counts[np.asarray(rows)]
        np.testing.assert_array_equal(part.to_csr().toarray(), wanted.toarray())
    train, test = train_test_split(corpus, test_size=0.25, random_state=0)
    assert (len(train), len(test)) == (45, 15)
    scores = cross_val_score(small(n_sweeps=10), corpus, cv=3)
    np.testing.assert_array_equal(scores, cross_val_score(small(n_sweeps=10), counts, cv=3))
    search = GridSearchCV(small(n_sweeps=10), {"n_topics": [2, 5]}, cv=2).fit(corpus)
    assert search.best_params_["n_topics"] == 5
    assert search.best_estimator_.vocabulary_ == tuple(corpus.vocabulary)


def test_names_of_columns_are_the_words():
    pandas = pytest.importorskip("pandas")
    counts, _ = planted(n_documents=30)
    frame = pandas.DataFrame(counts.toarray(), columns=[f"c{i}" for i in range(40)])
    model = small(n_sweeps=5).fit(frame)
    assert {word[0] for words in model.top_words(3) for word, _ in words} == {"c"}
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[frame.columns[::-1]])
    assert model.fit(as_corpus(counts)).top_words(1)[0][0][0].startswith("w")


def test_other_width_is_refused():
    counts, _ = planted(n_documents=30)
    model = small(n_sweeps=2).fit(counts)
    for call in (model.transform, model.score, model.perplexity, model.partial_fit, model.coherence):
        with pytest.raises(InputError, match="39 features, but LDA is expecting 40"):
            call(sp.csr_matrix((2, 39), dtype=int))
