"""UTF-8 text to sentences, and to the word numbers of a vocabulary.

**Tokens.** The pattern says what a token is; "word character" is a Unicode letter or number (Python's
``str.isalnum``) or combining mark:

- ``radiology``: runs of word characters; between two of them one ``-``, ``/``, ``'`` or typographic ``’ ‐
  ‑`` joins (l4-5, t1-weighted, and/or), and so does ``.`` (1.5, e.g) unless it ends a sentence there: a
  capital follows and a lower-case ASCII letter precedes, or a digit precedes and a lower-case letter follows
  the capital; ``:`` joins two ASCII digits (10:30). ``___`` (three or more), ``[**...**]`` (200 bytes at
  most) and xxxx (four or more) are placeholders.
- ``paper``: what white space separates, without what is no word character at its ends.
- ``word``: runs of ``str.isalnum`` characters and ``_``: scikit-learn's default token pattern.

**Words.** A token is folded character by character: ``chr(c).lower()[0]``; the radiology pattern turns ``’``
into ``'`` and ``‐ ‑`` into ``-``. Then placeholders and numbers are kept, dropped or masked (``<deid>
<number> <date> <time> <measure>``), and words of fewer than `min_length` characters are dropped; masks are
exempt.

**Numbers of words.** 0 is the most frequent word that stays; ties by bytes. The same at any number of
threads.

**Bytes.** A sequence that is no UTF-8 stands for U+FFFD, which is no word character, and is counted as
Python's ``errors="replace"`` would. NUL is a character like any other. A document is shorter than 2**32 - 1
bytes.

**Sentences.** Half-open byte spans, ascending, disjoint, without white space (``str.isspace``) at their
ends; together they cover every byte that is not white space. A text of white space has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError
from radfast.kernels.tokenize import cpu, reference
from radfast.kernels.tokenize.rules import DEFAULT_RULES, PruneRules, SentenceRules, TokenRules
from radfast.kernels.tokenize.tokens import Lines, Slices, Tokens

__all__ = [
    "DEFAULT_RULES",
    "Lines",
    "PruneRules",
    "SentenceRules",
    "Slices",
    "TokenRules",
    "Tokens",
    "split_sentences",
    "tokenize",
]

_PATTERNS = ("radiology", "paper", "word")
_KEEPS = ("keep", "drop", "mask")


def tokenize(
    batches: Iterable[Sequence[str | bytes] | Slices | Lines],
    rules: TokenRules | None = None,
    prune: PruneRules | None = None,
    *,
    vocabulary: Sequence[str] | None = None,
    keep_spans: bool = False,
    sentences: SentenceRules | None = None,
    threads: int = 1,
    folder: Path | None = None,
    backend: str = "cpu",
) -> Tokens:
    """Turn texts into word numbers.

    Parameters
    ----------
    batches : iterable of lists of str or bytes, of Slices, or of Lines
        D texts in all. Batches of some MB keep all threads at work, and the next one is asked for while they
        work. The lines of a file are read by the threads.
    rules : TokenRules, optional
        What a token is.
    prune : PruneRules, optional
        Which words stay; not looked at where a vocabulary is given.
    vocabulary : sequence of str, optional
        V words: its numbers are used and other words are dropped. Without it, it is learned.
    keep_spans : bool
        Keep the byte span of every token.
    sentences : SentenceRules, optional
        Keep sentence ends.
    threads : int
        At least 1.
    folder : path, optional
        An existing folder: the arrays are written there as <name>.npy while they are made, and mapped, so
        that memory holds the words and some MB. Only backend "cpu".
    backend : str
        "cpu", or "reference": plain Python, for checks.

    Returns
    -------
    Tokens

    Raises
    ------
    UsageError
        If a rule has an unknown value, a text is neither str nor bytes or has 2**32 - 1 bytes or more, or a
        vocabulary holds a word twice, or a file of Lines cannot be read.
    CannotWriteError
        If `folder` cannot be written.
    """
    rules, prune = rules or TokenRules(), prune or PruneRules()
    for name, value, allowed in (
        ("pattern", rules.pattern, _PATTERNS),
        ("numbers", rules.numbers, _KEEPS),
        ("placeholders", rules.placeholders, _KEEPS),
    ):
        if value not in allowed:
            raise UsageError(f"[tokenize] {name} must be one of {', '.join(allowed)}, is {value!r}")
    if rules.min_length < 1 or threads < 1:
        raise UsageError(
            f"[tokenize] min_length and threads must be positive, are {rules.min_length}, {threads}"
        )
    if vocabulary is not None and len(set(vocabulary)) != len(vocabulary):
        raise UsageError("[tokenize] vocabulary must hold each word once")
    match backend:
        case "cpu":
            return cpu.tokenize(batches, rules, prune, vocabulary, keep_spans, sentences, threads, folder)
        case "reference" if folder is None:
            return reference.tokenize(batches, rules, prune, vocabulary, keep_spans, sentences)
        case "reference":
            raise UsageError("[tokenize] backend 'reference' keeps its arrays in memory: leave folder out")
    raise UsageError(f"[tokenize] backend '{backend}' does not exist: choose from cpu, reference")


def split_sentences(text: bytes, rules: SentenceRules = DEFAULT_RULES) -> npt.NDArray[np.int64]:
    """Find the sentences of a UTF-8 text.

    Parameters
    ----------
    text : bytes
        UTF-8; invalid bytes count as characters of no class.
    rules : SentenceRules
        Word tables.

    Returns
    -------
    spans : int64 (S, 2)
        Byte offsets.
    """
    return cpu.split_sentences(text, rules)
