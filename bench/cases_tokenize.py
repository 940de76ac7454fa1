"""Text: tokenizer, sentences, image references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import radfast as rf
from bench.case import Case
from radfast.synthetic import stream_reports


def _make_texts(words: int) -> list[str]:
    return list(stream_reports(words, seed=1))


def _count_words(texts: list[str]) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(min_df=3).fit_transform(texts)


def _tokenize(texts: list[str]) -> rf.Corpus:
    return rf.Tokenizer(drop_top=0).fit_transform(texts)


def _check_tokens(texts: list[str], corpus: rf.Corpus) -> None:
    assert len(corpus) == len(texts)
    kept = {word for word in texts[0].lower().split() if word.isalpha() and len(word) >= 3}
    assert set(corpus.words(0)) <= set(corpus.vocabulary)
    assert len(kept & set(corpus.words(0))) > len(kept) // 2


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


def _text_case(
    name: str,
    work: Callable[[list[str]], Any],
    check: Callable[[list[str], Any], None],
    peers: dict[str, Callable[[Any], Any]],
    set_up: Callable[[int], list[str]] = _make_texts,
) -> Case:
    return Case(name, {"words": 1_000_000}, "bytes", set_up, work, _count_bytes, check, peers)


CASES = (
    _text_case("tokenize", _tokenize, _check_tokens, {"sklearn": _count_words}),
    _text_case("sentences", _split, _check_some, {}),
    _text_case("references", _find_references, _check_some, {}, _make_cited_texts),
)
