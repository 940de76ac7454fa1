"""Expected counts of the gibbs kernel: the reference, the same bits everywhere, what they are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lda_corpus import planted, small

import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels import gibbs
from radfast.kernels.gibbs import reference

ETA = 0.02


def random_chain(n_topics, *, alpha=0.1, n_groups=1, n_documents=40, n_words=30, seed=0, mean=12):
    """Documents of several models, empty ones among them, and words that no document has."""
    rng = np.random.default_rng(seed)
    lengths = rng.poisson(mean, n_documents) * (rng.random(n_documents) > 0.1)
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    group = rng.integers(0, n_groups, n_documents)
    words = rng.zipf(1.5, indptr[-1]) % n_words
    chain = gibbs.start(
        indptr, np.repeat(group, lengths) * n_words + words, n_topics, n_rows=n_groups * n_words, alpha=alpha,
        eta=ETA, seed=seed, n_words=n_words, document_group=group,
        row_group=np.repeat(np.arange(n_groups), n_words),
    )  # fmt: skip
    gibbs.sample(chain, 3, method="dense", threads=1)
    return chain


def tokens_of_rows(chain):
    return np.bincount(chain.rows, minlength=len(chain.word_topic))


@pytest.mark.parametrize("n_topics", [1, 2, 15, 16, 17, 80, 97])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("n_groups", [1, 3])
def test_agrees_with_the_reference(n_topics, even, n_groups):
    chain = random_chain(n_topics, alpha=0.1 if even else np.linspace(0.01, 0.4, n_topics), n_groups=n_groups)
    topics, counts = chain.topics.copy(), chain.word_topic.copy()
    for n_rounds in (0, 1, 4):
        ours = gibbs.refine(chain, n_rounds, threads=2)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, reference.refine(chain, n_rounds), rtol=1e-3, atol=2e-5)
    np.testing.assert_array_equal(chain.topics, topics)
    np.testing.assert_array_equal(chain.word_topic, counts)


@given(
    seed=st.integers(0, 1000),
    n_topics=st.integers(1, 40),
    alpha=st.sampled_from([1e-6, 0.01, 1.0, 50.0]),
    mean=st.sampled_from([1, 3, 40]),
)
@settings(max_examples=40, deadline=None)
def test_rows_keep_their_tokens_on_any_corpus(seed, n_topics, alpha, mean):
    chain = random_chain(n_topics, alpha=alpha, n_groups=2, seed=seed, mean=mean)
    ours = gibbs.refine(chain, 3)
    assert (ours >= 0).all()
    np.testing.assert_allclose(ours.sum(axis=1), tokens_of_rows(chain), rtol=1e-4)
    np.testing.assert_allclose(gibbs.refine(chain, 1), reference.refine(chain, 1), rtol=2e-3, atol=1e-4)


def test_same_bits_at_any_number_of_threads_and_on_every_vector_unit():
    chain = random_chain(50, n_groups=2, n_documents=3000, n_words=400)
    found = set()
    try:
        for simd in ("avx512", "avx2", "portable"):
            _core.lower_simd(simd)
            found |= {gibbs.refine(chain, 3, threads=threads).tobytes() for threads in (1, 2, 3, 8)}
    finally:
        _core.lower_simd("avx512")
    assert len(found) == 1


def test_a_word_of_very_many_tokens():
    # More entries than are summed at a time, and more tokens of one document at one topic than 16 bits count.
    lengths = np.concatenate(([150_000], np.full(9000, 3)))
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    rows = np.random.default_rng(0).integers(0, 20, indptr[-1]) ** 2 // 100
    chain = gibbs.start(indptr, rows, 3, n_rows=4, alpha=0.1, eta=ETA)
    ours = gibbs.refine(chain, 2)
    np.testing.assert_allclose(ours.sum(axis=1), tokens_of_rows(chain), rtol=1e-5)
    np.testing.assert_allclose(ours, reference.refine(chain, 2), rtol=1e-4)


def test_a_beginning_of_ones_own():
    chain = random_chain(7)
    whole = gibbs.refine(chain, 1)
    np.testing.assert_array_equal(gibbs.refine(chain, 1, counts=chain.word_topic[:, :7]), whole)
    twice = gibbs.refine(chain, 1, counts=whole)
    np.testing.assert_array_equal(twice, gibbs.refine(chain, 2))
    assert (gibbs.refine(chain, 1, counts=chain.word_topic[:, :7] * 0.5 + 0.1) != whole).any()


def test_what_cannot_be_is_named():
    chain = random_chain(5)
    with pytest.raises(UsageError, match=r"\[refine\] n_rounds must be 0 or more, is -1"):
        gibbs.refine(chain, -1)
    with pytest.raises(UsageError, match=r"shape \(30, 5\), is \(30, 4\)"):
        gibbs.refine(chain, counts=np.ones((30, 4)))
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(UsageError, match="finite and 0 or more"):
            gibbs.refine(chain, counts=np.full((30, 5), bad))
    with pytest.raises(UsageError, match="threads"):
        gibbs.refine(chain, threads=-1)


def test_nothing_to_refine():
    chain = gibbs.start([0, 0, 0], [], 3, n_rows=4, alpha=0.1, eta=ETA)
    assert not gibbs.refine(chain).any()
    assert gibbs.refine(replace(chain, indptr=np.zeros(1, np.int64))).shape == (4, 3)


def test_the_words_left_out_become_more_likely():
    chain = random_chain(6, n_documents=300)
    shares = np.empty((len(chain.rows), 6))
    for begin, end in zip(chain.indptr, chain.indptr[1:], strict=False):
        topics = chain.topics[begin:end]
        shares[begin:end] = np.bincount(topics, minlength=6) + 0.1
        shares[np.arange(begin, end), topics] -= 1

    def value(counts):
        phi = (counts + ETA) / (counts.sum(axis=0) + 30 * ETA)
        return np.log((shares * phi[chain.rows]).sum(axis=1)).sum() + ETA * np.log(phi).sum()

    values = [value(gibbs.refine(chain, n).astype(np.float64)) for n in range(5)]
    assert (np.diff(values) > 0).all()


def test_refined_topics_predict_better_than_any_mean():
    counts, _ = planted(n_documents=150)
    held, _ = planted(n_documents=200, length=30, seed=3)
    plain = {"refine": 0, "n_topics": 12}
    ways = [plain, {**plain, "burn_in": 20, "sample_every": 2}, {"n_topics": 12}]
    means = [
        np.mean([small(random_state=s, **way).fit(counts).perplexity(held) for s in range(3)]) for way in ways
    ]
    assert means[2] < means[1] < means[0]
