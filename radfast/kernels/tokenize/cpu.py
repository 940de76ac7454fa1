"""The compiled tokenizer and splitter: csrc/tokenize*.cpp and csrc/sentences.cpp, which release the GIL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.tokenize.rules import PruneRules, SentenceRules, TokenRules
from radfast.kernels.tokenize.tokens import Slices, Tokens


@lru_cache(maxsize=16)
def _compile_rules(rules: SentenceRules) -> _core.SentenceRules:
    return _core.SentenceRules(rules.tables(), rules.min_wrap)


def split_sentences(text: bytes, rules: SentenceRules) -> npt.NDArray[np.int64]:
    """See `radfast.kernels.tokenize.split_sentences`."""
    spans: npt.NDArray[np.int64] = _core.split_sentences(text, _compile_rules(rules))
    return spans


def tokenize(
    batches: Iterable[Sequence[str | bytes] | Slices],
    rules: TokenRules,
    prune: PruneRules,
    vocabulary: Sequence[str] | None,
    keep_spans: bool,
    sentences: SentenceRules | None,
    threads: int,
) -> Tokens:
    """See `radfast.kernels.tokenize.tokenize`."""
    builder = _core.CorpusBuilder(
        pattern=rules.pattern,
        lowercase=rules.lowercase,
        min_length=rules.min_length,
        numbers=rules.numbers,
        placeholders=rules.placeholders,
        keep_spans=keep_spans,
        sentences=None if sentences is None else _compile_rules(sentences),
        threads=threads,
        vocabulary=None if vocabulary is None else list(vocabulary),
    )
    try:
        for batch in batches:
            if isinstance(batch, Slices):
                builder.add_slices(batch.data, batch.bounds)
            else:
                builder.add(list(batch))
    except TypeError as error:
        raise UsageError(str(error)) from error
    least, most = prune.bounds(builder.documents())
    found = builder.finish(
        min_documents=least,
        max_documents=most,
        drop_top=prune.drop_top,
        max_vocabulary=prune.max_vocabulary,
        stop_words=list(prune.stop_words),
    )
    return Tokens(
        indptr=found["indptr"],
        tokens=found["tokens"],
        spans=found["spans"] if keep_spans else None,
        sentences=found["sentences"] if sentences is not None else None,
        sentence_indptr=found["sentence_indptr"] if sentences is not None else None,
        vocabulary=found["vocabulary"] if vocabulary is None else list(vocabulary),
        counts=found["counts"],
        document_counts=found["document_counts"],
        n_invalid=found["invalid"],
    )
