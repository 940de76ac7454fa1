"""Cosine top-k against its float64 reference: instruction sets, awkward sizes, ties, odd rows, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import radfast as rf
import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.cosine import reference
from radfast.kernels.cosine.halves import cosine_topk_halves

SIMD = ("portable", "avx2", "avx512")
SIZES = (1, 2, 31, 32, 33, 97)


@pytest.fixture(params=SIMD)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set the processor has, in turn."""
    if _core.lower_simd(request.param) != request.param:
        _core.lower_simd("avx512")
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    _core.lower_simd("avx512")


def draw(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return random rows, some of them zero, some equal."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(shape, dtype=np.float32)
    rows[rng.random(len(rows)) < 0.1] = 0
    rows[rng.random(len(rows)) < 0.2] = rows[0] if len(rows) else 0
    return rows


def assert_answers(
    found: tuple[np.ndarray, np.ndarray],
    queries: np.ndarray,
    keys: np.ndarray,
    k: int,
    candidates: tuple[Any, Any, Any] | None = None,
) -> None:
    """Hold scores to the rounding of a chain of F products, and order and ids to the rules of ties."""
    scores, ids = found
    expected, expected_ids = reference.cosine_topk(queries, keys, k, candidates)
    table = reference.cosines(queries, keys)
    margin = (4 + 2 * queries.shape[1] ** 0.5) * 2**-24
    assert scores.dtype == np.float32
    assert ids.dtype == np.int32
    assert ((ids == -1) == (expected_ids == -1)).all()
    assert (np.isneginf(scores) == (ids == -1)).all()
    there = ids >= 0
    row = np.nonzero(there)[0]
    np.testing.assert_allclose(scores[there], table[row, ids[there]], atol=margin, rtol=0)
    np.testing.assert_allclose(scores[there], expected[there], atol=margin, rtol=0)
    # Best first; equal scores by smaller id; no id twice.
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    same = (scores[:, 1:] == scores[:, :-1]) & there[:, 1:]
    assert (ids[:, 1:] > ids[:, :-1])[same].all()
    for row in ids:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


@pytest.mark.parametrize("n_keys", [0, *SIZES])
@pytest.mark.parametrize("n_queries", [0, *SIZES])
def test_dense_answers_are_the_references(simd: str, n_queries: int, n_keys: int) -> None:
    for depth in (1, 7, 16, 33):
        queries, keys = draw((n_queries, depth), 1), draw((n_keys, depth), 2)
        for k in (1, 10, 64):
            assert_answers(rf.cosine_topk(queries, keys, k, threads=2), queries, keys, k)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 31, 33, 150])
def test_lists_in_any_order_with_ties(simd: str, length: int) -> None:
    # Along the axes all cosines are exact: nearly every list has several best keys, and some keys twice.
    rng = np.random.default_rng(length)
    axes = np.concatenate([np.eye(5), -np.eye(5), np.zeros((1, 5))]).astype(np.float32)
    keys = axes[rng.integers(0, 11, 60)]
    indptr = np.arange(3) * length
    candidates = (indptr, rng.integers(0, 60, 2 * length, dtype=np.int32), np.arange(44, dtype=np.int32) % 2)
    queries = np.tile(axes, (4, 1))
    for k in (1, 2, 10):
        scores, ids = rf.cosine_topk(queries, keys, k, candidates=candidates)
        expected, expected_ids = reference.cosine_topk(queries, keys, k, candidates)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(scores, expected.astype(np.float32))
        assert not np.signbit(scores[scores == 0]).any()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape_any_candidates(data: st.DataObject) -> None:
    n_queries, n_keys = data.draw(st.integers(0, 70)), data.draw(st.integers(1, 120))
    depth, k = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 40))
    threads = data.draw(st.integers(1, 4))
    queries, keys = draw((n_queries, depth), data.draw(st.integers(0, 9))), draw((n_keys, depth), 5)
    lists = data.draw(st.lists(st.lists(st.integers(0, n_keys - 1), max_size=80), max_size=6))
    indptr = np.cumsum([0, *map(len, lists)])
    of_group = np.array([i for one in lists for i in one], dtype=np.int32)
    places = st.integers(-1, len(lists) - 1)
    group = data.draw(st.lists(places, min_size=n_queries, max_size=n_queries))
    candidates = (indptr, of_group, np.array(group, dtype=np.int32))
    for simd in SIMD:
        _core.lower_simd(simd)
        try:
            dense = rf.cosine_topk(queries, keys, k, threads=threads)
            listed = rf.cosine_topk(queries, keys, k, candidates=candidates, threads=threads)
        finally:
            _core.lower_simd("avx512")
        assert_answers(dense, queries, keys, k)
        assert_answers(listed, queries, keys, k, candidates)


def test_threads_and_blocks_do_not_change_a_bit(simd: str) -> None:
    # More queries than one block holds at this k.
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((1500, 40), dtype=np.float32)
    keys = rng.standard_normal((3000, 40), dtype=np.float32)[rng.integers(0, 1000, 3000)]
    first = rf.cosine_topk(queries, keys, 900, threads=1)
    for threads in (2, 3, 5):
        again = rf.cosine_topk(queries, keys, 900, threads=threads)
        assert first[0].tobytes() == again[0].tobytes()
        assert first[1].tobytes() == again[1].tobytes()
    one_by_one = [rf.cosine_topk(queries[i : i + 1], keys, 900) for i in (0, 700, 1499)]
    for i, (scores, ids) in zip((0, 700, 1499), one_by_one, strict=True):
        assert scores.tobytes() == first[0][i].tobytes()
        assert ids.tobytes() == first[1][i].tobytes()
    assert_answers((first[0][:50], first[1][:50]), queries[:50], keys, 900)


def test_keys_of_several_blocks(simd: str) -> None:
    queries, keys = draw((20, 3000), 3), draw((1500, 3000), 4)
    found = rf.cosine_topk(queries, keys, 20, threads=2)
    assert_answers(found, queries, keys, 20)
    again = rf.cosine_topk(queries[:1], keys, 20, threads=1)
    assert found[0][0].tobytes() == again[0][0].tobytes()


def test_a_pair_scores_alike_in_every_form(simd: str) -> None:
    queries, keys = draw((50, 130), 3), draw((400, 130), 4)
    dense, ids = rf.cosine_topk(queries, keys, 400)
    table = np.empty_like(dense)
    np.put_along_axis(table, ids, dense, 1)
    rng = np.random.default_rng(1)
    # A list for every query, unsorted and with repeats.
    of_group = rng.integers(0, 400, (50, 60), dtype=np.int32)
    candidates = (np.arange(51) * 60, of_group.ravel(), np.arange(50, dtype=np.int32))
    scores, found = rf.cosine_topk(queries, keys, 30, candidates=candidates)
    assert (np.take_along_axis(table, found, 1) == scores).all()


def test_avx2_and_avx512_give_the_same_bits() -> None:
    if _core.simd() != "avx512":
        pytest.skip("this processor has no avx512")
    queries, keys = draw((40, 77), 1), draw((500, 77), 2)
    wide = rf.cosine_topk(queries, keys, 20)
    _core.lower_simd("avx2")
    try:
        narrow = rf.cosine_topk(queries, keys, 20)
    finally:
        _core.lower_simd("avx512")
    assert wide[0].tobytes() == narrow[0].tobytes()
    assert wide[1].tobytes() == narrow[1].tobytes()


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
@pytest.mark.parametrize("k", [1, 3, 200])
def test_sorted_and_equal_keys(simd: str, order: str, k: int) -> None:
    angle = {"rising": np.linspace(1.5, 0, 997), "falling": np.linspace(0, 1.5, 997), "equal": np.ones(997)}
    keys = np.stack([np.cos(angle[order]), np.sin(angle[order])], axis=1).astype(np.float32)
    _, ids = rf.cosine_topk(np.array([[1, 0]], dtype=np.float32), keys, k)
    first = np.arange(997)[::-1] if order == "rising" else np.arange(997)
    assert ids[0].tolist() == first[:k].tolist()


def test_zero_rows_score_zero_with_everything() -> None:
    keys = np.array([[0, 0], [-1, 0], [1, 0], [0, 0]], dtype=np.float32)
    scores, ids = rf.cosine_topk(np.array([[3, 0], [0, 0]], dtype=np.float32), keys, 4)
    assert ids.tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]
    assert scores.tolist() == [[1, 0, 0, -1], [0, 0, 0, 0]]
    assert not np.signbit(scores[1]).any()


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-25, 1e25, 3e38])
def test_tiny_and_huge_rows(scale: float) -> None:
    keys = np.array([[0.25, 0.75], [1, 0], [0, -0.5], [0.5, 0.5]]) * scale
    scores, ids = rf.cosine_topk(np.array([[0.0, scale], [scale, 0.0]]), keys, 4)
    rounded = keys.astype(np.float32)  # the smallest floats are coarse
    expected, expected_ids = reference.cosine_topk(np.array([[0, 1], [1, 0]]), rounded, 4)
    np.testing.assert_allclose(scores, expected, atol=2e-7)
    assert ids.tolist() == expected_ids.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_named(bad: float) -> None:
    queries, keys = draw((40, 5), 1), draw((50, 5), 2)
    broken = keys.copy()
    broken[[7, 30], 2] = bad
    with pytest.raises(UsageError, match=r"\[cosine_topk\] keys must be finite in float32, row 7 is not"):
        rf.cosine_topk(queries, broken)
    lists = (np.array([0, 2]), np.array([3, 30]), np.zeros(40, dtype=np.int32))
    with pytest.raises(UsageError, match="keys must be finite in float32, row 30 is not"):
        rf.cosine_topk(queries, broken, candidates=lists)
    lists = (np.array([0, 2]), np.array([3, 4]), np.zeros(40, dtype=np.int32))
    assert_answers(rf.cosine_topk(queries, broken, candidates=lists), queries, keys, 10, lists)
    broken = queries.copy()
    broken[39, 0] = bad
    with pytest.raises(UsageError, match="queries must be finite in float32, row 39 is not"):
        rf.cosine_topk(broken, keys)
    with pytest.raises(UsageError, match="row 0 is not"):
        rf.cosine_topk(np.array([[1e200, 0.0]]), np.eye(2))


def test_kinds_of_arrays() -> None:
    queries, keys = draw((9, 24), 1), draw((70, 24), 2)
    keys = keys.astype(np.float16).astype(np.float32)
    expected = rf.cosine_topk(queries, keys, 5)
    wide = np.zeros((70, 60), dtype=np.float32)
    wide[:, 8:32] = keys
    for same in (
        keys.astype(np.float16),
        keys.astype(np.float64),
        np.asfortranarray(keys),
        wide[:, 8:32],
        np.repeat(keys, 2, axis=1)[:, ::2],
        keys[::-1].copy()[::-1],
        torch.from_numpy(keys),
        torch.from_numpy(keys).requires_grad_(),
        pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), 24),
    ):
        found = rf.cosine_topk(queries, same, 5)
        assert found[0].tobytes() == expected[0].tobytes()
        assert found[1].tobytes() == expected[1].tobytes()
    coarse = torch.from_numpy(keys).bfloat16()
    found = rf.cosine_topk(queries, coarse, 5)
    assert_answers(found, queries, coarse.float().numpy(), 5)
    ml_dtypes = pytest.importorskip("ml_dtypes")
    same = rf.cosine_topk(queries, coarse.float().numpy().astype(ml_dtypes.bfloat16), 5)
    assert same[0].tobytes() == found[0].tobytes()
    assert same[1].tobytes() == found[1].tobytes()


def test_groups_empty_absent_and_repeated() -> None:
    queries, keys = draw((5, 8), 1), draw((20, 8), 2)
    lists = (np.array([0, 0, 4]), np.array([9, 3, 9, 9]), np.array([0, 1, -1, 1, 0]))
    scores, ids = rf.cosine_topk(queries, keys, 3, candidates=lists)
    assert_answers((scores, ids), queries, keys, 3, lists)
    assert ids[0].tolist() == [-1, -1, -1]
    assert sorted(ids[1].tolist()) == [-1, 3, 9]
    assert np.isneginf(scores[2]).all()


@pytest.mark.parametrize(
    ("queries", "keys", "k", "candidates", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), 1, None, "queries have 3 features but keys have 4"),
        (np.ones(3), np.ones((2, 3)), 1, None, r"queries must have shape \(rows, F >= 1\), have \(3,\)"),
        (np.ones((2, 0)), np.ones((2, 0)), 1, None, "queries must have shape"),
        (np.ones((2, 3), dtype=int), np.ones((2, 3)), 1, None, "queries must hold floats, hold int64"),
        (np.ones((2, 3)), np.ones((2, 3)), 0, None, "k must be a whole number from 1, is 0"),
        (np.ones((2, 3)), np.ones((2, 3)), 2.5, None, "k must be a whole number from 1, is 2.5"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 1], [0]), "have 2 parts"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 2], [0], [0, 0]), "rise from 0 to the number of ids, 1"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 2, 1], [0], [0, 0]), "rise from 0"),
        (
            np.ones((2, 3)),
            np.ones((2, 3)),
            1,
            ([0, 1], [2], [0, 0]),
            r"ids must be in \[0, 2\), are in \[2, 2\]",
        ),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 1], [-1], [0, 0]), "ids must be in"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 1], [0], [0, 1]), r"group must be in \[-1, 1\)"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 1], [0], [0]), "one entry per query, 2, has 1"),
        (np.ones((2, 3)), np.ones((2, 3)), 1, ([0, 1], [0.5], [0, 0]), "ids must hold integers"),
    ],
)
def test_wrong_input_is_named(queries: Any, keys: Any, k: int, candidates: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rf.cosine_topk(queries, keys, k, candidates=candidates)


def test_unknown_backend_says_so() -> None:
    with pytest.raises(UsageError, match="cosine_topk"):
        rf.cosine_topk(np.ones((1, 2)), np.ones((1, 2)), backend="tpu")


@settings(max_examples=40, deadline=None)
@given(n_keys=st.integers(1, 60), k=st.integers(1, 70), depth=st.integers(1, 20), seed=st.integers(0, 99))
def test_halves_take_the_higher_cosine(n_keys: int, k: int, depth: int, seed: int) -> None:
    queries, keys = draw((13, 2 * depth), seed), draw((n_keys, depth), seed + 1)
    scores, ids, half = cosine_topk_halves(queries, keys, k)
    # The truth from the full float32 tables of the two halves, so that ties are the kernel's own.
    tables = []
    for part in (queries[:, :depth], queries[:, depth:]):
        some, order = rf.cosine_topk(part, keys, n_keys)
        table = np.empty_like(some)
        np.put_along_axis(table, order, some, 1)
        tables.append(table)
    best = np.maximum(*tables)
    for q in range(len(queries)):
        order = np.lexsort((np.arange(n_keys), -best[q]))[:k]
        n = len(order)
        assert ids[q, :n].tolist() == order.tolist()
        assert (scores[q, :n] == best[q, order]).all()
        assert half[q, :n].tolist() == (tables[1][q, order] > tables[0][q, order]).astype(int).tolist()
        assert (ids[q, n:] == -1).all()
        assert (half[q, n:] == -1).all()


def test_halves_refuse_other_widths() -> None:
    with pytest.raises(UsageError, match="twice the 3 features"):
        cosine_topk_halves(np.ones((1, 5)), np.ones((1, 3)))


@pytest.mark.parametrize("depth", [1, 15, 16, 17, 33, 64, 130])
@pytest.mark.parametrize("per_list", [9, 17, 40, 130])
def test_single_lists_over_bytes_give_the_dense_bits(simd: str, depth: int, per_list: int) -> None:
    # A list of its own for every query, keys read often: bytes first, then pairs; most ids twice.
    rng = np.random.default_rng(depth)
    queries, keys = draw((120, depth), 3), draw((50, depth), 4)
    lists = rng.integers(0, 50, (120, per_list), dtype=np.int32)
    candidates = (np.arange(121) * per_list, lists.ravel(), np.arange(120, dtype=np.int32))
    dense, order = rf.cosine_topk(queries, keys, 50)
    for k in (1, 2, 10, 32):
        scores, ids = rf.cosine_topk(queries, keys, k, candidates=candidates)
        for q in range(120):
            there = np.isin(order[q], lists[q])
            wanted = order[q][there][:k]
            assert ids[q, : len(wanted)].tolist() == wanted.tolist()
            assert (scores[q, : len(wanted)] == dense[q][there][:k]).all()


@pytest.mark.parametrize("k", [1, 16, 17, 32, 33, 1024])
def test_k_up_to_1024(simd: str, k: int) -> None:
    # 16: the bound of the first block; 32: places kept in order.
    queries, keys = draw((30, 20), 1), draw((1500, 20), 2)
    found = rf.cosine_topk(queries, keys, k, threads=2)
    assert_answers(found, queries, keys, k)
    again = rf.cosine_topk(queries, keys, k, threads=1)
    assert found[1].tobytes() == again[1].tobytes()


@pytest.mark.parametrize("k", [1, 9, 16, 17])
def test_lists_full_of_ties(simd: str, k: int) -> None:
    # The threshold taken before the offers must let equal scores through.
    rng = np.random.default_rng(k)
    queries, keys = draw((40, 6), 1), draw((30, 6), 2)[rng.integers(0, 30, 600)]
    lists = [rng.permutation(600)[:n] for n in (31, 32, 33, 64, 97, 300, 511, 513, 600)]
    group = rng.integers(0, len(lists), 40).astype(np.int32)
    candidates = (np.cumsum([0, *map(len, lists)]), np.concatenate(lists), group)
    found = rf.cosine_topk(queries, keys, k, candidates=candidates)
    assert_answers(found, queries, keys, k, candidates)
    dense, order = rf.cosine_topk(queries, keys, 600)
    for q in range(40):
        allowed = [i for i in order[q].tolist() if i in set(lists[group[q]].tolist())]
        assert found[1][q].tolist() == allowed[:k]
    assert np.isfinite(dense).all()


@pytest.mark.parametrize("different", [3, 600])
@pytest.mark.parametrize("k", [1, 9, 16, 17, 64, 65, 130])
def test_lists_of_all_lengths_give_the_dense_bits(simd: str, k: int, different: int) -> None:
    # Shared by 9 queries: up to 512 keys are put in order at once where at most 64 exceed their bound, which
    # there is for k up to 16. Of their own, and read often: up to 64 are ranked. Equal keys overfill both.
    rng = np.random.default_rng(k)
    lengths = (1, 15, 16, 17, 31, 33, 63, 64, 65, 100, 511, 512, 513)
    queries, keys = draw((9 * len(lengths), 33), 1), draw((600, 33), 2)[rng.integers(0, different, 600)]
    lists = [rng.permutation(600)[:n] for n in lengths]
    shared = (np.cumsum([0, *lengths]), np.concatenate(lists), np.arange(len(queries)) % len(lengths))
    single = (
        np.cumsum([0, *(lengths * 9)]),
        np.concatenate([*lists] * 9),
        np.arange(len(queries)),
    )
    dense, order = rf.cosine_topk(queries, keys, 600)
    for candidates in (shared, single):
        for threads in (1, 2):
            scores, ids = rf.cosine_topk(queries, keys, k, candidates=candidates, threads=threads)
            for q in range(len(queries)):
                there = np.isin(order[q], lists[q % len(lists)])
                count = min(k, int(there.sum()))
                assert ids[q, :count].tolist() == order[q][there][:k].tolist()
                assert (scores[q, :count] == dense[q][there][:k]).all()
                assert (ids[q, count:] == -1).all()
                assert (scores[q, count:] == -np.inf).all()
