"""Held-out probability of documents: document completion, and the left-to-right estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfast.errors import InputError
from radfast.kernels import gibbs
from radfast.kernels.gibbs.left_to_right import left_to_right
from radfast.topics.counts import Documents

#: Definitions of the probability of a held-out document: see `LDA.perplexity`.
DEFINITIONS = ("completion", "left_to_right")


def perplexity(
    documents: Documents,
    components: NDArray[np.float32],
    alpha: Any,
    *,
    method: str,
    n_particles: int,
    threads: int,
) -> float:
    """Return exp(-sum log p / tokens) of `documents` by one of `DEFINITIONS`; see `LDA.perplexity`."""
    match method:
        case "completion":
            halves = split_tokens(documents)
            n_tokens, least = len(halves[1].tokens), 2
        case "left_to_right":
            n_tokens, least = len(documents.tokens), 1
        case _:
            raise InputError(f"[perplexity] method must be one of {', '.join(DEFINITIONS)}, is '{method}'")
    if n_tokens == 0:
        raise InputError(f"[perplexity] a document of at least {least} known words is needed, there is none")
    if n_particles < 1:
        raise InputError(f"[perplexity] n_particles must be 1 or more, is {n_particles}")
    if method == "completion":
        logs = complete(halves, components, alpha, threads)
    else:
        logs = estimate_whole(documents, components, alpha, n_particles=n_particles, threads=threads)
    return float(np.exp(-logs.sum() / n_tokens))


def split_tokens(documents: Documents, seed: int = 0) -> tuple[Documents, Documents]:
    """Halve every document at random: (observed, held out), the odd token observed.

    The split depends on the bags of words and `seed` alone, not on the order of tokens in a document.
    """
    shuffled = shuffle_tokens(documents, seed)
    place = np.arange(len(shuffled.tokens)) - np.repeat(documents.indptr[:-1], np.diff(documents.indptr))
    held = place % 2 == 1
    return shuffled.keep(~held), shuffled.keep(held)


def shuffle_tokens(documents: Documents, seed: int = 0) -> Documents:
    """Bring the tokens of every document into a random order that depends on the bag and `seed` alone."""
    owner = np.repeat(np.arange(len(documents)), np.diff(documents.indptr))
    by_word = documents.tokens[np.lexsort((documents.tokens, owner))]
    order = np.lexsort((np.random.default_rng(seed).random(len(owner)), owner))
    return Documents(documents.indptr, by_word[order], documents.n_words, documents.vocabulary)


def complete(
    halves: tuple[Documents, Documents],
    components: NDArray[np.float32],
    alpha: Any,
    threads: int,
) -> NDArray[np.float64]:
    """Return per document log p(second half | first half), float64 (D,), in nats.

    Topic shares come from the first half by fold-in; see `radfast.kernels.gibbs.fold_in`.
    """
    observed, held = halves
    phi = components.T
    theta = gibbs.fold_in(observed.indptr, observed.tokens, phi, alpha, threads=threads)
    return gibbs.log_predictive(held.indptr, held.tokens, theta, phi, threads=threads)


def estimate_whole(
    documents: Documents,
    components: NDArray[np.float32],
    alpha: Any,
    *,
    n_particles: int,
    threads: int,
) -> NDArray[np.float64]:
    """Return per document an estimate of log p(words), float64 (D,), in nats; see `left_to_right`."""
    shuffled = shuffle_tokens(documents)
    prior = np.broadcast_to(np.asarray(alpha, np.float64), (len(components),))
    return left_to_right(
        shuffled.indptr,
        shuffled.tokens,
        components.T,
        prior,
        n_particles=n_particles,
        seed=0,
        threads=threads,
    )
