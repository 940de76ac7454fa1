"""Tokenizer as an estimator, and the corpus it gives."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from radfast import _core
from radfast.errors import CannotWriteError, UsageError
from radfast.text import Corpus, Tokenizer

TEXTS = ["Liver, spleen; liver.", "", "Spleen normal. Übrig: é", "liver NORMAL normal"]


def make(**parameters: object) -> Tokenizer:
    return Tokenizer(**{"min_df": 1, "drop_top": 0, "threads": 2, **parameters})  # type: ignore[arg-type]


@pytest.fixture
def corpus() -> Corpus:
    return make(keep_spans=True, sentences=True).fit_transform(TEXTS)


def equal(a: Corpus, b: Corpus) -> bool:
    names = ("indptr", "tokens", "spans", "sentences", "sentence_indptr")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    return a.vocabulary == b.vocabulary and all(
        (x is None) == (y is None) and (x is None or np.array_equal(x, y)) for x, y in pairs
    )


def test_ids_follow_count_then_bytes(corpus: Corpus) -> None:
    assert corpus.vocabulary == ["liver", "normal", "spleen", "übrig"]
    assert corpus.tokens.tolist() == [0, 2, 0, 2, 1, 3, 0, 1, 1]
    assert corpus.indptr.tolist() == [0, 3, 3, 6, 9]
    assert corpus.words(2) == ["spleen", "normal", "übrig"]
    assert [document.tolist() for document in corpus] == [[0, 2, 0], [], [2, 1, 3], [0, 1, 1]]
    assert corpus.lengths.tolist() == [3, 0, 3, 3]
    assert "4 documents, 9 tokens, 4 words" in repr(corpus)


def test_estimator_conventions() -> None:
    tokenizer = make(stop_words=["liver"], min_length=2)
    copy = clone(tokenizer)
    assert copy.get_params() == tokenizer.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(TEXTS)
    assert tokenizer.fit(TEXTS) is tokenizer
    assert tokenizer.get_feature_names_out().tolist() == ["normal", "spleen", "übrig"]
    assert tokenizer.counts_.tolist() == [3, 2, 1]
    assert tokenizer.document_counts_.tolist() == [2, 2, 1]
    assert tokenizer.n_documents_ == 4
    assert tokenizer.set_params(numbers="drop").numbers == "drop"


def test_transform_uses_the_learned_words(corpus: Corpus) -> None:
    tokenizer = make(keep_spans=True, sentences=True).fit(TEXTS)
    assert equal(tokenizer.transform(TEXTS), corpus)
    further = tokenizer.transform(["kidney spleen"])
    assert further.tokens.tolist() == [2]
    assert further.spans is not None
    assert further.spans.tolist() == [[7, 13]]


def test_pruning_in_order() -> None:
    texts = ["aaa bbb ccc", "aaa bbb ddd", "aaa ccc eee", "aaa bbb"]
    assert Tokenizer(min_df=2, drop_top=1).fit(texts).vocabulary_ == ["bbb", "ccc"]
    assert Tokenizer(min_df=0.5, drop_top=0, stop_words=["aaa"]).fit(texts).vocabulary_ == ["bbb", "ccc"]
    assert Tokenizer(min_df=1, drop_top=0, max_df=0.75, max_vocabulary=2).fit(texts).vocabulary_ == [
        "bbb",
        "ccc",
    ]
    assert "the" not in Tokenizer(min_df=1, drop_top=0, stop_words="english").fit(["the liver"]).vocabulary_


def test_presets() -> None:
    texts = ["(L5-S1), and/or CT"] * 3
    assert Tokenizer(preset="sklearn").fit(texts).vocabulary_ == ["and", "ct", "l5", "or", "s1"]
    assert Tokenizer(preset="paper").fit(texts).vocabulary_ == []
    with pytest.raises(UsageError, match="min_length is set by preset"):
        Tokenizer(preset="paper", min_length=2).fit(texts)


def test_nfc_joins_what_differs_in_form_only() -> None:
    texts = ["cafe\u0301 caf\u00e9", "cafe\u0301".encode()]
    assert make(normalize="NFC").fit(texts).vocabulary_ == ["café"]
    assert make(normalize="NFC").fit(pa.array(texts[:1])).counts_.tolist() == [2]
    assert len(make().fit(texts).vocabulary_) == 2
    with pytest.raises(UsageError, match="spans"):
        make(normalize="NFC", keep_spans=True).fit(texts)


@pytest.mark.parametrize(
    "parameters",
    [
        {"numbers": "x"},
        {"pattern": "x"},
        {"preset": "x"},
        {"normalize": "x"},
        {"min_df": -1},
        {"max_df": 1.5},
        {"stop_words": "german"},
        {"drop_top": -1},
        {"min_length": 0},
        {"threads": -1},
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(parameters))):
        make(**parameters).fit(TEXTS)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_arrow_arrays(kind: pa.DataType, corpus: Corpus) -> None:
    tokenizer = make(keep_spans=True, sentences=True)
    array = pa.array(["cut off", *TEXTS, None]).cast(kind)
    assert equal(tokenizer.fit_transform(array[1:5]), corpus)
    assert equal(tokenizer.fit_transform(pa.chunked_array([array[1:2], array[2:2], array[2:5]])), corpus)
    assert make().fit_transform(array).indptr.tolist()[-2:] == [11, 11]
    assert len(make().fit_transform(pa.array([], kind))) == 0


def test_other_iterables(corpus: Corpus) -> None:
    tokenizer = make(keep_spans=True, sentences=True)
    assert equal(tokenizer.fit_transform(text.encode() for text in TEXTS), corpus)
    assert equal(tokenizer.fit_transform(pa.array(TEXTS).dictionary_encode()), corpus)
    with pytest.raises(UsageError, match="one text"):
        tokenizer.fit("liver")
    with pytest.raises(UsageError, match="is float"):
        tokenizer.fit(["liver", 1.0])
    with pytest.raises(UsageError, match="must hold strings"):
        tokenizer.fit(pa.array([[1]]))


def test_files_are_streamed(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radfast.text.sources._BLOCK", 64)
    table = pa.table({"id": range(4), "body": TEXTS})
    pq.write_table(table, tmp_path / "a.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "a.csv")
    rows = [json.dumps({"body": text, "id": 1}, ensure_ascii=False) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n")
    (tmp_path / "b.txt").write_text("\r\n".join(TEXTS))
    tokenizer = make(keep_spans=True, sentences=True)
    for name in ("a.parquet", "a.csv", "a.jsonl", "a.txt", "b.txt"):
        assert equal(tokenizer.fit_files([tmp_path / name], column="body"), corpus), name
    assert len(tokenizer.fit_files([tmp_path / "a.txt", tmp_path / "a.csv"], column="body")) == 8


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_broken_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError, match="no such file"):
        make().fit_files([path])
    {"a.parquet": lambda: pq.write_table(pa.table({"id": [1]}), path)}.get(
        name, lambda: path.write_text('{"id": 1}' if name == "a.jsonl" else "id\n1\n")
    )()
    with pytest.raises(UsageError, match=r"a\..*(no column|cannot be read)"):
        make().fit_files([path])
    path.write_bytes(b"{\x00" + b"text" * 3)
    with pytest.raises(UsageError, match=r"a\."):
        make().fit_files([path])


def test_select_and_slice(corpus: Corpus) -> None:
    for chosen in ([3, 0], [], [-1, 1, 1]):
        part = corpus.select(chosen)
        assert [d.tolist() for d in part] == [list(corpus)[number].tolist() for number in chosen]
        assert part.sentences is not None
        assert part.sentences[-1] == len(part.tokens)
    assert equal(corpus[1:3], corpus.select([1, 2]))
    assert equal(corpus[np.array([True, False, False, True])], corpus.select([0, 3]))
    with pytest.raises(UsageError, match="-4 to 3"):
        corpus.select([4])


def test_concatenation_undoes_selection(corpus: Corpus) -> None:
    assert equal(Corpus.concatenate([corpus[:1], corpus[1:1], corpus[1:]]), corpus)
    bare = Corpus(corpus.indptr, corpus.tokens, corpus.vocabulary)
    assert Corpus.concatenate([corpus, bare]).spans is None
    with pytest.raises(UsageError, match="one vocabulary"):
        Corpus.concatenate([corpus, Corpus([0], [], ["other"])])
    with pytest.raises(UsageError, match="at least one"):
        Corpus.concatenate([])


def test_counts_there_and_back(corpus: Corpus) -> None:
    counts = corpus.to_csr()
    assert counts.toarray().tolist() == [[2, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1], [1, 2, 0, 0]]
    assert counts.has_sorted_indices
    back = Corpus.from_csr(counts, corpus.vocabulary)
    assert (back.to_csr() != counts).nnz == 0
    assert back.words(3) == ["liver", "normal", "normal"]
    assert Corpus.from_csr(np.eye(2)).vocabulary == ["0", "1"]
    for wrong in (sp.csr_matrix([[-1]]), sp.csr_matrix([[0.5]])):
        with pytest.raises(UsageError, match="whole numbers"):
            Corpus.from_csr(wrong)
    assert corpus.to_arrow().column("tokens").to_pylist()[3] == [0, 1, 1]


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_corpus_comes_back(corpus: Corpus, tmp_path: Path, mmap: bool) -> None:
    corpus.save(tmp_path / "corpus")
    back = Corpus.load(tmp_path / "corpus", mmap=mmap)
    assert equal(back, corpus)
    assert isinstance(back.tokens, np.memmap) == mmap
    empty = make().fit_transform([])
    empty.save(tmp_path / "corpus")
    assert equal(Corpus.load(tmp_path / "corpus", mmap=mmap), empty)
    (tmp_path / "corpus" / "tokens.npy").write_bytes(b"")
    with pytest.raises(UsageError, match="no whole corpus"):
        Corpus.load(tmp_path / "corpus")
    with pytest.raises(UsageError, match="no whole corpus"):
        Corpus.load(tmp_path / "nothing")


def test_pickles_are_not_read(corpus: Corpus, tmp_path: Path) -> None:
    corpus.save(tmp_path)
    np.save(tmp_path / "tokens.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UsageError, match="no whole corpus"):
        Corpus.load(tmp_path)


def test_folder_that_cannot_be_written(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError):
        corpus.save(tmp_path / "file" / "corpus")


def test_split_keeps_groups_together() -> None:
    corpus = Corpus(np.arange(101), np.zeros(100, np.int32), ["a"])
    groups = np.array([f"p{number % 10}" for number in range(100)])
    train, held = corpus.split(groups, 0.3, random_state=1)
    assert sorted([*train, *held]) == list(range(100))
    assert not set(groups[train]) & set(groups[held])
    assert len(set(groups[held])) == 3
    again = corpus.split(groups, 0.3, random_state=1)
    assert np.array_equal(again[1], held)
    assert not np.array_equal(corpus.split(groups, 0.3, random_state=2)[1], held)
    with pytest.raises(UsageError, match="100 entries"):
        corpus.split(groups[1:])
    with pytest.raises(UsageError, match="between 0 and 1"):
        corpus.split(groups, 1.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([1], []), "from 0 to 0"),
        (([0, 2], [0]), "from 0 to 1"),
        (([0, 2, 1], [0]), "descend"),
        (([0, 1], [5]), "lie in 0 to 0"),
        (([0, 1], [-1]), "lie in 0 to 0"),
    ],
)
def test_arrays_that_do_not_fit(arrays: tuple[list[int], list[int]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Corpus(arrays[0], arrays[1], ["a"])


def test_fit_into_a_folder_is_a_saved_corpus(corpus: Corpus, tmp_path: Path) -> None:
    found = make(keep_spans=True, sentences=True).fit_transform(TEXTS, folder=tmp_path / "a" / "b")
    assert equal(found, corpus)
    assert equal(Corpus.load(tmp_path / "a" / "b", mmap=True), corpus)
    tokenizer = make().fit(TEXTS)
    further = tokenizer.transform(TEXTS[::-1], folder=tmp_path / "a" / "b")
    assert equal(Corpus.load(tmp_path / "a" / "b"), further)
    (tmp_path / "lines.txt").write_text("Liver.\nNormal liver.\n", encoding="utf-8")
    lines = make(normalize="NFC").fit_files([tmp_path / "lines.txt"], folder=tmp_path / "c")
    assert lines.tokens.tolist() == [0, 1, 0]
    with pytest.raises(CannotWriteError, match=r"lines\.txt"):
        make().fit_transform(TEXTS, folder=tmp_path / "lines.txt")


def test_a_vocabulary_is_made_when_asked_for_and_belongs_to_its_owner() -> None:
    tokenizer = Tokenizer(min_df=1, drop_top=0)
    assert not hasattr(tokenizer, "vocabulary_")
    corpus = tokenizer.fit_transform(["übrig liver", "liver"])
    for owner in (tokenizer, corpus):
        again = copy.deepcopy(owner)
        words = again.vocabulary_ if isinstance(again, Tokenizer) else again.vocabulary
        assert words == ["liver", "übrig"]
    corpus.vocabulary.append("spleen")
    assert corpus.vocabulary == ["liver", "übrig", "spleen"]
    assert tokenizer.vocabulary_ == ["liver", "übrig"]
    assert tokenizer.fit(["heart"]).vocabulary_ == ["heart"]
    tokenizer.transform(["heart"]).vocabulary.append("spleen")
    assert tokenizer.vocabulary_ == ["heart"]


@pytest.mark.parametrize("ends", [[3, 2], [9]])
def test_words_lie_within_their_bytes(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="ends of words must ascend within their bytes"):
        _core.list_words(np.frombuffer(b"liver", np.uint8), np.array(ends, np.uint64))
