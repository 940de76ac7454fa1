"""References of key object selections, presentation states and structured reports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dicom_files import COMPREHENSIVE_SR, KEY_OBJECT, PRESENTATION_STATE, make_dataset, save
from pydicom import Dataset

from radfast.archive import ingest, read_instance
from radfast.config import ArchiveConfig


def code(value: str, meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, meaning
    return [item]


def references(*uids: str) -> list[Dataset]:
    items = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", uid
        items.append(item)
    return items


def content(kind: str, *children: Dataset, text: str = "", image: str = "", name: str = "") -> Dataset:
    item = Dataset()
    item.ValueType = kind
    if text:
        item.TextValue = text
    if image:
        item.ReferencedSOPSequence = references(image)
    if name:
        item.ConceptNameCodeSequence = code(name, name)
    if children:
        item.ContentSequence = list(children)
    return item


def document(sop_class: str, *children: Dataset, **values: Any) -> Dataset:
    dataset = make_dataset("doc", sop_class, Modality="SR", **values)
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = code("113000", "Of Interest")
    dataset.ContentSequence = list(children)
    return dataset


def found(dataset: Dataset, tmp_path: Path) -> tuple[str, str, list[tuple[str, str]]]:
    instance = read_instance(save(dataset, tmp_path / "doc"), 16)
    assert instance.state == "evidence"
    assert instance.picture is None
    return instance.evidence, instance.title, instance.references


def test_key_object_names_its_images_and_its_description(tmp_path: Path) -> None:
    dataset = document(
        KEY_OBJECT,
        content("TEXT", text="nodule,  see both", name="113012"),
        content("IMAGE", image="1.2.3"),
        content("TEXT", text="observer", name="121008"),
        content("IMAGE", image="1.2.4"),
        content("IMAGE", image="1.2.3"),
    )
    text = "nodule,  see both"
    assert found(dataset, tmp_path) == ("key_object", "Of Interest", [("1.2.3", text), ("1.2.4", text)])


def test_key_object_without_image_items_falls_back_on_its_evidence_list(tmp_path: Path) -> None:
    study, series = Dataset(), Dataset()
    series.ReferencedSOPSequence = references("1.2.3", "1.2.5")
    study.ReferencedSeriesSequence = [series]
    dataset = document(KEY_OBJECT, CurrentRequestedProcedureEvidenceSequence=[study])
    assert found(dataset, tmp_path)[2] == [("1.2.3", ""), ("1.2.5", "")]


def test_presentation_state_carries_the_notes_of_each_image(tmp_path: Path) -> None:
    def annotation(text: str, *uids: str) -> Dataset:
        item, words = Dataset(), Dataset()
        words.UnformattedTextValue = text
        item.TextObjectSequence = [words]
        if uids:
            item.ReferencedImageSequence = references(*uids)
        return item

    series = Dataset()
    series.ReferencedImageSequence = references("1.2.3", "1.2.4")
    dataset = make_dataset(
        "doc",
        PRESENTATION_STATE,
        ContentLabel="KEY",
        ReferencedSeriesSequence=[series],
        GraphicAnnotationSequence=[
            annotation("mass", "1.2.4"),
            annotation("both"),
            annotation("5 mm", "1.2.4"),
        ],
    )
    expected = [("1.2.3", "both"), ("1.2.4", "mass 5 mm both")]
    assert found(dataset, tmp_path) == ("presentation_state", "KEY", expected)


def test_report_gives_each_image_the_nearest_text(tmp_path: Path) -> None:
    dataset = document(
        COMPREHENSIVE_SR,
        content("CONTAINER", content("TEXT", text="Lungs clear."), content("IMAGE", image="1.1")),
        content(
            "CONTAINER",
            content("TEXT", content("IMAGE", image="1.2"), text="Mass in the liver."),
            content("TEXT", text="Cyst.", image=""),
        ),
        content("NUM", content("SCOORD", content("IMAGE", image="1.3"))),
        content("IMAGE", image="1.4"),
    )
    _, _, pairs = found(dataset, tmp_path)
    assert pairs == [("1.1", "Lungs clear."), ("1.2", "Mass in the liver."), ("1.3", ""), ("1.4", "")]


def test_report_that_contains_itself_deeply_ends(tmp_path: Path) -> None:
    item = content("IMAGE", image="1.9")
    for _ in range(100):
        item = content("CONTAINER", item)
    instance = read_instance(save(document(COMPREHENSIVE_SR, item), tmp_path / "doc"), 16)
    assert (instance.state, instance.reason) == ("evidence", "no_reference")


def test_evidence_without_references_is_still_evidence(tmp_path: Path) -> None:
    instance = read_instance(save(document(KEY_OBJECT), tmp_path / "doc"), 16)
    assert (instance.state, instance.reason) == ("evidence", "no_reference")


def test_constructed_archive(data: Path, tmp_path: Path) -> None:
    """60 patients: key object and report name each key image; no evidence becomes an image."""
    folder = data / "dicom" / "constructed_nih"
    result = ingest(folder, None, tmp_path / "pixels.npy", ArchiveConfig(picture_size=16), threads=2)
    with (folder / "truth.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    images = {row["image_id"]: row for row in result.images.to_pylist()}
    assert {row["sop_instance_uid"]: row["file"] for row in truth} == {
        uid: row["path"] for uid, row in images.items()
    }
    for row in truth:
        image = images[row["sop_instance_uid"]]
        assert (image["series_number"], image["instance_number"]) == (
            int(row["series"]),
            int(row["instance"]),
        )
        assert image["photometric"] == row["photometric"]
        assert image["patient_id"] == row["patient_id"]
    key_images = {row["sop_instance_uid"] for row in truth if row["key_image"] == "True"}
    evidence = result.evidence.to_pylist()
    for kind in ("key_object", "structured_report"):
        assert {row["image_id"] for row in evidence if row["kind"] == kind} == key_images
    for kind in ("key_object", "presentation_state", "structured_report"):
        assert len({row["source_uid"] for row in evidence if row["kind"] == kind}) == 60
    assert {row["study_uid"] for row in evidence} == {row["study_uid"] for row in images.values()}
    assert result.reports.num_rows == 60
    assert set(result.reports["match"].to_pylist()) == {"folder"}
    by_patient = {row["patient_id"]: row["study_uid"] for row in images.values()}
    for row in result.reports.to_pylist():
        assert row["study_uid"] == by_patient[row["report_id"].split("/")[0]]
