"""Cosine search on a GPU: arithmetic and emulated kernels on the host, the real thing where there is one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_gpu import DeviceArray, EmulatedCupy, build, install

import radfast as rf
from radfast import _core, device
from radfast.errors import UsageError
from radfast.kernels import on_gpu
from radfast.kernels.cosine import PreparedKeys, cuda, reference
from radfast.vectors import KeywordIndex, keywords

EPS = 2.0**-24


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("cosine", tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def emulated(library: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatedCupy]:
    """A GPU that is none: csrc/cosine.cu on the host, tensor cores for any number of keys."""
    if _core.simd() == "portable":
        pytest.skip("this processor's scores are rounded twice per feature")
    monkeypatch.setattr(cuda, "_LEAST_TENSOR_KEYS", 1)
    yield install("cosine", library, monkeypatch, tmp_path)
    library.set_falling(0)
    on_gpu.forget()


def draw(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return random rows, some of them zero, some equal."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(shape, dtype=np.float32)
    rows[rng.random(len(rows)) < 0.1] = 0
    rows[rng.random(len(rows)) < 0.2] = rows[0] if len(rows) else 0
    return rows


def assert_same(queries: Any, keys: Any, k: int, candidates: Any = None) -> None:
    """Hold the GPU's answers to the CPU's, bit for bit."""
    found = rf.cosine_topk(queries, keys, k, candidates=candidates, backend="cuda")
    wanted = rf.cosine_topk(queries, keys, k, candidates=candidates, backend="cpu")
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert found[0].tobytes() == wanted[0].tobytes()  # no minus zero either


SIZES = [(1, 1), (0, 5), (5, 0), (2, 31), (33, 97), (97, 300), (130, 700), (3, 1300)]


@pytest.mark.parametrize(("n_queries", "n_keys"), SIZES)
@pytest.mark.parametrize("tensor", [True, False])
def test_emulated_kernels_give_the_bits_of_the_cpu(
    emulated: EmulatedCupy,
    library: Any,
    monkeypatch: pytest.MonkeyPatch,
    tensor: bool,
    n_queries: int,
    n_keys: int,
) -> None:
    if not tensor:
        monkeypatch.setattr(cuda, "_MOST_TENSOR_K", 0)
    for falling, depth, k in ((0, 7, 10), (1, 33, 3), (0, 1, 100)):
        library.set_falling(falling)
        assert_same(draw((n_queries, depth), 1), draw((n_keys, depth), 2), k)


@pytest.mark.parametrize(
    ("shared", "depth", "kernel"), [(227, 512, "4"), (163, 512, "2"), (99, 300, "deep"), (163, 700, "deep")]
)
def test_every_layout_of_shared_memory(emulated: EmulatedCupy, shared: int, depth: int, kernel: str) -> None:
    # H200, A100, a consumer GPU; queries too wide to stay.
    emulated.facts["shared"] = shared << 10
    assert_same(draw((40, depth), 1), draw((520, depth), 2), 10)
    assert f"cosine_tensor_{kernel}" in emulated.launched


@pytest.mark.parametrize("k", [1, 64, 65, 128, 129, 300])
def test_any_k(emulated: EmulatedCupy, k: int) -> None:
    assert_same(draw((9, 20), 1), draw((900, 20), 2), k)


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
def test_sorted_and_equal_keys(emulated: EmulatedCupy, order: str) -> None:
    # Rising: every tile brings better keys. Equal: lists overflow, and the exact kernel takes over.
    angle = {"rising": np.linspace(1.5, 0, 997), "falling": np.linspace(0, 1.5, 997), "equal": np.ones(997)}[
        order
    ]
    keys = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    queries = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    for k in (1, 10):
        assert_same(queries, keys, k)
    assert "cosine_tensor_4" in emulated.launched
    # Queries of zeros tie with all keys, too, but need no search.
    assert ("cosine_exact" in emulated.launched) == (order == "equal")


def test_scores_that_float16_cannot_tell_apart(emulated: EmulatedCupy) -> None:
    # 90 keys within one step of float16 of each other, among others: the order is float32's.
    rng = np.random.default_rng(0)
    near = np.ones((1, 24)) + rng.standard_normal((90, 24)) * 1e-5
    keys = np.concatenate([rng.standard_normal((400, 24)), near, rng.standard_normal((300, 24))]).astype(
        np.float32
    )
    assert_same(np.ones((4, 24), np.float32), keys, 20)


def test_chunks_of_queries(emulated: EmulatedCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_CHUNK_BYTES", 1)
    queries, keys = draw((2100, 8), 1), draw((40, 8), 2)
    assert_same(queries, keys, 3)
    group = np.random.default_rng(0).integers(-1, 2, 2100).astype(np.int32)
    assert_same(queries, keys, 3, (np.array([0, 5, 40]), np.arange(40), group))
    queries[2050, 1] = np.nan
    with pytest.raises(UsageError, match="queries must be finite in float32, row 2050 is not"):
        rf.cosine_topk(queries, keys, 3, backend="cuda")


@pytest.mark.parametrize("k", [1, 9, 70])
def test_lists_full_of_ties(emulated: EmulatedCupy, k: int) -> None:
    rng = np.random.default_rng(k)
    queries, keys = draw((300, 6), 1), draw((30, 6), 2)[rng.integers(0, 30, 600)]
    lists = [rng.permutation(600)[:n] for n in (0, 1, 31, 64, 65, 300, 600)] + [np.array([5, 3, 5, 5])]
    group = rng.integers(-1, len(lists), 300).astype(np.int32)
    candidates = (np.cumsum([0, *map(len, lists)]), np.concatenate(lists), group)
    assert_same(queries, keys, k, candidates)
    found = rf.cosine_topk(queries, keys, k, candidates=candidates, backend="cuda")
    expected = reference.cosine_topk(queries, keys, k, candidates)
    assert ((found[1] == -1) == (expected[1] == -1)).all()
    np.testing.assert_allclose(found[0], expected[0], atol=2e-6)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-25, 1e25, 3e38])
def test_tiny_and_huge_rows(emulated: EmulatedCupy, scale: float) -> None:
    keys = (np.array([[0.25, 0.75], [1, 0], [0, -0.5], [0.5, 0.5]]) * scale).astype(np.float32)
    assert_same(np.array([[0.0, scale], [scale, 0.0]], np.float32), keys, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_named(emulated: EmulatedCupy, bad: float) -> None:
    queries, keys = draw((40, 5), 1), draw((50, 5), 2)
    broken = keys.copy()
    broken[[7, 30], 2] = bad
    with pytest.raises(UsageError, match=r"\[cosine_topk\] keys must be finite in float32, row 7 is not"):
        rf.cosine_topk(queries, broken, backend="cuda")
    lists = (np.array([0, 2, 3]), np.array([3, 30, 7]), np.zeros(40, np.int32))
    with pytest.raises(UsageError, match="keys must be finite in float32, row 30 is not"):
        rf.cosine_topk(queries, broken, candidates=lists, backend="cuda")
    assert_same(queries, broken, 2, (np.array([0, 2]), np.array([3, 4]), np.zeros(40, np.int32)))
    broken = queries.copy()
    broken[39, 0] = bad
    with pytest.raises(UsageError, match="queries must be finite in float32, row 39 is not"):
        rf.cosine_topk(broken, keys, backend="cuda")
    group = np.zeros(40, np.int32)
    group[39] = -1  # not compared, so not looked at
    assert_same(broken, keys, 2, (np.array([0, 2]), np.array([3, 4]), group))


def test_arrays_of_the_gpu_stay_there(emulated: EmulatedCupy) -> None:
    queries, keys = draw((9, 24), 1), draw((70, 24), 2)
    wide = emulated.asarray(np.zeros((70, 60), np.float32))
    wide[:, 8:32] = keys
    expected = rf.cosine_topk(queries, keys, 5, backend="cpu")
    for same in (emulated.asarray(keys), wide[:, 8:32], emulated.asarray(keys.astype(np.float64))):
        found = rf.cosine_topk(emulated.asarray(queries), same, 5)
        assert isinstance(found[0], DeviceArray)
        np.testing.assert_array_equal(found[1], expected[1])
        # A query on the host: so are the answers.
        assert not isinstance(rf.cosine_topk(queries, same, 5)[0], DeviceArray)
    group = emulated.asarray(np.zeros(9, np.int32))
    found = rf.cosine_topk(
        queries, same, 5, candidates=(np.array([0, 70]), emulated.asarray(np.arange(70)), group)
    )
    np.testing.assert_array_equal(found[1], expected[1])


def test_what_the_gpu_does_not_take(emulated: EmulatedCupy) -> None:
    queries, keys = draw((2, 4), 1), draw((1030, 4), 2)
    with pytest.raises(UsageError, match=r"k on backend 'cuda' must be at most 1024, is 1025"):
        rf.cosine_topk(queries, keys, 1025, backend="cuda")
    assert (
        rf.cosine_topk(queries, keys, 1025)[1] == rf.cosine_topk(queries, keys, 1025, backend="cpu")[1]
    ).all()
    with pytest.raises(UsageError, match="queries must hold floats, hold int64"):
        rf.cosine_topk(emulated.asarray(np.ones((2, 4), np.int64)), keys)
    with pytest.raises(UsageError, match="keys have 4"):
        rf.cosine_topk(emulated.asarray(np.ones((2, 3))), keys)


def test_rounding_to_float16_is_numpys() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert (_core.device.cosine_half_to_float(finite.view(np.uint16)) == finite.astype(np.float32)).all()
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 400_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([bits[np.abs(bits) < 2], rng.uniform(-1e-4, 1e-4, 10_000).astype(np.float32)])
    steps = finite[np.abs(finite) < 2].astype(np.float32)
    values = np.concatenate([values, (steps[1:] + steps[:-1]) / 2])  # ties go to even
    assert (_core.device.cosine_round_to_half(values) == values.astype(np.float16).view(np.uint16)).all()


def test_offers_order_as_answers_do() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.standard_normal(200), [0.0, -0.0, 1.0, -1.0]]).astype(np.float32).repeat(2)
    ids = rng.integers(0, 2**31 - 1, len(scores)).astype(np.int32)
    offers = _core.device.cosine_offer(scores, ids)
    order = np.argsort(offers)[::-1]
    assert order.tolist() == np.lexsort((ids, -scores)).tolist()
    assert (_core.device.cosine_id_of_offer(offers) == ids).all()
    assert (_core.device.cosine_score_of_offer(offers) == scores).all()
    assert offers.min() > 0


def cut_sum(left: np.ndarray, right: np.ndarray, of_step: int) -> np.ndarray:
    """Sum as coarsely as any generation does: `of_step` products at a time and the sum, cut at 24 bits."""
    total = np.zeros(len(left))
    for d in range(0, left.shape[1], of_step):
        terms = np.column_stack([left[:, d : d + of_step] * right[:, d : d + of_step], total])
        largest = np.abs(terms).max(axis=1, keepdims=True)
        step = 2.0 ** (np.floor(np.log2(np.where(largest == 0, 1.0, largest))) - 23)
        total = (np.trunc(terms / step) * step).sum(axis=1)
        step = 2.0 ** (np.floor(np.log2(np.where(total == 0, 1.0, np.abs(total)))) - 23)
        total = np.trunc(total / step) * step
    return total


@pytest.mark.parametrize("kind", ["normal", "one sign", "sparse", "worst rounding"])
@pytest.mark.parametrize("features", [32, 256, 512])
def test_the_error_bound_holds_and_is_worth_having(kind: str, features: int) -> None:
    rng = np.random.default_rng(features)
    shape = (400, features)
    rows = {
        "normal": lambda: rng.standard_normal(shape),
        "one sign": lambda: rng.random(shape) + 0.5,
        "sparse": lambda: rng.standard_normal(shape) * (rng.random(shape) < 0.1) + 1e-6,
        # Just below the middle between two floats16, all alike in sign: errors do not cancel.
        "worst rounding": lambda: (
            np.full(shape, (1 + 2.0**-11 - 2.0**-23) * 2.0**-4) * (1 + (rng.random(shape) < 0.5))
        ),
    }[kind]
    unit, halves, loss = [], [], []
    for _ in range(2):
        x = rows().astype(np.float32)
        norm = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        unit.append(_core.device.cosine_unit_value(x, norm))
        halves.append(
            _core.device.cosine_half_to_float(_core.device.cosine_round_to_half(unit[-1])).astype(np.float64)
        )
        lost = ((unit[-1] - halves[-1].astype(np.float32)) ** 2).sum(axis=1, dtype=np.float32)
        loss.append(_core.device.cosine_bound_loss(lost))
        assert (loss[-1] >= np.linalg.norm(unit[-1] - halves[-1], axis=1)).all()
    bound = _core.device.cosine_error_bound(loss[0], loss[1], features)
    chain = np.zeros(len(unit[0]), np.float32)
    for d in range(
        features
    ):  # a float32 product is exact in float64: one rounding, as a fused multiply-add has
        product = unit[0][:, d].astype(np.float64) * unit[1][:, d]
        chain = (product + chain).astype(np.float32)
    for of_step in (8, 16):
        error = np.abs(cut_sum(halves[0], halves[1], of_step) - chain)
        assert (error <= bound).all()
    assert bound.max() < 2e-3  # answers of a query that it lets through are few
    if kind == "worst rounding":
        assert error.max() > 0.1 * bound.max()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("n_queries", "n_keys", "depth", "k"),
    [
        (1, 1, 1, 1),
        (33, 97, 7, 10),
        (1000, 29_000, 512, 10),
        (300, 5000, 700, 128),
        (64, 3000, 33, 1000),
        (5, 0, 3, 2),
    ],
)
def test_gpu_gives_the_bits_of_the_cpu(n_queries: int, n_keys: int, depth: int, k: int) -> None:
    if (reason := device.why_not("cuda")) is not None:
        pytest.skip(reason)
    queries, keys = draw((n_queries, depth), 1), draw((n_keys, depth), 2)
    assert_same(queries, keys, k)
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, max(n_keys, 1), n if n_keys else 0) for n in (0, 1, 150, 700)]
    group = rng.integers(-1, len(lists), n_queries).astype(np.int32)
    assert_same(
        queries, keys, k, (np.cumsum([0, *map(len, lists)]), np.concatenate(lists).astype(np.int32), group)
    )


@pytest.mark.gpu
def test_tensors_and_streams_of_torch() -> None:
    if (reason := device.why_not("cuda")) is not None:
        pytest.skip(reason)
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    queries, keys = draw((500, 64), 1), draw((9000, 64), 2)
    wanted = rf.cosine_topk(queries, keys, 7, backend="cpu")
    with torch.cuda.stream(torch.cuda.Stream()):
        # Work in flight on this stream, which the search has to come after.
        on_device = torch.from_numpy(keys).cuda(non_blocking=True).mul(2).mul(0.5).requires_grad_()
        scores, ids = rf.cosine_topk(torch.from_numpy(queries).cuda(), on_device, 7)
        assert scores.is_cuda
        assert ids.cpu().numpy().tolist() == wanted[1].tolist()
    coarse = rf.cosine_topk(
        torch.from_numpy(queries).cuda().bfloat16(), torch.from_numpy(keys).cuda().half(), 7
    )
    assert (coarse[0].float().cpu().numpy() - wanted[0] < 0.05).all()


def count_uploads(emulated: EmulatedCupy, shape: tuple[int, ...]) -> list[int]:
    """Return a list that grows with every array of `shape` that is copied to the GPU from now on."""
    uploads: list[int] = []
    copy = emulated.asarray

    def counted(array: Any) -> Any:
        if not isinstance(array, DeviceArray) and np.shape(array) == shape:
            uploads.append(1)
        return copy(array)

    emulated.asarray = counted
    return uploads


def test_an_index_copies_its_vectors_to_the_gpu_once(
    emulated: EmulatedCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also where the CPU would read few rows, or would prune.
    monkeypatch.setattr(keywords, "_MANY_WORDS", 1)
    monkeypatch.setattr(keywords, "_MANY_QUERIES", 1)
    vectors, queries = draw((90, 20), 1), draw((7, 20), 2)
    words = [f"w{i}" for i in range(90)]
    index = KeywordIndex(words, vectors)
    index.set_groups([words[:40], words[30:]])
    group = np.array([0, 1, -1, 0, 1, 1, 0])

    def search_all(uploads: list[int], times: int) -> None:
        for _ in range(2):
            for chosen in (group, None):
                assert index.groups is not None
                lists = None if chosen is None else (*index.groups, chosen)
                found = index.search(queries, 5, group=chosen)
                wanted = rf.cosine_topk(queries, index.vectors, 5, candidates=lists, backend="cpu")
                for ours, theirs in zip(found, wanted, strict=True):
                    np.testing.assert_array_equal(ours, theirs)
            index.search_halves(np.tile(queries, 2), 3)
        assert len(uploads) == times

    search_all(count_uploads(emulated, (90, 20)), 1)
    index = pickle.loads(pickle.dumps(index))  # noqa: S301
    search_all(count_uploads(emulated, (90, 20)), 1)
    index.add(["new"], vectors[:1])
    search_all(count_uploads(emulated, (91, 20)), 1)
    index.remove(["w3"])
    search_all(count_uploads(emulated, (90, 20)), 1)


def test_prepared_keys_are_copied_once_for_each_gpu(
    emulated: EmulatedCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, queries = draw((80, 24), 1), draw((9, 24), 2)
    for rows in (keys, np.concatenate([keys, keys], axis=1)[:, 24:]):
        prepared = PreparedKeys(rows)
        uploads = count_uploads(emulated, (80, 24))
        for gpu in (0, 0, 1, 0, 1):
            monkeypatch.setattr(emulated.cuda.runtime, "getDevice", lambda gpu=gpu: gpu)
            found = rf.cosine_topk(queries, prepared, 5, backend="cuda")
            wanted = rf.cosine_topk(queries, keys, 5, backend="cpu")
            np.testing.assert_array_equal(found[1], wanted[1])
            assert found[0].tobytes() == wanted[0].tobytes()
        assert len(uploads) == 2
        again = pickle.loads(pickle.dumps(prepared))  # noqa: S301
        assert rf.cosine_topk(queries, again, 5)[1].tolist() == found[1].tolist()
        assert len(uploads) == 3
