"""95 % confidence intervals: Wilson for one proportion, cluster bootstrap for everything that has patients.

Images of one patient are no independent samples, so whole patients are drawn: a draw weighs each patient by
how often it came up, and a ratio of sums is taken anew. Efron and Tibshirani 1993, chapter 13 (percentiles);
Field and Welsh 2007 (clusters); Wilson 1927.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.errors import UsageError

#: Two-sided 95 % point of the normal distribution.
Z95 = 1.959963984540054

_TAILS = (2.5, 97.5)
_BLOCK = 64  # draws held at a time


def plain(value: float) -> float | None:
    """Return `value` as JSON can hold it: None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def wilson_interval(hits: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the proportion hits / n.

    Center (p + z^2/2n) / (1 + z^2/n), half width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).

    Parameters
    ----------
    hits, n : float
        0 <= hits <= n, n > 0.

    Raises
    ------
    UsageError
        If they are out of range.
    """
    if not (n > 0 and 0 <= hits <= n):
        raise UsageError(f"[wilson_interval] 0 <= hits <= n and n > 0 are needed, are {hits} and {n}")
    p, scale = hits / n, 1 + Z95**2 / n
    center = (p + Z95**2 / (2 * n)) / scale
    half = Z95 * sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / scale
    return max(0.0, center - half), min(1.0, center + half)


def read_groups(groups: Sequence[Any] | ArrayLike | None, n: int, function: str) -> NDArray[np.int64]:
    """Return cluster numbers from 0, int64 (n,); each sample is its own cluster where `groups` is None."""
    if groups is None:
        return np.arange(n)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise UsageError(f"[{function}] groups must have shape ({n},), is {labels.shape}")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def draw_weights(n_clusters: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield blocks, float64 (b, n_clusters): how often each cluster stands in each of `draws` resamples."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK):
        drawn = rng.integers(n_clusters, size=(min(_BLOCK, draws - start), n_clusters))
        drawn += np.arange(len(drawn))[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=drawn.size)
        yield counts.reshape(-1, n_clusters).astype(np.float64)


def percentile_interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the 2.5 and 97.5 percentiles of the finite values; None where fewer than 2 are finite."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return None, None
    low, high = np.percentile(finite, _TAILS)
    return float(low), float(high)


def estimate_ratios(
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    groups: Sequence[Any] | ArrayLike | None = None,
    *,
    differences: Sequence[tuple[int, int]] = (),
    proportion: bool | Sequence[bool] = True,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Estimate M ratios sum(numerator) / sum(denominator) with 95 % cluster bootstrap intervals.

    A mean over samples is the ratio with denominator 1, and 0 for samples that do not count. Where every
    cluster agrees on 0 or on 1 the bootstrap sees no spread: a proportion then takes Wilson's interval over
    the number of clusters, any other ratio has no interval.

    Parameters
    ----------
    numerators, denominators : float64, shape (N, M)
    groups : sequence, shape (N,), optional
        Cluster of each sample (the patient).
    differences : sequence of pair of int
        Columns (a, b) whose difference a - b is estimated in the same draws.
    proportion : bool or sequence of M bool
        The ratio is a share, 0 to 1.
    draws : int
        Resamples.
    seed : int

    Returns
    -------
    list of M dict, list of dict
        Keys ``value``, ``low``, ``high`` (None where undefined), ``n`` (samples with a denominator).
    """
    if numerators.ndim != 2 or numerators.shape != denominators.shape:
        raise UsageError(
            "[estimate_ratios] numerators and denominators need one shape (N, M), "
            f"are {numerators.shape} and {denominators.shape}"
        )
    n, m = numerators.shape
    cluster = read_groups(groups, n, "estimate_ratios")
    n_clusters = int(cluster.max(initial=-1)) + 1
    top, bottom = np.zeros((n_clusters, m)), np.zeros((n_clusters, m))
    np.add.at(top, cluster, numerators)
    np.add.at(bottom, cluster, denominators)
    value = _divide(top.sum(axis=0), bottom.sum(axis=0))
    # einsum, not BLAS: the sums do not depend on the number of threads.
    drawn = [
        _divide(np.einsum("bg,gm->bm", w, top), np.einsum("bg,gm->bm", w, bottom))
        for w in (draw_weights(n_clusters, draws, seed) if n_clusters > 1 else ())
    ]
    spread = np.concatenate(drawn) if drawn else np.empty((0, m))
    counted = np.count_nonzero(denominators, axis=0)
    shares = [proportion] * m if isinstance(proportion, bool) else list(proportion)
    ratios = []
    for j in range(m):
        low, high = percentile_interval(spread[:, j])
        if np.isfinite(value[j]) and (low is None or low == high):
            low = high = None
            if shares[j] and value[j] in (0.0, 1.0):
                patients = int(np.count_nonzero(bottom[:, j]))
                low, high = wilson_interval(value[j] * patients, patients)
        ratios.append({"value": plain(value[j]), "low": low, "high": high, "n": int(counted[j])})
    gaps = []
    for a, b in differences:
        low, high = percentile_interval(spread[:, a] - spread[:, b])
        gaps.append({"value": plain(value[a] - value[b]), "low": low, "high": high, "n": int(counted[a])})
    return ratios, gaps


def _divide(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio
