"""Held-out probability: both definitions against enumeration on tiny documents."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from lda_corpus import K, as_corpus, planted, small
from scipy.special import gammaln

from radfast.errors import InputError
from radfast.kernels.gibbs.left_to_right import left_to_right
from radfast.topics import read_documents
from radfast.topics.heldout import split_tokens

PHI = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.25, 0.5, 0.25]], np.float32)
ALPHA = np.array([0.2, 0.05, 0.7])


def enumerate_probability(words, phi=PHI, alpha=ALPHA):
    """p(words | phi, alpha) as the sum over all topics of all tokens."""
    total = 0.0
    for z in product(range(len(alpha)), repeat=len(words)):
        counts = np.bincount(z, minlength=len(alpha))
        log = gammaln(alpha.sum()) - gammaln(len(words) + alpha.sum())
        log += (gammaln(counts + alpha) - gammaln(alpha)).sum()
        total += np.exp(log) * np.prod([phi[k, w] for k, w in zip(z, words, strict=True)])
    return total


@pytest.mark.parametrize("words", [[0, 2, 2], [0, 2, 2, 1, 0], [2, 2, 0, 0, 1, 1, 1]])
def test_one_particle_is_unbiased(words):
    n = 20_000
    # Copies of one document draw from streams of their own.
    indptr, rows = np.arange(n + 1) * len(words), np.tile(words, n).astype(np.int32)
    p = np.exp(left_to_right(indptr, rows, PHI.T, ALPHA, n_particles=1, seed=3, threads=2))
    error = p.std() / np.sqrt(n)
    assert error < 0.005 * p.mean()
    assert abs(p.mean() - enumerate_probability(words)) < 4 * error


@pytest.mark.parametrize("words", [[0, 2], [0, 2, 2], [0, 2, 2, 1, 0], [2, 2, 0, 0, 1, 1, 1]])
def test_many_particles_come_near(words):
    exact = np.log(enumerate_probability(words))
    rows = np.array(words, np.int32)
    log = left_to_right(np.array([0, len(rows)]), rows, PHI.T, ALPHA, n_particles=100_000, seed=0)
    assert abs(log[0] - exact) < 0.005 * len(rows)


@pytest.mark.parametrize("n_topics", [1, 2, 15, 16, 17, 33])
def test_left_to_right_where_it_is_exact(n_topics):
    # With one topic, with equal topics, and for one token, every particle gives the exact value.
    rng = np.random.default_rng(0)
    row = rng.dirichlet(np.ones(7)).astype(np.float32)
    phi, alpha = np.tile(row[:, None], n_topics), rng.random(n_topics) + 0.01
    rows = rng.integers(0, 7, 12).astype(np.int32)
    logs = left_to_right(np.array([0, 0, 12]), rows, phi, alpha, n_particles=3, seed=1)
    assert logs[0] == 0
    assert logs[1] == pytest.approx(np.log(row[rows].astype(float)).sum(), rel=1e-5)
    other = rng.dirichlet(np.ones(7), n_topics).T.astype(np.float32)
    single = left_to_right(np.array([0, 1]), rows[:1], other, alpha, n_particles=1, seed=1)
    assert single[0] == pytest.approx(np.log(other[rows[0]] @ alpha / alpha.sum()), rel=1e-5)


def test_both_definitions_on_a_model():
    counts, _ = planted()
    model = small().fit(counts)
    held, _ = planted(n_documents=60, seed=7)
    completion = model.perplexity(held)
    whole = model.perplexity(held, method="left_to_right")
    # Knowing the main topic, a token is one of 8 words with p 0.92/8, or one of 32 others with p 0.08/32.
    best = np.exp(-(0.92 * np.log(0.92 / 8) + 0.08 * np.log(0.08 / 32)))
    assert best < completion < 1.15 * best
    assert best < whole < 1.25 * best
    assert model.perplexity(held, method="left_to_right") == whole
    assert small(threads=1).fit(counts).perplexity(held, method="left_to_right") == whole
    backwards = as_corpus(held)
    documents = read_documents(held)
    parts = np.split(documents.tokens, documents.indptr[1:-1])
    backwards.tokens = np.concatenate([part[::-1] for part in parts])
    assert model.perplexity(backwards) == completion
    assert model.perplexity(backwards, method="left_to_right") == whole


def test_one_topic_is_the_word_frequencies_by_either_definition():
    counts, _ = planted(n_documents=20)
    model = small(n_topics=1, n_sweeps=2).fit(counts)
    held, _ = planted(n_documents=10, seed=2)
    logs = np.log(model.components_[0].astype(float))
    observed = np.exp(-(held @ logs).sum() / held.sum())
    assert model.perplexity(held, method="left_to_right") == pytest.approx(observed, rel=1e-5)
    half = read_documents(held).tokens
    assert logs[half].min() < -np.log(model.perplexity(held)) < logs[half].max()


def test_halves_are_halves():
    counts, _ = planted(n_documents=9, length=7)
    documents = read_documents(counts)
    observed, held = split_tokens(documents)
    np.testing.assert_array_equal(np.diff(observed.indptr), 4)
    np.testing.assert_array_equal(np.diff(held.indptr), 3)
    for d in range(9):
        parts = [half.tokens[half.indptr[d] : half.indptr[d + 1]] for half in (observed, held)]
        whole = documents.tokens[documents.indptr[d] : documents.indptr[d + 1]]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


def test_what_cannot_be_measured_is_named():
    counts, _ = planted(n_documents=20)
    model = small(n_sweeps=2).fit(counts)
    single = sp.csr_matrix(([1], ([0], [3])), shape=(2, K * 8))
    with pytest.raises(InputError, match="2 known words"):
        model.perplexity(single)
    assert model.perplexity(single, method="left_to_right") > 1
    with pytest.raises(InputError, match="at least 1 known"):
        model.perplexity(sp.csr_matrix((2, K * 8), dtype=int), method="left_to_right")
    with pytest.raises(InputError, match="completion, left_to_right"):
        model.perplexity(counts, method="harmonic")
    with pytest.raises(InputError, match="n_particles"):
        model.perplexity(counts, method="left_to_right", n_particles=0)
