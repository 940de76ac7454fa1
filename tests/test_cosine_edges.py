"""The edge cases of docs/cosine.md, each on every engine of the machine and in every form of search.

Engines: the instruction sets of the CPU, and csrc/cosine.cu emulated on the host. Forms: dense, lists that
queries share, a list for every query, pruned, halves, and `KeywordIndex` with all words, by group and pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from emulated_gpu import build, install
from test_cosine import SIMD, assert_answers, draw

import radfast as rf
import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels import on_gpu
from radfast.kernels.cosine import PreparedKeys, cuda, pruned, reference
from radfast.kernels.cosine.halves import cosine_topk_halves
from radfast.vectors import KeywordIndex, keywords

Found = tuple[np.ndarray, np.ndarray]
KS = (1, 2, 10, 16, 17, 32, 33, 64, 65, 1024)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("cosine", tmp_path_factory.mktemp("emulated"))


@pytest.fixture(params=[*SIMD, "cuda"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Each instruction set that the processor has, then the emulated GPU."""
    name = request.param
    if name == "cuda":
        if _core.simd() == "portable":
            pytest.skip("this processor's scores are rounded twice per feature")
        monkeypatch.setattr(cuda, "_LEAST_TENSOR_KEYS", 1)
        install("cosine", request.getfixturevalue("library"), monkeypatch, tmp_path)
    elif _core.lower_simd(name) != name:
        _core.lower_simd("avx512")
        pytest.skip(f"this processor has no {name}")
    yield name
    _core.lower_simd("avx512")
    on_gpu.forget()


@pytest.fixture(autouse=True)
def prune_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the pruned search whatever the data and its pace; the checks of the real choice stay."""
    choose = pruned._choose

    def choose_some(keys: np.ndarray) -> tuple[int, np.ndarray]:
        choose(keys)
        prefix = max(keys.shape[1] // 2, 1) if len(keys) and np.isfinite(keys).all() else 0
        return prefix, np.eye(prefix, keys.shape[1], dtype=np.float32)

    monkeypatch.setattr(pruned, "_choose", choose_some)
    monkeypatch.setattr(pruned, "_TOO_MANY", 1e9)
    monkeypatch.setattr(pruned, "_DOUBT", 1e9)
    monkeypatch.setattr(pruned, "_EARLY", 1)
    monkeypatch.setattr(keywords, "_MANY_WORDS", 1)
    monkeypatch.setattr(keywords, "_MANY_QUERIES", 1 << 60)


def index_of(keys: Any, threads: int) -> KeywordIndex:
    return KeywordIndex([f"w{i}" for i in range(len(keys))], keys, threads=threads)


def search_dense(queries: Any, keys: Any, k: int, threads: int) -> Found:
    return rf.cosine_topk(queries, keys, k, threads=threads)


def search_prepared(queries: Any, keys: Any, k: int, threads: int) -> Found:
    return rf.cosine_topk(queries, PreparedKeys(keys), k, threads=threads)


def search_shared_list(queries: Any, keys: Any, k: int, threads: int) -> Found:
    n = len(keys)
    order = np.random.default_rng(n).permutation(n)
    lists = (np.array([0, 0, 2 * n]), np.concatenate([order, order]), np.ones(len(queries), np.int32))
    return rf.cosine_topk(queries, keys, k, candidates=lists, threads=threads)


def search_own_lists(queries: Any, keys: Any, k: int, threads: int) -> Found:
    n, rng = len(keys), np.random.default_rng(len(keys))
    twice = [np.concatenate([rng.permutation(n), rng.permutation(n)]) for _ in range(len(queries))]
    ids = np.concatenate([*twice, np.empty(0, np.int64)])
    lists = (np.arange(len(queries) + 1) * 2 * n, ids.astype(np.int32), np.arange(len(queries)))
    return rf.cosine_topk(queries, keys, k, candidates=lists, threads=threads)


def search_pruned(queries: Any, keys: Any, k: int, threads: int) -> Found:
    made = pruned.PrunedKeys(keys)
    with forbid_plain(made.prefix > 0 and len(queries) > 0):
        return made.search(queries, k, threads=threads)


def forbid_plain(forbidden: bool) -> AbstractContextManager[Any]:
    """Let a pruned search fail where it falls back to the plain one."""
    wrong = AssertionError("not pruned")
    return mock.patch.object(pruned, "cosine_topk", side_effect=wrong) if forbidden else nullcontext()


def search_halves(queries: Any, keys: Any, k: int, threads: int) -> Found:
    rows = rf.kernels.cosine.as_rows(queries, "")
    scores, ids, half = cosine_topk_halves(np.concatenate([rows, rows], axis=1), keys, k, threads=threads)
    assert (half == np.where(ids < 0, -1, 0)).all()
    return scores, ids


def search_index(queries: Any, keys: Any, k: int, threads: int) -> Found:
    return index_of(keys, threads).search(queries, k)


def search_group(queries: Any, keys: Any, k: int, threads: int) -> Found:
    index = index_of(keys, threads)
    index.set_groups([[], index.words[::-1]])
    return index.search(queries, k, group=np.ones(len(queries), np.int32))


def search_pruned_index(queries: Any, keys: Any, k: int, threads: int) -> Found:
    index = index_of(keys, threads)
    prunes = k <= 64 and len(keys) > 0 and len(queries) > 0 and bool(np.isfinite(index.vectors).all())
    with mock.patch.object(keywords, "_MANY_QUERIES", 0), forbid_plain(prunes):
        return index.search(queries, k)


FORMS = {
    "dense": search_dense,
    "prepared": search_prepared,
    "shared list": search_shared_list,
    "own lists": search_own_lists,
    "pruned": search_pruned,
    "halves": search_halves,
    "index": search_index,
    "index by group": search_group,
    "index, pruned": search_pruned_index,
}


@pytest.fixture(params=FORMS)
def search(request: pytest.FixtureRequest, engine: str) -> Callable[..., Found]:
    """Each form, as a function of (queries, keys, k) that compares all with all."""
    form = FORMS[request.param]
    if engine == "cuda" and "pruned" in request.param:
        pytest.skip("the pruned search is the CPU's")
    return lambda queries, keys, k, threads=2: form(queries, keys, k, threads)


def assert_alike(found: Found, wanted: Found) -> None:
    assert found[1].tolist() == wanted[1].tolist()
    assert found[0].tobytes() == wanted[0].tobytes()


def test_rows_of_zeros(engine: str, search: Any) -> None:
    keys = np.array([[0, 0], [-1, 0], [1, 0], [0, 0]], dtype=np.float32)
    scores, ids = search(np.array([[3, 0], [0, 0]], dtype=np.float32), keys, 4)
    assert ids.tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]
    assert scores.tolist() == [[1, 0, 0, -1], [0, 0, 0, 0]]
    assert not np.signbit(scores[1]).any()
    scores, ids = search(np.ones((9, 70), np.float32), np.zeros((99, 70), np.float32), 3)
    assert ids.tolist() == [[0, 1, 2]] * 9
    assert not scores.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_named(engine: str, search: Any, bad: float) -> None:
    for depth in (5, 64):
        queries, keys = draw((40, depth), 1), draw((80, depth), 2)
        broken = keys.copy()
        broken[[7, 30], 2] = bad
        with pytest.raises(UsageError, match="keys must be finite in float32, row 7 is not"):
            search(queries, broken, 3)
        broken = queries.copy()
        broken[[21, 39], depth - 1] = bad
        with pytest.raises(UsageError, match="queries must be finite in float32, row 21 is not"):
            search(broken, keys, 3)
    wide = keys.astype(np.float64)
    wide[9, 0] = 1e200  # finite, but not in float32
    with pytest.raises(UsageError, match="keys must be finite in float32, row 9 is not"):
        search(queries, wide, 3)


def test_one_feature(engine: str, search: Any) -> None:
    keys = np.array([[2], [-1], [0], [1e-30], [5], [-0.0]], dtype=np.float32)
    scores, ids = search(np.array([[3], [-1e30], [0]], dtype=np.float32), keys, 6)
    assert ids.tolist() == [[0, 3, 4, 2, 5, 1], [1, 2, 5, 0, 3, 4], [0, 1, 2, 3, 4, 5]]
    assert scores.tolist() == [[1, 1, 1, 0, 0, -1], [1, 0, 0, -1, -1, -1], [0] * 6]


@pytest.mark.parametrize("n_keys", [0, 1, 2, 31, 33, 97])
def test_any_k_also_beyond_the_keys(engine: str, search: Any, n_keys: int) -> None:
    queries, keys = draw((9, 20), 1), draw((n_keys, 20), 2)
    for k in KS:
        found = search(queries, keys, k)
        assert_answers(found, queries, keys, k)
        assert (found[1][:, min(k, n_keys) :] == -1).all()
        assert (found[1][:, : min(k, n_keys)] >= 0).all()
    none = search(queries[:0], keys, 3)
    assert [part.shape for part in none] == [(0, 3), (0, 3)]


def test_every_k_up_to_1024_places(engine: str, search: Any) -> None:
    queries, keys = draw((9, 6), 1), draw((1100, 6), 2)
    for k in KS:
        assert_answers(search(queries, keys, k), queries, keys, k)


@pytest.mark.parametrize("n_keys", [33, 700])
def test_ties_go_to_the_smaller_id(engine: str, search: Any, n_keys: int) -> None:
    # Along the axes all cosines are exact, so the float64 reference has the same ties.
    rng = np.random.default_rng(n_keys)
    axes = np.concatenate([np.eye(4), -np.eye(4), np.zeros((1, 4))]).astype(np.float32)
    keys = axes[rng.integers(0, 9, n_keys)] * 2.0 ** rng.integers(-9, 9, (n_keys, 1))
    for k in (1, 3, 16, 32, 33, 300):
        assert_alike(search(axes, keys, k), reference_of(axes, keys, k))


def reference_of(queries: np.ndarray, keys: np.ndarray, k: int, candidates: Any = None) -> Found:
    scores, ids = reference.cosine_topk(queries, keys, k, candidates)
    return scores.astype(np.float32) + np.float32(0), ids


def test_kinds_of_floats_and_views(engine: str, search: Any) -> None:
    # Values that all kinds hold.
    queries, keys = (
        torch.from_numpy(draw(shape, 1)).bfloat16().half().bfloat16().float().numpy()
        for shape in ((9, 24), (70, 24))
    )
    expected = rf.cosine_topk(queries, keys, 5, backend="cpu")

    def kinds(rows: np.ndarray) -> list[Any]:
        wide = np.zeros((len(rows), 60), dtype=np.float32)
        wide[:, 8:32] = rows
        odd = np.zeros(rows.size * 4 + 1, np.uint8)[1:].view(np.float32).reshape(rows.shape)
        odd[...] = rows
        fixed = rows.copy()
        fixed.flags.writeable = False
        return [
            rows.astype(np.float16),
            rows.astype(np.float64),
            rows.astype(">f4"),
            np.asfortranarray(rows),
            wide[:, 8:32],
            np.repeat(rows, 2, axis=0)[::2],
            np.repeat(rows, 2, axis=1)[:, ::2],
            rows[::-1].copy()[::-1],
            rows[:, ::-1].copy()[:, ::-1],
            odd,
            fixed,
            torch.from_numpy(rows),
            torch.from_numpy(rows).half(),
            torch.from_numpy(rows).bfloat16(),
            torch.from_numpy(rows).double().requires_grad_(),
            torch.from_numpy(rows.T.copy()).T,
            pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 24),
        ]

    for some, others in zip(kinds(queries), kinds(keys)[::-1], strict=True):
        assert_alike(search(some, others, 5), expected)
    one = np.broadcast_to(keys[:1], keys.shape)  # a row stride of 0
    assert_alike(search(queries, one, 5), rf.cosine_topk(queries, one.copy(), 5, backend="cpu"))


@pytest.mark.parametrize("k", [1, 3, 17, 40])
def test_ragged_lists_from_none_to_all(engine: str, k: int) -> None:
    rng = np.random.default_rng(k)
    queries, keys = draw((250, 16), 1), draw((40, 16), 2)
    sizes = np.arange(41)
    ids = np.concatenate([rng.permutation(40)[:n] for n in sizes])
    again = [rng.integers(0, 40, 97), np.full(97, 7), np.arange(40)]  # repeats, one id, all in order
    indptr = np.cumsum([0, *sizes, *map(len, again)])
    ids = np.concatenate([ids, *again])
    for n_groups in (44, 4, 1):  # some queries of a list, many
        group = rng.integers(-1, n_groups, 250)
        lists = (indptr, ids, np.where(group < 0, -1, 43 - group))
        found = rf.cosine_topk(queries, keys, k, candidates=lists)
        assert_answers(found, queries, keys, k, lists)
        # The same from an index, which lists every word once.
        index = index_of(keys, 1)
        index.set_groups([[f"w{i}" for i in ids[a:b]] for a, b in pairwise(indptr)])
        assert_alike(index.search(queries, k, group=lists[2]), found)
        scores, of_half, _ = cosine_topk_halves(
            np.concatenate([queries, queries], axis=1), keys, k, candidates=lists
        )
        assert_alike((scores, of_half), found)
    nothing = (np.array([0]), np.empty(0, np.int32), np.full(250, -1))
    scores, found_ids = rf.cosine_topk(queries, keys, k, candidates=nothing)
    assert (found_ids == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("depth", [64, 512])
def test_errors_are_at_most_twice_those_of_the_naive_product(engine: str, search: Any, depth: int) -> None:
    rng = np.random.default_rng(depth)
    queries = rng.standard_normal((40, depth), dtype=np.float32)
    keys = rng.standard_normal((200, depth), dtype=np.float32)
    truth = reference.cosines(queries, keys)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, keys)]
    naive = np.abs(unit[0] @ unit[1].T - truth)
    for k in (30, 200):  # few enough for bytes, all
        scores, ids = search(queries, keys, k)
        ours = np.abs(scores - np.take_along_axis(truth, ids, 1))
        theirs = np.take_along_axis(naive, ids, 1)
        assert ours.max() <= 2 * naive.max()
        assert ours.mean() <= 2 * theirs.mean()


def test_threads_and_blocks_change_no_bit(engine: str, search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = draw((130, 40), 1), draw((90, 40), 2)[np.random.default_rng(0).integers(0, 90, 400)]
    for k in (3, 40):
        first = search(queries, keys, k, threads=1)
        for threads in (2, 3, 5) if engine != "cuda" else ():
            assert_alike(search(queries, keys, k, threads=threads), first)
        # Alone, in other company, and in chunks of a GPU a query finds the same.
        for some in (slice(0, 1), slice(77, 130), slice(None, None, 9)):
            found = search(queries[some], keys, k)
            assert_alike(found, (first[0][some], first[1][some]))
    with monkeypatch.context() as of_few_queries:
        of_few_queries.setattr(cuda, "_CHUNK_BYTES", 1)
        assert_alike(search(queries, keys, k), first)
