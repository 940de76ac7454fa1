"""Estimation of alpha, the Dirichlet parameter of documents over topics, from the topics of their tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radfast.kernels.gibbs.histogram import count_documents

#: "no" leaves alpha as given; one value for all topics; one value per topic.
OPTIMIZE = ("no", "symmetric", "asymmetric")
_STEPS = 50
_SETTLED = 1e-4
# A topic without a token would fall to 0, and a Dirichlet parameter is above 0.
_LEAST = 1e-6


def estimate_alpha(
    indptr: NDArray[np.int64],
    topics: NDArray[np.uint16],
    alpha: NDArray[np.float64],
    *,
    symmetric: bool,
) -> NDArray[np.float64]:
    """Raise the likelihood of the topics by Minka's fixed point; at most 50 steps from `alpha`.

    With n_dk the tokens of topic k in document d, N_d their sum, A = sum alpha and psi the digamma function
    (Minka 2000, "Estimating a Dirichlet distribution", equation 55):

        alpha_k <- alpha_k sum_d (psi(n_dk + alpha_k) - psi(alpha_k)) / sum_d (psi(N_d + A) - psi(A))

    until no alpha_k moves by more than 1e-4 of itself. The symmetric form takes the mean of the numerators
    over topics. The sums run over a histogram of the counts, so that a step costs the same for any number of
    documents (Wallach 2008). alpha_k stays at 1e-6 or above.

    Parameters
    ----------
    indptr : int64, shape (D+1,)
    topics : uint16, shape (T,)
    alpha : float64, shape (K,)
        Above 0.
    symmetric : bool
        One value for all topics.

    Returns
    -------
    float64, shape (K,)
        `alpha` itself where there is no token.
    """
    n_topics = len(alpha)
    if len(topics) == 0:
        return alpha
    start, documents = count_documents(indptr, topics, n_topics)
    lengths = np.bincount(np.diff(indptr))[1:]
    reached = np.flip(np.cumsum(np.flip(lengths)))  # documents of more than j tokens, j = 0, 1, ...
    # Documents with more than j tokens of topic k: psi(n + a) - psi(a) = sum_j<n 1 / (a + j).
    total = np.append(np.flip(np.cumsum(np.flip(documents))), 0)
    owner = np.repeat(np.arange(n_topics), np.diff(start))
    more = (total[:-1] - total[start[owner + 1]]).astype(np.float64)
    step = np.arange(len(documents)) - start[owner]
    places = np.arange(len(reached))
    for _ in range(_STEPS):
        above = np.bincount(owner, weights=more / (alpha[owner] + step), minlength=n_topics)
        if symmetric:
            above[:] = above.mean()
        below = float((reached / (alpha.sum() + places)).sum())
        fresh = np.maximum(alpha * above / below, _LEAST)
        moved = float(np.abs(fresh / alpha - 1.0).max())
        alpha = fresh
        if moved < _SETTLED:
            break
    return alpha
