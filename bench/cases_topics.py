"""The second level of topics: many small models as one batch, beside training them one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.case import Case
from radfast.topics import LDA, Documents
from radfast.topics.second import SecondLevel
from radfast.topics.training import Schedule
from radfast.types import no_progress

_ALPHA = 0.1


def _make_groups(
    documents: int, tokens: int, words: int, groups: int, topics: int, sweeps: int
) -> dict[str, Any]:
    """Draw documents whose words lean to their group's, Zipf-like."""
    random = np.random.default_rng(4)
    length = tokens // documents
    weights = random.dirichlet(20.0 / np.arange(1, words + 1), groups)
    group = random.integers(0, groups, documents).astype(np.int32)
    ids = np.concatenate([random.choice(words, length, p=weights[g]) for g in group])
    corpus = Documents(np.arange(documents + 1) * length, ids.astype(np.int32), words)
    return {"corpus": corpus, "group": group, "shape": (groups, topics), "sweeps": sweeps}


def _fit_batch(state: dict[str, Any]) -> Any:
    return SecondLevel.fit(
        state["corpus"], state["group"], state["shape"], alpha=_ALPHA, eta=0.01, seed=0,
        schedule=Schedule(state["sweeps"]), progress=no_progress, checkpoint=None,
    )  # fmt: skip


def _fit_apart(state: dict[str, Any]) -> list[LDA]:
    models = []
    for g in range(state["shape"][0]):
        part = state["corpus"].take(np.flatnonzero(state["group"] == g))
        models.append(LDA(state["shape"][1], _ALPHA, 0.01, state["sweeps"]).fit(part))
        models[-1].transform(part)
    return models


def _check_batch(state: dict[str, Any], result: Any) -> None:
    level, theta = result
    assert level.totals.sum() == len(state["corpus"].tokens)
    assert np.allclose(theta.sum(axis=1), 1, atol=1e-4)


CASES = (
    Case(
        name="topics-second",
        sizes={
            "documents": 8_000, "tokens": 1_000_000, "words": 20_000,
            "groups": 80, "topics": 10, "sweeps": 20,
        },
        unit="tokens",
        set_up=_make_groups,
        work=_fit_batch,
        count=lambda state: float(len(state["corpus"].tokens)) * state["sweeps"],
        check=_check_batch,
        peers={"one after the other": _fit_apart},
    ),
)  # fmt: skip
