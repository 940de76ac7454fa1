"""Longest match, in plain Python: the truth for the other backends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


def find_phrases(
    tokens: Int32,
    indptr: Int64,
    edge_indptr: Int32,
    edge_token: Int32,
    edge_node: Int32,
    phrase: Int32,
    root: Int32,
) -> tuple[Int64, Int64, Int32]:
    """Walk the trie from every position, keep the longest phrase, go on behind it."""
    matches: list[tuple[int, int, int]] = []
    for first, last in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        at = first
        while at < last:
            node, stop, best = 0, at, (at, at, -1)
            while stop < last:
                edges = range(edge_indptr[node], edge_indptr[node + 1])
                node = next((int(edge_node[edge]) for edge in edges if edge_token[edge] == tokens[stop]), -1)
                if node < 0:
                    break
                stop += 1
                if phrase[node] >= 0:
                    best = (at, stop, int(phrase[node]))
            if best[2] >= 0:
                matches.append(best)
            at = max(best[1], at + 1)
    found = np.array(matches, np.int64).reshape(-1, 3)
    return found[:, 0].copy(), found[:, 1].copy(), found[:, 2].astype(np.int32)
