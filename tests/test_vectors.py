"""Word vectors, disease words, bi-grams, keyword index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import radfast as rf
from radfast.config import VectorsConfig
from radfast.errors import UsageError
from radfast.vectors import (
    KeywordIndex,
    WordVectors,
    bigram_targets,
    disease_words,
    find_bigrams,
    train_word_vectors,
)

CONFIG = VectorsConfig(size=24, window=4, sample=0, min_count=3, epochs=4)


def sentences() -> list[list[str]]:
    """Return sentences of two themes that never mix."""
    rng = np.random.default_rng(0)
    themes = [["lung", "nodule", "lobe", "chest", "effusion"], ["kidney", "cyst", "renal", "ureter", "stone"]]
    return [[str(w) for w in rng.choice(themes[i % 2], 8)] for i in range(400)] + [["rare", "rare"]]


@pytest.fixture(scope="module")
def trained() -> WordVectors:
    """Vectors of the two themes."""
    return train_word_vectors(sentences(), CONFIG, seed=0)


def test_words_of_one_theme_are_nearest(trained: WordVectors) -> None:
    assert len(trained) == 10
    assert "rare" not in trained
    for word, theme in (("lung", {"nodule", "lobe", "chest", "effusion"}), ("cyst", {"kidney", "renal"})):
        near = [other for other, _ in trained.nearest(word, 4)]
        assert word not in near
        assert theme <= set(near)


def test_training_is_reproducible_in_any_process(trained: WordVectors, tmp_path: Path) -> None:
    again = train_word_vectors((s for s in sentences()), CONFIG, seed=0, threads=2)
    assert again.words == trained.words
    assert again.vectors.tobytes() == trained.vectors.tobytes()
    assert train_word_vectors(sentences(), CONFIG, seed=1).vectors.tobytes() != trained.vectors.tobytes()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_vectors import *; "
        "train_word_vectors(sentences(), CONFIG, seed=0).save(sys.argv[2])"
    )
    path = tmp_path / "other.safetensors"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, Path(__file__).parent, path], check=True, env=env)
    trained.save(tmp_path / "this.safetensors")
    assert path.read_bytes() == (tmp_path / "this.safetensors").read_bytes()


def test_progress_and_long_sentences() -> None:
    told: list[tuple[int, int]] = []
    long = [["left", "right", "node"] * 4000]
    found = train_word_vectors(long, CONFIG, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(found.words) == ["left", "node", "right"]


def test_no_frequent_word_gives_no_vectors() -> None:
    for nothing in ([], [["once", "upon"]]):
        found = train_word_vectors(nothing, CONFIG)
        assert len(found) == 0
        assert found.vectors.shape == (0, 24)


def test_word_vectors_survive_the_disk(tmp_path: Path) -> None:
    words = ["müller", "l5-s1", "a"]
    vectors = WordVectors(words, np.arange(9, dtype=np.float32).reshape(3, 3))
    vectors.save(tmp_path / "v.safetensors")
    again = WordVectors.load(tmp_path / "v.safetensors")
    assert again.words == words
    assert again.vectors.tobytes() == vectors.vectors.tobytes()
    assert again.vector("a").tolist() == [6, 7, 8]
    WordVectors([], np.empty((0, 3))).save(tmp_path / "none.safetensors")
    assert len(WordVectors.load(tmp_path / "none.safetensors")) == 0
    with pytest.raises(UsageError, match="cannot read word vectors"):
        WordVectors.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not a tensor")
    with pytest.raises(UsageError, match="holds no word vectors"):
        WordVectors.load(tmp_path / "text")


def test_word_vectors_refuse_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="2 words but 1 vectors"):
        WordVectors(["a", "b"], np.ones((1, 2)))
    with pytest.raises(UsageError, match="distinct"):
        WordVectors(["a", "a"], np.ones((2, 2)))
    with pytest.raises(UsageError, match="no vector for the word 'c'"):
        WordVectors(["a"], np.ones((1, 2))).vector("c")


def test_disease_words() -> None:
    names = [
        "Cyst of the Kidney",
        "Crohn's disease",
        "chronic obstructive pulmonary disease (COPD)",
        "type 2, NOS",
    ]
    words = {"cyst", "kidney", "crohn's", "chronic", "obstructive", "pulmonary", "copd"}
    assert disease_words(names) == words
    assert disease_words(["A B-cell x1 12345"], min_length=2) == {"b-cell", "x1"}


def test_bigrams_of_the_paper() -> None:
    disease = {"retroperitoneal", "mesenteric", "lymph", "nodes", "mass"}
    text = ["enlarged", "retroperitoneal", "mesenteric", "lymph", "nodes", "and", "a", "mass", "near"]
    text += ["lymph", "nodes", "mass", "mass"]
    assert find_bigrams(text, disease) == [
        ("retroperitoneal", "mesenteric"),
        ("mesenteric", "lymph"),
        ("lymph", "nodes"),
        ("nodes", "mass"),
    ]
    assert find_bigrams([], disease) == []
    assert find_bigrams(["mass"], disease) == []


def test_targets_are_unit_halves() -> None:
    vectors = WordVectors(["a", "b", "zero"], np.array([[3, 4], [0, 2], [0, 0]], dtype=np.float32))
    found = bigram_targets([("a", "b"), ("b", "zero")], vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8, 0, 1], [0, 1, 0, 0]], atol=1e-7)
    assert bigram_targets([], vectors).shape == (0, 4)
    with pytest.raises(UsageError, match="bi-gram 1 has none"):
        bigram_targets([("a", "b"), ("a", "c")], vectors)


def make_index(n: int = 60, depth: int = 12) -> KeywordIndex:
    """Return an index of random words."""
    rng = np.random.default_rng(n)
    return KeywordIndex([f"word{i}" for i in range(n)], rng.standard_normal((n, depth), dtype=np.float32))


def test_index_answers_as_the_kernel() -> None:
    index = make_index()
    queries = np.random.default_rng(1).standard_normal((7, 12))
    scores, ids = index.search(queries, 5)
    expected = rf.cosine_topk(queries, index.vectors, 5)
    assert scores.tobytes() == expected[0].tobytes()
    assert ids.tobytes() == expected[1].tobytes()
    near = index.search_words(["word3", "word9"], 4)
    assert [len(found) for found in near] == [4, 4]
    assert "word3" not in [word for word, _ in near[0]]
    assert [w for w, _ in near[0]] == [
        w for w, _ in WordVectors(index.words, index.vectors).nearest("word3", 4)
    ]
    table = index.nearest_table(["word9"], 4)
    assert table.column("neighbour").to_pylist() == [word for word, _ in near[1]]
    assert table.column("rank").to_pylist() == [0, 1, 2, 3]
    assert index.nearest_table(k=2).num_rows == 120


def test_many_queries_give_the_same_answers() -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((96, 96)) * np.exp(-np.arange(96) / 8)[:, None]
    vectors = (rng.standard_normal((5000, 96)) @ mix).astype(np.float32)
    index = KeywordIndex([f"w{i}" for i in range(5000)], vectors)
    queries = (rng.standard_normal((2100, 96)) @ mix).astype(np.float32)
    for gone in (["w17", "w4000"], ["w3"]):
        found, plain = index.search(queries, 7), rf.cosine_topk(queries, index.vectors, 7)
        assert index._pruned is not None
        assert index._pruned.prefix > 0
        assert found[0].tobytes() == plain[0].tobytes()
        assert found[1].tobytes() == plain[1].tobytes()
        index.remove(gone)


def test_groups() -> None:
    index = make_index()
    with pytest.raises(UsageError, match="set_groups first"):
        index.search(index.vectors[:1], group=[0])
    index.set_groups(
        [["word5", "word2", "no such word", "word5"], [], ["word7", "word8"]], keep={"word2", "word5"}
    )
    _, ids = index.search(index.vectors[:4], 3, group=np.array([0, 1, 2, -1]))
    assert sorted(ids[0].tolist()) == [-1, 2, 5]
    assert (ids[1:] == -1).all()
    scores, ids, half = index.search_halves(np.tile(index.vectors[:1], 2), 2, group=[0])
    assert sorted(ids[0].tolist()) == [2, 5]
    assert half[0].tolist() == [0, 0]
    assert scores[0, 0] >= scores[0, 1]


@settings(max_examples=25, deadline=None)
@given(gone=st.sets(st.integers(0, 19)), more=st.integers(0, 5))
def test_removing_and_adding_equals_making_anew(gone: set[int], more: int) -> None:
    index = make_index(20)
    groups = [[f"word{i}" for i in range(g, 20, 3)] for g in range(3)]
    index.set_groups(groups)
    fresh = np.random.default_rng(more).standard_normal((more, 12), dtype=np.float32)
    kept = [i for i in range(20) if i not in gone]
    rows = np.concatenate([index.vectors[kept], fresh])
    words = [f"word{i}" for i in kept] + [f"new{i}" for i in range(more)]
    index.remove([f"word{i}" for i in sorted(gone)])
    index.add([f"new{i}" for i in range(more)], fresh)
    anew = KeywordIndex(words, rows)
    anew.set_groups(groups)
    assert index.words == anew.words
    queries = np.random.default_rng(0).standard_normal((3, 12))
    for group in (None, np.array([0, 1, 2])):
        left, right = index.search(queries, 4, group=group), anew.search(queries, 4, group=group)
        assert left[0].tobytes() == right[0].tobytes()
        assert left[1].tobytes() == right[1].tobytes()


def test_index_survives_the_disk(tmp_path: Path) -> None:
    index = make_index()
    index.set_groups([["word5", "word2"], []])
    index.save(tmp_path / "index")
    for mmap in (True, False):
        again = rf.KeywordIndex.load(tmp_path / "index", mmap=mmap)
        assert isinstance(again.vectors.base, np.memmap) == mmap
        assert again.words == index.words
        assert again.groups is not None
        assert index.groups is not None
        assert again.groups[1].tolist() == index.groups[1].tolist()
        for left, right in zip(again.search(index.vectors, 3), index.search(index.vectors, 3), strict=True):
            assert left.tobytes() == right.tobytes()
    KeywordIndex([], np.empty((0, 4))).save(tmp_path / "none")
    none = KeywordIndex.load(tmp_path / "none")
    assert none.search(np.ones((2, 4)), 3)[1].tolist() == [[-1] * 3] * 2


def test_a_mapped_index_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((40_000, 256), dtype=np.float32)  # 41 MB
    KeywordIndex([f"w{i}" for i in range(40_000)], vectors).save(tmp_path / "index")
    index = KeywordIndex.load(tmp_path / "index")
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 0
    # A search reads the pages of the file where they lie: those are shared, not the process's own.
    code = (
        "import sys; from radfast import KeywordIndex; import numpy as np; "
        "lines = lambda: open('/proc/self/status'); "
        "own = lambda: next(int(line.split()[1]) for line in lines() if line.startswith('RssAnon')); "
        "index = KeywordIndex.load(sys.argv[1], threads=1); before = own(); "
        "index.search(np.ones((20, 256), np.float32), 5); print(own() - before)"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell memory of its own from mapped files")
    made = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "index"], check=True, capture_output=True, text=True
    )
    assert int(made.stdout) < 12_000  # KB


def test_damaged_index_is_refused(tmp_path: Path) -> None:
    make_index(60).save(tmp_path / "a")
    make_index(20).save(tmp_path / "b")
    with pytest.raises(UsageError, match="cannot read keyword index"):
        KeywordIndex.load(tmp_path / "c")
    (tmp_path / "b" / "words.arrow").replace(tmp_path / "a" / "words.arrow")
    with pytest.raises(UsageError, match="of different indexes"):
        KeywordIndex.load(tmp_path / "a")
    for junk in (b"", b"junk that is no tensor file", (20).to_bytes(8, "little") + b'{"vectors": {"dtype"'):
        make_index(20).save(tmp_path / "d")
        (tmp_path / "d" / "vectors.safetensors").write_bytes(junk)
        with pytest.raises(UsageError, match="holds no keyword index"):
            KeywordIndex.load(tmp_path / "d")


def test_index_refuses_what_does_not_fit() -> None:
    index = make_index(3)
    with pytest.raises(UsageError, match="1 words but 2 vectors"):
        KeywordIndex(["a"], np.ones((2, 2)))
    with pytest.raises(UsageError, match="distinct"):
        KeywordIndex(["a", "a"], np.ones((2, 2)))
    with pytest.raises(UsageError, match="word 1, 'x', is not in the index"):
        index.search_words(["word0", "x"])
    with pytest.raises(UsageError, match="must have 12 features, have 2"):
        index.add(["x"], np.ones((1, 2)))
    for words in (["word0"], ["x", "y"]):
        with pytest.raises(UsageError, match="new, distinct"):
            index.add(words, np.ones((1, 12)))
    with pytest.raises(UsageError, match="new, distinct"):
        index.add(["x", "x"], np.ones((2, 12)))


def test_words_of_the_real_ontology(data: Path) -> None:
    lines = (data / "disease_ontology" / "doid_2016-03-04.obo").read_text(encoding="utf-8").splitlines()
    names = [line.removeprefix("name: ") for line in lines if line.startswith("name: ")]
    names += [line.split('"')[1] for line in lines if line.startswith("synonym: ")]
    words = disease_words(names)
    assert {"pneumonia", "carcinoma", "lymphoma", "hernia"} <= words
    assert not words & {"disease", "syndrome", "the", "with"}
    assert 6000 < len(words) < 12000, len(words)
