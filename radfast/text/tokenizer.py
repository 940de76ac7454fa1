"""Reports to a vocabulary and a corpus of word numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils.validation import check_is_fitted

from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.kernels import tokenize
from radfast.kernels.tokenize import DEFAULT_RULES, Lines, PruneRules, Slices, TokenRules, Tokens
from radfast.text.corpus import Corpus, describe_folder, open_folder
from radfast.text.sources import batch_texts, read_lines, read_texts

_DEFAULTS: dict[str, Any] = {
    "lowercase": True,
    "min_length": 3,
    "min_df": 3,
    "drop_top": 10,
    "stop_words": None,
    "numbers": "keep",
    "max_df": 1.0,
    "max_vocabulary": None,
    "placeholders": "mask",
    "pattern": "radiology",
}
_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"pattern": "paper", "placeholders": "keep"},
    "sklearn": {"pattern": "word", "placeholders": "keep", "min_length": 2, "min_df": 1, "drop_top": 0},
}


class Tokenizer(BaseEstimator):  # type: ignore[misc]
    """Learn a vocabulary and turn texts into word numbers.

    Parameters
    ----------
    lowercase : bool
        Fold every character to lower case.
    min_length : int
        Characters a word needs; 2 keeps "ct".
    min_df : int or float
        Documents a word must be in; a float is a share of the documents.
    drop_top : int
        So many of the most frequent words are dropped.
    stop_words : collection of str or "english", optional
        Words left out, compared after folding; "english" is scikit-learn's list.
    numbers : {"keep", "drop", "mask"}
        What becomes of numbers, dates, times and measures; "mask" makes them the words <number>, <date>,
        <time> and <measure>.
    threads : int
        0 takes all cores. The result is the same for any number.
    keep_spans : bool
        Keep the byte span of every token.
    sentences : bool
        Keep the sentence ends, found in the same pass.
    max_df : int or float
        Documents a word may be in; a float is a share of the documents.
    max_vocabulary : int, optional
        So many words stay, the most frequent ones.
    placeholders : {"keep", "drop", "mask"}
        What becomes of de-identification marks (xxxx, ___, [**...**]); "mask" makes them the word <deid>.
    pattern : {"radiology", "paper", "word"}
        What a token is: see `radfast.kernels.tokenize`.
    normalize : {"NFC"}, optional
        Compose characters first; spans cannot be kept with it.
    preset : {"paper", "sklearn"}, optional
        All the rules at once: those of the paper (white space, trimmed punctuation, 3 characters,
        3 documents, the 10 most frequent words dropped), or those of scikit-learn's CountVectorizer. The
        rules above must have their defaults.

    Attributes
    ----------
    vocabulary_ : list of str
        V words, by descending count, then by bytes.
    counts_ : uint64 (V,)
        Tokens of each word in the texts of `fit`.
    document_counts_ : uint64 (V,)
        Documents each word is in.
    n_documents_ : int
        Documents seen by `fit`.
    n_invalid_ : int
        Invalid UTF-8 sequences seen by `fit`; a lone surrogate of a str counts as three.

    References
    ----------
    Shin et al., Interleaved Text/Image Deep Mining on a Large-Scale Radiology Database, CVPR 2015.
    """

    _words: Iterable[str]

    def __init__(
        self,
        lowercase: bool = True,
        min_length: int = 3,
        min_df: int | float = 3,
        drop_top: int = 10,
        stop_words: Collection[str] | str | None = None,
        numbers: str = "keep",
        threads: int = 0,
        keep_spans: bool = False,
        sentences: bool = False,
        max_df: int | float = 1.0,
        max_vocabulary: int | None = None,
        placeholders: str = "mask",
        pattern: str = "radiology",
        normalize: str | None = None,
        preset: str | None = None,
    ) -> None:
        self.lowercase = lowercase
        self.min_length = min_length
        self.min_df = min_df
        self.drop_top = drop_top
        self.stop_words = stop_words
        self.numbers = numbers
        self.threads = threads
        self.keep_spans = keep_spans
        self.sentences = sentences
        self.max_df = max_df
        self.max_vocabulary = max_vocabulary
        self.placeholders = placeholders
        self.pattern = pattern
        self.normalize = normalize
        self.preset = preset

    def fit(self, texts: Any, y: object = None) -> Tokenizer:
        """Learn the vocabulary.

        Parameters
        ----------
        texts : iterable of str or bytes, or a pyarrow string array, chunked or not
            D documents. A str counts as its UTF-8 bytes; bytes need not be valid.
        y : ignored

        Raises
        ------
        UsageError
            If a parameter has no meaning, or a text is neither str nor bytes.
        """
        self._learn(batch_texts(texts))
        return self

    def fit_transform(self, texts: Any, y: object = None, *, folder: str | Path | None = None) -> Corpus:
        """Learn the vocabulary and return the corpus, in one pass over the texts; see `fit`.

        Parameters
        ----------
        texts, y
            As for `fit`.
        folder : path, optional
            Where the corpus is saved as it is made, as by `Corpus.save`; what is returned is mapped from
            there, so that memory does not grow with the texts.

        Raises
        ------
        CannotWriteError
            If the folder cannot be written.
        """
        return self._learn(batch_texts(texts), folder)

    def fit_files(
        self, paths: Iterable[str | Path], *, column: str = "text", folder: str | Path | None = None
    ) -> Corpus:
        """Learn from files, which are streamed, and return the corpus.

        Parameters
        ----------
        paths : iterable of path
            .parquet, .csv and .jsonl files, whose `column` is taken; all others hold one document per line.
        column : str
            Name of the text column.
        folder : path, optional
            As for `fit_transform`.

        Raises
        ------
        UsageError
            If a file is missing or broken, or has no such column.
        CannotWriteError
            If the folder cannot be written.
        """
        return self._learn(read_texts(paths, column), folder)

    def transform(self, texts: Any, *, folder: str | Path | None = None) -> Corpus:
        """Return the corpus of further texts over the learned vocabulary; other words are dropped.

        `folder` is that of `fit_transform`.
        """
        check_is_fitted(self, "vocabulary_")
        rules, _ = self._rules()
        found = self._tokenize(batch_texts(texts), rules, PruneRules(), self.vocabulary_, folder)
        return self._corpus(found, folder)

    @property
    def vocabulary_(self) -> list[str]:
        """The words, by descending count, then by bytes; strings are made when first asked for."""
        if "_words" not in vars(self):
            raise AttributeError("[Tokenizer] vocabulary_ is there after fit")
        if not isinstance(self._words, list):
            self._words = list(self._words)
        return self._words

    def get_feature_names_out(self, input_features: object = None) -> Any:
        """Return the words as an array of str (V,)."""
        check_is_fitted(self, "vocabulary_")
        return np.asarray(self.vocabulary_, dtype=object)

    def _learn(
        self, batches: Iterator[Sequence[str | bytes] | Slices | Lines], folder: str | Path | None = None
    ) -> Corpus:
        rules, prune = self._rules()
        found = self._tokenize(batches, rules, prune, None, folder)
        self._words = found.words
        self.counts_ = found.counts
        self.document_counts_ = found.document_counts
        self.n_documents_ = len(found.indptr) - 1
        self.n_invalid_ = found.n_invalid
        return self._corpus(found, folder)

    def _tokenize(
        self,
        batches: Iterator[Sequence[str | bytes] | Slices | Lines],
        rules: TokenRules,
        prune: PruneRules,
        vocabulary: list[str] | None,
        folder: str | Path | None,
    ) -> Tokens:
        if self.normalize == "NFC":
            if self.keep_spans:
                raise UsageError("[Tokenizer] spans cannot be kept with normalize='NFC': the text changes")
            batches = _compose_all(batches)
        elif self.normalize is not None:
            raise UsageError(f"[Tokenizer] normalize must be 'NFC' or None, is {self.normalize!r}")
        if folder is not None:
            open_folder(Path(folder))
        return tokenize.tokenize(
            batches,
            rules,
            prune,
            vocabulary=vocabulary,
            keep_spans=self.keep_spans,
            sentences=DEFAULT_RULES if self.sentences else None,
            threads=count_threads(self.threads),
            folder=None if folder is None else Path(folder),
        )

    def _corpus(self, found: Tokens, folder: str | Path | None) -> Corpus:
        if folder is not None:
            names = ["indptr", "tokens", "spans", "sentences", "sentence_indptr"]
            describe_folder(
                Path(folder),
                [name for name in names if getattr(found, name) is not None],
                self.vocabulary_,
            )
        return Corpus.from_tokens(found)

    def _rules(self) -> tuple[TokenRules, PruneRules]:
        values = {name: getattr(self, name) for name in _DEFAULTS}
        if self.preset is not None:
            if self.preset not in _PRESETS:
                raise UsageError(
                    f"[Tokenizer] preset must be one of {', '.join(_PRESETS)}, is {self.preset!r}"
                )
            for name, value in values.items():
                if value != _DEFAULTS[name]:
                    raise UsageError(
                        f"[Tokenizer] {name} is set by preset {self.preset!r}: leave one of them out"
                    )
            values.update(_PRESETS[self.preset])
        if values["stop_words"] == "english":
            values["stop_words"] = ENGLISH_STOP_WORDS
        elif isinstance(values["stop_words"], str):
            raise UsageError(f"[Tokenizer] stop_words must be words or 'english', is {self.stop_words!r}")
        if values["drop_top"] < 0 or (values["max_vocabulary"] or 1) < 1:
            raise UsageError("[Tokenizer] drop_top and max_vocabulary must not be negative")
        rules = TokenRules(
            values["pattern"],
            values["lowercase"],
            values["min_length"],
            values["numbers"],
            values["placeholders"],
        )
        prune = PruneRules(
            _check_df("min_df", values["min_df"]),
            _check_df("max_df", values["max_df"]),
            stop_words=tuple(sorted(values["stop_words"] or ())),
            drop_top=values["drop_top"],
            max_vocabulary=values["max_vocabulary"] or PruneRules.max_vocabulary,
        )
        return rules, prune


def _check_df(name: str, value: int | float) -> int | float:
    if value < 0 or (isinstance(value, float) and value > 1):
        raise UsageError(f"[Tokenizer] {name} must be a number of documents or a share up to 1.0, is {value}")
    return value


def _compose_all(
    batches: Iterable[Sequence[str | bytes] | Slices | Lines],
) -> Iterator[Sequence[str | bytes]]:
    for batch in batches:
        yield from map(_compose, read_lines(Path(batch.path)) if isinstance(batch, Lines) else [batch])


def _compose(batch: Sequence[str | bytes] | Slices) -> Sequence[str | bytes]:
    if isinstance(batch, Slices):
        data, bounds = bytes(batch.data), batch.bounds.tolist()
        batch = [data[a:b] for a, b in pairwise(bounds)]
    texts = [text if isinstance(text, str) else text.decode("utf-8", "replace") for text in batch]
    return [text if text.isascii() else unicodedata.normalize("NFC", text) for text in texts]
