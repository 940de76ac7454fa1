"""The course of a training: samples, early stop, alpha, batches, and a run that is killed and resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from lda_corpus import BLOCK, K, as_corpus, planted, small
from scipy.optimize import minimize
from scipy.special import gammaln

import radfast
from radfast.errors import InputError, UsageError
from radfast.kernels import gibbs
from radfast.kernels.gibbs import schedule
from radfast.topics import LDA, match_topics
from radfast.topics.model import round_rows
from radfast.topics.prior import estimate_alpha


def bits(model):
    arrays = (model.components_, model.word_topic_, model.log_likelihood_, model.log_likelihood_sweeps_)
    return (*(array.tobytes() for array in arrays), np.asarray(model.alpha_).tobytes(), model.n_samples_)


def test_samples_are_averaged():
    counts, _ = planted(n_documents=40)
    # One sampler throughout: with "auto" the length of the run decides where it starts.
    settings = {"burn_in": 20, "sample_every": 5, "evaluate_every": 10, "method": "dense", "refine": 0}
    model = small(n_sweeps=33, **settings).fit(counts)
    # Sweeps 25, 30 and the last one.
    lasts = [small(n_sweeps=n, method="dense", refine=0).fit(counts) for n in (25, 30, 33)]
    assert model.n_samples_ == 3
    np.testing.assert_array_equal(model.word_topic_, sum(last.word_topic_ for last in lasts))
    np.testing.assert_array_equal(model.topic_tokens_, model.word_topic_.sum(axis=0))
    shares = (model.word_topic_ + 3 * 0.01) / (model.topic_tokens_ + 3 * 40 * 0.01)
    np.testing.assert_allclose(model.components_, shares.T, rtol=1e-6)
    # The last sweep is no sample twice where it is one by its number.
    assert small(n_sweeps=30, **settings).fit(counts).n_samples_ == 2
    assert small(n_sweeps=20, **settings).fit(counts).n_samples_ == 1
    # Where every sweep is a sample, the kernel sums them.
    model = small(n_sweeps=23, burn_in=20, sample_every=1, method="mh", refine=0).fit(counts)
    lasts = [small(n_sweeps=n, method="mh", refine=0).fit(counts) for n in (21, 22, 23)]
    assert model.n_samples_ == 3
    np.testing.assert_array_equal(model.word_topic_, sum(last.word_topic_ for last in lasts))


def test_averaging_lowers_the_perplexity():
    counts, _ = planted(n_documents=40, length=12)
    held, _ = planted(n_documents=200, length=30, seed=3)
    seeds, settings = range(8), {"n_topics": 12, "refine": 0}
    one = [small(random_state=s, **settings).fit(counts).perplexity(held) for s in seeds]
    settings |= {"burn_in": 20, "sample_every": 2}
    many = [small(random_state=s, **settings).fit(counts).perplexity(held) for s in seeds]
    assert np.mean(many) < np.mean(one)


def test_early_stop_follows_its_rule():
    counts, _ = planted(n_documents=40)
    settings = {"n_sweeps": 300, "burn_in": 20, "evaluate_every": 5, "patience": 3, "tolerance": 0.002}
    settings["method"] = "dense"  # whose chain does not know the length of the run
    model = small(**settings).fit(counts)
    assert model.n_sweeps_ < 300
    whole = small(**{**settings, "tolerance": 0.0}).fit(counts)
    assert whole.n_sweeps_ == 300
    values = whole.log_likelihood_[whole.log_likelihood_sweeps_ > 20]
    ends = [
        i
        for i in range(6, len(values) + 1)
        if values[i - 3 : i].mean() - values[i - 6 : i - 3].mean() < 0.002 * counts.sum()
    ]
    assert model.n_sweeps_ == 20 + 5 * ends[0]
    np.testing.assert_array_equal(model.log_likelihood_, whole.log_likelihood_[: len(model.log_likelihood_)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "mh"},
        {"method": "exact", "n_sweeps": 40},
        {"burn_in": 15, "sample_every": 4, "optimize_alpha": "symmetric", "optimize_every": 6},
        {"burn_in": 15, "sample_every": 4, "optimize_alpha": "asymmetric", "optimize_every": 6},
        {"burn_in": 15, "sample_every": 1},
        {"burn_in": 25, "sample_every": 1, "method": "mh"},
        {"alpha": [0.1, 0.2, 0.3, 0.1, 0.05], "method": "mh"},
        {"burn_in": 10, "evaluate_every": 5, "tolerance": 1.0, "patience": 2},
    ],
)
def test_a_resumed_run_is_its_twin(tmp_path, changes):
    counts, _ = planted(n_documents=40)
    file = tmp_path / "run" / "c.safetensors"
    whole = small(**changes).fit(counts)

    def interrupt(sweep, _):
        if sweep == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(**changes, threads=1).fit(counts, checkpoint=file, checkpoint_seconds=0, callback=interrupt)
    assert list(file.parent.iterdir()) == [file]
    seen = []
    resumed = small(**changes, threads=3).fit(
        counts, checkpoint=file, checkpoint_seconds=0, callback=lambda sweep, _: seen.append(sweep)
    )
    assert min(seen) == 20
    assert bits(resumed) == bits(whole)
    # A finished training goes on nowhere and gives itself again.
    again = small(**changes).fit(counts, checkpoint=file, callback=lambda *now: pytest.fail(str(now)))
    assert bits(again) == bits(whole)


def test_a_run_of_known_length_starts_on_a_part_of_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_TOKENS", 1)
    counts, _ = planted(n_documents=400)
    settings = {"n_sweeps": 40, "optimize_alpha": "asymmetric", "burn_in": 0, "sample_every": 5, "refine": 0}
    documents = as_corpus(counts)
    chain = gibbs.start(documents.indptr, documents.tokens, K, n_rows=K * BLOCK, alpha=0.1, eta=0.01)
    first = gibbs.first_whole_sweep(chain, 40)
    assert 0 < first < 40, "the corpus is large enough for a stage"
    test_a_resumed_run_is_its_twin(tmp_path, settings)
    staged = small(**settings).fit(counts)
    # An early stop leaves the length open: no stages.
    plain = small(**settings, tolerance=1e-12).fit(counts)
    # No sample and no alpha of a chain whose last documents have not joined.
    assert staged.n_samples_ == len([n for n in range(5, 41, 5) if n > first])
    assert staged.log_likelihood_[0] < plain.log_likelihood_[0]


def test_a_model_is_what_the_kernel_gives_for_the_length_of_its_run(monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_TOKENS", 1)
    counts, _ = planted(n_documents=400)
    documents = as_corpus(counts)
    model = small(n_sweeps=40, sample_every=1, burn_in=30, evaluate_every=7, refine=0).fit(documents)
    chain = gibbs.start(
        documents.indptr, documents.tokens, K, n_rows=K * BLOCK, alpha=0.1, eta=0.01, seed=1
    )  # fmt: skip
    gibbs.sample(chain, 30, planned=40)
    sums = np.zeros_like(chain.word_topic)
    gibbs.sample(chain, 10, planned=40, sums=sums)
    np.testing.assert_array_equal(model.word_topic_, sums[:, :K])


def test_an_end_by_callback_is_remembered(tmp_path):
    counts, _ = planted(n_documents=20)
    file = tmp_path / "c"
    ended = small().fit(counts, checkpoint=file, callback=lambda sweep, _: sweep == 30)
    assert bits(small().fit(counts, checkpoint=file)) == bits(ended)
    assert ended.n_sweeps_ == 30


_KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from lda_corpus import planted, small
small().fit(
    planted(n_documents=40)[0], checkpoint=sys.argv[2], checkpoint_seconds=0,
    callback=lambda sweep, _: os._exit(9) if sweep == 40 else False,
)
"""


def test_a_killed_process_resumes_to_the_same_bits(tmp_path):
    file = tmp_path / "c.safetensors"
    command = [sys.executable, "-c", _KILLED, str(Path(__file__).parent), str(file)]
    environment = {"PYTHONPATH": str(Path(radfast.__file__).parents[1]), "PATH": ""}
    assert subprocess.run(command, env=environment, check=False).returncode == 9
    counts, _ = planted(n_documents=40)
    first = []
    resumed = small().fit(counts, checkpoint=file, progress=lambda *now: first.append(now))
    assert first[0] == (30, 60)
    assert bits(resumed) == bits(small().fit(counts))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    counts, _ = planted(n_documents=20)
    file = tmp_path / "c"
    small(n_sweeps=10).fit(counts, checkpoint=file)
    for model, X, word in (
        (small(n_sweeps=10, eta=0.02), counts, "eta"),
        (small(n_sweeps=20), counts, "n_sweeps"),
        (small(n_sweeps=10), counts[:-1], "corpus"),
    ):
        with pytest.raises(UsageError, match=f"{word} differs"):
            model.fit(X, checkpoint=file)
    file.write_bytes(b"something else")
    with pytest.raises(UsageError, match="not a topic model"):
        small(n_sweeps=10).fit(counts, checkpoint=file)


def draw_topics(alpha, n_documents, seed=0):
    """Topics of documents of 0 to 30 tokens, drawn from a Dirichlet with `alpha`."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 31, n_documents)
    theta = rng.dirichlet(alpha, n_documents)
    parts = [rng.choice(len(alpha), n, p=p) for n, p in zip(lengths, theta, strict=True)]
    return np.concatenate(([0], np.cumsum(lengths))), np.concatenate(parts).astype(np.uint16)


def likelihood(indptr, topics, alpha):
    counts = np.zeros((len(indptr) - 1, len(alpha)))
    np.add.at(counts, (np.repeat(np.arange(len(counts)), np.diff(indptr)), topics), 1)
    of_topics = (gammaln(counts + alpha) - gammaln(alpha)).sum()
    return of_topics + (gammaln(alpha.sum()) - gammaln(counts.sum(axis=1) + alpha.sum())).sum()


def test_alpha_reaches_the_most_likely_value():
    truth = np.array([0.05, 0.1, 0.4, 1.0])
    indptr, topics = draw_topics(truth, 3000)
    found = np.full(4, 0.5)
    for _ in range(5):
        found = estimate_alpha(indptr, topics, found, symmetric=False)
    best = minimize(lambda logs: -likelihood(indptr, topics, np.exp(logs)), np.log(truth), tol=1e-9)
    np.testing.assert_allclose(found, np.exp(best.x), rtol=2e-3)
    np.testing.assert_allclose(found, truth, rtol=0.15)
    one = np.full(4, 0.5)
    for _ in range(5):
        one = estimate_alpha(indptr, topics, one, symmetric=True)
    assert len(set(one)) == 1
    values = [likelihood(indptr, topics, one * factor) for factor in (0.98, 1.0, 1.02)]
    assert values.index(max(values)) == 1


def test_alpha_where_there_is_little_to_learn_from():
    start = np.full(3, 0.2)
    none = estimate_alpha(np.zeros(4, np.int64), np.empty(0, np.uint16), start, symmetric=False)
    np.testing.assert_array_equal(none, start)
    used = estimate_alpha(np.array([0, 2]), np.zeros(2, np.uint16), start, symmetric=False)
    assert used[0] > used[1] == used[2] == pytest.approx(1e-6)
    # With one topic every alpha is as likely as any other.
    np.testing.assert_allclose(
        estimate_alpha(np.array([0, 2]), np.zeros(2, np.uint16), start[:1], symmetric=False), start[:1]
    )


def test_symmetric_alpha_is_learnt_in_training():
    counts, _ = planted()
    model = small(alpha=2.0, optimize_alpha="symmetric", burn_in=20, n_sweeps=100).fit(counts)
    # Documents hold about 92 % of one of 5 topics: a small alpha.
    assert isinstance(model.alpha_, float)
    assert 0.03 < model.alpha_ < 0.4
    assert small(alpha=2.0, optimize_alpha="symmetric", burn_in=100, n_sweeps=100).fit(counts).alpha_ == 2.0


def lopsided(n_documents=300, length=30, seed=0):
    """Documents of one topic each; three topics of four are rare, and words of topic 0 stand everywhere."""
    rng = np.random.default_rng(seed)
    theta = rng.dirichlet([2.0, 0.1, 0.1, 0.1], n_documents)
    counts = np.zeros((n_documents, 4 * BLOCK), int)
    for d in range(n_documents):
        topic = rng.choice(4, length, p=theta[d])
        np.add.at(counts[d], topic * BLOCK + rng.integers(0, BLOCK, length), 1)
    return sp.csr_matrix(counts)


@pytest.mark.parametrize("method", ["exact", "dense", "mh"])
def test_asymmetric_alpha_finds_the_common_topic(method):
    counts = lopsided()
    settings = {"n_topics": 4, "alpha": 0.5, "n_sweeps": 150, "burn_in": 30, "method": method}
    model = small(**settings, optimize_alpha="asymmetric").fit(counts)
    assert model.alpha_.shape == (4,)
    # The words of the common topic may fall to one topic or to two; the rare ones stay rare.
    common = model.components_[:, :BLOCK].sum(axis=1) > 0.8
    assert common[model.alpha_.argmax()]
    assert model.alpha_[common].min() > 2 * model.alpha_[~common].max()
    assert model.alpha_[~common].min() > 0.05
    held = lopsided(seed=1)
    even = small(**settings).fit(counts)
    for definition in ("completion", "left_to_right"):
        assert model.perplexity(held, method=definition) < even.perplexity(held, method=definition)
    empty = model.transform(sp.csr_matrix((1, 4 * BLOCK), dtype=int))[0]
    np.testing.assert_allclose(empty, model.alpha_ / model.alpha_.sum(), rtol=1e-5)


def test_asymmetric_alpha_is_kept_in_the_file(tmp_path):
    counts, _ = planted(n_documents=30)
    model = small(alpha=np.arange(1, 6) / 10, n_sweeps=10).fit(counts)
    np.testing.assert_array_equal(model.alpha_, np.arange(1, 6) / 10)
    model.save(tmp_path / "m")
    again = LDA.load(tmp_path / "m")
    assert bits(again) == bits(model)
    assert again.transform(counts).tobytes() == model.transform(counts).tobytes()
    assert bits(again.fit(counts)) == bits(model)
    # Equal numbers are one number.
    equal = small(alpha=np.full(5, 0.1), n_sweeps=10).fit(counts)
    np.testing.assert_array_equal(equal.word_topic_, small(n_sweeps=10).fit(counts).word_topic_)


def test_batches_add_up():
    first, _ = planted(n_documents=60)
    second, _ = planted(n_documents=60, seed=1)
    model = small().partial_fit(first)
    assert bits(model) == bits(small().fit(first))
    before = round_rows(model.word_topic_, 1)
    model.partial_fit(second)
    assert model.word_topic_.sum() == first.sum() + second.sum()
    assert (model.word_topic_ >= before).all()
    np.testing.assert_array_equal(
        model.word_topic_.sum(axis=1), np.asarray(first.sum(axis=0) + second.sum(axis=0)).ravel()
    )
    # The topics stay at their places and get better.
    partners, similarity = match_topics((before / before.sum(axis=0)).T, model.components_)
    np.testing.assert_array_equal(partners, np.arange(K))
    assert similarity.min() > 0.95
    twin = small(threads=1).partial_fit(first).partial_fit(second)
    assert bits(twin) == bits(model)
    # The batches draw other random numbers: the same documents again do not repeat their topics.
    assert (small().fit(first).partial_fit(first).word_topic_ != 2 * before).any()


def test_a_batch_of_new_documents_is_pulled_to_the_topics_known(tmp_path):
    counts, _ = planted(n_documents=150)
    model = small().fit(as_corpus(counts))
    model.save(tmp_path / "m")
    few = as_corpus(planted(n_documents=3, seed=5)[0][:, ::-1].tocsr(), [f"w{i}" for i in range(39, -1, -1)])
    few.vocabulary.append("new")
    few.tokens[0] = 40
    model.partial_fit(few)
    assert model.word_topic_.sum() == 153 * 40 - 1
    blocks = model.components_.reshape(K, K, BLOCK).sum(axis=2)
    assert (blocks.max(axis=1) > 0.93).all()
    assert bits(LDA.load(tmp_path / "m").partial_fit(few)) == bits(model)


def test_batches_that_cannot_be():
    counts, _ = planted(n_documents=20)
    model = small(method="mh", n_sweeps=5).fit(counts)
    with pytest.raises(InputError, match="are 'mh' and 'auto'"):
        model.partial_fit(counts)
    with pytest.raises(InputError, match="are 'dense' and 'cuda'"):
        model.set_params(method="dense", backend="cuda").partial_fit(counts)
    assert small(n_sweeps=5).fit(counts).partial_fit(sp.csr_matrix((2, 40), dtype=int)).n_sweeps_ == 5


def test_averaged_counts_enter_a_batch_as_their_mean():
    counts, _ = planted(n_documents=30)
    model = small(burn_in=10, sample_every=10, refine=0).fit(counts)
    assert model.n_samples_ == 5
    model.partial_fit(counts[:2])
    assert model.n_samples_ == 1
    assert model.word_topic_.sum() == counts.sum() + counts[:2].sum()


def test_rows_are_rounded_to_whole_tokens():
    counts = np.array([[3, 3, 2, 4], [6, 0, 0, 3], [1, 1, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(round_rows(counts, 3), [[1, 1, 1, 1], [2, 0, 0, 1], [1, 0, 0, 0], [0] * 4])
    drawn = np.random.default_rng(0).gamma(0.3, size=(2500, 7)).astype(np.float32)
    whole = round_rows(drawn, 1)
    assert (np.abs(whole - drawn) < 1).all()
    np.testing.assert_array_equal(whole.sum(axis=1), np.rint(drawn.sum(axis=1, dtype=np.float64)))
