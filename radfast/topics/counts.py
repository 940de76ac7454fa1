"""What a topic model is fed: a corpus of token ids or a matrix of counts, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from radfast.errors import InputError
from radfast.kernels.ids import read_ids

_MOST = 2**40


@dataclass(frozen=True)
class Documents:
    """Bags of words: document d owns ``tokens[indptr[d]:indptr[d+1]]``.

    Attributes
    ----------
    indptr : int64, shape (D+1,)
    tokens : int32, shape (T,)
        Word ids, 0 to V-1.
    n_words : int
        V.
    vocabulary : tuple of str or None
        The words; None for a bare matrix.
    """

    indptr: NDArray[np.int64]
    tokens: NDArray[np.int32]
    n_words: int
    vocabulary: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, ids: NDArray[np.integer[Any]]) -> Documents:
        """Return the documents `ids`, in that order."""
        lengths = np.diff(self.indptr)[ids]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        shift = np.repeat(self.indptr[:-1][ids] - indptr[:-1], lengths)
        return Documents(indptr, self.tokens[np.arange(indptr[-1]) + shift], self.n_words, self.vocabulary)

    def keep(self, mask: NDArray[np.bool_]) -> Documents:
        """Return the same documents with only the tokens where `mask` bool (T,) is true."""
        cumulated = np.concatenate(([0], np.cumsum(mask)))
        return Documents(cumulated[self.indptr], self.tokens[mask], self.n_words, self.vocabulary)


def is_corpus(X: Any) -> bool:
    """Tell whether `X` is a corpus: it has ``indptr``, ``tokens`` and ``vocabulary``."""
    return all(hasattr(X, name) for name in ("indptr", "tokens", "vocabulary"))


def read_documents(X: Any, function: str = "read_documents") -> Documents:
    """Read a corpus or a count matrix.

    Parameters
    ----------
    X : Corpus, scipy sparse matrix or array_like, shape (D, V)
        A corpus is any object with ``indptr``, ``tokens`` and ``vocabulary``. Entries of a matrix are counts:
        whole numbers, 0 or more; entries stored twice add up. A token then stands in the order of word ids.
    function : str
        Name for error messages.

    Returns
    -------
    Documents

    Raises
    ------
    InputError
        If an id is outside the vocabulary, or a count is negative, not whole, NaN or infinite.
    TypeError
        If an entry of an object array is no number.
    """
    if isinstance(X, Documents):
        return X
    if is_corpus(X):
        return _read_corpus(X, function)
    matrix = _read_matrix(X, function)
    counts = matrix.data
    if not bool(np.isfinite(counts).all()):
        raise InputError(f"[{function}] counts must be finite, some are NaN or inf")
    if counts.size and counts.min() < 0:
        raise InputError(
            f"[{function}] Negative values in data: counts must be 0 or more, the least is {counts.min()}"
        )
    if counts.size and counts.max() >= _MOST:
        raise InputError(f"[{function}] counts must be whole numbers below 2**40, one is {counts.max()}")
    whole = counts.astype(np.int64)
    if not np.array_equal(whole, counts):
        raise InputError(f"[{function}] counts must be whole numbers, one is {counts[whole != counts][0]}")
    cumulated = np.concatenate(([0], np.cumsum(whole)))
    tokens = np.repeat(matrix.indices.astype(np.int32), whole)
    return Documents(cumulated[matrix.indptr].astype(np.int64), tokens, int(matrix.shape[1]))


def _read_matrix(X: Any, function: str) -> sp.csr_matrix:
    if not sp.issparse(X):
        X = np.asarray(X)
        if X.ndim == 1:
            raise InputError(
                f"[{function}] X must have 2 dimensions (D, V), has 1. Reshape your data to (1, V)"
            )
        if X.dtype == object and X.ndim == 2:
            X = X.astype(np.float64)
    if np.iscomplexobj(X):
        raise InputError(f"[{function}] counts must be real. Complex data not supported")
    try:
        matrix = sp.csr_matrix(X)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"[{function}] X must be a corpus or a matrix of counts (D, V), is {type(X).__name__}"
        ) from error
    if not (np.issubdtype(matrix.dtype, np.number) or matrix.dtype == np.bool_):
        raise InputError(f"[{function}] counts must be numbers, are {matrix.dtype}")
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _read_corpus(X: Any, function: str) -> Documents:
    vocabulary = tuple(X.vocabulary)
    indptr = read_ids(X.indptr, np.int64, f"[{function}] indptr")
    tokens = read_ids(X.tokens, np.int32, f"[{function}] tokens")
    rising = len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == len(tokens)
    if not rising or bool((np.diff(indptr) < 0).any()):
        raise InputError(f"[{function}] indptr must rise from 0 to the {len(tokens)} tokens, does not")
    if len(tokens) and (int(tokens.min()) < 0 or int(tokens.max()) >= len(vocabulary)):
        span = f"{tokens.min()} to {tokens.max()}"
        raise InputError(f"[{function}] tokens must be 0 to {len(vocabulary) - 1} (V - 1), are {span}")
    return Documents(indptr, tokens, len(vocabulary), vocabulary)


def align_documents(
    documents: Documents, n_words: int, vocabulary: tuple[str, ...] | None, function: str
) -> Documents:
    """Bring `documents` to the words of a fitted model; words it does not know are left out.

    Raises
    ------
    InputError
        If there are no words to compare and V differs.
    """
    if vocabulary is None or documents.vocabulary is None:
        if documents.n_words != n_words:
            raise InputError(f"[{function}] X must have {n_words} columns (V), has {documents.n_words}")
        return documents
    if documents.vocabulary == vocabulary:
        return documents
    ids = {word: i for i, word in enumerate(vocabulary)}
    to_id = np.array([ids.get(word, -1) for word in documents.vocabulary], dtype=np.int32)
    mapped = to_id[documents.tokens] if len(to_id) else documents.tokens
    known = documents.keep(mapped >= 0)
    return Documents(known.indptr, mapped[mapped >= 0], n_words, vocabulary)
