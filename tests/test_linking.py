"""References joined to instances: every status, every kind of evidence, windows, and the table's order."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from radfast.config import TextConfig
from radfast.text import link_images, split_sentences, windows
from radfast.types import EVIDENCE, IMAGES, LINKS, REPORTS, make_table, window_id

CONFIG = TextConfig.model_validate({})


def image(name: str, study: str, series: int | None, number: int | None, **more: Any) -> dict[str, Any]:
    row = {"image_id": name, "study_uid": study, "series_number": series, "instance_number": number}
    return {"patient_id": "p", "accession_number": "", "study_date": "20200101", "frames": 1} | row | more


def report(name: str, text: str | None, study: str = "A", **more: Any) -> dict[str, Any]:
    row = {"report_id": name, "study_uid": study, "text": text}
    return {"patient_id": "p", "accession_number": "", "study_date": "20200101"} | row | more


def evidence(kind: str, name: str, text: str = "") -> dict[str, Any]:
    return {
        "kind": kind,
        "image_id": name,
        "study_uid": "A",
        "source_uid": "s",
        "path": "k",
        "title": "",
        "text": text,
    }


def link(reports: list[Any], images: list[Any], named: list[Any] | None = None, **config: Any) -> pa.Table:
    tables = make_table(REPORTS, reports), make_table(IMAGES, images), make_table(EVIDENCE, named or [])
    links = link_images(*tables, TextConfig.model_validate(config))
    assert links.schema.equals(LINKS, check_metadata=True)
    return links


def rows(links: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(links[name].to_pylist() for name in names), strict=True))


ARCHIVE = [
    image("a31", "A", 3, 1), image("a32", "A", 3, 2), image("a33", "A", 3, 3), image("a42", "A", 4, 2),
    image("a49", "A", 4, 9), image("b31", "B", 3, 1, study_date="20190504"),
    image("c", "C", 1, 1, patient_id="q"), image("none", "A", None, None),
]  # fmt: skip


def test_every_status() -> None:
    text = (
        "Nodule (series 3, image 2). Cyst (series 3, image 8). Mass (image 9). Scar (image 2). "
        "Clip (series 3/4, image 2). On the prior CT of 5/4/2019 (series 3, image 1) smaller. "
        "On the prior CT (series 3, image 1) smaller. "
        "On the prior CT of 5/4/2018 (series 3, image 1) smaller. "
        "On the CT of 1/1/2020 (series 3, image 1) seen."
    )
    links = link([report("r", text)], ARCHIVE)
    assert rows(links, "series", "image", "image_id", "status", "prior", "ambiguous") == [
        (3, 2, "a32", "linked", False, False),
        (3, 8, None, "no_such_image", False, False),
        (None, 9, "a49", "linked", False, False),
        (None, 2, None, "ambiguous", False, False),
        (None, 2, None, "ambiguous", False, True),
        (3, 1, "b31", "linked", True, False),
        (3, 1, None, "prior", True, False),
        (3, 1, None, "prior", True, False),
        (3, 1, "a31", "linked", False, False),
    ]
    assert links["reference"].to_pylist() == list(range(9))
    assert set(links["evidence"].to_pylist()) == {"reference"}
    raw = text.encode()
    assert (
        raw[links["sentence_start"][0].as_py() : links["sentence_end"][0].as_py()]
        == b"Nodule (series 3, image 2)."
    )
    assert raw[links["span_start"][0].as_py() : links["span_end"][0].as_py()] == b"series 3, image 2"


def test_a_range_is_one_sample_and_a_list_is_several() -> None:
    links = link([report("r", "Nodule (series 3, images 1-3 and 8).")], ARCHIVE)
    assert rows(links, "image_id", "reference") == [("a31", 0), ("a32", 0), ("a33", 0), (None, 1)]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"study": "A"}, "linked"),
        ({"study": "", "accession_number": "acc"}, "linked"),
        ({"study": "elsewhere", "accession_number": "acc"}, "linked"),
        ({"study": "", "study_date": "20200101"}, "linked"),
        ({"study": "", "study_date": "20200101", "patient_id": "q"}, "no_study"),
        ({"study": "", "study_date": ""}, "no_study"),
        ({"study": "elsewhere", "study_date": "20200101"}, "no_study"),
        ({"study": "", "accession_number": "another", "study_date": "20200101"}, "no_study"),
        ({"study": "", "accession_number": "shared", "study_date": "20200101"}, "no_study"),
    ],
)
def test_study_of_a_report(more: dict[str, str], status: str) -> None:
    images = [
        image("a31", "A", 3, 1, accession_number="acc"),
        image("d31", "D", 3, 1, accession_number="shared", study_date="20200202"),
        image("e31", "E", 3, 1, accession_number="shared", study_date="20200203"),
    ]
    links = link([report("r", "Nodule (series 3, image 1).", **more)], images)
    assert rows(links, "status", "image_id") == [(status, "a31" if status == "linked" else None)]


def test_two_instances_with_one_number_are_ambiguous() -> None:
    links = link([report("r", "Nodule (series 3, image 1).")], [image("x", "A", 3, 1), image("y", "A", 3, 1)])
    assert rows(links, "status", "image_id", "ambiguous") == [("ambiguous", None, False)]


def test_named_images_join_what_is_cited() -> None:
    text = "Nodule (series 3, image 1). A large cyst is seen. Normal heart."
    named = [
        evidence("key_object", "a31"),
        evidence("presentation_state", "a32"),
        evidence("key_object", "a32"),
        evidence("key_object", "a33"),
        evidence("structured_report", "a33", "A large  cyst is seen."),
        evidence("structured_report", "a49", "No such words."),
        evidence("key_object", "unknown"),
        evidence("key_object", "c"),
    ]
    links = link([report("r", text), report("other", "Nothing.", "B")], ARCHIVE, named)
    assert rows(links, "report_id", "image_id", "evidence", "status", "reference") == [
        ("r", "a31", "reference", "linked", 0),
        ("r", "a32", "key_object", "linked", 1),
        ("r", "a33", "structured_report", "linked", 2),
        ("r", "a49", "structured_report", "linked", 3),
        ("other", "b31", "accession_number", "linked", 0),
    ]
    assert links["sentence_start"].to_pylist() == [0, None, text.index("A large"), None, None]
    assert links["window_end"].to_pylist()[2] == len(text)


def test_single_image_and_single_report_are_linked_as_wholes() -> None:
    images = [image("c", "C", 1, 1), image("d", "D", 1, 1), image("e", "E", 1, 1), image("f", "E", 1, 2)]
    reports = [
        report("r1", "Normal.", "C"), report("r2", "Normal.", "D"), report("r3", "Addendum.", "D"),
        report("r4", "Normal.", "E"), report("r5", None, "F"),
    ]  # fmt: skip
    links = link(reports, images)
    assert rows(
        links, "report_id", "image_id", "evidence", "status", "sentence_start", "series", "image"
    ) == [("r1", "c", "accession_number", "linked", None, None, None)]
    citing = link([report("r1", "Nodule (series 1, image 7).", "C")], images)
    assert rows(citing, "evidence", "status") == [("reference", "no_such_image")]


def test_window_is_the_sentence_with_its_neighbours() -> None:
    text = "One. Two. Three (series 3, image 1). Four. Five."
    for before, after, expected in [
        (1, 1, "Two. Three (series 3, image 1). Four."),
        (0, 0, "Three (series 3, image 1)."),
    ]:
        links = link([report("r", text)], ARCHIVE, window_before=before, window_after=after)
        (row,) = links.to_pylist()
        assert text[row["window_start"] : row["window_end"]] == expected
    assert text[slice(*split_sentences(text)[2])] == "Three (series 3, image 1)."


def test_windows_hold_each_usable_sentence_once_and_clean() -> None:
    text = (
        "Größe 12 mm. Nodule (Series 3, Images 1 and 2; se 3 im3). Stable at L4-5. "
        "Cyst (image 2). On the prior CT of 5/4/2019 (series 3, image 1) smaller."
    )
    reports = [report("r", text), report("s", "Nodule (series 3, image 1).", "nowhere", study_date="")]
    ids, texts = windows(make_table(REPORTS, reports), link(reports, ARCHIVE))
    start = text.encode().index(b"Nodule")
    assert ids == [window_id("r", start)]
    assert texts[0].split() == ["Größe", "mm.", "Nodule", "(", ",", "and", ";", ").", "Stable", "at", "L-."]


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 97])
def test_rows_follow_the_reports(n: int) -> None:
    reports = [report(f"r{i}", f"Nodule (series 3, image {i % 3 + 1}).") for i in range(n)]
    calls: list[tuple[int, int]] = []
    tables = make_table(REPORTS, reports), make_table(IMAGES, ARCHIVE), make_table(EVIDENCE, [])
    links = link_images(*tables, CONFIG, progress=lambda done, total: calls.append((done, total)))
    assert links["report_id"].to_pylist() == [f"r{i}" for i in range(n)]
    assert links["image_id"].to_pylist() == [f"a3{i % 3 + 1}" for i in range(n)]
    assert calls[-1] == (n, n)


def test_nothing_in_nothing_out() -> None:
    assert link([], []).num_rows == 0
    assert link([report("r", "Nodule (series 3, image 1).")], [])["status"].to_pylist() == ["no_study"]
    assert windows(make_table(REPORTS, []), link([], [])) == ([], [])


def test_huge_and_negative_numbers_are_looked_up() -> None:
    images = [image("big", "A", 2**31, 1), image("minus", "A", -1, 1), image("a", "A", 99999, 99999)]
    links = link([report("r", "Nodule (series 99999, image 99999).")], images)
    assert links["image_id"].to_pylist() == ["a"]


def test_links_of_real_sentences_equal_the_truth(data: Path) -> None:
    folder = data / "dicom/constructed_nih"
    truth = list(csv.DictReader((folder / "truth.csv").read_text().splitlines()))
    images = [
        image(row["sop_instance_uid"], row["patient_id"], int(row["series"]), int(row["instance"]))
        for row in truth
    ]
    reports = [
        report(name, (folder / name / "report.txt").read_text(), name)
        for name in sorted({row["patient_id"] for row in truth})
    ]
    texts = {row["report_id"]: row["text"].encode() for row in reports}
    found = {
        row["image_id"]: texts[row["report_id"]][row["sentence_start"] : row["sentence_end"]].decode()
        for row in link(reports, images).to_pylist()
    }
    assert found == {
        r["sop_instance_uid"]: r["mentioning_sentence"] for r in truth if r["key_image"] == "True"
    }
