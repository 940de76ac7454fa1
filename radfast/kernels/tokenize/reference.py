"""The tokenizer in plain Python: the truth that the compiled one is checked against.

Characters are classified by Python's own `unicodedata`; words are counted in a dict. Sentences come from the
compiled splitter: the reference is one of tokens.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from radfast.kernels.tokenize import cpu
from radfast.kernels.tokenize.rules import UNITS, PruneRules, SentenceRules, TokenRules
from radfast.kernels.tokenize.tokens import Lines, Slices, Tokens

_NUMERIC = re.compile(r"(?=[0-9])(?:[0-9]|[-/.,':]|(?<=[0-9])x(?=[0-9]))*(?<=[0-9])([a-z]*)")
_DATE = re.compile(
    r"[0-9]{1,2}([/-])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2})|[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}"
    r"|[0-9]{4}([/-])[0-9]{1,2}\2[0-9]{1,2}"
)
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?")
_MAX_PLACEHOLDER = 200
_TYPOGRAPHIC = {"\u2019": "'", "\u2010": "-", "\u2011": "-"}


def decode(data: bytes) -> tuple[str, list[int], int]:
    """Return the text, the byte offsets of its characters and of the end, and the invalid sequences."""
    bad: dict[int, int] = {}

    def replace(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        bad[error.start] = error.end - error.start
        return "\ufffd", error.end

    codecs.register_error("radfast-count", replace)
    text = data.decode("utf-8", "radfast-count")
    offsets = [0]
    for char in text:
        offsets.append(offsets[-1] + (bad.get(offsets[-1]) or len(char.encode())))
    return text, offsets, len(bad)


def is_core(char: str) -> bool:
    """Tell whether `char` is a word character: a letter, a number or a combining mark."""
    return char.isalnum() or unicodedata.category(char).startswith("M")


def _joins(text: str, at: int) -> bool:
    char, before, after = text[at], text[at - 1], text[at + 1]
    if not (is_core(before) and is_core(after)):
        return False
    if char in "-/'" or char in _TYPOGRAPHIC:
        return True
    if char == ":":
        return before in "0123456789" and after in "0123456789"
    if char != ".":
        return False
    if not "A" <= after <= "Z":
        return True
    third = text[at + 2 : at + 3]
    return not ("a" <= before <= "z" or (before in "0123456789" and "a" <= third <= "z"))


def _find_placeholder(data: bytes, at: int) -> int:
    if data[at : at + 1] == b"_":
        length = len(data) - at - len(data[at:].lstrip(b"_"))
        return length if length >= 3 else 0
    if data[at : at + 3] == b"[**":
        close = data[at : at + _MAX_PLACEHOLDER].find(b"**]", 3)
        return close + 3 if close >= 0 else 0
    return 0


def _scan_radiology(
    data: bytes, text: str, offsets: list[int], placeholders: bool
) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(text):
        length = _find_placeholder(data, offsets[at]) if placeholders and text[at] in "_[" else 0
        if length:
            stop = offsets.index(offsets[at] + length, at)
            yield at, stop
            at = stop
        elif is_core(text[at]):
            stop = at + 1
            while stop < len(text):
                if is_core(text[stop]):
                    stop += 1
                elif stop + 1 < len(text) and _joins(text, stop):
                    stop += 2
                else:
                    break
            yield at, stop
            at = stop
        else:
            at += 1


def _scan_paper(text: str) -> Iterator[tuple[int, int]]:
    for found in re.finditer(r"\S+", text):
        first, last = found.span()
        while first < last and not is_core(text[first]):
            first += 1
        while first < last and not is_core(text[last - 1]):
            last -= 1
        if first < last:
            yield first, last


def class_of_number(word: str) -> str:
    """Return the mask of a number, date, time or measure, "" for other words."""
    word = word.lower() if word.isascii() else word
    found = _NUMERIC.fullmatch(word)
    if found is None:
        return ""
    if found[1]:
        return "<measure>" if found[1] in UNITS else ""
    if "x" in word:
        return "<measure>"
    return "<date>" if _DATE.fullmatch(word) else "<time>" if _TIME.fullmatch(word) else "<number>"


def fold(token: str, rules: TokenRules) -> str:
    """Return the word of a token, "" where the rules drop it."""
    word = "".join(char.lower()[0] for char in token) if rules.lowercase else token
    if rules.pattern == "radiology":
        word = "".join(_TYPOGRAPHIC.get(char, char) for char in word)
        if rules.placeholders != "keep" and (word[0] in "_[" or re.fullmatch("[xX]{4,}", word)):
            return "<deid>" if rules.placeholders == "mask" else ""
    if rules.numbers != "keep" and (kind := class_of_number(word)):
        return kind if rules.numbers == "mask" else ""
    return word if len(word) >= rules.min_length else ""


def find_words(data: bytes, rules: TokenRules) -> tuple[list[tuple[str, int, int]], int]:
    """Return the words of a text with their byte spans, and the number of invalid sequences."""
    text, offsets, bad = decode(data)
    match rules.pattern:
        case "radiology":
            spans = _scan_radiology(data, text, offsets, rules.placeholders != "keep")
        case "paper":
            spans = _scan_paper(text)
        case _:
            spans = (found.span() for found in re.finditer(r"\w+", text))
    words = [(fold(text[a:b], rules), offsets[a], offsets[b]) for a, b in spans]
    return [word for word in words if word[0]], bad


def learn(documents: Sequence[Sequence[str]], prune: PruneRules) -> tuple[list[str], list[int], list[int]]:
    """Return the words that stay, best first, with their counts and document counts."""
    counts = Counter(word for words in documents for word in words)
    within = Counter(word for words in documents for word in set(words))
    stop = set(prune.stop_words)
    least, most = prune.bounds(len(documents))
    stay = [word for word in counts if least <= within[word] <= most and word not in stop]
    stay.sort(key=lambda word: (-counts[word], word.encode()))
    stay = stay[prune.drop_top :][: prune.max_vocabulary]
    return stay, [counts[word] for word in stay], [within[word] for word in stay]


def tokenize(
    batches: Iterable[Sequence[str | bytes] | Slices | Lines],
    rules: TokenRules,
    prune: PruneRules,
    vocabulary: Sequence[str] | None,
    keep_spans: bool,
    sentences: SentenceRules | None,
) -> Tokens:
    """See `radfast.kernels.tokenize.tokenize`."""
    texts: list[bytes] = []
    for batch in batches:
        if isinstance(batch, Slices):
            data, bounds = bytes(batch.data), batch.bounds.tolist()
            texts += [data[a:b] for a, b in pairwise(bounds)]
        elif isinstance(batch, Lines):
            with Path(batch.path).open("rb") as file:
                texts += file
        else:
            texts += [
                text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in batch
            ]
    found = [find_words(text, rules) for text in texts]
    learned = vocabulary is None
    if vocabulary is None:
        words, counts, within = learn([[word for word, _, _ in document] for document, _ in found], prune)
    else:
        words, counts, within = list(vocabulary), [], []
    numbers = {word: number for number, word in enumerate(words)}
    kept = [[item for item in document if item[0] in numbers] for document, _ in found]
    indptr = np.cumsum([0, *(len(document) for document in kept)], dtype=np.int64)
    ends, per_document = [0], [0]
    if sentences is not None:
        for text, document, before in zip(texts, kept, indptr, strict=False):
            starts = cpu.split_sentences(text, sentences)[:, 0].tolist()
            stops = [*starts[1:], len(text) + 1][: len(starts)]
            ends += [int(before) + sum(first < stop for _, first, _ in document) for stop in stops]
            per_document.append(per_document[-1] + len(starts))
    tokens = [numbers[word] for document in kept for word, _, _ in document]
    spans = [(first, last) for document in kept for _, first, last in document]
    return Tokens(
        indptr=indptr,
        tokens=np.array(tokens, np.int32),
        spans=np.array(spans, np.uint32).reshape(-1, 2) if keep_spans else None,
        sentences=np.array(ends, np.int64) if sentences is not None else None,
        sentence_indptr=np.array(per_document, np.int64) if sentences is not None else None,
        words=words,
        counts=np.array(counts if learned else [], np.uint64),
        document_counts=np.array(within if learned else [], np.uint64),
        n_invalid=sum(bad for _, bad in found),
    )
