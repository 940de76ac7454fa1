"""Topics that are parted and given up in the beginning of a run, against plain Python and planted states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfast.kernels import gibbs
from radfast.kernels.gibbs import rearrange, schedule

N_TRUE, BLOCK = 6, 10


def draw_blocks(n_documents=600, length=20, seed=0):
    """Documents of two true topics each, whose words are blocks that overlap by a tenth; the true topics."""
    random = np.random.default_rng(seed)
    pairs = np.array([random.choice(N_TRUE, 2, replace=False) for _ in range(n_documents)])
    truth = np.take_along_axis(pairs, random.integers(0, 2, (n_documents, length)), axis=1)
    own = random.random(truth.shape) < 0.9
    words = np.where(own, truth * BLOCK, 0) + random.integers(0, np.where(own, BLOCK, N_TRUE * BLOCK))
    return np.arange(n_documents + 1) * length, words.ravel().astype(np.int32), truth.ravel()


def begin(indptr, rows, topics, n_topics, **changes):
    settings = {"n_rows": N_TRUE * BLOCK, "alpha": 0.1, "eta": 0.05, "seed": 3, **changes}
    return gibbs.start(indptr, rows, n_topics, topics=topics, **settings)


def merge(truth, seed=0):
    """True topics 0 and 1 as one, 2 in two halves by chance: topic 1 is free and takes one of them."""
    topics = np.where(truth == 1, 0, truth).astype(np.uint16)
    scrap = np.random.default_rng(seed).random(len(truth)) < 0.5
    topics[(truth == 2) & scrap] = 1
    return topics


@pytest.mark.parametrize("alpha", [0.1, np.linspace(0.05, 0.2, N_TRUE)], ids=["one alpha", "many"])
def test_a_merged_topic_is_parted_and_a_needless_one_given_up(alpha):
    indptr, rows, truth = draw_blocks()
    chain = begin(indptr, rows, merge(truth), N_TRUE, alpha=alpha)
    assert rearrange.rearrange(chain) == 1
    counts = np.zeros((N_TRUE, N_TRUE), int)
    np.add.at(counts, (truth, chain.topics), 1)
    # One of the two merged has a topic of its own, which is one of the two that shared another.
    assert (counts.max(axis=1) > 0.85 * counts.sum(axis=1)).all()
    assert len(set(counts.argmax(axis=1))) == N_TRUE
    # From there a few sweeps find what the merged state holds on to.
    gains = []
    for topics in (chain.topics, merge(truth)):
        after = begin(indptr, rows, topics, N_TRUE, alpha=alpha)
        gibbs.sample(after, 5, method="dense")
        gains.append(gibbs.log_likelihood(after))
    assert gains[0] > gains[1]


def test_good_topics_are_left_alone():
    indptr, rows, truth = draw_blocks()
    chain = begin(indptr, rows, truth, N_TRUE)
    assert rearrange.rearrange(chain) == 0
    np.testing.assert_array_equal(chain.topics, truth)


def test_an_empty_topic_is_put_to_use():
    indptr, rows, truth = draw_blocks()
    chain = begin(indptr, rows, np.where(truth == 1, 0, truth), N_TRUE + 1)
    assert rearrange.rearrange(chain) >= 1
    counts = np.zeros((N_TRUE, N_TRUE + 1), int)
    np.add.at(counts, (truth, chain.topics), 1)
    assert counts[0].argmax() != counts[1].argmax()


def weigh_plainly(chain, alpha):
    """`_weigh` token by token, in float64."""
    found = []
    losses = np.zeros(chain.n_topics)
    for d in range(len(chain.indptr) - 1):
        of_document = range(chain.indptr[d], chain.indptr[d + 1])
        for i in of_document:
            z = chain.topics[i]
            n_d = np.bincount(chain.topics[[x for x in of_document if x != i]], minlength=chain.n_topics)
            n_w, n_k = (
                chain.word_topic[chain.rows[i], : chain.n_topics].astype(float),
                chain.totals[0].astype(float),
            )
            n_k = n_k[: chain.n_topics]
            n_w[z] -= 1
            n_k[z] -= 1
            weights = (n_d + alpha) * (n_w + chain.eta) / (n_k + chain.n_words * chain.eta)
            rest = np.delete(weights, z)
            found.append(
                (
                    rest.sum(),
                    weights[z],
                    weights[np.argmax(np.where(np.arange(chain.n_topics) == z, 0, weights))],
                )
            )
            left = len(of_document) - 1 - n_d[z]
            grown = (len(of_document) - 1 + alpha.sum()) / (left + alpha.sum())
            losses[z] -= math.log(rest.sum() / weights.sum() * grown)
    return np.array(found), losses


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 21))
def test_losses_are_those_of_the_formula(seed, n_topics):
    random = np.random.default_rng(seed)
    indptr, rows, _ = draw_blocks(12, 9, seed)
    topics = random.integers(0, n_topics, len(rows)).astype(np.uint16)
    alpha = random.uniform(0.01, 2, n_topics)
    chain = begin(indptr, rows, topics, n_topics, alpha=alpha)
    others, own = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    second, losses = np.empty(len(rows), np.uint16), np.zeros(n_topics)
    rearrange._weigh(
        0, 12, chain.indptr, chain.rows, chain.topics, chain.word_topic, chain.totals[0], alpha, chain.eta,
        chain.n_words * chain.eta, others, own, second, losses,
    )  # fmt: skip
    found, expected = weigh_plainly(chain, alpha)
    np.testing.assert_allclose(others, found[:, 0], rtol=1e-5)
    np.testing.assert_allclose(own, found[:, 1], rtol=1e-5)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    assert (second != chain.topics).all()


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 9), st.integers(0, 11)), min_size=1, max_size=12),
)
def test_no_topic_is_in_two_pairs_and_each_pair_pays(values):
    gains, losses, heirs = (np.array(column) for column in zip(*values, strict=True))
    heirs %= len(values)
    pairs = rearrange.choose_pairs(gains, losses, heirs)
    topics = [k for pair in pairs for k in pair]
    assert len(set(topics)) == len(topics)
    assert all(gains[k] > rearrange.LEAST_GAIN * losses[j] for k, j in pairs)
    assert [gains[k] for k, _ in pairs] == sorted((gains[k] for k, _ in pairs), reverse=True)
    given_up = {j for _, j in pairs}
    assert all(heirs[j] == j or heirs[j] not in given_up for j in given_up)


def test_learning_has_the_same_bits_in_parts_and_on_threads(monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_TOKENS", 1)
    monkeypatch.setattr(schedule, "TOKENS_TO_LEARN", (100, 300))
    indptr, rows, _ = draw_blocks()
    common = {"n_rows": N_TRUE * BLOCK, "alpha": 0.1, "eta": 0.05, "seed": 5}
    assert 0 < schedule.count_learnt(gibbs.start(indptr, rows, N_TRUE, **common), 40) < 150
    ends = set()
    for threads, parts in ((1, [40]), (2, [0, 40]), (3, [1] * 40), (8, [2, 30, 8])):
        chain = gibbs.start(indptr, rows, N_TRUE, **common)
        for part in parts:
            gibbs.sample(chain, part, planned=40, threads=threads)
            counts = np.zeros_like(chain.word_topic)
            np.add.at(counts, (rows, chain.topics), 1)
            np.testing.assert_array_equal(chain.word_topic, counts)
        ends.add(chain.topics.tobytes())
    assert len(ends) == 1


def test_what_is_learnt_is_worth_it(monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_TOKENS", 1)
    found = {}
    for least in (100, 10**6):
        monkeypatch.setattr(schedule, "TOKENS_TO_LEARN", (least, 10**6))
        whole = 0
        for seed in range(8):
            indptr, rows, truth = draw_blocks(seed=seed)
            chain = begin(indptr, rows, None, N_TRUE, seed=seed)
            gibbs.sample(chain, 40, planned=40)
            counts = np.zeros((N_TRUE, N_TRUE), int)
            np.add.at(counts, (truth, chain.topics), 1)
            whole += len(set(counts.argmax(axis=1))) == N_TRUE
        found[least] = whole
    # Every seed finds the true topics; without, some end with two of them in one.
    assert found[100] == 8 > found[10**6]


@pytest.mark.parametrize(
    ("changes", "planned"),
    [({}, 10), ({}, 0), ({"n_topics": 1}, 40), ({"n_topics": 130}, 400), ({"groups": True}, 40)],
)
def test_nothing_is_learnt_where_it_would_not_pay(changes, planned, monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_TOKENS", 1)
    monkeypatch.setattr(schedule, "TOKENS_TO_LEARN", (1, 9000))
    indptr, rows, _ = draw_blocks()
    group = {}
    if changes.get("groups"):
        halves = np.arange(600, dtype=np.int32) % 2
        rows = rows + np.repeat(halves, 20) * N_TRUE * BLOCK
        group = {"document_group": halves, "row_group": np.repeat([0, 1], N_TRUE * BLOCK)}
        group |= {"n_rows": 2 * N_TRUE * BLOCK, "n_words": N_TRUE * BLOCK}
    chain = begin(indptr, rows, None, changes.get("n_topics", N_TRUE), **group)
    assert schedule.count_learnt(chain, planned) == 0


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 30))
def test_any_chain_is_rearranged_to_a_chain(seed, n_topics, n_documents):
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 12, n_documents)  # empty documents, too
    indptr = np.concatenate(([0], np.cumsum(sizes)))
    rows = random.integers(0, N_TRUE * BLOCK, indptr[-1]).astype(np.int32)
    ends = set()
    for threads in (1, 3):
        chain = begin(indptr, rows, None, n_topics)
        assert 0 <= rearrange.rearrange(chain, threads) <= n_topics // 2
        assert chain.topics.max(initial=0) < n_topics
        ends.add(chain.topics.tobytes())
    assert len(ends) == 1


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_the_gain_of_a_parted_topic_is_that_of_the_formula(seed):
    random = np.random.default_rng(seed)
    _, rows, _ = draw_blocks(8, 12, seed)
    tokens = np.flatnonzero(random.random(len(rows)) < 0.7)
    owner = np.repeat(np.arange(8, dtype=np.int32), 12)
    others, own = (random.uniform(1e-4, 1e-2, len(rows)).astype(np.float32) for _ in range(2))
    half = np.zeros(len(rows), np.uint8)
    alpha, eta, smoothing = 0.3, 0.05, 3.0
    gain = rearrange._part(
        tokens, owner, rows, N_TRUE * BLOCK, alpha, eta, smoothing, np.uint64(seed), others, own, half
    )
    expected = 0.0
    for i in tokens:
        rest = tokens[tokens != i]
        both = 0.0
        for side in (0, 1):
            there = rest[half[rest] == side]
            n_d, n_w = (owner[there] == owner[i]).sum(), (rows[there] == rows[i]).sum()
            both += (n_d + alpha / 2) * (n_w + eta) / (len(there) + smoothing)
        expected += math.log((others[i] + both) / (float(others[i]) + float(own[i])))
    assert gain == pytest.approx(expected, rel=1e-6)
