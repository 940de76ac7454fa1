"""Cosine top-k, dense, pruned and by candidates. Peers take as many threads as ours.

Peers find the keys ready, as unit vectors; ours makes them in every call, and has `PreparedKeys` where each
query sees a list only.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast import _core
from radfast.kernels.cosine import PreparedKeys
from radfast.kernels.cosine.pruned import PrunedKeys
from radfast.kernels.cosine.reference import cosine_topk as cosine_reference


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _limit_threads(threads: int) -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)  # OpenBLAS and OpenMP of NumPy and scikit-learn


def _make_vectors(queries: int, keys: int, features: int, k: int, threads: int) -> dict[str, Any]:
    random = np.random.default_rng(3)
    _limit_threads(threads)
    return {
        "queries": random.standard_normal((queries, features), np.float32),
        "keys": random.standard_normal((keys, features), np.float32),
        "k": k,
        "threads": threads,
    }


def _search(state: dict[str, Any]) -> tuple[Any, Any]:
    return rf.cosine_topk(
        state["queries"],
        state.get("prepared", state["keys"]),
        state["k"],
        candidates=state.get("candidates"),
        backend="cpu",
        threads=state["threads"],
    )


def _check_found(state: dict[str, Any], found: tuple[Any, Any]) -> None:
    few, candidates = slice(0, 5), state.get("candidates")
    if candidates is not None:
        candidates = (*candidates[:2], candidates[2][few])
    scores, _ = cosine_reference(state["queries"][few], state["keys"], state["k"], candidates)
    assert np.allclose(found[0][few], scores, atol=1e-5)


def _count_products(state: dict[str, Any]) -> float:
    return float(len(state["queries"]) * state["keys"].size)


def _unit_keys(state: dict[str, Any]) -> Any:
    if "unit" not in state:
        state["unit"] = _unit(state["keys"])
    return state["unit"]


def _faiss_index(state: dict[str, Any]) -> Any:
    import faiss

    faiss.omp_set_num_threads(state["threads"])
    if "index" not in state:
        index: Any = faiss.IndexFlatIP(state["keys"].shape[1])  # its methods are made at run time
        index.add(_unit_keys(state))
        state["index"] = index
    return state["index"]


def _search_numpy(state: dict[str, Any]) -> Any:
    k = state["k"]
    scores = _unit(state["queries"]) @ _unit_keys(state).T
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


def _search_torch(state: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(state["threads"])
    queries = torch.nn.functional.normalize(torch.from_numpy(state["queries"]))
    return (queries @ torch.from_numpy(_unit_keys(state)).T).topk(state["k"])


def _search_faiss(state: dict[str, Any]) -> Any:
    return _faiss_index(state).search(_unit(state["queries"]), state["k"])


def _search_sklearn(state: dict[str, Any]) -> Any:
    # Of unit vectors the nearest are those of highest cosine; its cosine metric has no fused search.
    from sklearn.neighbors import NearestNeighbors

    if "neighbours" not in state:
        state["neighbours"] = NearestNeighbors(n_neighbors=state["k"], algorithm="brute").fit(
            _unit_keys(state)
        )
    return state["neighbours"].kneighbors(_unit(state["queries"]))


def _make_lists(
    queries: int, keys: int, features: int, groups: int, per_group: int, k: int, threads: int
) -> dict[str, Any]:
    random = np.random.default_rng(4)
    state = _make_vectors(queries, keys, features, k, threads)
    return {
        **state,
        "prepared": PreparedKeys(state["keys"], threads=threads),
        "candidates": (
            np.arange(groups + 1, dtype=np.int64) * per_group,
            random.integers(keys, size=groups * per_group, dtype=np.int32),
            random.integers(groups, size=queries, dtype=np.int32),
        ),
    }


def _best_of(labels: Any, scores: Any, k: int) -> Any:
    if k == 1:
        return np.take_along_axis(labels, scores.argmax(axis=1)[:, None], 1)
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
    return np.take_along_axis(labels, np.take_along_axis(best, order, 1), 1)


def _search_lists_numpy(state: dict[str, Any]) -> Any:
    queries, keys = _unit(state["queries"]), _unit_keys(state)
    indptr, ids, group = state["candidates"]
    best = np.empty((len(queries), state["k"]), np.int32)
    for g in range(len(indptr) - 1):
        rows = np.flatnonzero(group == g)
        own = ids[indptr[g] : indptr[g + 1]]
        scores = queries[rows] @ keys[own].T
        best[rows] = _best_of(np.broadcast_to(own, scores.shape), scores, state["k"])
    return best


def _search_lists_faiss(state: dict[str, Any]) -> Any:
    index = _faiss_index(state)
    import faiss

    queries = _unit(state["queries"])
    indptr, ids, group = state["candidates"]
    labels = ids.reshape(len(indptr) - 1, -1)[group].astype(np.int64)
    scores = np.empty(labels.shape, np.float32)
    index.compute_distance_subset(
        len(queries),
        faiss.swig_ptr(queries),
        labels.shape[1],
        faiss.swig_ptr(scores),
        faiss.swig_ptr(labels),
    )
    return _best_of(labels, scores, state["k"])


def _read_sentences(folder: Path) -> Iterator[list[str]]:
    for name in ("roco_ccby_captions", "mtsamples_radiology", "mtsamples_other"):
        for line in (folder / "text" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            for sentence in re.split(r"[.\n]\s", json.loads(line)["text"].lower()):
                words = re.findall(r"[a-z][a-z0-9'/-]*[a-z0-9]|[a-z0-9]+(?:\.[0-9]+)?", sentence)
                if words:
                    yield words


def _make_words(queries: int, features: int, k: int, threads: int) -> dict[str, Any]:
    """Word vectors of real clinical text (RADFAST_DATA), trained once and kept among temporary files."""
    from radfast.config import VectorsConfig
    from radfast.vectors import train_word_vectors

    if "RADFAST_DATA" not in os.environ:
        raise FileNotFoundError("RADFAST_DATA names no folder of real text")
    path = Path(tempfile.gettempdir()) / f"radfast-bench-words-{features}.npy"
    if not path.exists():
        config = VectorsConfig(size=features, window=10, min_count=1, epochs=5)
        sentences = list(_read_sentences(Path(os.environ["RADFAST_DATA"])))
        np.save(path, train_word_vectors(sentences, config, seed=0, threads=1).vectors)
    _limit_threads(threads)
    keys = np.load(path)
    own = np.random.default_rng(0).permutation(len(keys))[:queries]
    return {"queries": keys[own], "keys": keys, "k": k, "threads": threads, "pruned": PrunedKeys(keys)}


def _make_copies(
    queries: int, keys: int, features: int, originals: int, k: int, threads: int
) -> dict[str, Any]:
    """Near copies of few vectors, which bounds serve worst: whole groups of keys nearly tie."""
    random = np.random.default_rng(5)
    _limit_threads(threads)
    places = random.standard_normal((originals, features), np.float32)
    copies = places[random.integers(originals, size=keys)]
    copies += np.float32(1e-3) * random.standard_normal(copies.shape, np.float32)
    own = random.permutation(keys)[:queries]
    return {"queries": copies[own], "keys": copies, "k": k, "threads": threads, "pruned": PrunedKeys(copies)}


def _search_pruned(state: dict[str, Any]) -> tuple[Any, Any]:
    found: tuple[Any, Any] = state["pruned"].search(state["queries"], state["k"], threads=state["threads"])
    return found


def _on_avx2(work: Any) -> Any:
    """Return `work` on AVX2; peers stay on what the processor has."""

    def run(state: dict[str, Any]) -> Any:
        _core.lower_simd("avx2")
        try:
            return work(state)
        finally:
            _core.lower_simd("avx512")

    return run


_DENSE = {
    "numpy": _search_numpy,
    "torch": _search_torch,
    "faiss": _search_faiss,
    "scikit-learn": _search_sklearn,
}
_LISTS = {"queries": 54_000, "keys": 29_000, "features": 256, "per_group": 150}


def _case(name: str, threads: int, set_up: Any, work: Any, sizes: dict[str, int], **more: Any) -> Case:
    return Case(
        name=f"{name}-{threads}t",
        sizes={**sizes, "threads": threads},
        unit="queries",
        set_up=set_up,
        work=work,
        count=lambda state: len(state["queries"]),
        check=_check_found,
        threads=threads,
        **more,
    )


def _cases(threads: int) -> Iterator[Case]:
    dense = {"queries": 10_000, "keys": 29_000, "features": 512, "k": 10}
    peak = {"products": _count_products}
    yield _case("cosine-dense", threads, _make_vectors, _search, dense, peers=_DENSE, **peak)
    lower = {"peers": {"faiss": _search_faiss}}
    yield _case("cosine-dense-avx2", threads, _make_vectors, _on_avx2(_search), dense, **lower)
    wide = {"queries": 1_000, "keys": 1_000_000, "features": 256, "k": 10}
    # The tables of NumPy and torch take 4 GB here, scikit-learn the time of all others.
    yield _case("cosine-wide", threads, _make_vectors, _search, wide, peers={"faiss": _search_faiss}, **peak)
    lists = {"numpy-grouped": _search_lists_numpy, "faiss-subset": _search_lists_faiss}
    for k in (1, 10):
        grouped = {**_LISTS, "groups": 800, "k": k}
        yield _case(f"cosine-candidates-k{k}", threads, _make_lists, _search, grouped, peers=lists)
        # A list of its own for nearly every query.
        single = {**_LISTS, "groups": 54_000, "k": k}
        only = {"faiss-subset": _search_lists_faiss}
        yield _case(f"cosine-lists-k{k}", threads, _make_lists, _search, single, peers=only)
        words = {"queries": 10_000, "features": 256, "k": k}
        both = {"faiss": _search_faiss, "plain": _search}
        yield _case(f"cosine-words-k{k}", threads, _make_words, _search_pruned, words, peers=both)
        for originals in (20, 200):
            near = {"queries": 5_000, "keys": 20_000, "features": 256, "originals": originals, "k": k}
            name = f"cosine-copies{originals}-k{k}"
            yield _case(name, threads, _make_copies, _search_pruned, near, peers={"plain": _search})


CASES = (*_cases(1), *_cases(2))
