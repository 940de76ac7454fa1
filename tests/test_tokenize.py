"""The compiled tokenizer against the plain one, on every instruction set, at any number of threads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import radfast._core as _core
from radfast.errors import CannotWriteError, UsageError
from radfast.kernels.tokenize import (
    DEFAULT_RULES,
    Lines,
    PruneRules,
    Slices,
    TokenRules,
    Tokens,
    reference,
    tokenize,
)

PATTERNS = ("radiology", "paper", "word")
SETS = ("portable", "avx2", "avx512")
ARRAYS = ("indptr", "tokens", "spans", "sentences", "sentence_indptr", "counts", "document_counts")

# Bytes on which the rules turn, among them the pieces of longer marks.
PIECES = st.sampled_from(
    [
        b"a",
        b"B",
        b"7",
        b"-",
        b"/",
        b"'",
        b".",
        b":",
        b" ",
        b"\n",
        b"_",
        b"___",
        b"[**",
        b"**]",
        b"x",
        b"xxxx",
        b"\0",
    ]
    + [
        b"1.5",
        b"mm",
        b"3/4/2012",
        b"10:30",
        b"Dr",
        b"FINDINGS",
        b",",
        b"(",
        b")",
        b"?",
        b"\r\n",
        b"\t",
        b"\xa0",
    ]
    + [
        text.encode()
        for text in ("é", "Ä", "ß", "İ", "Σ", "’", "‐", "\u0301", "肝", "\u00a0", "\u2028", "½", "😀", "Ǆ")
    ]
    + [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"\xe2\x80", b"\xf4\x90\x80\x80"]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=90).map(b"".join), st.binary(max_size=200), st.text().map(str.encode)
)


@pytest.fixture(autouse=True)
def restore_simd() -> Iterator[None]:
    yield
    _core.lower_simd("avx512")


def check_same(found: Tokens, truth: Tokens) -> None:
    assert found.vocabulary == truth.vocabulary
    assert found.n_invalid == truth.n_invalid
    for name in ARRAYS:
        got, wanted = getattr(found, name), getattr(truth, name)
        assert (got is None) == (wanted is None), name
        if wanted is not None:
            assert got.dtype == wanted.dtype, name
            np.testing.assert_array_equal(got, wanted, err_msg=name)


def words_of(text: str | bytes, **rules: object) -> list[str]:
    found = tokenize([[text]], TokenRules(**{"min_length": 1, **rules}))  # type: ignore[arg-type]
    return [found.vocabulary[number] for number in found.tokens]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("T1-weighted L4-5 and/or 1.5 ISOVUE-300", "t1-weighted l4-5 and/or 1.5 isovue-300"),
        ("patient's patient’s non‐contrast", "patient's patient's non-contrast"),
        ("normal.The liver. e.g. 5.The T2.FLAIR", "normal the liver e.g 5 the t2.flair"),
        ("at 10:30: ratio a:b", "at 10:30 ratio a b"),
        ("--a-- b-/c ''d", "a b c d"),
        ("seen by XXXX on ___, [**2012-3-4**] a__b", "seen by <deid> on <deid> <deid> a b"),
        ("abc___def[**x y**]-g", "abc <deid> def <deid> g"),
        ("xxx xxxxx", "xxx <deid>"),
        ("Ödem e\u0301te\u0301 肝臓 Ǆ", "ödem e\u0301te\u0301 肝臓 ǆ"),
        ("a\0b\r\nc", "a b c"),
    ],
)
def test_radiology_tokens(text: str, wanted: str) -> None:
    assert words_of(text) == wanted.split()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("12 1.5 3/4/2012 2012-03-04 3.4.2012 10:30 9:05:59", "number number date date date time time"),
        ("5mm 2.5cm 1.5x2.3 2x3mm 120kVp", "measure measure measure measure measure"),
        ("1/2 1.2.3.4 3-4 30:1 1'000", "number number number number number"),
    ],
)
def test_numbers_are_classes(text: str, wanted: str) -> None:
    assert words_of(text, numbers="mask") == [f"<{word}>" for word in wanted.split()]
    assert words_of(text, numbers="drop") == []


@pytest.mark.parametrize("text", ["l4-5", "t1", "3d", "5th", "2-mm-", "4a", "12٣"])
def test_words_with_digits_are_no_numbers(text: str) -> None:
    assert words_of(text, numbers="drop") == [text.strip("-")] or text == "2-mm-"


def test_paper_pattern_trims_ends_only() -> None:
    text = '(L5-S1), "T1-weighted" 1.5x2,3 ... and/or; a(b)c _x_'
    assert words_of(text, pattern="paper") == ["l5-s1", "t1-weighted", "1.5x2,3", "and/or", "a(b)c", "x"]


def test_word_pattern_equals_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["The LIVER, the_liver l4-5 é_à 1.5 ½ naïve", "", "liver a bc d3 Ünder ___ x"]
    model = CountVectorizer().fit(texts)
    found = tokenize([texts], TokenRules(pattern="word", min_length=2, placeholders="keep"))
    assert sorted(found.vocabulary) == sorted(model.vocabulary_)
    sums = model.transform(texts).sum(axis=0).A1
    assert dict(zip(found.vocabulary, found.counts, strict=True)) == {
        word: sums[column] for word, column in model.vocabulary_.items()
    }


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TEXTS, max_size=5),
    st.sampled_from(PATTERNS),
    st.sampled_from(["keep", "drop", "mask"]),
    st.booleans(),
)
@example(
    [b"x" * 63 + "é".encode() + b"-a", b"a" * 62 + "’b".encode(), b"_" * 130, b"a[**" + b" " * 190 + b"**]b"],
    "radiology",
    "keep",
    True,
)
@example([b"1" * 64 + b".B", b"-" * 64 + b"a", b"a" * 1000, b"a" * 15, b"a" * 16], "radiology", "mask", True)
@example([b"a b " * 700], "radiology", "keep", True)
def test_equals_reference(texts: list[bytes], pattern: str, keep: str, lowercase: bool) -> None:
    rules = TokenRules(pattern, lowercase, 2, keep, {"keep": "mask", "mask": "drop", "drop": "keep"}[keep])
    truth = tokenize([texts], rules, keep_spans=True, sentences=DEFAULT_RULES, backend="reference")
    for simd in SETS:
        _core.lower_simd(simd)
        check_same(tokenize([texts], rules, keep_spans=True, sentences=DEFAULT_RULES, threads=2), truth)


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from(PATTERNS))
def test_spans_give_the_words_back(text: bytes, pattern: str) -> None:
    rules = TokenRules(pattern, min_length=1)
    found = tokenize([[text]], rules, keep_spans=True)
    assert found.spans is not None
    flat = found.spans.astype(np.int64).ravel()
    assert (np.diff(flat) >= 0).all()
    for number, (first, last) in zip(found.tokens, found.spans, strict=True):
        token = text[first:last].decode("utf-8", "replace")
        assert reference.fold(token, rules) == found.vocabulary[number]


def test_character_classes_agree_with_python() -> None:
    # Characters that this Python's Unicode lacks, or the compiled tables lack, are left out.
    import unicodedata

    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    if unicodedata.unidata_version != "14.0.0":
        points = [point for point in points if point < 0x250]
    texts = [
        "".join(f"a{chr(point)}b " for point in points[first : first + 4096])
        for first in range(0, len(points), 4096)
    ]
    rules = TokenRules("word", min_length=1)
    check_same(tokenize([texts], rules), tokenize([texts], rules, backend="reference"))


PRUNES = (
    PruneRules(),
    PruneRules(min_documents=2, drop_top=1),
    PruneRules(max_documents=0.5, stop_words=("b",)),
    PruneRules(max_vocabulary=2, min_documents=0.5),
    PruneRules(drop_top=100),
)


@pytest.mark.parametrize("prune", PRUNES)
@pytest.mark.parametrize("threads", [1, 2, 3, 8, 16])
def test_threads_and_batches_change_nothing(prune: PruneRules, threads: int) -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefgh. "))
    texts = ["".join(rng.choice(letters, size)) for size in rng.integers(0, 400, 600)]
    texts[3] = " ".join(["b"] * 120_000)
    rules = TokenRules(min_length=1)
    truth = tokenize([texts], rules, prune, keep_spans=True, sentences=DEFAULT_RULES, backend="reference")
    for batches in ([texts], [texts[:1], [], texts[1:500], texts[500:]]):
        found = tokenize(batches, rules, prune, keep_spans=True, sentences=DEFAULT_RULES, threads=threads)
        check_same(found, truth)


@pytest.mark.parametrize("threads", [1, 3, 8, 16])
@pytest.mark.parametrize("prune", [PruneRules(), PruneRules(drop_top=2), PruneRules(drop_top=1000)])
def test_a_folder_holds_the_same_arrays(prune: PruneRules, threads: int, tmp_path: Path) -> None:
    texts = [f"Liver {n % 7} ok. Spleen é{n % 3}.\nNo mass {'x' * (n % 40)}" for n in range(4000)] + [""]
    rules = TokenRules(min_length=1)
    wanted = tokenize([texts], rules, prune, keep_spans=True, sentences=DEFAULT_RULES)
    batches = [texts[:100], texts[100:101], texts[101:]]
    found = tokenize(
        batches, rules, prune, keep_spans=True, sentences=DEFAULT_RULES, threads=threads, folder=tmp_path
    )
    check_same(found, wanted)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.npy" for name in ARRAYS[:5]}
    for name in ARRAYS[:5]:
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), getattr(wanted, name))
    if len(wanted.tokens):
        assert isinstance(found.tokens, np.memmap)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("last", [b"", b"no break", b"\n"])
def test_lines_of_a_file_are_documents(threads: int, last: bytes, tmp_path: Path) -> None:
    lines = [
        b"Liver\r\n",
        b"\n",
        b"a\0b\n",
        b"b" * 300_000 + b" mass\n",
        *(b"No %d\n" % n for n in range(40_000)),
    ]
    (tmp_path / "texts.txt").write_bytes(b"".join(lines) + last)
    batches = [Lines(str(tmp_path / "texts.txt"))]
    rules = TokenRules(min_length=1)
    truth = tokenize(batches, rules, keep_spans=True, backend="reference")
    assert len(truth.indptr) - 1 == len(lines) + bool(last)
    check_same(tokenize(batches, rules, keep_spans=True, threads=threads), truth)


def test_files_that_fail_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        tokenize([Lines(str(tmp_path / "none.txt"))])
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        tokenize([Lines(str(tmp_path))], threads=2)
    with pytest.raises(CannotWriteError, match=r"cannot write .*nowhere"):
        tokenize([["a"]], folder=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="leave folder out"):
        tokenize([["a"]], folder=tmp_path, backend="reference")


def test_a_failing_source_ends_the_work() -> None:
    def texts() -> Iterator[list[str]]:
        yield ["liver"] * 1000
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tokenize(texts(), threads=3)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_given_vocabulary_is_used(backend: str) -> None:
    long = "antidisestablishmentarianism"
    found = tokenize(
        [[f"b a c a {long}", "", "c"]], TokenRules(min_length=1), vocabulary=["a", long, "b"], backend=backend
    )
    assert found.tokens.tolist() == [2, 0, 0, 1]
    assert found.indptr.tolist() == [0, 4, 4, 4]
    assert found.vocabulary == ["a", long, "b"]


def test_table_grows_past_many_words() -> None:
    words = [f"word{number}" for number in range(20_000)] + [
        f"averyveryverylongword{number}" for number in range(20_000)
    ]
    found = tokenize([[" ".join(words)], [" ".join(reversed(words))]], threads=2)
    assert len(found.vocabulary) == 40_000
    assert found.vocabulary == sorted(words)
    assert [found.vocabulary[number] for number in found.tokens] == words + words[::-1]


def test_slices_read_the_buffer_in_place() -> None:
    text = b"liver spleenliver"
    found = tokenize([Slices(text, np.array([0, 5, 12, 12, 17]))], TokenRules(min_length=1))
    assert [found.vocabulary[number] for number in found.tokens] == ["liver", "spleen", "liver"]
    assert found.indptr.tolist() == [0, 1, 2, 2, 3]
    with pytest.raises(UsageError, match="bounds"):
        tokenize([Slices(text, np.array([0, 99]))])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_no_documents(backend: str) -> None:
    found = tokenize([], backend=backend, keep_spans=True, sentences=DEFAULT_RULES)
    assert found.indptr.tolist() == [0]
    assert found.vocabulary == []
    assert found.spans is not None
    assert found.spans.shape == (0, 2)


def test_huge_token_and_lone_surrogate() -> None:
    found = tokenize([["b" * 1_000_000 + " a\ud800c"]], TokenRules(min_length=1))
    assert sorted(map(len, found.vocabulary)) == [1, 1, 1_000_000]
    assert found.n_invalid == 3


def test_sentences_own_their_tokens() -> None:
    text = "The liver is normal. No mass. Heart normal."
    found = tokenize([["", text]], TokenRules(min_length=1), PruneRules(drop_top=1), sentences=DEFAULT_RULES)
    assert found.sentences is not None
    assert found.sentence_indptr is not None
    parts = [[found.vocabulary[n] for n in found.tokens[a:b]] for a, b in pairwise(found.sentences)]
    assert parts == [["the", "liver", "is"], ["no", "mass"], ["heart"]]
    assert found.sentence_indptr.tolist() == [0, 0, 3]


@pytest.mark.parametrize(
    "rules",
    [
        TokenRules(pattern="x"),
        TokenRules(numbers="x"),
        TokenRules(placeholders="x"),
        TokenRules(min_length=0),
    ],
)
def test_unknown_rules_are_refused(rules: TokenRules) -> None:
    with pytest.raises(UsageError, match=r"^\[tokenize\]"):
        tokenize([["a"]], rules)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="str or bytes, is int"):
        tokenize([["a", 3]])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="each word once"):
        tokenize([["a"]], vocabulary=["a", "a"])
    with pytest.raises(UsageError, match="does not exist"):
        tokenize([["a"]], backend="cuda")


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_equals_reference_on_real_text(data: Path, pattern: str, step: int) -> None:
    names = ("mtsamples_radiology", "roco_ccby_captions", "mtsamples_other")
    files = [data / "text" / f"{name}.jsonl" for name in names]
    texts = [json.loads(line)["text"] for file in files for line in file.open(encoding="utf-8")][::step]
    rules, prune = TokenRules(pattern, numbers="mask"), PruneRules(min_documents=3, drop_top=10)
    truth = tokenize([texts], rules, prune, keep_spans=True, sentences=DEFAULT_RULES, backend="reference")
    for simd in SETS:
        _core.lower_simd(simd)
        check_same(
            tokenize([texts], rules, prune, keep_spans=True, sentences=DEFAULT_RULES, threads=2), truth
        )
