"""Cosine top-k, dense and by candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast.kernels.cosine.reference import cosine_topk as cosine_reference


def _make_vectors(queries: int, keys: int, features: int) -> dict[str, Any]:
    random = np.random.default_rng(3)
    return {
        "queries": random.standard_normal((queries, features), np.float32),
        "keys": random.standard_normal((keys, features), np.float32),
    }


def _search(state: dict[str, Any]) -> tuple[Any, Any]:
    return rf.cosine_topk(state["queries"], state["keys"], k=10)


def _check_found(state: dict[str, Any], found: tuple[Any, Any]) -> None:
    scores, _ = cosine_reference(state["queries"][:20], state["keys"], 10, None)
    assert np.allclose(found[0][:20], scores, atol=1e-5)


def _search_numpy(state: dict[str, Any]) -> Any:
    queries, keys = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (state["queries"], state["keys"])
    )
    scores = queries @ keys.T
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


def _search_torch(state: dict[str, Any]) -> Any:
    import torch

    queries, keys = (
        torch.nn.functional.normalize(torch.from_numpy(rows)) for rows in (state["queries"], state["keys"])
    )
    return (queries @ keys.T).topk(10)


def _search_faiss(state: dict[str, Any]) -> Any:
    import faiss

    queries, keys = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (state["queries"], state["keys"])
    )
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    return index.search(queries, 10)


def _make_lists(queries: int, keys: int, features: int, groups: int, per_group: int) -> dict[str, Any]:
    random = np.random.default_rng(4)
    return {
        **_make_vectors(queries, keys, features),
        "candidates": (
            np.arange(groups + 1, dtype=np.int64) * per_group,
            random.integers(keys, size=groups * per_group, dtype=np.int32),
            random.integers(groups, size=queries, dtype=np.int32),
        ),
    }


def _search_lists(state: dict[str, Any]) -> tuple[Any, Any]:
    return rf.cosine_topk(state["queries"], state["keys"], k=1, candidates=state["candidates"])


def _check_lists(state: dict[str, Any], found: tuple[Any, Any]) -> None:
    indptr, ids, group = state["candidates"]
    few = (indptr, ids, group[:20])
    scores, _ = cosine_reference(state["queries"][:20], state["keys"], 1, few)
    assert np.allclose(found[0][:20], scores, atol=1e-5)


def _search_lists_numpy(state: dict[str, Any]) -> Any:
    queries, keys = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (state["queries"], state["keys"])
    )
    indptr, ids, group = state["candidates"]
    best = np.empty(len(queries), np.int32)
    for g in range(len(indptr) - 1):
        rows = np.flatnonzero(group == g)
        own = ids[indptr[g] : indptr[g + 1]]
        best[rows] = own[(queries[rows] @ keys[own].T).argmax(axis=1)]
    return best


def _search_lists_faiss(state: dict[str, Any]) -> Any:
    import faiss

    queries, keys = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (state["queries"], state["keys"])
    )
    indptr, ids, group = state["candidates"]
    index: Any = faiss.IndexFlatIP(keys.shape[1])  # its methods are made at run time
    index.add(keys)
    labels = ids.reshape(len(indptr) - 1, -1)[group].astype(np.int64)
    scores = np.empty(labels.shape, np.float32)
    index.compute_distance_subset(
        len(queries),
        faiss.swig_ptr(queries),
        labels.shape[1],
        faiss.swig_ptr(scores),
        faiss.swig_ptr(labels),
    )
    return labels[np.arange(len(labels)), scores.argmax(axis=1)]


CASES = (
    Case(
        name="cosine-dense",
        sizes={"queries": 2_000, "keys": 29_000, "features": 512},
        unit="queries",
        set_up=_make_vectors,
        work=_search,
        count=lambda state: len(state["queries"]),
        check=_check_found,
        peers={"numpy": _search_numpy, "torch": _search_torch, "faiss": _search_faiss},
    ),
    Case(
        name="cosine-candidates",
        sizes={"queries": 54_000, "keys": 29_000, "features": 256, "groups": 800, "per_group": 150},
        unit="queries",
        set_up=_make_lists,
        work=_search_lists,
        count=lambda state: len(state["queries"]),
        check=_check_lists,
        peers={"numpy-grouped": _search_lists_numpy, "faiss-subset": _search_lists_faiss},
    ),
    Case(
        name="cosine-lists",  # a list of its own for nearly every query
        sizes={"queries": 54_000, "keys": 29_000, "features": 256, "groups": 54_000, "per_group": 150},
        unit="queries",
        set_up=_make_lists,
        work=_search_lists,
        count=lambda state: len(state["queries"]),
        check=_check_lists,
        peers={"faiss-subset": _search_lists_faiss},
    ),
)
