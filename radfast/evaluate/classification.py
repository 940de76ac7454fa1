"""Image -> class: top-1, top-5, balanced accuracy, macro-F1, beside the answer that never looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError
from radfast.evaluate.intervals import draw_weights, estimate_ratios, percentile_interval, plain, read_groups


def score_classification(
    target: ArrayLike,
    probabilities: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    groups: Sequence[Any] | ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    max_classes: int = 40,
) -> dict[str, Any]:
    """Score a classifier on held-out images.

    top-k is the share of images whose class is among the k likeliest (ties: the smaller class first).
    Balanced accuracy is the mean recall over the classes that occur. Macro-F1 is the mean F1 over the classes
    that occur or are answered (Sokolova and Lapalme 2009). The majority baseline answers the class (for
    top-5, the five classes) most frequent among these very images: the best an answer without looking can do.
    Intervals are 95 % bootstrap over patients.

    Parameters
    ----------
    target : array_like of int, shape (N,)
        Class of each image; -1 takes no part.
    probabilities : array_like of float, shape (N, C)
        Scores, higher is likelier; finite.
    names : sequence of C str, optional
    groups : sequence, shape (N,), optional
        Patient of each image.
    draws, seed : int
        Of the bootstrap.
    max_classes : int
        Size of the confusion matrix: rarer classes are joined as "other".

    Returns
    -------
    dict
        ``n_images, n_classes, n_present, n_groups``; ``top1, top5, balanced_accuracy, macro_f1, gain`` (top-1
        over the baseline) as estimates ``{value, low, high, n}``; ``majority`` with ``name``, the
        estimates ``top1, top5`` and plain ``balanced_accuracy, macro_f1``; ``per_class`` with ``name, n,
        recall, precision, f1``; ``confusion``.

    Raises
    ------
    UsageError
        If shapes do not fit, a class is out of range, or a score is not finite.
    """
    truth, scores = _check("score_classification", target, probabilities, names)
    n_classes = scores.shape[1]
    labels = list(names) if names is not None else [str(c) for c in range(n_classes)]
    cluster = read_groups(groups, len(truth), "score_classification")
    kept = truth >= 0
    truth, scores, cluster = truth[kept], scores[kept], np.unique(cluster[kept], return_inverse=True)[1]
    answer = scores.argmax(axis=1) if n_classes else np.zeros(0, np.int64)
    support = np.bincount(truth, minlength=n_classes)
    ranked = np.lexsort((np.arange(n_classes), -support))
    place = rank_of_target(truth, scores)
    hits = np.stack(
        (place < 1, place < 5, np.isin(truth, ranked[:1]), np.isin(truth, ranked[:5])), axis=1
    ).astype(np.float64)
    (top1, top5, base1, base5), (gain,) = estimate_ratios(
        hits, np.ones_like(hits), cluster, differences=[(0, 2)], draws=draws, seed=seed
    )
    balanced, macro = _estimate_macro(truth, answer, n_classes, cluster, draws, seed)
    constant = np.full(len(truth), ranked[0] if n_classes else 0)
    constant_balanced, constant_f1 = _macro(*_tally(truth, constant, n_classes))
    return {
        "n_images": len(truth),
        "n_classes": n_classes,
        "n_present": int(np.count_nonzero(support)),
        "n_groups": int(cluster.max(initial=-1)) + 1,
        "top1": top1,
        "top5": top5,
        "balanced_accuracy": balanced,
        "macro_f1": macro,
        "gain": gain,
        "majority": {
            "name": labels[ranked[0]] if len(truth) else None,
            "top1": base1,
            "top5": base5,
            "balanced_accuracy": plain(constant_balanced),
            "macro_f1": plain(constant_f1),
        },
        "per_class": _per_class(truth, answer, labels),
        "confusion": count_confusion(truth, answer, labels, max_classes=max_classes),
    }


def _check(
    function: str, target: ArrayLike, probabilities: ArrayLike, names: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = np.asarray(target)
    scores = np.asarray(probabilities, np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise UsageError(
            f"[{function}] target (N,) and probabilities (N, C) are needed, "
            f"are {truth.shape} and {scores.shape}"
        )
    truth = truth.astype(np.int64)
    if truth.size and (truth.min() < -1 or truth.max() >= scores.shape[1]):
        raise UsageError(f"[{function}] classes must be -1 to {scores.shape[1] - 1}")
    if not np.isfinite(scores).all():
        raise UsageError(f"[{function}] probabilities must be finite, have NaN or infinity")
    if names is not None and len(names) != scores.shape[1]:
        raise UsageError(f"[{function}] names must be {scores.shape[1]}, are {len(names)}")
    return truth, scores


def rank_of_target(target: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of each target in its row, int64 (N,): 0 is best, ties by smaller class."""
    if not len(target):
        return np.zeros(0, np.int64)
    own = np.take_along_axis(scores, target[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < target[:, None]
    return np.asarray(((scores > own) | ((scores == own) & earlier)).sum(axis=1), np.int64)


def _tally(
    truth: NDArray[np.int64],
    answer: NDArray[np.int64],
    n_classes: int,
    weight: NDArray[np.float64] | None = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return correct, true and answered images per class."""
    right = truth == answer
    return (
        np.bincount(truth[right], None if weight is None else weight[right], n_classes),
        np.bincount(truth, weight, n_classes),
        np.bincount(answer, weight, n_classes),
    )


def _macro(correct: NDArray[Any], true: NDArray[Any], answered: NDArray[Any]) -> tuple[float, float]:
    """Return balanced accuracy and macro-F1; NaN without an image."""
    occurs, named = true > 0, true + answered > 0
    if not occurs.any():
        return float("nan"), float("nan")
    balanced = float((correct[occurs] / true[occurs]).mean())
    return balanced, float((2 * correct[named] / (true + answered)[named]).mean())


def _estimate_macro(
    truth: NDArray[np.int64],
    answer: NDArray[np.int64],
    n_classes: int,
    cluster: NDArray[np.int64],
    draws: int,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    value = _macro(*_tally(truth, answer, n_classes))
    n_clusters = int(cluster.max(initial=-1)) + 1
    drawn = [
        _macro(*_tally(truth, answer, n_classes, weights[cluster]))
        for block in (draw_weights(n_clusters, draws, seed) if n_clusters > 1 else ())
        for weights in block
    ]
    spread = np.array(drawn, np.float64).reshape(-1, 2)
    estimates = []
    for j in range(2):
        low, high = percentile_interval(spread[:, j])
        estimates.append({"value": plain(value[j]), "low": low, "high": high, "n": len(truth)})
    return estimates[0], estimates[1]


def _per_class(
    truth: NDArray[np.int64], answer: NDArray[np.int64], names: Sequence[str]
) -> list[dict[str, Any]]:
    correct, true, answered = _tally(truth, answer, len(names))
    rows = []
    for c in np.lexsort((np.arange(len(names)), -true)):
        hits, n, given = int(correct[c]), int(true[c]), int(answered[c])
        if n + given == 0:
            continue
        rows.append(
            {
                "name": names[c],
                "n": n,
                "recall": hits / n if n else None,
                "precision": hits / given if given else None,
                "f1": 2 * hits / (n + given),
            }
        )
    return rows


def count_confusion(
    target: ArrayLike, predicted: ArrayLike, names: Sequence[str], *, max_classes: int = 40
) -> dict[str, Any]:
    """Count true class against answered class.

    Parameters
    ----------
    target, predicted : array_like of int, shape (N,)
        Classes 0 to C - 1.
    names : sequence of C str
    max_classes : int
        With more classes in use, the `max_classes` most frequent keep their own row and column and the rest
        is joined as "other". Classes stand in their own order, so related sub-topics stay neighbours.

    Returns
    -------
    dict
        ``classes`` (list of str) and ``counts`` (list of lists of int, row true, column answered).
    """
    truth, answer = np.asarray(target, np.int64), np.asarray(predicted, np.int64)
    for values in (truth, answer):
        if values.shape != truth.shape or (
            values.size and not 0 <= values.min() <= values.max() < len(names)
        ):
            raise UsageError(f"[count_confusion] classes must be 0 to {len(names) - 1} and of one shape")
    use = np.bincount(truth, minlength=len(names)) + np.bincount(answer, minlength=len(names)) * 1e-9
    chosen = np.lexsort((np.arange(len(names)), -use))[: min(max_classes, int(np.count_nonzero(use)))]
    chosen.sort()
    joined = int(np.count_nonzero(use)) > len(chosen)
    place = np.full(len(names), len(chosen), np.int64)
    place[chosen] = np.arange(len(chosen))
    size = len(chosen) + joined
    counts = np.bincount(place[truth] * size + place[answer], minlength=size * size).reshape(size, size)
    return {
        "classes": [names[c] for c in chosen] + ["other"] * joined,
        "counts": counts.tolist(),
    }
