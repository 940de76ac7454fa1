"""Collapsed Gibbs LDA."""

from __future__ import annotations

from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast.kernels import gibbs
from radfast.topics import read_documents


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
    half = state["sweeps"] // 2  # the check wants a trace of two values
    return rf.LDA(
        state["topics"], alpha=0.1, n_sweeps=state["sweeps"], evaluate_every=half, random_state=0, refine=0
    ).fit(state["counts"])


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


def _make_fold(**sizes: int) -> dict[str, Any]:
    """A trained model, and the documents it was trained on."""
    state = _make_counts(**sizes)
    return {**state, "model": _fit_topics(state)}


def _fold_in(state: dict[str, Any]) -> Any:
    return state["model"].transform(state["counts"])


def _check_fold(state: dict[str, Any], theta: Any) -> None:
    assert theta.shape == (state["counts"].shape[0], state["topics"])
    assert np.allclose(theta.sum(axis=1), 1, atol=1e-4)


def _make_case(topics: int) -> Case:
    return Case(
        name=f"gibbs-{topics}",
        sizes={"documents": 5_000, "tokens": 600_000, "words": 10_000, "topics": topics},
        unit="tokens",
        set_up=_make_counts,
        work=_fit_topics,
        count=lambda state: float(state["counts"].sum()) * state["sweeps"],
        check=_check_topics,
        peers={"tomotopy": _fit_tomotopy},
    )


def _make_chain(**sizes: int) -> dict[str, Any]:
    """A chain of a few sweeps."""
    state = _make_counts(**sizes)
    documents = read_documents(state["counts"])
    chain = gibbs.start(
        documents.indptr, documents.tokens, sizes["topics"], n_rows=documents.n_words, alpha=0.1, eta=0.01
    )
    gibbs.sample(chain, state["sweeps"])
    return {**state, "chain": chain}


def _refine(state: dict[str, Any]) -> Any:
    return gibbs.refine(state["chain"], 1)


def _check_refined(state: dict[str, Any], expected: Any) -> None:
    assert np.allclose(expected.sum(axis=1), state["counts"].sum(axis=0), rtol=1e-3)


def _make_refine_case(topics: int) -> Case:
    return Case(
        name=f"gibbs-refine-{topics}",
        sizes={"documents": 5_000, "tokens": 600_000, "words": 10_000, "topics": topics},
        unit="tokens",
        set_up=_make_chain,
        work=_refine,
        count=lambda state: float(state["counts"].sum()),
        check=_check_refined,
        peers={},
    )


CASES = (
    _make_case(80),
    _make_case(1000),
    _make_refine_case(80),
    _make_refine_case(1000),
    Case(
        name="gibbs-fold-1000",
        sizes={"documents": 5_000, "tokens": 600_000, "words": 10_000, "topics": 1000},
        unit="tokens",
        set_up=_make_fold,
        work=_fold_in,
        count=lambda state: float(state["counts"].sum()),
        check=_check_fold,
        peers={},
    ),
)
