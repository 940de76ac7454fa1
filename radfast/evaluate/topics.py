"""Topics against a truth, and the perplexity curve in the form the report draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.evaluate.intervals import plain

_SHUFFLES = 20


def score_topics(truth: Sequence[Any] | ArrayLike, topics: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Compare hard topic assignments with the true themes of the same units.

    Purity = 1/N sum_k max_c n_kc; NMI = I(topic; truth) / ((H(topic) + H(truth)) / 2) (Manning, Raghavan and
    Schuetze 2008, section 16.3). Purity grows with the number of topics even for noise, so it is given
    beside that of shuffled topics, and beside the share of the largest theme.

    Parameters
    ----------
    truth : sequence, shape (D,)
        True theme of each document or window.
    topics : array_like of int, shape (D,)
        Its topic; -1 (no words) takes no part.
    seed : int
        Of the 20 shuffles.

    Returns
    -------
    dict
        ``purity``, ``nmi``, ``shuffled_purity``, ``majority`` (share of the largest theme), ``n_units``,
        ``n_topics`` and ``n_themes`` in use, ``without_topic``. Fractions are None for no unit; NMI is None
        where topics and themes are both constant.
    """
    labels = np.asarray(truth)
    found = np.asarray(topics, np.int64)
    if labels.shape != found.shape or labels.ndim != 1:
        raise UsageError(
            f"[score_topics] truth and topics need one shape (D,), are {labels.shape}, {found.shape}"
        )
    kept = found >= 0
    theme = np.unique(labels[kept], return_inverse=True)[1]
    topic = np.unique(found[kept], return_inverse=True)[1]
    n = len(theme)
    result: dict[str, Any] = dict.fromkeys(("purity", "nmi", "shuffled_purity", "majority"))
    result |= {"n_units": n, "n_topics": 0, "n_themes": 0, "without_topic": int(len(found) - n)}
    if n == 0:
        return result
    table = _cross(topic, theme)
    rng = np.random.default_rng(seed)
    shuffled = [_cross(topic, rng.permutation(theme)).max(axis=1).sum() / n for _ in range(_SHUFFLES)]
    result |= {
        "purity": float(table.max(axis=1).sum() / n),
        "nmi": plain(_normalized_information(table / n)),
        "shuffled_purity": float(np.mean(shuffled)),
        "majority": float(table.sum(axis=0).max() / n),
        "n_topics": table.shape[0],
        "n_themes": table.shape[1],
    }
    return result


def _cross(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    return np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns)


def _normalized_information(joint: NDArray[np.float64]) -> float:
    by_row, by_column = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -float((by_row * np.log(by_row)).sum() + (by_column * np.log(by_column)).sum())
    if entropy <= 0:
        return float("nan")
    expected = np.outer(by_row, by_column)
    seen = joint > 0
    return 2 * float((joint[seen] * np.log(joint[seen] / expected[seen])).sum()) / entropy


def summarize_curve(
    candidates: Sequence[int], perplexity: ArrayLike, chosen: int | None = None, rule: str = ""
) -> dict[str, Any]:
    """Put a held-out perplexity curve into plain values.

    Parameters
    ----------
    candidates : sequence of int
        Numbers of topics tried.
    perplexity : array_like of float, shape (n_candidates, n_seeds)
        exp(-sum log p(w_d) / sum N_d) on held-out documents (Blei, Ng and Jordan 2003, section 7.1).
    chosen : int, optional
        The number that was taken; the lowest mean where not given.
    rule : str
        How it was chosen, in words.

    Returns
    -------
    dict
        ``candidates``, ``mean``, ``sd`` (n - 1; 0 for one seed), ``low`` and ``high`` over the seeds,
        ``seeds``, ``best`` (lowest mean), ``chosen``, ``rule``.
    """
    values = np.asarray(perplexity, np.float64)
    if values.ndim != 2 or len(values) != len(candidates) or values.shape[1] < 1 or not len(values):
        raise UsageError(
            f"[summarize_curve] perplexity must have shape ({len(candidates)}, n_seeds), is {values.shape}"
        )
    if not np.isfinite(values).all():
        raise UsageError("[summarize_curve] perplexity must be finite, has NaN or infinity")
    mean = values.mean(axis=1)
    best = int(candidates[int(mean.argmin())])
    return {
        "candidates": [int(k) for k in candidates],
        "mean": mean.tolist(),
        "sd": (values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.zeros(len(values))).tolist(),
        "low": values.min(axis=1).tolist(),
        "high": values.max(axis=1).tolist(),
        "seeds": int(values.shape[1]),
        "best": best,
        "chosen": best if chosen is None else int(chosen),
        "rule": rule,
    }
