"""The phrase matcher against a search without a trie, at awkward sizes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfast.errors import UsageError
from radfast.kernels.phrases import build_trie, find_phrases

BACKENDS = ("cpu", "reference")


def search(tokens: list[int], phrases: list[list[int]], indptr: list[int]) -> list[tuple[int, int, int]]:
    """Compare every phrase at every position."""
    found = []
    for first, last in pairwise(indptr):
        at = first
        while at < last:
            fits = [
                (len(phrase), -number)
                for number, phrase in enumerate(phrases)
                if tokens[at : at + len(phrase)] == phrase and at + len(phrase) <= last
            ]
            if fits:
                size, number = max(fits)
                found.append((at, at + size, -number))
                at += size
            else:
                at += 1
    return found


def run(
    tokens: list[int], phrases: list[list[int]], indptr: list[int] | None, backend: str
) -> list[tuple[int, ...]]:
    start, end, phrase = find_phrases(
        np.array(tokens, np.int32), build_trie(phrases), indptr=indptr, backend=backend
    )
    assert (start.dtype, end.dtype, phrase.dtype) == (np.int64, np.int64, np.int32)
    return list(zip(start.tolist(), end.tolist(), phrase.tolist(), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_equals_a_search_of_every_phrase(backend: str, data: st.DataObject) -> None:
    phrases = data.draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), max_size=12))
    tokens = data.draw(st.lists(st.integers(-1, 4), max_size=40))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(tokens)), max_size=4)))
    indptr = [0, *cuts, len(tokens)]
    assert run(tokens, phrases, indptr, backend) == search(tokens, phrases, indptr)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 97])
def test_awkward_sizes(backend: str, n: int) -> None:
    assert run([5] * n, [[5, 5]], None, backend) == [(at, at + 2, 0) for at in range(0, n - 1, 2)]
    assert run([5] * n, [[5] * 200], None, backend) == []
    assert run([7] * n, [], None, backend) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_phrase_wins_and_a_broken_one_falls_back(backend: str) -> None:
    phrases = [[1], [1, 2, 3], [2]]
    assert run([1, 2, 3, 1, 2, 4], phrases, None, backend) == [(0, 3, 1), (3, 4, 0), (4, 5, 2)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_match_crosses_a_document_or_an_unknown_token(backend: str) -> None:
    assert run([1, 2], [[1, 2]], [0, 1, 1, 2], backend) == []
    assert run([1, -1, 2], [[1, 2]], None, backend) == []


def test_first_of_equal_phrases_wins() -> None:
    assert run([4, 4], [[4], [4]], None, "cpu") == [(0, 1, 0), (1, 2, 0)]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: build_trie([[]]), r"\[build_trie\] a phrase must have at least one token"),
        (lambda: build_trie([[1, -2]]), r"\[build_trie\] token ids must be >= 0, phrase 0 has -2"),
        (
            lambda: find_phrases([[1]], build_trie([[1]])),
            r"\[find_phrases\] tokens must be whole numbers in 1 dimension",
        ),
        (lambda: find_phrases([1.5], build_trie([[1]])), r"\[find_phrases\] tokens must be whole numbers"),
        (
            lambda: find_phrases([1, 2], build_trie([[1]]), indptr=[0, 3]),
            r"\[find_phrases\] indptr must rise",
        ),
        (lambda: find_phrases([1], build_trie([[1]]), backend="cuda"), r"backend 'cuda' does not exist"),
    ],
)
def test_wrong_input_names_function_rule_and_value(call, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        call()
