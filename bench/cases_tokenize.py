"""Text: tokenizer, sentences, image references."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast.synthetic import stream_reports

THREADS = 2


def _make_texts(words: int) -> list[str]:
    return list(stream_reports(words, seed=1))


def _split(texts: list[str]) -> int:
    return sum(len(rf.split_sentences(text)) for text in texts)


def _make_cited_texts(words: int) -> list[str]:
    return [
        f"{text} A lesion is seen (series 3, images {n} and {n + 2})."
        for n, text in enumerate(_make_texts(words))
    ]


def _find_references(texts: list[str]) -> int:
    return sum(len(rf.find_image_references(text)) for text in texts)


def _check_some(texts: list[str], found: int) -> None:
    assert found >= len(texts)


def _count_bytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts)


class _File:
    """A file with one document per line, which vanishes with the case."""

    def __init__(self, lines: Iterator[str], megabytes: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "texts.txt"
        with self.path.open("w", encoding="utf-8", newline="") as file:
            while file.tell() < megabytes * 1_000_000:
                file.write(next(lines) + "\n")


def _mix_reports() -> Iterator[str]:
    """Real reports and captions where $RADFAST_DATA has some, else synthetic ones, mixed without end."""
    folder = os.environ.get("RADFAST_DATA")
    if folder is None:
        texts = list(stream_reports(1_000_000, seed=1))
    else:
        names = ("mtsamples_radiology", "roco_ccby_captions", "mtsamples_other")
        files = [Path(folder) / "text" / f"{name}.jsonl" for name in names]
        texts = [json.loads(line)["text"] for file in files for line in file.open(encoding="utf-8")]
    texts = [" ".join(text.splitlines()) for text in texts]
    chosen = random.Random(1)
    while True:
        yield texts[chosen.randrange(len(texts))]


def _mix_zipf() -> Iterator[str]:
    """Texts over a million invented words whose frequencies fall as 1 / rank."""
    random = np.random.default_rng(0)
    letters = np.frombuffer(b"etaoinshrdlcumwfgypbvk", np.uint8)
    lengths = np.clip(random.poisson(7, 1_000_000), 3, 14)
    words = [bytes(random.choice(letters, length)).decode() for length in lengths]
    weights = np.cumsum(1 / (np.arange(len(words)) + 2.7))
    while True:
        for row in np.searchsorted(weights, random.random((1000, 130)) * weights[-1]):
            yield " ".join([words[number] for number in row])


def _make_reports(megabytes: int) -> _File:
    return _File(_mix_reports(), megabytes)


def _make_zipf(megabytes: int) -> _File:
    return _File(_mix_zipf(), megabytes)


def _tokenize_words(file: _File) -> rf.Corpus:
    return rf.Tokenizer(preset="sklearn", threads=THREADS).fit_files([file.path])


def _tokenize_sentences(file: _File) -> rf.Corpus:
    return rf.Tokenizer(min_df=1, drop_top=0, sentences=True, threads=THREADS).fit_files([file.path])


def _tokenize_to_disk(file: _File) -> rf.Corpus:
    tokenizer = rf.Tokenizer(min_df=1, drop_top=0, sentences=True, threads=THREADS)
    return tokenizer.fit_files([file.path], folder=file.path.parent / "corpus")


def _count_words(file: _File) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    with file.path.open(encoding="utf-8", newline="\n") as lines:
        return CountVectorizer().fit_transform(lines)


def _split_polars(file: _File) -> Any:
    """White space only, lower case: less than what the tokenizer does, and the fastest that users have."""
    import polars

    table = polars.read_csv(
        file.path, has_header=False, separator="\x01", quote_char=None, new_columns=["text"]
    )
    words = table["text"].str.to_lowercase().str.split(" ")
    ends = words.list.len().cum_sum()
    column = words.explode().cast(polars.Categorical)
    return column.unique(), column.to_physical(), ends


def _split_blingfire(file: _File) -> int:
    import blingfire

    with file.path.open(encoding="utf-8", newline="\n") as lines:
        return sum(len(blingfire.text_to_sentences(line).split("\n")) for line in lines)


def _check_file(file: _File, corpus: rf.Corpus) -> None:
    with file.path.open(encoding="utf-8", newline="\n") as lines:
        first = next(lines)
        assert len(corpus) == 1 + sum(1 for _ in lines)
    found = set(corpus.words(0))
    kept = {word for word in first.lower().split() if word.isascii() and word.isalpha() and len(word) >= 3}
    assert {word for word in kept if not word.startswith("xxx")} <= found


def _count_file(file: _File) -> float:
    return file.path.stat().st_size


def _text_case(
    name: str,
    work: Callable[[list[str]], Any],
    check: Callable[[list[str], Any], None],
    set_up: Callable[[int], list[str]] = _make_texts,
) -> Case:
    return Case(name, {"words": 1_000_000}, "bytes", set_up, work, _count_bytes, check, {})


def _file_case(
    name: str,
    work: Callable[[_File], Any],
    peers: Mapping[str, Callable[[Any], Any]],
    set_up: Callable[[int], _File] = _make_reports,
) -> Case:
    return Case(name, {"megabytes": 200}, "bytes", set_up, work, _count_file, _check_file, peers)


_POLARS = {"polars": _split_polars}
CASES = (
    _file_case("tokenize", _tokenize_words, {**_POLARS, "sklearn": _count_words}),
    _file_case("tokenize-sentences", _tokenize_sentences, {**_POLARS, "blingfire": _split_blingfire}),
    _file_case("tokenize-to-disk", _tokenize_to_disk, _POLARS),
    _file_case("tokenize-zipf", _tokenize_words, _POLARS, _make_zipf),
    _text_case("sentences", _split, _check_some),
    _text_case("references", _find_references, _check_some, _make_cited_texts),
)
