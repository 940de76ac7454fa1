"""Keys measured once: the same bits in every form of search, and when `KeywordIndex` measures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cosine import SIMD, draw

import radfast as rf
import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.cosine import PreparedKeys, cpu
from radfast.kernels.cosine.halves import cosine_topk_halves
from radfast.kernels.cosine.pruned import PrunedKeys
from radfast.vectors import KeywordIndex, keywords


def assert_alike(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def rows_of_all_lengths(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return rows with zeros, repeats, and lengths whose inverse no float32 holds."""
    rows = draw(shape, seed)
    rows[::7] *= np.float32(1e-30)
    rows[3::7] *= np.float32(1e30)
    return rows


@pytest.mark.parametrize("measured_on", SIMD)
def test_prepared_keys_change_no_bit(measured_on: str) -> None:
    queries, keys = rows_of_all_lengths((1500, 40), 1), rows_of_all_lengths((3000, 40), 2)
    rng = np.random.default_rng(0)
    shared = (np.array([0, 0, 500, 540]), rng.integers(0, 3000, 540), rng.integers(-1, 3, 1500))
    single = (np.arange(1501) * 60, rng.integers(0, 3000, 1500 * 60), np.arange(1500))
    _core.lower_simd(measured_on)
    prepared = PreparedKeys(keys, threads=3)
    _core.lower_simd("avx512")
    for simd in SIMD:
        _core.lower_simd(simd)
        try:
            # At k = 900 the queries go in several blocks; single lists go by bytes first.
            for k, candidates in (
                (1, None),
                (900, None),
                (3, shared),
                (40, shared),
                (3, single),
                (40, single),
            ):
                found = rf.cosine_topk(queries, prepared, k, candidates=candidates, threads=2)
                assert_alike(found, rf.cosine_topk(queries, keys, k, candidates=candidates, threads=2))
            assert_alike(
                cosine_topk_halves(queries.reshape(-1, 80), prepared, 5),
                cosine_topk_halves(queries.reshape(-1, 80), keys, 5),
            )
        finally:
            _core.lower_simd("avx512")


def test_prepared_keys_take_what_arrays_may_be() -> None:
    keys = draw((60, 12), 1)
    wide = np.zeros((60, 30), np.float32)
    wide[:, 4:16] = keys
    wanted = rf.cosine_topk(keys[:9], keys, 4)
    for same in (keys.astype(np.float64), np.asfortranarray(keys), wide[:, 4:16], keys[::-1].copy()[::-1]):
        prepared = PreparedKeys(same)
        assert prepared.shape == (60, 12)
        assert_alike(rf.cosine_topk(keys[:9], prepared, 4), wanted)
    assert np.shares_memory(PreparedKeys(keys).rows, keys)
    none = PreparedKeys(keys[:0])
    assert (rf.cosine_topk(keys[:9], none, 4)[1] == -1).all()
    with pytest.raises(UsageError, match=r"\[PreparedKeys\] keys must have shape"):
        PreparedKeys(keys[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_prepared_keys_that_are_not_finite_are_named(bad: float) -> None:
    queries, keys = draw((40, 5), 1), draw((50, 5), 2)
    keys[[7, 30], 2] = bad
    prepared = PreparedKeys(keys)
    with pytest.raises(UsageError, match=r"\[cosine_topk\] keys must be finite in float32, row 7 is not"):
        rf.cosine_topk(queries, prepared)
    for count in (2, 40):  # few queries of a list, many
        group = np.zeros(count, np.int32)
        with pytest.raises(UsageError, match="keys must be finite in float32, row 30 is not"):
            rf.cosine_topk(queries[:count], prepared, candidates=(np.array([0, 2]), np.array([3, 30]), group))
        lists = (np.array([0, 2]), np.array([3, 4]), group)
        assert_alike(
            rf.cosine_topk(queries[:count], prepared, candidates=lists),
            rf.cosine_topk(queries[:count], keys, candidates=lists),
        )


class Measured:
    """Counts how often keys are measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.real = cpu.measure_keys
        monkeypatch.setattr(cpu, "measure_keys", self)

    def __call__(self, keys: Any, threads: int) -> Any:
        self.times += 1
        return self.real(keys, threads)


def test_an_index_measures_its_vectors_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vectors, fresh = draw((200, 16), 1), draw((30, 16), 2)
    words, queries = [f"w{i}" for i in range(200)], draw((25, 16), 3)
    index = KeywordIndex(words, vectors)
    index.set_groups([words[:9], [], words[100:140]])
    group = np.arange(25) % 4 - 1
    measured = Measured(monkeypatch)

    def search_all(times: int) -> None:
        for _ in range(2):
            assert_alike(index.search(queries, 6), rf.cosine_topk(queries, index.vectors, 6))
            assert index.groups is not None
            lists = (*index.groups, group)
            assert_alike(
                index.search(queries, 6, group=group),
                rf.cosine_topk(queries, index.vectors, 6, candidates=lists),
            )
            pairs = np.concatenate([queries, queries[::-1]], axis=1)
            assert_alike(index.search_halves(pairs, 6), cosine_topk_halves(pairs, index.vectors, 6))
            index.search_words(["w3", "w150"], 4)
        assert measured.times == times

    assert measured.times == 0
    search_all(1)
    index.add([f"n{i}" for i in range(30)], fresh)
    search_all(2)
    index.remove(["w5", "n7"])
    search_all(3)
    index.save(tmp_path)
    for mmap in (True, False):
        index, measured.times = KeywordIndex.load(tmp_path, mmap=mmap), 0
        # Few pairs: only the rows of the list are read, the others stay on disk.
        index.search(queries[:2], 3, group=[0, 1])
        index.search_halves(np.tile(queries[:1], 2), 3, group=[0])
        assert measured.times == 0
        search_all(1)


def test_pruned_keys_take_prepared_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, queries = draw((900, 64), 1), draw((70, 64), 2)
    prepared = PreparedKeys(keys)
    measured = Measured(monkeypatch)
    assert_alike(PrunedKeys(prepared).search(queries, 5), rf.cosine_topk(queries, keys, 5))
    assert measured.times == 0


def test_a_pickled_index_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keywords, "_MANY_WORDS", 1)
    monkeypatch.setattr(keywords, "_MANY_QUERIES", 1)
    vectors = draw((900, 256), 1) * np.float32(0.8) ** np.arange(256, dtype=np.float32)
    queries = vectors[:70]
    index = KeywordIndex([f"w{i}" for i in range(900)], vectors)
    found = index.search(queries, 5)
    assert index._pruned is not None
    assert index._pruned.prefix > 0
    again = pickle.loads(pickle.dumps(index))  # noqa: S301
    measured = Measured(monkeypatch)
    assert_alike(again.search(queries, 5), found)
    assert measured.times == 1
    assert again.words == index.words
