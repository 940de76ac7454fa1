"""Findings: matching of names, assertion rule by rule, sections, real sentences, any text."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import radfast as rf
from radfast.errors import UsageError
from radfast.findings import Concept, Ontology, label_reports
from radfast.findings.words import fold
from radfast.types import FINDINGS, REPORTS, make_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The fourteen findings of ChestX-ray14 with common other names.
NAMES = {
    "Atelectasis": ["atelectatic change"],
    "Cardiomegaly": ["cardiac enlargement", "enlarged heart", "enlarged cardiac shadow"],
    "Effusion": ["pleural effusion", "pleural fluid"],
    "Infiltration": ["infiltrate"],
    "Mass": ["mass lesion"],
    "Nodule": ["nodular opacity", "nodular shadow", "nodular"],
    "Pneumonia": [],
    "Pneumothorax": [],
    "Consolidation": [],
    "Edema": ["pulmonary edema", "pulmonary vascular congestion", "pulmonary venous congestion"],
    "Emphysema": ["emphysematous", "bulla"],
    "Fibrosis": ["fibrotic"],
    "Pleural_Thickening": [],
    "Hernia": ["hiatal hernia"],
}
CHEST = Ontology(
    Concept(name, name.replace("_", " "), tuple((other, "EXACT") for other in others))
    for name, others in NAMES.items()
)


def read(text: str, ontology: Ontology = CHEST) -> dict[str, str]:
    return {finding.concept: finding.assertion for finding in rf.find_findings(text, ontology)}


CASES = tomllib.loads(Path(__file__).with_name("assertions.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "assertion"),
    [(text, name) for name, texts in CASES.items() for text in texts],
)
def test_assertion(text: str, assertion: str) -> None:
    assert read(text) == {"Pneumonia": assertion}


@pytest.mark.parametrize(
    ("text", "assertions"),
    [
        ("Small effusion without pneumothorax.", "present absent"),
        ("No pneumothorax, effusion or mass.", "absent absent absent"),
        ("No pneumothorax but effusion.", "absent present"),
        ("Possible pneumonia without effusion.", "uncertain absent"),
        ("Effusion, pneumothorax and mass are not seen.", "absent absent absent"),
        ("A large effusion is seen, pneumothorax is not identified.", "present absent"),
        ("Mass with history of pneumonia.", "present historical"),
        ("FINDINGS: Effusion. HISTORY: Mass. IMPRESSION: Nodule.", "present historical present"),
        ("INDICATION: Evaluate for mass, no effusion. FINDINGS: No nodule.", "hypothetical absent absent"),
        ("Effusion (series 2/1). absent lung markings", "present"),
    ],
)
def test_findings_of_one_text(text: str, assertions: str) -> None:
    assert [finding.assertion for finding in rf.find_findings(text, CHEST)] == assertions.split()


def test_cue_and_section_are_named() -> None:
    first, second, third = rf.find_findings(
        "INDICATION: Mass.\nFINDINGS: No evidence of effusion. Nodule.", CHEST
    )
    assert (first.section, first.cue) == ("indication", "section indication")
    assert (second.section, second.cue) == ("findings", "no evidence of")
    assert (third.section, third.cue, third.assertion, third.name) == ("findings", "", "present", "Nodule")


def test_spans_are_bytes() -> None:
    text = "Größe \N{EN DASH} 3 cm. No pleural\n  effusions are seen."
    (finding,) = rf.find_findings(text, CHEST)
    raw = text.encode()
    assert raw[slice(*finding.span)] == b"pleural\n  effusions"
    assert raw[slice(*finding.sentence)].startswith(b"No pleural")
    assert rf.find_findings(raw, CHEST) == [finding]


def test_longest_name_wins() -> None:
    ontology = Ontology(
        [Concept("E", "effusion"), Concept("P", "pleural effusion"), Concept("L", "effusion left side")]
    )
    found = rf.find_findings("Pleural effusion. Effusion left. Left-sided effusion.", ontology)
    assert [finding.concept for finding in found] == ["P", "E", "E"]


@pytest.mark.parametrize(
    "text",
    [
        "pleural, effusion",
        "pleural. Effusion",
        "pleural big thickening",
        "thickening pleural",
        "pleuralthickening",
    ],
)
def test_names_match_as_written_only(text: str) -> None:
    assert "Pleural_Thickening" not in read(text.replace("ffusion", "hickening").replace("eh", "th"))


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("effusion", "effusions"), ("mass", "masses"), ("opacity", "opacities"), ("metastasis", "metastases"),
        ("pneumothorax", "pneumothoraces"), ("atelectasis", "atelectases"), ("stenosis", "stenoses"),
        ("adenoma", "adenomata"), ("bulla", "bullae"), ("thrombus", "thrombi"), ("calculus", "calculi"),
        ("bronchus", "bronchi"), ("branch", "branches"), ("edema", "oedema"), ("hemorrhage", "haemorrhages"),
        ("tumor", "tumours"), ("disease", "diseases"), ("diagnosis", "diagnoses"), ("embolus", "emboli"),
    ],
)  # fmt: skip
def test_plural_and_spelling_fold_together(one: str, many: str) -> None:
    assert fold(one) == fold(many)


@pytest.mark.parametrize("word", ["pelvis", "status", "mass", "bus", "is", "gas", "", "s", "pus"])
def test_words_in_s_that_are_no_plural_stay(word: str) -> None:
    assert fold(word) == word


def test_short_capitals_are_matched_as_capitals() -> None:
    ontology = Ontology([Concept("L", "leukemia", (("ALL", "EXACT"),))])
    assert read("Patient with ALL.", ontology) == {"L": "present"}
    assert read("All lungs clear, all good.", ontology) == {}
    assert read("ALL LUNGS ARE CLEAR.", ontology) == {}


def test_wrong_types_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\[find_findings\] text must be str or bytes, is NoneType"):
        rf.find_findings(None, CHEST)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\[find_findings\] ontology must be an Ontology, is str"):
        rf.find_findings("x", "doid.obo")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\[threads\] must be 0"):
        label_reports(make_table(REPORTS, []), CHEST, threads=-1)


@pytest.mark.parametrize("n", [0, 1, 2, 33, 600])
def test_table_equals_report_by_report(n: int) -> None:
    texts = [CASES[name] for name in ("present", "absent", "uncertain", "historical")]
    reports = [{"report_id": f"r{i}", "text": texts[i % 4][i % 8] if i % 5 else None} for i in range(n)]
    calls: list[tuple[int, int]] = []
    table = label_reports(
        make_table(REPORTS, reports), CHEST, threads=1, progress=lambda *call: calls.append(call)
    )
    assert table.schema.equals(FINDINGS, check_metadata=True)
    expected = [
        (report["report_id"], f.concept, f.span[0], f.sentence[1], f.assertion, f.cue)
        for report in reports
        for f in rf.find_findings(report["text"] or "", CHEST)
    ]
    names = ("report_id", "concept_id", "span_start", "sentence_end", "assertion", "cue")
    assert list(zip(*(table[name].to_pylist() for name in names), strict=True)) == expected
    assert not n or calls[-1] == (n, n)


def measure(items: list[tuple[str, set[str], set[str]]]) -> tuple[float, float, float]:
    """Precision and recall of what is there, surely or not, and the share of absent ones found absent."""
    hits = found = wanted = denied = absent = 0
    for text, there, missing in items:
        read_all: dict[str, set[str]] = {}
        for finding in rf.find_findings(text, CHEST):
            read_all.setdefault(finding.concept, set()).add(finding.assertion)
        got = {concept for concept, kinds in read_all.items() if kinds & {"present", "uncertain"}}
        hits, found, wanted = hits + len(got & there), found + len(got), wanted + len(there)
        denied += sum(read_all.get(concept) == {"absent"} for concept in missing)
        absent += len(missing)
    return hits / found, hits / wanted, denied / absent


def test_curated_sentences(data: Path) -> None:
    rows = [json.loads(line) for line in (data / "pairs/curated_sentences.jsonl").read_text().splitlines()]
    items = [
        (
            row["text"],
            *((set(row["labels"]) if row["polarity"] == kind else set()) for kind in ("present", "absent")),
        )
        for row in rows
    ]
    precision, recall, absent = measure(items)
    score = 2 * precision * recall / (precision + recall)
    print(f"curated: P {precision:.3f} R {recall:.3f} F {score:.3f}; absent found {absent:.3f}")
    assert precision > 0.97
    assert recall > 0.96
    assert absent == 1.0


def test_weak_pairs(data: Path) -> None:
    items = []
    for line in (data / "pairs/nih_weak_pairs.jsonl").read_text().splitlines():
        row = json.loads(line)
        kinds: dict[str, set[str]] = {"present": set(), "absent": set(), "normal": set()}
        for sentence in row["sentences"]:
            kinds[sentence["polarity"]] |= set(sentence["labels"])
        items.append((row["report"], kinds["present"], kinds["absent"] - kinds["present"]))
    precision, recall, absent = measure(items)
    score = 2 * precision * recall / (precision + recall)
    print(f"weak pairs: P {precision:.3f} R {recall:.3f} F {score:.3f}; absent found {absent:.3f}")
    assert precision > 0.97
    assert recall > 0.97
    assert absent > 0.99


def test_negbio_cues_are_known(data: Path) -> None:
    """Every lemma of the two NegBio sets with a meaning of its own makes an assertion of that kind."""
    folder = data / "negation/negbio_public_domain"
    rules = (folder / "uncertainty_patterns.txt").read_text().splitlines()
    groups = re.findall(r"lemma:/([a-z|]+)/", "\n".join(line for line in rules if not line.startswith("#")))
    words = {word for group in groups for word in group.split("|")}
    joining = "represent reflect indicate include may could would can be maybe compatible relate due"
    joining += " secondary left exclude rule cannot diagnosis differential concern suspicion suggestion"
    joining += " suspicious consider"
    doubtful = sorted(words - set(joining.split(" ")))
    assert len(doubtful) >= 11
    for word in doubtful:
        assert read(f"{word} pneumonia.") == {"Pneumonia": "uncertain"}, word
    for modal in ("may", "could"):
        for verb in ("represent", "reflect", "indicate", "include"):
            assert read(f"This {modal} {verb} pneumonia.") == {"Pneumonia": "uncertain"}, (modal, verb)
    negative = (folder / "neg_patterns.txt").read_text()
    for lemma, text in [
        ("no", "no pneumonia"), ("without", "without pneumonia"), ("clear", "clear of pneumonia"),
        ("free", "free of pneumonia"), ("disappearance", "disappearance of pneumonia"),
        ("resolution", "resolution of pneumonia"), ("negative", "negative for pneumonia"),
        ("resolve", "pneumonia has resolved"), ("focus", "no focus of pneumonia"),
        ("developing", "no evidence of developing pneumonia"),
        ("demonstrate", "pneumonia is not demonstrated"),
        ("moderate", "no moderate to large pneumonia"),
    ]:  # fmt: skip
        assert lemma in negative
        assert read(text) == {"Pneumonia": "absent"}, text


@given(
    st.lists(st.sampled_from([*CASES["present"], *CASES["absent"], *CASES["uncertain"]]), max_size=4).map(
        " ".join
    )
    | st.text(alphabet=st.sampled_from("no mass,.:;()\n\0é AB"), max_size=120)
    | st.text(max_size=120)
)
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    last = 0
    for finding in rf.find_findings(text, CHEST):
        assert last <= finding.span[0] < finding.span[1] <= len(raw)
        assert finding.sentence[0] <= finding.span[0]
        assert finding.span[1] <= finding.sentence[1]
        last = finding.span[1]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    ["no mass ", "mass, ", "no ", "a:", ": ", "A ", "\0", "mass mass ", "possible ", "\n", "no mass\n"],
)
def test_hostile_text_ends(piece: str) -> None:
    """The limit is the test's time-out: quadratic time would take minutes."""
    text = piece * (80_000 // len(piece))
    size = len(text.encode())
    assert all(0 <= found.span[0] < found.span[1] <= size for found in rf.find_findings(text, CHEST))
