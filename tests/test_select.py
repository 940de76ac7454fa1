"""The choice of the number of topics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from lda_corpus import planted

from radfast.errors import InputError
from radfast.topics import LDA, heldout, select_n_topics
from radfast.topics.select import _choose


def test_select_n_topics_finds_the_planted_number():
    # Four seeds: one chain of six ends with two of the topics in one, which a mean of two does not bear.
    counts, _ = planted(n_documents=240)
    patients = np.repeat(np.arange(80), 3)
    done = []
    curve = select_n_topics(
        counts, (2, 5, 12), 4, groups=patients, alpha=0.1, n_sweeps=40, progress=lambda *now: done.append(now)
    )
    assert curve.perplexity.shape == (3, 4)
    assert curve.chosen == 5
    assert curve.mean[0] > 1.2 * curve.mean[1]
    np.testing.assert_allclose(curve.sd, curve.perplexity.std(axis=1, ddof=1))
    assert done[-1] == (12, 12)
    again = select_n_topics(counts, (2, 5, 12), 4, groups=patients, alpha=0.1, n_sweeps=40, threads=1)
    np.testing.assert_array_equal(curve.perplexity, again.perplexity)


def test_groups_stand_on_one_side(monkeypatch):
    counts, _ = planted(n_documents=30)
    patients = [f"p{i % 7}" for i in range(30)]
    # Two words of the patient's own in every document tell which patients were trained on.
    marks = sp.csr_matrix((np.full(30, 2), (np.arange(30), [i % 7 for i in range(30)])), shape=(30, 7))
    sides = {}
    fit, split = LDA.fit, heldout.split_tokens

    def watch_fit(self, X):
        sides.update(train=set(X.tokens[X.tokens < 7]))
        return fit(self, X)

    def watch_split(documents):
        sides.update(test=set(documents.tokens[documents.tokens < 7]))
        return split(documents)

    monkeypatch.setattr(LDA, "fit", watch_fit)
    monkeypatch.setattr(heldout, "split_tokens", watch_split)
    X = sp.hstack([marks, counts]).tocsr()
    select_n_topics(X, (2,), 1, groups=patients, hold_out=0.3, n_sweeps=2)
    assert len(sides["test"]) == 2
    assert sides["train"] | sides["test"] == set(range(7))
    assert not sides["train"] & sides["test"]


def test_the_curve_is_that_of_separate_models():
    counts, _ = planted(n_documents=60)
    curve = select_n_topics(counts, (2, 5), 2, alpha=0.1, n_sweeps=10, random_state=4)
    for s in range(2):
        order = np.random.default_rng(4 + s).permutation(60)
        train, test = np.sort(order[12:]), np.sort(order[:12])
        for c, k in enumerate((2, 5)):
            model = LDA(k, 0.1, n_sweeps=10, random_state=4 + s).fit(counts[train])
            assert curve.perplexity[c, s] == model.perplexity(counts[test])


def test_the_rule_of_the_choice():
    # Mean 100, 90, 91, 96 at K = 2, 5, 8, 20 with differences that vary by seed.
    values = np.array([[99.0, 101.0], [89.0, 91.0], [91.0, 91.0], [95.0, 97.0]])
    # K = 8 exceeds K = 5 by 1 with a standard error of 1, but K = 5 is smaller.
    assert _choose((2, 5, 8, 20), values) == 5
    # The best is K = 8 now; K = 5 exceeds it by 1 with a standard error of 1: it cannot be told from it.
    assert _choose((2, 8, 5, 20), values) == 5
    # With less spread it can.
    values[2] = 91.0, 91.5
    assert _choose((2, 8, 5, 20), values) == 8
    assert _choose((2, 8, 5, 20), values[:, :1]) == 8


def test_select_refuses_what_it_cannot_do():
    counts, _ = planted(n_documents=4)
    for arguments, words in (
        ({"candidates": ()}, "candidates"),
        ({"candidates": (2.5,)}, "candidates"),
        ({"candidates": (0, 2)}, "candidates"),
        ({"seeds": 0}, "seeds"),
        ({"hold_out": 1.0}, "hold_out"),
        ({"groups": [1, 1, 1, 1]}, "different groups"),
        ({"groups": [1]}, "shape"),
    ):
        with pytest.raises(InputError, match=words):
            select_n_topics(counts, **arguments)
