"""Findings in text against annotated spans, and diseases in images by AUC and by rank."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.evaluate.intervals import Z95, estimate_ratios, read_groups
from radfast.evaluate.references import rates

_COLUMNS = ("report_id", "concept_id", "span_start", "span_end", "assertion")


def score_assertions(truth: pa.Table, found: pa.Table) -> dict[str, Any]:
    """Score findings of reports: were the mentions found, and is each asserted as the truth says.

    A mention is matched by report, concept and overlapping span, one to one, in reading order. Per class,
    correct are matched mentions with the class on both sides; P over all found mentions of the class, R over
    all true ones, so that a missed or an invented mention counts against its class.

    Parameters
    ----------
    truth, found : pyarrow.Table
        Columns ``report_id, concept_id, span_start, span_end, assertion``, as of FINDINGS. Reports that the
        truth does not name take no part.

    Returns
    -------
    dict
        ``mentions`` (P/R/F of the matching alone), ``per_class`` (class name to P/R/F), ``micro`` (all
        classes: right mention and right class), ``accuracy`` on matched mentions, ``confusion`` over them
        (``classes``, ``counts``: row true, column found), ``n_reports``.
    """
    wanted = _by_concept(truth, None)
    reports = set(truth["report_id"].to_pylist())
    given = _by_concept(found, reports)
    pairs: Counter[tuple[str, str]] = Counter()
    true = Counter(kind for rows in wanted.values() for _, _, kind in rows)
    answered = Counter(kind for rows in given.values() for _, _, kind in rows)
    for key, rows in wanted.items():
        others = given.get(key, [])
        used = [False] * len(others)
        for start, end, kind in rows:
            for i, (other_start, other_end, other_kind) in enumerate(others):
                if not used[i] and start < other_end and other_start < end:
                    used[i] = True
                    pairs[kind, other_kind] += 1
                    break
    classes = sorted(set(true) | set(answered), key=lambda kind: (-true[kind], kind))
    matched = sum(pairs.values())
    right = sum(pairs[kind, kind] for kind in classes)
    return {
        "mentions": rates(matched, sum(answered.values()), sum(true.values())),
        "per_class": {kind: rates(pairs[kind, kind], answered[kind], true[kind]) for kind in classes},
        "micro": rates(right, sum(answered.values()), sum(true.values())),
        "accuracy": right / matched if matched else None,
        "confusion": {"classes": classes, "counts": [[pairs[a, b] for b in classes] for a in classes]},
        "n_reports": len(reports),
    }


def _by_concept(
    table: pa.Table, reports: set[str] | None
) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
    mentions: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    columns = [table[name].to_pylist() for name in _COLUMNS]
    for report, concept, start, end, assertion in zip(*columns, strict=True):
        if reports is None or report in reports:
            mentions[report, concept].append((start, end, assertion))
    for rows in mentions.values():
        rows.sort()
    return dict(mentions)


def score_diseases(
    target: ArrayLike,
    scores: ArrayLike,
    names: Sequence[str],
    *,
    groups: Sequence[Any] | ArrayLike | None = None,
) -> dict[str, Any]:
    """Return the area under the ROC curve of every disease class.

    AUC = P(score of a positive > score of a negative) + 1/2 P(equal) (Hanley and McNeil 1982); 95 % interval
    from the clustered variance of Obuchowski 1997, which is DeLong's where each patient has one image.

    Parameters
    ----------
    target : array_like of int, shape (N, C)
        1 yes, 0 no, -1 unknown (takes no part in that class).
    scores : array_like of float, shape (N, C)
    names : sequence of C str
    groups : sequence, shape (N,), optional
        Patient of each image.

    Returns
    -------
    dict
        ``per_class`` as a list of ``{name, positives, negatives, auc: {value, low, high, n}}`` in the order
        given, ``mean_auc`` over the ``n_scored`` classes that have both sides (None without one).
    """
    truth, values = _check_matrix("score_diseases", target, scores, names)
    cluster = read_groups(groups, len(truth), "score_diseases")
    rows: list[dict[str, Any]] = []
    for c, name in enumerate(names):
        known = truth[:, c] >= 0
        estimate = estimate_auc(truth[known, c] == 1, values[known, c], cluster[known])
        positives = int(np.count_nonzero(truth[:, c] == 1))
        negatives = int(np.count_nonzero(truth[:, c] == 0))
        rows.append({"name": name, "positives": positives, "negatives": negatives, "auc": estimate})
    scored = [row["auc"]["value"] for row in rows if row["auc"]["value"] is not None]
    return {
        "per_class": rows,
        "mean_auc": float(np.mean(scored)) if scored else None,
        "n_scored": len(scored),
    }


def estimate_auc(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], cluster: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the AUC with its clustered 95 % interval; None where one side is empty.

    Parameters
    ----------
    positive : bool, shape (N,)
    scores : float64, shape (N,)
    cluster : int64, shape (N,)
    """
    ill, well = scores[positive], np.sort(scores[~positive])
    m, n = len(ill), len(well)
    if m == 0 or n == 0:
        return {"value": None, "low": None, "high": None, "n": m + n}
    # Placement of each positive among the negatives, and the other way round.
    of_ill = (np.searchsorted(well, ill, "left") + np.searchsorted(well, ill, "right")) / (2 * n)
    ranked = np.sort(ill)
    healthy = scores[~positive]
    below = np.searchsorted(ranked, healthy, "left") + np.searchsorted(ranked, healthy, "right")
    of_well = 1 - below / (2 * m)
    auc = float(of_ill.mean())
    used, inverse = np.unique(cluster, return_inverse=True)
    size = len(used)
    ill_excess = np.bincount(inverse[positive], of_ill - auc, size)
    well_excess = np.bincount(inverse[~positive], of_well - auc, size)
    with_ill = len(np.unique(inverse[positive]))
    with_well = len(np.unique(inverse[~positive]))
    low = high = None
    if with_ill > 1 and with_well > 1:
        variance = (
            with_ill / (with_ill - 1) * float(ill_excess @ ill_excess) / m**2
            + with_well / (with_well - 1) * float(well_excess @ well_excess) / n**2
            + 2 * size / (size - 1) * float(ill_excess @ well_excess) / (m * n)
        )
        half = Z95 * sqrt(max(variance, 0.0))
        if half > 0:
            low, high = max(0.0, auc - half), min(1.0, auc + half)
    return {"value": auc, "low": low, "high": high, "n": m + n}


def score_disease_ranking(
    target: ArrayLike,
    scores: ArrayLike,
    names: Sequence[str],
    *,
    groups: Sequence[Any] | ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score diseases in the original's softmax form: one list of classes "X present" / "X absent" per image.

    An image is right at k if any of its true classes is among its k highest scores (ties: the smaller class
    first). The baseline answers the classes most frequent among these very images.

    Parameters
    ----------
    target : array_like of int, shape (N, C)
        1 yes, 0 no, -1 unknown; images without a 1 take no part.
    scores : array_like of float, shape (N, C)
    names : sequence of C str
    groups : sequence, shape (N,), optional
        Patient of each image.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``n_images``, ``n_classes``, ``top1``, ``top5``, ``gain`` as ``{value, low, high, n}``, ``majority``
        with ``name`` and the estimates ``top1, top5``.
    """
    truth, values = _check_matrix("score_disease_ranking", target, scores, names)
    yes = truth == 1
    rows = np.flatnonzero(yes.any(axis=1))
    cluster = read_groups(groups, len(truth), "score_disease_ranking")[rows]
    yes, values = yes[rows], values[rows]
    frequency = yes.sum(axis=0)
    usual = np.lexsort((np.arange(len(names)), -frequency))
    order = np.argsort(-values, axis=1, kind="stable")
    right = np.take_along_axis(yes, order, axis=1)
    columns = [right[:, :1], right[:, :5], yes[:, usual[:1]], yes[:, usual[:5]]]
    hits = np.stack([part.any(axis=1) for part in columns], axis=1).astype(np.float64)
    (top1, top5, base1, base5), (gain,) = estimate_ratios(
        hits, np.ones_like(hits), cluster, differences=[(0, 2)], draws=draws, seed=seed
    )
    return {
        "n_images": len(rows),
        "n_classes": len(names),
        "top1": top1,
        "top5": top5,
        "gain": gain,
        "majority": {
            "name": names[usual[0]] if len(rows) else None,
            "top1": base1,
            "top5": base5,
        },
    }


def _check_matrix(
    function: str, target: ArrayLike, scores: ArrayLike, names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth, values = np.asarray(target), np.asarray(scores, np.float64)
    if truth.ndim != 2 or truth.shape != values.shape or truth.shape[1] != len(names):
        raise UsageError(
            f"[{function}] target and scores need one shape (N, {len(names)}), "
            f"are {truth.shape} and {values.shape}"
        )
    if truth.size and not np.isin(truth, (-1, 0, 1)).all():
        raise UsageError(f"[{function}] target must be 1, 0 or -1")
    if not np.isfinite(values).all():
        raise UsageError(f"[{function}] scores must be finite, have NaN or infinity")
    return truth.astype(np.int64), values
