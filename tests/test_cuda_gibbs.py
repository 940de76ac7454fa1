"""The gibbs kernel on a GPU: arithmetic and emulated kernels on the host, the real thing where there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_gpu import EmulatedCupy, build, install

from radfast import _core, device
from radfast.errors import UsageError
from radfast.kernels import gibbs, on_gpu
from radfast.kernels.gibbs.cuda import build_prior

ALPHA, ETA = 0.05, 0.01


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("gibbs", tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def emulated(library: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatedCupy]:
    """A GPU that is none: csrc/gibbs.cu on the host."""
    yield install("gibbs", library, monkeypatch, tmp_path)
    library.set_falling(0)
    on_gpu.forget()


def draw_corpus(documents: int, words: int, mean: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Documents of about `mean` tokens, one of them empty, words by Zipf's law."""
    rng = np.random.default_rng(seed)
    lengths = rng.poisson(mean, documents)
    lengths[documents // 2] = 0
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    return indptr, rng.zipf(1.3, indptr[-1]).clip(1, words).astype(np.int32) - 1


def uneven(topics: int) -> np.ndarray:
    return np.random.default_rng(topics).gamma(0.5, 0.2, topics) + 1e-3


def run(
    indptr: Any, rows: Any, words: int, topics: int, backend: str, parts: tuple[int, ...], **more: Any
) -> gibbs.Chain:
    chain = gibbs.start(indptr, rows, topics, n_rows=words, seed=3, **{"alpha": ALPHA, "eta": ETA, **more})
    for n_sweeps in parts:
        gibbs.sample(chain, n_sweeps, method="mh", backend=backend, threads=2)
        # Sum of all counts = T after every call.
        assert chain.word_topic.sum() == chain.totals.sum() == len(chain.rows)
    return chain


def assert_same(ours: gibbs.Chain, theirs: gibbs.Chain) -> None:
    for name in ("topics", "word_topic", "totals", "n_sweeps"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


# Units of every class of length; tables of counts that fit a warp, only a block, and no block.
SHAPES = [
    (20, 30, 5, 7), (40, 12, 80, 16), (60, 9, 100, 80), (10, 5, 300, 33), (7, 50, 1500, 5), (3, 4, 9000, 100),
    (30, 40, 60, 1000), (5, 5, 5, 1), (4, 10, 500, 20_000), (4, 10, 300, 65_535), (9, 1, 40, 3),
]  # fmt: skip


@pytest.mark.parametrize(("documents", "words", "mean", "topics"), SHAPES)
def test_emulated_kernels_give_the_topics_of_the_cpu(
    emulated: EmulatedCupy, library: Any, documents: int, words: int, mean: int, topics: int
) -> None:
    indptr, rows = draw_corpus(documents, words, mean)
    wanted = run(indptr, rows, words, topics, "cpu", (3,))
    for falling in (0, 1):
        library.set_falling(falling)
        assert_same(run(indptr, rows, words, topics, "cuda", (1, 2)), wanted)


def test_every_class_of_length_has_its_kernel(emulated: EmulatedCupy) -> None:
    for documents, words, mean, topics in SHAPES:
        run(*draw_corpus(documents, words, mean), words, topics, "cuda", (1,))
    classes = {"gibbs_pass_short", "gibbs_pass_128", "gibbs_pass_256", "gibbs_pass_2048"}
    long = {"gibbs_count", "gibbs_judge_long", "gibbs_propose_long"}
    assert set(emulated.launched) == classes | long | {"gibbs_settle_totals", "gibbs_fill", "gibbs_read"}


@pytest.mark.parametrize(("documents", "words", "mean", "topics"), SHAPES)
def test_alpha_per_topic(emulated: EmulatedCupy, documents: int, words: int, mean: int, topics: int) -> None:
    indptr, rows = draw_corpus(documents, words, mean)
    alpha = uneven(topics)
    chains = [run(indptr, rows, words, topics, where, (2,), alpha=alpha) for where in ("cpu", "cuda")]
    assert_same(*chains)
    for chain, where in zip(chains, ("cpu", "cuda"), strict=True):
        chain.alpha = alpha * 2  # set anew between calls
        gibbs.sample(chain, 1, method="mh", backend=where)
    assert_same(*chains)


@pytest.mark.parametrize("room", [1, 300, 5000])
def test_streamed_chunks_change_no_bit(emulated: EmulatedCupy, room: int) -> None:
    indptr, rows = draw_corpus(60, 9, 100)
    wanted = run(indptr, rows, 9, 80, "cpu", (3,))
    emulated.free = room * 20
    chain = run(indptr, rows, 9, 80, "cuda", (1, 2))
    assert type(chain.on_gpu).__name__ == "_Streamed"
    assert_same(chain, wanted)


def test_groups_in_one_batch(emulated: EmulatedCupy) -> None:
    indptr, rows = draw_corpus(40, 30, 25)
    group = np.arange(40) % 3
    more = {"document_group": group, "row_group": np.repeat(np.arange(3), 30), "n_words": 30}
    rows = (np.repeat(group, np.diff(indptr)) * 30 + rows).astype(np.int32)
    assert_same(run(indptr, rows, 90, 5, "cuda", (3,), **more), run(indptr, rows, 90, 5, "cpu", (3,), **more))


def test_many_long_units_go_in_batches(emulated: EmulatedCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    from radfast.kernels.gibbs import cuda

    monkeypatch.setattr(cuda, "_COUNTS_BYTES", 3 * 4 * 16)
    indptr, rows = draw_corpus(3, 7, 25_000)
    assert_same(run(indptr, rows, 7, 9, "cuda", (1, 1)), run(indptr, rows, 7, 9, "cpu", (2,)))


@pytest.mark.parametrize(("indptr", "words"), [([0], 1), ([0, 0, 0], 2), ([0, 4], 1)])
def test_no_documents_no_tokens_one_word(emulated: EmulatedCupy, indptr: list[int], words: int) -> None:
    rows = np.zeros(indptr[-1], np.int32)
    assert_same(run(indptr, rows, words, 3, "cuda", (2,)), run(indptr, rows, words, 3, "cpu", (2,)))


def test_what_the_gpu_does_not_have_is_named(emulated: EmulatedCupy) -> None:
    chain = gibbs.start([0, 2], [0, 1], 3, n_rows=2, alpha=0.1, eta=0.1)
    with pytest.raises(UsageError, match="method on backend 'cuda' must be mh or auto, is 'exact'"):
        gibbs.sample(chain, 1, method="exact", backend="cuda")
    gibbs.sample(chain, 1, backend="cuda")  # auto is mh there, at any K
    assert chain.on_gpu is not None


def test_judging_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    f = np.float32
    for _ in range(300):
        topics = rng.integers(0, 5, 4)
        record = int(sum(int(t) << (16 * i) for i, t in enumerate(topics)))
        counts, totals = rng.integers(0, 9, 5), rng.integers(9, 40, 5)
        a, smoothing = rng.random(5, dtype=f) + f(0.01), f(rng.random() * 3 + 0.1)
        inverse = f(1) / (totals.astype(f) + smoothing)
        accept = rng.random(3, dtype=f)
        own = topics[0]
        mine = (f(counts[own]) + a[own]) / (f(totals[own] - 1) + smoothing)
        state, now = own, mine
        for q in range(3):
            t = topics[q + 1]
            there = mine if t == own else (f(counts[t]) + a[t]) * inverse[t]
            if accept[q] * now < there:
                state, now = t, there
        found = _core.device.gibbs_judge(
            record, counts[topics].tolist(), a[topics].tolist(), int(totals[own]),
            inverse[topics[1:]].tolist(),
            accept.tolist(), smoothing,
        )  # fmt: skip
        assert found == state


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize(("n", "topics", "a"), [(1, 7, 0.1), (12, 5, 0.4), (40, 30, 0.01)])
def test_proposals_follow_the_counts_of_the_unit(n: int, topics: int, a: float, even: bool) -> None:
    # q(k) ~ n_uk + a_k without the token itself: chi-square over many streams, fixed seeds.
    alpha = np.full(topics, a) if even else uneven(topics)
    value, total, *tables = build_prior(alpha, topics)
    of_unit = np.random.default_rng(n).integers(0, topics, n)
    place, draws = n // 2, 6000
    tables = [np.empty(0) if table is None else table for table in tables]
    drawn = [
        _core.device.gibbs_propose(5, s, 1, 2, place, n, topics, s % 3, value, total, *tables)
        for s in range(draws)
    ]
    assert all(value < (n if copies else topics) for copies, value in drawn)
    assert not any(copies and value == place for copies, value in drawn)
    seen = np.bincount([of_unit[v] if copies else v for copies, v in drawn], minlength=topics)
    wanted = np.bincount(np.delete(of_unit, place), minlength=topics) + alpha
    wanted *= draws / wanted.sum()
    kept = wanted > 2
    statistic = ((seen - wanted)[kept] ** 2 / wanted[kept]).sum()
    free = kept.sum()
    assert statistic < free + 4 * np.sqrt(2 * free)


@pytest.mark.gpu
@pytest.mark.parametrize(("documents", "words", "mean", "topics"), SHAPES)
def test_gpu_gives_the_topics_of_the_cpu(documents: int, words: int, mean: int, topics: int) -> None:
    if (reason := device.why_not("cuda")) is not None:
        pytest.skip(reason)
    indptr, rows = draw_corpus(documents * 5, words, mean)
    assert_same(
        run(indptr, rows, words, topics, "cuda", (1, 2)), run(indptr, rows, words, topics, "cpu", (3,))
    )
