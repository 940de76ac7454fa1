"""Every case, once: kernels alone, at sizes that a laptop times in seconds; inputs are made from seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast.kernels.cosine.reference import cosine_topk as cosine_reference
from radfast.synthetic import stream_reports


def _make_texts(words: int) -> list[str]:
    return list(stream_reports(words, seed=1))


def _count_words(texts: list[str]) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(min_df=3).fit_transform(texts)


def _tokenize(texts: list[str]) -> rf.Corpus:
    return rf.Tokenizer(drop_top=0).fit_transform(texts)


def _check_tokens(texts: list[str], corpus: rf.Corpus) -> None:
    assert len(corpus) == len(texts)
    kept = {word for word in texts[0].lower().split() if word.isalpha() and len(word) >= 3}
    assert set(corpus.words(0)) <= set(corpus.vocabulary)
    assert len(kept & set(corpus.words(0))) > len(kept) // 2


def _split(texts: list[str]) -> int:
    return sum(len(rf.split_sentences(text)) for text in texts)


def _make_cited_texts(words: int) -> list[str]:
    return [
        f"{text} A lesion is seen (series 3, images {n} and {n + 2})."
        for n, text in enumerate(_make_texts(words))
    ]


def _find_references(texts: list[str]) -> int:
    return sum(len(rf.find_image_references(text)) for text in texts)


def _check_some(texts: list[str], found: int) -> None:
    assert found >= len(texts)


def _count_bytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts)


def _make_counts(documents: int, tokens: int, words: int, topics: int) -> dict[str, Any]:
    """Draw a corpus from an LDA of `topics` topics with Zipf-like words."""
    import scipy.sparse as sp

    random = np.random.default_rng(2)
    zipf = 1.0 / np.arange(1, words + 1)
    phi = random.dirichlet(zipf * 20, topics)
    theta = random.dirichlet(np.full(topics, 0.1), documents)
    counts = np.stack([random.multinomial(tokens // documents, weights @ phi) for weights in theta])
    return {"counts": sp.csr_matrix(counts.astype(np.int64)), "topics": topics, "sweeps": 10}


def _fit_topics(state: dict[str, Any]) -> rf.LDA:
    model = rf.LDA(state["topics"], alpha=0.1, n_sweeps=state["sweeps"], random_state=0)
    return model.fit(state["counts"])


def _check_topics(state: dict[str, Any], model: rf.LDA) -> None:
    assert np.allclose(model.components_.sum(axis=1), 1, atol=1e-4)
    trace = np.asarray(model.log_likelihood_).ravel()
    assert trace[-1] > trace[0]


def _fit_tomotopy(state: dict[str, Any]) -> Any:
    import tomotopy

    model = tomotopy.LDAModel(k=state["topics"], alpha=0.1, eta=0.01, seed=0)
    for row in state["counts"]:
        model.add_doc(np.repeat(row.indices, row.data).astype(str).tolist())
    model.train(state["sweeps"])
    return model


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


def _make_network(images: int, side: int) -> dict[str, Any]:
    net = rf.vision.build("vgg16", {"document": 60}, size=side).eval()
    pixels = np.random.default_rng(5).integers(256, size=(images, 1, side, side), dtype=np.uint8)
    return {"net": net, "run": rf.compile(net, max_batch=images), "pixels": pixels}


def _run_network(state: dict[str, Any]) -> Any:
    return state["run"](state["pixels"])


def _run_eager(state: dict[str, Any]) -> Any:
    import torch

    with torch.no_grad():
        return state["net"](torch.from_numpy(state["pixels"]))


def _check_network(state: dict[str, Any], outputs: Any) -> None:
    wanted = _run_eager(state)["document"].numpy()
    assert np.allclose(outputs["document"], wanted, atol=1e-3 * np.abs(wanted).max())


def _text_case(
    name: str,
    work: Callable[[list[str]], Any],
    check: Callable[[list[str], Any], None],
    peers: dict[str, Callable[[Any], Any]],
    set_up: Callable[[int], list[str]] = _make_texts,
) -> Case:
    return Case(name, {"words": 1_000_000}, "bytes", set_up, work, _count_bytes, check, peers)


def _list_cases() -> Iterator[Case]:
    yield _text_case("tokenize", _tokenize, _check_tokens, {"sklearn": _count_words})
    yield _text_case("sentences", _split, _check_some, {})
    yield _text_case("references", _find_references, _check_some, {}, _make_cited_texts)
    yield Case(
        name="gibbs-80",
        sizes={"documents": 5_000, "tokens": 600_000, "words": 10_000, "topics": 80},
        unit="tokens",
        set_up=_make_counts,
        work=_fit_topics,
        count=lambda state: float(state["counts"].sum()) * state["sweeps"],
        check=_check_topics,
        peers={"tomotopy": _fit_tomotopy},
    )
    yield Case(
        name="cosine-dense",
        sizes={"queries": 2_000, "keys": 29_000, "features": 512},
        unit="queries",
        set_up=_make_vectors,
        work=_search,
        count=lambda state: len(state["queries"]),
        check=_check_found,
        peers={"numpy": _search_numpy, "torch": _search_torch, "faiss": _search_faiss},
    )
    yield Case(
        name="cosine-candidates",
        sizes={"queries": 54_000, "keys": 29_000, "features": 256, "groups": 800, "per_group": 150},
        unit="queries",
        set_up=_make_lists,
        work=_search_lists,
        count=lambda state: len(state["queries"]),
        check=_check_lists,
        peers={"numpy-grouped": _search_lists_numpy},
    )
    yield Case(
        name="cnn-vgg16",
        sizes={"images": 8, "side": 224},
        unit="images",
        set_up=_make_network,
        work=_run_network,
        count=lambda state: len(state["pixels"]),
        check=_check_network,
        peers={"torch": _run_eager},
    )


CASES = tuple(_list_cases())
