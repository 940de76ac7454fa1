"""Longest match on the CPU (Numba): a table for the first token, binary search for the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def _scan(
    tokens: Int32,
    indptr: Int64,
    edge_indptr: Int32,
    edge_token: Int32,
    edge_node: Int32,
    phrase: Int32,
    root: Int32,
    starts: Int64,
    ends: Int64,
    found: Int32,
) -> int:
    n = 0
    for document in range(len(indptr) - 1):
        at = indptr[document]
        last = indptr[document + 1]
        while at < last:
            token = tokens[at]
            node = root[token] if 0 <= token < len(root) else -1
            stop = at
            best_stop = at
            best = -1
            while node >= 0:
                stop += 1
                if phrase[node] >= 0:
                    best = phrase[node]
                    best_stop = stop
                if stop == last:
                    break
                low = edge_indptr[node]
                high = edge_indptr[node + 1]
                token = tokens[stop]
                while low < high:
                    middle = (low + high) // 2
                    if edge_token[middle] < token:
                        low = middle + 1
                    else:
                        high = middle
                known = low < edge_indptr[node + 1] and edge_token[low] == token
                node = edge_node[low] if known else -1
            if best >= 0:
                starts[n] = at
                ends[n] = best_stop
                found[n] = best
                n += 1
                at = best_stop
            else:
                at += 1
    return n


def find_phrases(
    tokens: Int32,
    indptr: Int64,
    edge_indptr: Int32,
    edge_token: Int32,
    edge_node: Int32,
    phrase: Int32,
    root: Int32,
) -> tuple[Int64, Int64, Int32]:
    """Find all matches; a document of t tokens has at most t."""
    starts = np.empty(len(tokens), np.int64)
    ends = np.empty(len(tokens), np.int64)
    found = np.empty(len(tokens), np.int32)
    n = _scan(tokens, indptr, edge_indptr, edge_token, edge_node, phrase, root, starts, ends, found)
    return starts[:n].copy(), ends[:n].copy(), found[:n].copy()
