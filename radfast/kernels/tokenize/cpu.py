"""The compiled tokenizer and splitter: csrc/tokenize*.cpp and csrc/sentences.cpp, which release the GIL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import radfast._core as _core
from radfast.errors import CannotWriteError, UsageError
from radfast.kernels.tokenize.rules import PruneRules, SentenceRules, TokenRules
from radfast.kernels.tokenize.tokens import Lines, Slices, Tokens

_HEAD = 128  # bytes: Column::kHead of csrc/tokenize_store.h


@lru_cache(maxsize=16)
def _compile_rules(rules: SentenceRules) -> _core.SentenceRules:
    return _core.SentenceRules(rules.tables(), rules.min_wrap)


def split_sentences(text: bytes, rules: SentenceRules) -> npt.NDArray[np.int64]:
    """See `radfast.kernels.tokenize.split_sentences`."""
    spans: npt.NDArray[np.int64] = _core.split_sentences(text, _compile_rules(rules))
    return spans


def tokenize(
    batches: Iterable[Sequence[str | bytes] | Slices | Lines],
    rules: TokenRules,
    prune: PruneRules,
    vocabulary: Sequence[str] | None,
    keep_spans: bool,
    sentences: SentenceRules | None,
    threads: int,
    folder: Path | None,
) -> Tokens:
    """See `radfast.kernels.tokenize.tokenize`."""
    with _named_errors():
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
            folder="" if folder is None else str(folder),
        )
    for batch in batches:  # what the caller's iterator raises is the caller's
        with _named_errors():
            match batch:
                case Slices():
                    builder.add_slices(batch.data, batch.bounds)
                case Lines():
                    builder.add_lines(batch.path)
                case _:
                    builder.add(list(batch))
    with _named_errors():
        least, most = prune.bounds(builder.wait())
        found = builder.finish(
            min_documents=least,
            max_documents=most,
            drop_top=prune.drop_top,
            max_vocabulary=prune.max_vocabulary,
            stop_words=list(prune.stop_words),
        )
    arrays = (
        found["arrays"] if folder is None else _map_arrays(folder, found, keep_spans, sentences is not None)
    )
    return Tokens(
        indptr=arrays["indptr"],
        tokens=arrays["tokens"],
        spans=arrays["spans"] if keep_spans else None,
        sentences=arrays["sentences"] if sentences is not None else None,
        sentence_indptr=arrays["sentence_indptr"] if sentences is not None else None,
        words=_Words(found["word_bytes"], found["word_ends"]) if vocabulary is None else list(vocabulary),
        counts=found["counts"],
        document_counts=found["document_counts"],
        n_invalid=found["invalid"],
    )


@dataclass(frozen=True)
class _Words:
    """Words as UTF-8: a million strings take as long as the tokens of 50 MB of text."""

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.uint64]

    def __iter__(self) -> Iterator[str]:
        return iter(_core.list_words(self.data, self.ends))


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn the errors of the core, whose messages name file, rule and value, into those of the house."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise CannotWriteError(f"cannot write {error}") from error


def _map_arrays(folder: Path, found: dict[str, Any], spans: bool, sentences: bool) -> dict[str, Any]:
    """Give the files of the core their heads and final names, and map them."""
    documents, tokens = found["documents"], found["tokens"]
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "indptr": ("<i8", (documents + 1,)),
        "tokens": ("<i4", (tokens,)),
    }
    if spans:
        shapes["spans"] = ("<u4", (tokens, 2))
    if sentences:
        shapes["sentences"] = ("<i8", (found["sentences"] + 1,))
        shapes["sentence_indptr"] = ("<i8", (documents + 1,))
    arrays: dict[str, Any] = {}
    for name, (kind, shape) in shapes.items():
        path, part = folder / f"{name}.npy", folder / f"{name}.npy.part"
        with part.open("r+b") as file:
            file.write(_head_of_array(kind, shape))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        # A file without items cannot be mapped.
        arrays[name] = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
    return arrays


def _head_of_array(kind: str, shape: tuple[int, ...]) -> bytes:
    """Return a head in NumPy's .npy format 1.0, padded to the bytes that the core leaves for it."""
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    room = _HEAD - 10
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"
