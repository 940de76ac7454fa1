"""Ids and offsets at the door of the kernels: nothing is cut short or rounded without a word."""

from __future__ import annotations

import numpy as np
import pytest

from radfast.errors import UsageError
from radfast.kernels import gibbs, phrases
from radfast.kernels.ids import read_ids
from radfast.topics.counts import read_documents

PHI = np.full((5, 3), 0.2, np.float32)
CORPUS = {"n_rows": 5, "alpha": 0.1, "eta": 0.1, "seed": 0}


def start(rows, **changes):
    return gibbs.start([0, 2], rows, 3, **{**CORPUS, **changes})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ids: start(ids), "[start] rows"),
        (lambda ids: start([0, 1], topics=ids), "[start] topics"),
        (lambda ids: start([0, 1], row_group=ids), "[start] row_group"),
        (lambda ids: gibbs.fold_in([0, 2], ids, PHI, 0.1), "[fold_in] rows"),
        (lambda ids: gibbs.log_predictive([0, 2], ids, PHI[:1], PHI), "[log_predictive] rows"),
        (lambda ids: phrases.find_phrases(ids, phrases.build_trie([(1, 2)])), "[find_phrases] tokens"),
    ],
)
@pytest.mark.parametrize(
    ("ids", "rule"),
    [
        (np.array([0, 2**33]), "must be -?[0-9]+ to [0-9]+, is 0 to 8589934592"),
        (np.array([-(2**33), 0]), "must be -?[0-9]+ to [0-9]+, is -8589934592 to 0"),
        (np.array([0, 2**63 + 1], np.uint64), "is 0 to 9223372036854775809"),
        (np.array([0.5, 1.0]), "must be whole numbers in 1 dimension, is float64"),
        (np.array([[0, 1]]), "must be whole numbers in 1 dimension, is int64"),
        (np.array(["0", "1"]), "must be whole numbers in 1 dimension"),
    ],
)
def test_ids_out_of_range_are_refused(call, message, ids, rule):
    with pytest.raises(UsageError, match=rule) as caught:
        call(ids)
    assert str(caught.value).startswith(message)


def test_tokens_of_a_corpus_out_of_range_are_refused():
    class Corpus:
        vocabulary = ("a", "b")
        indptr = np.array([0, 2])
        tokens = np.array([0, 2**32])  # 0 in 32 bits

    with pytest.raises(UsageError, match=r"\[LDA.fit\] tokens must be -2147483648 to 2147483647"):
        read_documents(Corpus(), "LDA.fit")


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_ids_of_any_width_are_taken(dtype):
    values = np.array([3, 0, 100], dtype)
    assert read_ids(values, np.int32, "x").tolist() == [3, 0, 100]
    assert read_ids([], np.int32, "x").dtype == np.int32
    own = np.arange(4, dtype=np.int32)
    assert read_ids(own, np.int32, "x") is own
