"""What goes into `tokenize` and what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Slices(NamedTuple):
    """Texts that lie one after the other in one buffer, as in an Arrow string array."""

    #: bytes-like, UTF-8
    data: Any
    #: int64 (D + 1,): text d is ``data[bounds[d]:bounds[d + 1]]``
    bounds: npt.NDArray[np.int64]


class Lines(NamedTuple):
    """A file with one text per line; the line break belongs to its text."""

    #: str
    path: str


@dataclass(frozen=True)
class Tokens:
    """A tokenized batch.

    Attributes
    ----------
    indptr : int64 (D + 1,)
        Document d owns ``tokens[indptr[d]:indptr[d + 1]]``.
    tokens : int32 (T,)
        Word numbers in reading order.
    spans : uint32 (T, 2) or None
        Byte spans in the UTF-8 of the document.
    sentences : int64 (S + 1,) or None
        Sentence s owns ``tokens[sentences[s]:sentences[s + 1]]``; a sentence may have lost all its tokens.
    sentence_indptr : int64 (D + 1,) or None
        Document d owns the sentences from ``sentence_indptr[d]`` to ``sentence_indptr[d + 1]``.
    words : iterable of str
        The words of the vocabulary, V; those that were learned are kept as UTF-8 and made when asked for.
    counts, document_counts : uint64 (V,)
        Tokens of each word, documents it is in; empty where the vocabulary was given.
    n_invalid : int
        Invalid UTF-8 sequences seen.
    """

    indptr: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    spans: npt.NDArray[np.uint32] | None
    sentences: npt.NDArray[np.int64] | None
    sentence_indptr: npt.NDArray[np.int64] | None
    words: Iterable[str]
    counts: npt.NDArray[np.uint64]
    document_counts: npt.NDArray[np.uint64]
    n_invalid: int

    @cached_property
    def vocabulary(self) -> list[str]:
        """The words of the vocabulary, V."""
        return list(self.words)
