"""Tokenized documents: word numbers in reading order, with what is needed to read them back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from radfast import store
from radfast.errors import CannotWriteError, UsageError
from radfast.kernels.tokenize import Tokens

FORMAT = "radfast corpus 1"
_ARRAYS = ("indptr", "tokens", "spans", "sentences", "sentence_indptr")
_TYPES = {
    "indptr": np.int64,
    "tokens": np.int32,
    "spans": np.uint32,
    "sentences": np.int64,
    "sentence_indptr": np.int64,
}


class Corpus:
    """D documents of T tokens over V words. The arrays are shared with their readers: do not write to them.

    Parameters
    ----------
    indptr : int64 (D + 1,)
        Document d owns ``tokens[indptr[d]:indptr[d + 1]]``.
    tokens : int32 (T,)
        Word numbers in reading order, ``0 <= number < V``.
    vocabulary : sequence of str
        V words.
    spans : uint32 (T, 2), optional
        Byte span of every token in the UTF-8 source of its document.
    sentences : int64 (S + 1,), optional
        Sentence s owns ``tokens[sentences[s]:sentences[s + 1]]``.
    sentence_indptr : int64 (D + 1,), optional
        Document d owns the sentences ``sentence_indptr[d]`` to ``sentence_indptr[d + 1]``.

    Raises
    ------
    UsageError
        If the arrays do not fit together.
    """

    def __init__(
        self,
        indptr: npt.ArrayLike,
        tokens: npt.ArrayLike,
        vocabulary: Sequence[str],
        spans: npt.ArrayLike | None = None,
        sentences: npt.ArrayLike | None = None,
        sentence_indptr: npt.ArrayLike | None = None,
    ) -> None:
        self.indptr: npt.NDArray[np.int64] = np.asanyarray(indptr, np.int64)
        self.tokens: npt.NDArray[np.int32] = np.asanyarray(tokens, np.int32)
        self._words: Iterable[str] = list(vocabulary)
        self.spans: npt.NDArray[np.uint32] | None = None if spans is None else np.asanyarray(spans, np.uint32)
        self.sentences: npt.NDArray[np.int64] | None = (
            None if sentences is None else np.asanyarray(sentences, np.int64)
        )
        self.sentence_indptr: npt.NDArray[np.int64] | None = (
            None if sentence_indptr is None else np.asanyarray(sentence_indptr, np.int64)
        )
        self._check()

    @classmethod
    def from_tokens(cls, found: Tokens) -> Corpus:
        """Wrap what the tokenizer made, unchecked: a check would read all of a mapped corpus into memory."""
        corpus = cls.__new__(cls)
        corpus.indptr, corpus.tokens, corpus._words = found.indptr, found.tokens, found.words
        corpus.spans, corpus.sentences = found.spans, found.sentences
        corpus.sentence_indptr = found.sentence_indptr
        return corpus

    def _check(self) -> None:
        _check_pointer("indptr", self.indptr, len(self.tokens))
        if self.tokens.ndim != 1:
            raise UsageError(f"[Corpus] tokens must have 1 dimension, has {self.tokens.ndim}")
        size = len(self.vocabulary)
        if len(self.tokens) and (int(self.tokens.min()) < 0 or int(self.tokens.max()) >= size):
            raise UsageError(f"[Corpus] tokens must lie in 0 to {size - 1}, the numbers of the vocabulary")
        if self.spans is not None and self.spans.shape != (len(self.tokens), 2):
            raise UsageError(f"[Corpus] spans must be ({len(self.tokens)}, 2), is {self.spans.shape}")
        if (self.sentences is None) != (self.sentence_indptr is None):
            raise UsageError("[Corpus] sentences and sentence_indptr go together")
        if self.sentences is not None and self.sentence_indptr is not None:
            _check_pointer("sentences", self.sentences, len(self.tokens))
            _check_pointer("sentence_indptr", self.sentence_indptr, len(self.sentences) - 1)
            if len(self.sentence_indptr) != len(self.indptr):
                raise UsageError(f"[Corpus] sentence_indptr must have {len(self.indptr)} entries")

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def vocabulary(self) -> list[str]:
        """The words, V; strings are made when they are first asked for."""
        if not isinstance(self._words, list):
            self._words = list(self._words)
        return self._words

    def __repr__(self) -> str:
        return f"Corpus({len(self)} documents, {len(self.tokens)} tokens, {len(self.vocabulary)} words)"

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        for document in range(len(self)):
            yield self.tokens[self.indptr[document] : self.indptr[document + 1]]

    @property
    def shape(self) -> tuple[int, int]:
        """(D, V): by this scikit-learn takes documents out with `__getitem__`, and not one by one."""
        return len(self), len(self.vocabulary)

    def __getitem__(self, documents: Any) -> Corpus:
        """Return the documents of a slice, an index array or a boolean mask, in that order, as a Corpus."""
        return self.select(np.arange(len(self))[documents])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens per document, int64 (D,)."""
        return np.diff(self.indptr)

    def words(self, document: int) -> list[str]:
        """Return the words of one document in reading order."""
        return [
            self.vocabulary[number]
            for number in self.tokens[self.indptr[document] : self.indptr[document + 1]]
        ]

    def select(self, documents: npt.ArrayLike) -> Corpus:
        """Return some documents, in the order given, over the same vocabulary.

        Parameters
        ----------
        documents : int (n,)
            Document numbers; negative ones count from the end.

        Raises
        ------
        UsageError
            If a number is out of range.
        """
        chosen = np.atleast_1d(np.asarray(documents, np.int64))
        if len(chosen) and (int(chosen.min()) < -len(self) or int(chosen.max()) >= len(self)):
            raise UsageError(f"[Corpus.select] documents must lie in {-len(self)} to {len(self) - 1}")
        chosen = chosen % max(1, len(self))
        indptr, at = _gather(self.indptr, chosen)
        spans = None if self.spans is None else self.spans[at]
        if self.sentences is None or self.sentence_indptr is None:
            return Corpus(indptr, self.tokens[at], self.vocabulary, spans)
        sentence_indptr, which = _gather(self.sentence_indptr, chosen)
        sentences, _ = _gather(self.sentences, which)
        return Corpus(indptr, self.tokens[at], self.vocabulary, spans, sentences, sentence_indptr)

    def split(
        self, groups: npt.ArrayLike, holdout: float = 0.2, *, random_state: int = 0
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Split the documents so that no group (patient) is on both sides.

        Parameters
        ----------
        groups : (D,)
            Group of every document: numbers or strings.
        holdout : float
            Share of the groups that is held out, rounded; at least one on each side where there are two.
        random_state : int
            Seed.

        Returns
        -------
        train, held_out : int64 (n,)
            Document numbers, ascending: ``corpus.select(train)``.

        Raises
        ------
        UsageError
            If `groups` has another length, or `holdout` is not between 0 and 1.
        """
        names = np.asarray(groups)
        if names.shape != (len(self),):
            raise UsageError(f"[Corpus.split] groups must have {len(self)} entries, has shape {names.shape}")
        if not 0 < holdout < 1:
            raise UsageError(f"[Corpus.split] holdout must lie between 0 and 1, is {holdout}")
        distinct, member = np.unique(names, return_inverse=True)
        count = min(max(round(holdout * len(distinct)), 1), max(len(distinct) - 1, 0))
        out = np.zeros(len(distinct), bool)
        out[np.random.default_rng(random_state).permutation(len(distinct))[:count]] = True
        held = out[member] if len(distinct) else np.zeros(0, bool)
        return np.flatnonzero(~held), np.flatnonzero(held)

    @classmethod
    def concatenate(cls, parts: Sequence[Corpus]) -> Corpus:
        """Join corpora over one vocabulary; spans and sentences stay where all parts have them.

        Raises
        ------
        UsageError
            If there is no part, or the vocabularies differ.
        """
        if not parts:
            raise UsageError("[Corpus.concatenate] at least one corpus is needed")
        first = parts[0]
        if any(part.vocabulary != first.vocabulary for part in parts[1:]):
            raise UsageError("[Corpus.concatenate] the corpora must share one vocabulary")
        spans = [part.spans for part in parts if part.spans is not None]
        sentences = [part.sentences for part in parts if part.sentences is not None]
        owners = [part.sentence_indptr for part in parts if part.sentence_indptr is not None]
        whole = len(sentences) == len(parts)
        return cls(
            _chain([part.indptr for part in parts]),
            np.concatenate([part.tokens for part in parts]),
            first.vocabulary,
            np.concatenate(spans) if len(spans) == len(parts) else None,
            _chain(sentences) if whole else None,
            _chain(owners) if whole else None,
        )

    def to_csr(self) -> sp.csr_matrix:
        """Return the counts as a scipy CSR matrix, int32 (D, V), with sorted indices."""
        ones = np.ones(len(self.tokens), np.int32)
        counts = sp.csr_matrix((ones, self.tokens, self.indptr), (len(self), len(self.vocabulary)), copy=True)
        counts.sum_duplicates()
        return counts

    @classmethod
    def from_csr(cls, counts: Any, vocabulary: Sequence[str] | None = None) -> Corpus:
        """Make a corpus of a count matrix; the tokens of a document stand in the order of the columns.

        Parameters
        ----------
        counts : scipy sparse matrix or array (D, V)
            Whole numbers, not negative.
        vocabulary : sequence of str, optional
            V words; the column numbers where absent.

        Raises
        ------
        UsageError
            If a count is negative or no whole number, or the vocabulary has another length.
        """
        matrix = sp.csr_matrix(counts)
        matrix.sum_duplicates()
        whole = matrix.data.astype(np.int64)
        if len(whole) and (int(whole.min()) < 0 or not np.array_equal(whole, matrix.data)):
            raise UsageError("[Corpus.from_csr] counts must be whole numbers and not negative")
        words = [str(column) for column in range(matrix.shape[1])] if vocabulary is None else list(vocabulary)
        if len(words) != matrix.shape[1]:
            raise UsageError(
                f"[Corpus.from_csr] vocabulary must have {matrix.shape[1]} words, has {len(words)}"
            )
        before = np.concatenate([[0], np.cumsum(whole)])
        return cls(before[matrix.indptr], np.repeat(matrix.indices.astype(np.int32), whole), words)

    def to_arrow(self) -> pa.Table:
        """Return a table with one row a document: ``tokens``, a list of int32."""
        tokens = pa.LargeListArray.from_arrays(pa.array(self.indptr), pa.array(self.tokens))
        return pa.table({"tokens": tokens})

    def save(self, folder: str | Path) -> None:
        """Write the corpus as .npy files and the words as JSON; nothing is pickled.

        Each file is whole or absent, and a folder that lacks one is refused by `load`.

        Raises
        ------
        CannotWriteError
            If the folder cannot be written.
        """
        folder = Path(folder)
        open_folder(folder)
        present = [name for name in _ARRAYS if getattr(self, name) is not None]
        for name in present:
            store.write_array(folder / f"{name}.npy", getattr(self, name))
        describe_folder(folder, present, self.vocabulary)

    @classmethod
    def load(cls, folder: str | Path, *, mmap: bool = False) -> Corpus:
        """Read a corpus that `save` wrote.

        Parameters
        ----------
        folder : path
            The folder.
        mmap : bool
            Leave the arrays on disk and map them, read-only.

        Raises
        ------
        UsageError
            If the folder holds no whole corpus of this format.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
            if about.get("format") != FORMAT:
                raise UsageError(f"[Corpus.load] {folder} has format {about.get('format')!r}, not {FORMAT!r}")
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r" if mmap else None, allow_pickle=False)
                for name in about["arrays"]
            }
            words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        except (OSError, EOFError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(
                f"[Corpus.load] {folder} holds no whole corpus: {type(error).__name__}"
            ) from error
        for name, array in arrays.items():
            if name not in _TYPES or array.dtype != _TYPES[name]:
                raise UsageError(f"[Corpus.load] {folder}: {name} has type {array.dtype}")
        return cls(vocabulary=words, **arrays)


def open_folder(folder: Path) -> None:
    """Make `folder` ready for the arrays of a corpus.

    Raises
    ------
    CannotWriteError
        If the folder cannot be written.
    """
    # The description goes last: a folder without it is no corpus.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "corpus.json").unlink(missing_ok=True)
    except OSError as error:
        raise CannotWriteError(f"cannot write {folder}: {error.strerror}") from error


def describe_folder(folder: Path, arrays: Sequence[str], vocabulary: Sequence[str]) -> None:
    """Make a folder that holds the named arrays a corpus."""
    store.write_json(folder / "vocabulary.json", list(vocabulary))
    store.write_json(folder / "corpus.json", {"format": FORMAT, "arrays": list(arrays)})


def _check_pointer(name: str, pointer: npt.NDArray[np.int64], total: int) -> None:
    if pointer.ndim != 1 or len(pointer) == 0 or pointer[0] != 0 or pointer[-1] != total:
        raise UsageError(f"[Corpus] {name} must go from 0 to {total}")
    if bool((pointer[1:] < pointer[:-1]).any()):
        raise UsageError(f"[Corpus] {name} must not descend")


def _gather(
    pointer: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pointer of the chosen rows, and the positions of their items."""
    lengths = pointer[rows + 1] - pointer[rows] if len(rows) else np.zeros(0, np.int64)
    new = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=new[1:])
    return new, np.arange(new[-1]) + np.repeat(pointer[rows] - new[:-1], lengths)


def _chain(pointers: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    starts = np.cumsum([0, *(pointer[-1] for pointer in pointers)])
    moved = [pointer[1:] + start for pointer, start in zip(pointers, starts, strict=False)]
    return np.concatenate([np.zeros(1, np.int64), *moved])
