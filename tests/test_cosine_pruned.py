"""Pruned cosine search: the bits of the plain one on any data, and the fall-back to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cosine import SIMD, draw

import radfast as rf
import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.cosine.pruned import PrunedKeys


def decaying(n: int, depth: int, seed: int, decay: float = 8.0) -> np.ndarray:
    """Return rows whose later directions hold little, some equal, some zero, as word vectors may be."""
    rng = np.random.default_rng(seed)
    mix = (
        np.random.default_rng(0).standard_normal((depth, depth)) * np.exp(-np.arange(depth) / decay)[:, None]
    )
    rows = rng.standard_normal((n, depth)) @ mix
    rows[rng.random(n) < 0.1] = rows[0] if n else 0
    rows[rng.random(n) < 0.05] = 0
    return rows.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    n_queries=st.integers(0, 130),
    n_keys=st.integers(1, 300),
    depth=st.integers(1, 80),
    k=st.integers(1, 50),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_pruned_index_gives_the_plain_bits(
    n_queries: int, n_keys: int, depth: int, k: int, share: float, seed: int
) -> None:
    queries, keys = decaying(n_queries, depth, seed), decaying(n_keys, depth, seed + 1)
    prefix = max(1, round(share * depth))
    basis = np.linalg.eigh((keys.T @ keys).astype(np.float64))[1][:, ::-1][:, :prefix].T
    for simd in SIMD:
        _core.lower_simd(simd)
        try:
            plain = rf.cosine_topk(queries, keys, min(k, n_keys))
            index = _core.PrunedIndex(keys, np.ascontiguousarray(basis, dtype=np.float32), simd)
            scores, ids, *bad, products, pace = index.search(queries, min(k, n_keys), 2)
        finally:
            _core.lower_simd("avx512")
        assert scores.tobytes() == plain[0].tobytes()
        assert ids.tobytes() == plain[1].tobytes()
        assert bad == [-1, -1]
        assert 0 <= products <= 2 * n_queries * n_keys  # by bytes, and whole
        assert pace >= 0


def test_an_index_takes_a_set_by_name() -> None:
    keys, basis = draw((40, 16), 1), np.eye(4, 16, dtype=np.float32)
    assert _core.pruned_simd() in SIMD[: SIMD.index(_core.simd()) + 1]
    with pytest.raises(ValueError, match=r"\[PrunedIndex\] unknown instruction set 'mmx'"):
        _core.PrunedIndex(keys, basis, "mmx")


def test_pruned_keys_choose_a_prefix_and_fall_back() -> None:
    keys = decaying(3000, 128, 1)
    near, far = decaying(500, 128, 2), draw((500, 128), 3)
    pruned = PrunedKeys(keys)
    assert 0 < pruned.prefix < 128
    # Queries without the keys' shape reach too many keys: the plain search takes over, answers stay.
    for queries in (near, far, near[:3], near[:0]):
        for k in (1, 10, 4000):
            found, plain = pruned.search(queries, k), rf.cosine_topk(queries, keys, k)
            assert found[0].tobytes() == plain[0].tobytes()
            assert found[1].tobytes() == plain[1].tobytes()
    assert PrunedKeys(draw((3000, 128), 4)).prefix == 0
    assert PrunedKeys(keys[:5]).prefix == 0
    broken = near.copy()
    broken[300, 5] = np.nan
    with pytest.raises(UsageError, match="queries must be finite in float32, row 300 is not"):
        pruned.search(broken)
    broken = keys.copy()
    broken[7, 5] = np.inf
    with pytest.raises(UsageError, match="keys must be finite in float32, row 7 is not"):
        PrunedKeys(broken)
    with pytest.raises(UsageError, match="k must be a whole number from 1"):
        pruned.search(near, 0)


@pytest.mark.parametrize("kind", ["gauss", "clusters", "copies", "equal", "zero", "words"])
def test_pruned_keys_of_any_shape_give_the_plain_bits(kind: str) -> None:
    rng = np.random.default_rng(5)
    keys = {
        "gauss": lambda: rng.standard_normal((2000, 96)),
        "clusters": lambda: (
            draw((40, 96), 6)[rng.integers(0, 40, 2000)] + 0.3 * rng.standard_normal((2000, 96))
        ),
        "copies": lambda: (
            draw((20, 96), 6)[rng.integers(0, 20, 2000)] + 1e-5 * rng.standard_normal((2000, 96))
        ),
        "equal": lambda: np.ones((2000, 96)),
        "zero": lambda: np.zeros((2000, 96)),
        "words": lambda: decaying(2000, 96, 7),
    }[kind]().astype(np.float32)
    pruned = PrunedKeys(keys)
    for queries in (keys[rng.integers(0, 2000, 700)], draw((700, 96), 8)):
        for k in (1, 10, 130):
            found, plain = pruned.search(queries, k, threads=2), rf.cosine_topk(queries, keys, k)
            assert found[0].tobytes() == plain[0].tobytes()
            assert found[1].tobytes() == plain[1].tobytes()


@pytest.mark.parametrize("simd", SIMD)
def test_rows_of_any_length_give_the_plain_bits(simd: str) -> None:
    rng = np.random.default_rng(9)
    keys, queries = decaying(2100, 96, 3), decaying(300, 96, 4)
    # Lengths that no float scale holds, lengths near them, and the same row at many lengths.
    for rows in (keys, queries):
        rows *= rng.choice(np.float32([1e-22, 1e-17, 1, 1e15]), len(rows))[:, None]
    keys[rng.integers(0, 2100, 100)] = keys[5] * np.float32(3.7)
    unit = keys.astype(np.float64)
    unit /= np.maximum(np.sqrt((unit * unit).sum(axis=1, keepdims=True)), 1e-300)
    basis = np.ascontiguousarray(np.linalg.eigh(unit.T @ unit)[1][:, ::-1][:, :24].T, dtype=np.float32)
    _core.lower_simd(simd)
    try:
        index = _core.PrunedIndex(keys, basis, simd)
        for k in (1, 7, 40):
            found, plain = index.search(queries, k, 2), rf.cosine_topk(queries, keys, k, backend="cpu")
            assert found[0].tobytes() == plain[0].tobytes()
            assert found[1].tobytes() == plain[1].tobytes()
    finally:
        _core.lower_simd("avx512")


def test_the_pace_decides_and_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = decaying(700, 128, 2), decaying(3000, 128, 1)
    plain = rf.cosine_topk(queries, keys, 5)
    pruned = PrunedKeys(keys)

    class Timed:
        """The index, with a pace of choice; counts the queries that it answers."""

        def __init__(self, pace: float) -> None:
            self.pace, self.answered, self.index = pace, 0, pruned._index

        def search(self, rows: np.ndarray, *more: object) -> tuple[object, ...]:
            self.answered += len(rows)
            return (*self.index.search(rows, *more)[:5], self.pace)

    # Parts of 14, 28, 56 ... queries: each may lose the time of 16, up to an eighth of all queries.
    for pace, answered in ((0.9, 700), (1.1, 14 + 28 + 56), (2.1, 14 + 28), (3.0, 14)):
        timed = Timed(pace)
        monkeypatch.setattr(pruned, "_index", timed)
        found = pruned.search(queries, 5)
        assert found[0].tobytes() == plain[0].tobytes()
        assert found[1].tobytes() == plain[1].tobytes()
        assert timed.answered == answered
    monkeypatch.undo()
    pace = pruned._index.search(queries, 5, 1)[5]
    assert 0 < pace < 100


def test_a_search_that_needs_too_many_products_is_given_up() -> None:
    queries, keys = draw((40, 64), 1), draw((900, 64), 2)
    index = _core.PrunedIndex(keys, np.eye(8, 64, dtype=np.float32))
    assert index.search(queries, 3, 2, 0.01)[4] == -1
    assert index.search(queries, 3, 2)[4] > 0.01 * 40 * 900
