"""Sentences of reports."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError
from radfast.kernels import tokenize
from radfast.kernels.tokenize import DEFAULT_RULES, SentenceRules

__all__ = ["DEFAULT_RULES", "SentenceRules", "split_sentences", "split_sentences_batch"]


def _encode(text: str | bytes) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, bytes):
        return text
    raise UsageError(f"[split_sentences] text must be str or bytes, is {type(text).__name__}")


def split_sentences(text: str | bytes, *, rules: SentenceRules = DEFAULT_RULES) -> npt.NDArray[np.int64]:
    """Split a report into sentences.

    A heading with its colon that stands on a line of its own, or before a list, is a sentence; one that is
    followed by text on its line belongs to the text. List numbers belong to their items.

    Parameters
    ----------
    text : str or bytes
        A report; a str counts as its UTF-8 bytes (a lone surrogate as three), bytes need not be valid.
    rules : SentenceRules
        Word tables; the default is for radiology English.

    Returns
    -------
    spans : int64 (S, 2)
        Half-open byte spans in the UTF-8 text, without white space at the ends, in reading order. They cover
        every character that is not white space.

    Raises
    ------
    UsageError
        If `text` is neither str nor bytes.
    """
    return tokenize.split_sentences(_encode(text), rules)


def split_sentences_batch(
    texts: Iterable[str | bytes], *, rules: SentenceRules = DEFAULT_RULES
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split many reports into sentences.

    Parameters
    ----------
    texts : iterable of str or bytes
        D reports, each as for `split_sentences`.
    rules : SentenceRules
        Word tables.

    Returns
    -------
    spans : int64 (S, 2)
        Byte spans, each in its own report.
    indptr : int64 (D + 1,)
        Report d owns ``spans[indptr[d]:indptr[d + 1]]``.
    """
    parts = [split_sentences(text, rules=rules) for text in texts]
    indptr = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=indptr[1:])
    spans = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    return spans, indptr
