"""Fold-in of the gibbs kernel: the reference, a true fixed point, the same bits however it is called."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels import gibbs
from radfast.kernels.gibbs import reference
from radfast.topics import LDA, heldout, read_documents


def random_job(n_topics, n_documents=40, n_words=30, mean=12):
    """Documents, one of them empty and one of one word only, under random topics."""
    rng = np.random.default_rng(n_topics)
    lengths = rng.poisson(mean, n_documents)
    lengths[3] = 0
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    rows = rng.integers(0, n_words, indptr[-1]).astype(np.int32)
    rows[indptr[5] : indptr[6]] = 7
    phi = rng.dirichlet(np.full(n_words, 0.1), n_topics).astype(np.float32).T + np.float32(1e-6)
    return indptr, rows, phi


@pytest.mark.parametrize("n_topics", [1, 2, 15, 16, 17, 31, 33, 80, 97])
@pytest.mark.parametrize("even", [True, False])
def test_fold_in_agrees_with_the_reference(n_topics, even):
    indptr, rows, phi = random_job(n_topics)
    alpha = 0.05 if even else np.linspace(0.01, 0.3, n_topics)
    ours = gibbs.fold_in(indptr, rows, phi, alpha, threads=2)
    theirs = reference.fold_in(indptr, rows, phi, alpha, n_iterations=50, tolerance=1e-3)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-3)  # the last round may differ by one
    assert np.median(np.abs(ours - theirs).max(axis=1)) < 1e-5
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)
    mean = np.broadcast_to(alpha, n_topics)
    np.testing.assert_allclose(ours[3], mean / mean.sum(), rtol=1e-5)


def sparse_topics(n_topics, n_words, seed=0):
    """Topics as a trained model has them: a word stands in about two of them, so that few of all move."""
    rng = np.random.default_rng(seed)
    there = rng.random((n_words, n_topics)) < 2 / n_topics
    weights = 0.01 + there * rng.integers(1, 40, there.shape)
    return (weights / 1000).astype(np.float32)  # one mass for all: topics without words stay light


@pytest.mark.parametrize("n_topics", [256, 1000])
def test_rounds_over_few_topics_end_in_the_fixed_point_over_all(n_topics):
    indptr, rows, _ = random_job(3, n_words=300)
    phi = sparse_topics(n_topics, 300)
    ours = gibbs.fold_in(indptr, rows, phi, 0.01, n_iterations=3000, tolerance=1e-5)
    theirs = reference.fold_in(indptr, rows, phi, 0.01, n_iterations=3000, tolerance=1e-5)
    assert np.median(np.abs(ours - theirs).max(axis=1)) < 1e-4
    # One round more, in float64, from what was found: g solves g Z = (c - g + alpha) phi for the right Z.
    for d in (0, 1, 2, 5, 9):
        bag, tokens = np.unique(rows[indptr[d] : indptr[d + 1]], return_counts=True)
        counts = ours[d].astype(np.float64) * (tokens.sum() + 0.01 * n_topics) - 0.01
        again = np.zeros(n_topics)
        for word, n in zip(phi[bag].astype(np.float64), tokens, strict=True):
            low, high = 0.0, float(((counts + 0.01) * word).sum())
            for _ in range(100):
                total = (low + high) / 2
                share = (counts + 0.01) * word / (total + word)
                low, high = (total, high) if share.sum() > 1 else (low, total)
            again += n * share
        np.testing.assert_allclose(again, counts, atol=5e-3)


@pytest.mark.parametrize("n_topics", [33, 300])
def test_same_bits_on_threads_in_batches_in_any_order_and_layout(n_topics):
    indptr, rows, _ = random_job(n_topics, n_documents=600)
    phi = sparse_topics(n_topics, 30)
    whole = gibbs.fold_in(indptr, rows, phi, 0.02, threads=1)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(gibbs.fold_in(indptr, rows, phi, 0.02, threads=threads), whole)
    np.testing.assert_array_equal(gibbs.fold_in(indptr, rows, np.asfortranarray(phi), 0.02), whole)
    turned = np.concatenate([rows[a:b][::-1] for a, b in pairwise(indptr)])
    np.testing.assert_array_equal(gibbs.fold_in(indptr, turned, phi, 0.02), whole)
    parts = [
        gibbs.fold_in(indptr[a : b + 1] - indptr[a], rows[indptr[a] : indptr[b]], phi, 0.02)
        for a, b in ((0, 1), (1, 37), (37, 600))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_topics", [17, 300])
def test_same_bits_on_every_instruction_set(n_topics):
    indptr, rows, _ = random_job(n_topics)
    phi = sparse_topics(n_topics, 30)
    wanted = gibbs.fold_in(indptr, rows, phi, 0.02)
    try:
        for simd in ("portable", "avx2"):
            _core.lower_simd(simd)
            np.testing.assert_array_equal(gibbs.fold_in(indptr, rows, phi, 0.02), wanted)
    finally:
        _core.lower_simd("avx512")


def test_few_rounds_are_those_of_the_reference():
    indptr, rows, phi = random_job(21)
    for n in (0, 1, 2, 3):
        ours = gibbs.fold_in(indptr, rows, phi, 0.05, n_iterations=n, tolerance=0)
        theirs = reference.fold_in(indptr, rows, phi, 0.05, n_iterations=n, tolerance=0)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_phi_without_mass_is_refused():
    phi = np.full((3, 2), 0.5, np.float32)
    phi[1] = 0
    with pytest.raises(UsageError, match=r"\[fold_in\] phi must be above 0"):
        gibbs.fold_in([0, 2], [0, 1], phi, 0.1)
    phi[1] = np.nan
    with pytest.raises(UsageError, match=r"\[fold_in\] phi must be above 0"):
        gibbs.fold_in([0, 2], [0, 1], phi, 0.1)
    np.testing.assert_allclose(gibbs.fold_in([0, 2], [0, 2], phi, 0.1), [[0.5, 0.5]])


@pytest.mark.parametrize("n_topics", [80, 300])
def test_completion_of_captions_is_as_good_as_with_the_reference(data, n_topics):
    lines = (data / "lda" / "roco_ccby.ldac").read_text().splitlines()
    pairs = [[pair.split(":") for pair in line.split()[1:]] for line in lines]
    places = [(d, int(word), int(count)) for d, line in enumerate(pairs) for word, count in line]
    owner, word, count = np.array(places).T
    documents = read_documents(sp.csr_matrix((count, (owner, word))))
    test = np.arange(len(documents)) % 16 == 0
    model = LDA(n_topics, alpha=0.01, n_sweeps=20).fit(documents.take(np.flatnonzero(~test)))
    observed, held = heldout.split_tokens(documents.take(np.flatnonzero(test)))
    phi = model.components_.T
    ours = gibbs.fold_in(observed.indptr, observed.tokens, phi, 0.01)
    theirs = reference.fold_in(
        observed.indptr, observed.tokens, phi, 0.01, n_iterations=50, tolerance=1e-3
    ).astype(np.float32)
    logs = [
        gibbs.log_predictive(held.indptr, held.tokens, theta, phi).sum() / len(held.tokens)
        for theta in (ours, theirs)
    ]
    assert logs[0] > logs[1] - 5e-4
