"""Sentence splitter: hard cases of dictated reports, invariants on any bytes, quality on real reports."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentences_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import radfast._core as _core
from radfast.errors import UsageError
from radfast.kernels.tokenize import DEFAULT_RULES
from radfast.text import split_sentences, split_sentences_batch

# Each case is written with | where a sentence must end.
CASES = [
    "The lungs are clear.| No effusion.",
    "Nodule of approx. 6 mm in the liver.| See Fig. 3 and No. 2.",
    "Seen by Dr. Smith vs. Dr. Jones at 8 a.m. today.| He was discharged at 9 p.m.| The scan was repeated.",
    "There is a 2.5 cm. mass in the liver.| It measures 6 mm.| No effusion.",
    "it measures 6 mm.| there is no effusion.| heart is normal.",
    "lungs are clear.|heart is normal.| no effusion",
    "aneurysm of the arch (2/1).| absent on the left (see above).| small cyst (5 mm, seg. 4) stays.",
    "The liver is normal.|The spleen is enlarged.|MRI.|The cord is normal.",
    "disease at L4-5.|There is a cyst at T2.|No mass.",
    "1. No mass.| 2. Cyst of 3.4 cm.| 3. Stable.",
    "IMPRESSION:| 1. No mass.| 2. Grade 2. lesion of segment 3.| 3. None.",
    "IMPRESSION:| 1) Mass| 2) Effusion| 3) None",
    "FINDINGS:|\nThe liver is normal.|\nIMPRESSION:|\nNormal.",
    "FINDINGS|\nThe liver is normal.",
    "COMPARISON: None| FINDINGS: The lungs are clear.",
    "FINDINGS: ,|The liver is normal.,|2. Spleen.,|IMPRESSION:,|Normal.",
    "EXAM:,|MRI LEFT SHOULDER,|CLINICAL:,|Pain.  ,|IMPRESSION:,|1.  Tear.",
    "There is no evidence of\nacute disease in the\nChest.| The heart is large.",
    "Liver normal|\nSpleen normal|\nNo ascites",
    "- mass|\n- node|\n* cyst",
    "No acute disease|\n\nSigned by XXXX",
    "A small cyst (series 3, image 4. arrow) is seen.| No mass.",
    "Is there a mass?| No!| Possible (?) nodule.",
    "Hepatitis C.| The liver is large.| J. Smith agrees.",
    "e.g. cysts, i.e. fluid, etc. are seen.| None of the ant. wall.",
    "Stable since Jan. 5 (see Smith et al. 2012).| Ends.",
    "Dose of 1.5 mg. The patient left.".replace("mg. ", "mg.| "),
    "Seen on image.jpg and at www.site.org today.",
    "Cyst in seg. IV.| Hemangioma.",
    "Waiting...| Then normal... or so.",
    'He said "no pain."| She left. )',
    "CRP 5.2 (elevated).| ANA was positive at 1: 40.| Biopsy was made.",
    "The nodule measures 6 mm.| 2 further nodules are seen.",
    "T1.5 x 2.3 cm.| Étude normale.| Über.",
    "Compared to 3/4/2012.| 5.6 cm aneurysm.",
    "a) Mass.| b) Cyst.",
    "Findings are as follows:|\n1. Mass.|\r\n2. Cyst.",
    "Right kidney 10.2 cm.Left kidney 11 cm.".replace(".L", ".|L"),
    "Seen by M. Jones, M.D. on 3/4/12.| He agrees.",
    "No. of stones: 3.| 100 cc. of contrast, 6 mm., LLL.| Vitamin D.| Normal.",
    "LIVER: Normal.| SPLEEN: Normal size.",
    "The lungs are clear.|heart is large.|lungs.",
    "See www.site.org. clear.heart.".replace("org. ", "org.| ").replace(".h", ".|h"),
    "MRI LEFT KNEE,|This is a 5-year-old, Seen (A,Big) at 36.0C,|MS: alert.",
    "Fig. 1. Axial CT.| Arrow of et al. [10] and R. Smith, Ph.D. agree.[2, 3]| Max. AP diameter.",
    "1.Normal.| 2.Large.",
    "Right (?DJD).,|FHX:, |None.",
    "",
    " \n\t ",
]


def split(text: str) -> list[str]:
    data = text.encode()
    return [data[first:last].decode() for first, last in split_sentences(text)]


@pytest.mark.parametrize("case", CASES)
def test_hard_cases(case: str) -> None:
    assert split(case.replace("|", "")) == [part.strip() for part in case.split("|") if part.strip()]


WORDS = ". ? ! : , ( ) 1 12 a B cm Dr FINDINGS the No é ” 'x \0 \u00a0 \u2028 - *"
PIECES = st.sampled_from(
    [
        *(word.encode() for word in WORDS.split(" ")),
        b"\n",
        b"\r\n",
        b" ",
        b"- ",
        b"\xff",
        b"\xc3",
        b"\xe2\x80",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=60).map(b"".join), st.binary(max_size=200), st.text().map(str.encode)
)


SETS = ("portable", "avx2", "avx512")


@pytest.fixture(autouse=True)
def restore_simd() -> Iterator[None]:
    yield
    _core.lower_simd("avx512")


def check_equals_oracle(text: bytes) -> None:
    truth = sentences_oracle.split_sentences(text, DEFAULT_RULES)
    for simd in SETS:
        _core.lower_simd(simd)
        assert list(map(tuple, split_sentences(text).tolist())) == truth, simd


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_equals_oracle(text: bytes) -> None:
    check_equals_oracle(text)


@pytest.mark.parametrize("seed", range(3))
def test_equals_oracle_on_mixed_pieces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [
        *(piece.replace("|", "").encode() for case in CASES for piece in case.split(" ")),
        *b". , ; : ( ) ? ! 1 2 A b".split(),
        *[b" ", b" ", b" ", b". ", b"\n", b"\r", b"1. ", b"\xff", b"\xc3", "É".encode(), b"x" * 30],
    ]
    for size in rng.integers(0, 80, 1500):
        check_equals_oracle(b"".join(pieces[n] for n in rng.integers(0, len(pieces), size)))


def test_equals_oracle_on_all_real_text(data: Path) -> None:
    for name in ("mtsamples_radiology", "roco_ccby_captions", "mtsamples_other"):
        for line in (data / "text" / f"{name}.jsonl").open(encoding="utf-8"):
            check_equals_oracle(json.loads(line)["text"].encode())


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_spans_tile_the_text(text: bytes) -> None:
    spans = split_sentences(text)
    assert spans.dtype == np.int64
    assert spans.shape == (len(spans), 2)
    last = 0
    for first, end in spans:
        assert last <= first < end <= len(text)
        assert not text[last:first].decode("utf-8", "replace").strip()
        part = text[first:end].decode("utf-8", "replace")
        assert part == part.strip() != ""
        last = end
    assert not text[last:].decode("utf-8", "replace").strip()


def test_batch_equals_one_by_one() -> None:
    texts = ["No go. Oh my.", "", b"No mass."]
    spans, indptr = split_sentences_batch(texts)
    assert indptr.tolist() == [0, 2, 2, 3]
    assert spans.tolist() == [[0, 6], [7, 13], [0, 8]]
    spans, indptr = split_sentences_batch([])
    assert spans.shape == (0, 2)
    assert indptr.tolist() == [0]


def test_rules_are_data() -> None:
    rules = replace(DEFAULT_RULES, never_last=DEFAULT_RULES.never_last | {"klin"})
    assert len(split_sentences("Der klin. Befund ist gut.")) == 2
    assert len(split_sentences("Der klin. Befund ist gut.", rules=rules)) == 1
    assert len(split_sentences("a\nB", rules=replace(DEFAULT_RULES, min_wrap=1))) == 1


def test_odd_input() -> None:
    assert split_sentences("a\ud800. B").tolist() == [[0, 5], [6, 7]]
    assert len(split_sentences("x" * 1_000_000 + ". Y.")) == 2
    with pytest.raises(UsageError, match="must be str or bytes"):
        split_sentences(3)  # type: ignore[arg-type]


@pytest.mark.timeout(30)
def test_hostile_text_ends() -> None:
    """The limit is the test's time-out: quadratic time would take minutes."""
    for piece in (b"(a. ", b"a.", b"1. ", b"A:", b"A\n", b"-", b"A ", b"_" * 64, b"a\r"):
        text = piece * (400_000 // len(piece))
        spans = split_sentences(text)
        assert (spans[:, 0] < spans[:, 1]).all(), piece


ANNOTATIONS = Path(__file__).parent / "annotations"


def count_boundaries(pairs: Iterable[tuple[bytes, set[int]]]) -> tuple[int, float, float]:
    """Return the annotated boundaries, precision and recall."""
    right = found = wanted = 0
    for text, truth in pairs:
        starts = set(split_sentences(text)[1:, 0].tolist())
        right += len(starts & truth)
        found += len(starts)
        wanted += len(truth)
    return wanted, right / found, right / wanted


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("sentences", (300, 0.97, 0.95)),
        ("fresh_first", (200, 0.98, 0.98)),
        ("fresh_second", (200, 0.98, 0.98)),
    ],
)
def test_quality_on_annotated_reports(data: Path, name: str, least: tuple[int, float, float]) -> None:
    texts = {
        record["id"]: record["text"].encode()
        for source in ("mtsamples_radiology", "roco_ccby_captions")
        for record in map(json.loads, (data / "text" / f"{source}.jsonl").open(encoding="utf-8"))
    }
    truths = [json.loads(line) for line in (ANNOTATIONS / f"{name}.jsonl").open(encoding="utf-8")]
    for truth in truths:
        assert hashlib.sha256(texts[truth["id"]]).hexdigest() == truth["sha256"]
    figures = count_boundaries((texts[truth["id"]], set(truth["starts"])) for truth in truths)
    assert all(figure >= bound for figure, bound in zip(figures, least, strict=True)), figures


@pytest.mark.parametrize("name", ["hard_first", "hard_second"])
def test_quality_on_hard_cases(name: str) -> None:
    pairs = []
    for line in (ANNOTATIONS / f"{name}.txt").open(encoding="utf-8"):
        parts = re.split(r"\|(\s*)", line.rstrip("\n").replace("\\n", "\n"))
        starts = {len("".join(parts[:at]).encode()) for at in range(2, len(parts), 2)}
        pairs.append(("".join(parts).encode(), starts))
    wanted, precision, recall = count_boundaries(pairs)
    assert wanted >= 70
    assert precision >= 0.98
    assert recall >= 0.98
