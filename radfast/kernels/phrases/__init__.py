"""Longest match of many phrases over token ids.

A phrase is a row of token ids. `find_phrases` reads each document from left to right; at every position the
longest phrase that starts there is taken and reading goes on behind it, so matches never overlap and never
cross the end of a document. Ids below 0 stand for tokens outside the vocabulary: no phrase holds them, and
they break every match.

The phrases are kept as a trie in flat arrays: node n owns the edges ``edge_token[edge_indptr[n]:edge_indptr[n
+ 1]]`` in ascending order; ``edge_node`` is where they lead, ``phrase`` the phrase that ends at a node, -1
for none. The root's edges are also a table by token. Cost: O(T log E) for T tokens and at most E edges at a
node, however many phrases there are, times the length of the longest phrase in the worst case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from radfast.device import choose_backend
from radfast.errors import UsageError
from radfast.kernels.ids import read_ids
from radfast.kernels.phrases import cpu, reference

__all__ = ["Trie", "build_trie", "find_phrases"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Trie(NamedTuple):
    """Phrases as flat arrays; M nodes, M - 1 edges, V tokens.

    Attributes
    ----------
    edge_indptr : int32 (M + 1,)
    edge_token : int32 (M - 1,)
    edge_node : int32 (M - 1,)
    phrase : int32 (M,)
    root : int32 (V,)
        Node behind the root's edge of each token, -1 for none.
    """

    edge_indptr: Int32
    edge_token: Int32
    edge_node: Int32
    phrase: Int32
    root: Int32


def build_trie(phrases: Sequence[Sequence[int]]) -> Trie:
    """Build the trie of phrases; a phrase that occurs twice keeps its first number.

    Parameters
    ----------
    phrases : sequence of sequence of int
        Token ids >= 0 of each phrase, at least one.

    Raises
    ------
    UsageError
        If a phrase is empty or holds a negative id.
    """
    children: list[dict[int, int]] = [{}]
    ends = [-1]
    for number, tokens in enumerate(phrases):
        if len(tokens) == 0:
            raise UsageError(f"[build_trie] a phrase must have at least one token, phrase {number} has none")
        node = 0
        for token in tokens:
            if token < 0:
                raise UsageError(f"[build_trie] token ids must be >= 0, phrase {number} has {token}")
            following = children[node].setdefault(int(token), len(children))
            if following == len(children):
                children.append({})
                ends.append(-1)
            node = following
        if ends[node] < 0:
            ends[node] = number
    edges = [sorted(edge.items()) for edge in children]
    indptr = np.zeros(len(edges) + 1, np.int32)
    np.cumsum([len(edge) for edge in edges], out=indptr[1:])
    flat = np.array([pair for edge in edges for pair in edge], np.int32).reshape(-1, 2)
    root = np.full(max(children[0], default=-1) + 1, -1, np.int32)
    root[list(children[0])] = list(children[0].values())
    return Trie(indptr, flat[:, 0].copy(), flat[:, 1].copy(), np.array(ends, np.int32), root)


def find_phrases(
    tokens: npt.ArrayLike, trie: Trie, *, indptr: npt.ArrayLike | None = None, backend: str = "auto"
) -> tuple[Int64, Int64, Int32]:
    """Find the longest phrases in documents of token ids.

    Parameters
    ----------
    tokens : int32 (T,)
        Token ids in reading order; negative ids match nothing.
    trie : Trie
        The phrases, from `build_trie`.
    indptr : int64 (D + 1,), optional
        Document d owns ``tokens[indptr[d]:indptr[d + 1]]``; one document when absent.
    backend : str
        "auto", "cpu" or "reference".

    Returns
    -------
    start, end : int64 (N,)
        Token positions of each match, half open, ascending.
    phrase : int32 (N,)
        Number of the phrase.

    Raises
    ------
    UsageError
        If `tokens` is not a row of integers, or `indptr` does not run from 0 to T without falling.
    """
    tokens = read_ids(tokens, np.int32, "[find_phrases] tokens")
    bounds = read_ids([0, len(tokens)] if indptr is None else indptr, np.int64, "[find_phrases] indptr")
    if not len(bounds) or bounds[0] != 0 or bounds[-1] != len(tokens) or (np.diff(bounds) < 0).any():
        raise UsageError(
            f"[find_phrases] indptr must rise from 0 to {len(tokens)}, is {bounds[:3]}...{bounds[-1:]}"
        )
    chosen = (
        backend
        if backend == "reference"
        else choose_backend(backend, kernel="find_phrases", supported=("cpu",))
    )
    match chosen:
        case "reference":
            return reference.find_phrases(tokens, bounds, *trie)
        case _:
            return cpu.find_phrases(tokens, bounds, *trie)
