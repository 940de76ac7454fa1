"""The choice of the number of topics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from lda_corpus import planted

from radfast.errors import InputError
from radfast.topics import LDA, select_n_topics


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
        with pytest.raises(InputError, match=words):
            select_n_topics(counts, **arguments)
