"""The label set: who is split where, which classes stay, what each image is to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfast.errors import NothingFoundError, UsageError
from radfast.types import FINDINGS, IMAGES, LEVELS, LINKS, SPLITS, TOPICS, make_table, window_id
from radfast.vision import LabelSet, build_label_set


def image(number: int, patient: str, study: str = "") -> dict[str, object]:
    return {"image_id": f"i{number}", "patient_id": patient, "study_uid": study, "pixel_row": 100 + number}


def link(report: str, number: int | None, reference: int = 0, **change: object) -> dict[str, object]:
    """A citation in the sentence at byte 100 + 50 * reference; its window reaches 50 bytes to both sides."""
    start = 100 + 50 * reference
    return {
        "report_id": report,
        "image_id": None if number is None else f"i{number}",
        "reference": reference,
        "span_start": start + 10,
        "span_end": start + 30,
        "sentence_start": start,
        "sentence_end": start + 50,
        "window_start": start - 50,
        "window_end": start + 100,
        "prior": False,
        "ambiguous": False,
        "evidence": "reference",
        "status": "linked",
        **change,
    }


def finding(report: str, name: str, assertion: str, start: int) -> dict[str, object]:
    return {
        "report_id": report,
        "name": name,
        "assertion": assertion,
        "span_start": start,
        "span_end": start + 5,
    }


def topic(level: str, unit: str, number: int) -> dict[str, object]:
    return {"level": level, "unit_id": unit, "topic": number, "probability": 0.5}


def make(
    images: list[dict[str, object]],
    links: list[dict[str, object]],
    topics: list[dict[str, object]] | None = None,
    findings: list[dict[str, object]] | None = None,
    **options: Any,
) -> LabelSet:
    options = {"min_images": 1, "min_disease_images": 1, "split": (1.0, 0.0, 0.0)} | options
    return build_label_set(
        make_table(IMAGES, images),
        make_table(LINKS, links),
        make_table(TOPICS, topics or []),
        make_table(FINDINGS, findings or []),
        **options,
    )


def test_range_is_one_sample_with_its_middle_image() -> None:
    images = [image(number, "p") for number in range(6)]
    links = [link("r", number) for number in range(5)] + [link("r", 5, reference=3)]
    labels = make(images, links, [topic("document", "r", 7)])
    assert labels.image_ids == ["i0", "i1", "i2", "i3", "i4", "i5"]
    assert labels.samples.tolist() == [0, 0, 0, 0, 0, 1]
    assert np.flatnonzero(labels.representative).tolist() == [2, 5]
    assert labels.rows("train").tolist() == [2, 5]
    assert labels.pixel_rows.tolist() == [100, 101, 102, 103, 104, 105]
    assert labels.window_ids == [window_id("r", 100)] * 5 + [window_id("r", 250)]


def test_image_belongs_to_its_first_citation() -> None:
    links = [
        link("s", 0),
        link("r", 0, reference=2),
        link("r", 0, reference=1),
        link("r", 1, reference=2),
        link("a", 0, sentence_start=None, span_start=None, evidence="key_object"),
    ]
    labels = make([image(0, "p"), image(1, "p")], links)
    assert labels.image_ids == ["i0", "i1"]
    assert labels.report_ids == ["r", "r"]
    assert labels.link_rows.tolist() == [2, 3]


def test_priors_ambiguous_and_unlinked_references_teach_nothing() -> None:
    links = [
        link("r", 0, prior=True),
        link("r", 1, ambiguous=True),
        link("r", None, status="no_such_image"),
        link("r", 2, status="prior"),
        link("r", 99),
        link("", 3),
        link("r", 4),
    ]
    labels = make([image(number, "p") for number in range(5)], links)
    assert labels.image_ids == ["i4"]
    with pytest.raises(NothingFoundError, match="no image is linked"):
        make([image(0, "p")], links[:1])


def test_rare_and_unlearnable_classes_are_dropped_and_counted() -> None:
    images = [image(number, f"p{number}") for number in range(10)]
    links = [link(f"r{number}", number) for number in range(10)]
    topics = [topic("document", f"r{number}", 4 if number < 6 else 2) for number in range(9)]
    topics += [topic("document", "r9", -1), topic("second", "r0", 40)]
    topics += [topic("sentence", window_id("r0", 100), 3), topic("sentence", "r1", 5)]
    labels = make(images, links, topics, min_images=4)
    assert labels.classes == {"document": ["4"], "second": [], "sentence": [], "disease": []}
    assert labels.dropped == {"document": {"2": 3}, "second": {"40": 1}, "sentence": {"3": 1}, "disease": {}}
    assert labels.targets["document"].tolist() == [0] * 6 + [-1] * 4
    assert labels.heads() == {"document": 1}

    everything = make(images, links, topics)
    assert everything.classes["document"] == ["2", "4"]
    assert everything.targets["document"].tolist() == [1] * 6 + [0] * 3 + [-1]
    assert everything.classes["sentence"] == ["3"], "a sentence topic is found by window, not by report"

    # Split so that the only patients of topic 2 are tested: it cannot be learned.
    split = make(images, links, topics, split=(0.5, 0.0, 0.5))
    trained = {int(t) for t in split.targets["document"][split.splits == 0]} - {-1}
    assert trained == set(range(len(split.classes["document"])))


def test_class_count_is_of_samples_not_of_slices() -> None:
    images = [image(number, "p") for number in range(8)]
    links = [link("r", number) for number in range(8)]
    assert make(images, links, [topic("document", "r", 0)], min_images=2).classes["document"] == []
    assert make(images, links, [topic("document", "r", 0)], min_images=1).classes["document"] == ["0"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.sampled_from([(0.85, 0.05, 0.10), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]),
    st.integers(0, 5),
)
def test_no_patient_stands_on_two_sides(
    patients: list[int], split: tuple[float, float, float], seed: int
) -> None:
    images = [image(number, f"p{patient}") for number, patient in enumerate(patients)]
    links = [link(f"r{number // 3}", number, reference=number % 3) for number in range(len(patients))]
    labels = make(images, links, split=split, seed=seed)
    again = make(images, links, split=split, seed=seed)
    assert labels.splits.tolist() == again.splits.tolist()
    sides: dict[str, set[int]] = {}
    for patient, side in zip(labels.patient_ids, labels.splits.tolist(), strict=True):
        sides.setdefault(patient, set()).add(side)
    assert all(len(side) == 1 for side in sides.values())
    counts = np.bincount([min(side) for side in sides.values()], minlength=3)
    for share, count in zip(split, counts, strict=True):
        assert share > 0 or count == 0
        assert abs(count - share * len(sides)) <= 2
        assert count > 0 or share == 0 or len(sides) < 3
    assert sum(len(labels.rows(name)) for name in SPLITS) == labels.representative.sum()


def test_seed_decides_and_a_new_patient_moves_few() -> None:
    images = [image(number, f"p{number}") for number in range(60)]
    links = [link(f"r{number}", number) for number in range(60)]
    half = (0.5, 0.25, 0.25)
    first = make(images, links, split=half)
    assert make(images, links, split=half, seed=1).splits.tolist() != first.splits.tolist()
    fewer = make(images[:59], links[:59], split=half)
    before = dict(zip(fewer.image_ids, fewer.splits.tolist(), strict=True))
    moved = [i for i, s in zip(first.image_ids, first.splits.tolist(), strict=True) if before.get(i, s) != s]
    assert len(moved) <= 2


def test_unknown_patients_are_split_by_study() -> None:
    images = [image(0, "", "s1"), image(1, "", "s1"), image(2, "", "s2"), image(3, "")]
    labels = make(images, [link("r", number, number) for number in range(4)])
    assert labels.patient_ids == ["s1", "s1", "s2", "i3"]


def test_diseases_of_the_window() -> None:
    images = [image(number, f"p{number}") for number in range(8)]
    links = [link(f"r{number}", number) for number in range(7)]
    links.append(
        link("r7", 7, sentence_start=None, window_start=None, window_end=None, evidence="key_object")
    )
    findings = [
        finding("r0", "mass", "present", 110),  # in the citing sentence
        finding("r0", "cyst", "absent", 160),  # in the next one
        finding("r1", "mass", "absent", 120),  # the citing sentence outweighs its neighbour
        finding("r1", "mass", "present", 160),
        finding("r2", "mass", "uncertain", 110),
        finding("r3", "mass", "historical", 110),
        finding("r3", "cyst", "family", 110),
        finding("r4", "mass", "present", 198),  # reaches out of the window
        finding("r5", "mass", "absent", 60),  # of two neighbours the one that is present counts
        finding("r5", "mass", "present", 180),
    ]
    labels = make(images, links, findings=findings)
    assert labels.classes["disease"] == ["cyst absent", "mass absent", "mass present"]
    assert labels.disease.tolist() == [
        [1, 0, 1],
        [0, 1, 0],
        [0, -1, -1],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
        [-1, -1, -1],
    ]
    rare = make(images, links, findings=findings, min_disease_images=2)
    assert rare.classes["disease"] == ["mass present"]
    assert rare.dropped["disease"] == {"cyst absent": 1, "mass absent": 1}


def test_vectors_are_the_mean_of_the_bigrams() -> None:
    images = [image(number, "p") for number in range(3)]
    links = [link(f"r{number}", number) for number in range(3)]
    vectors = {
        window_id("r0", 100): np.array([[1, 0, 0, 1], [0, 1, 0, 1]], np.float32),
        window_id("r1", 100): np.zeros((0, 4), np.float32),
    }
    labels = make(images, links, vectors=vectors)
    assert labels.vectors.tolist() == [[0.5, 0.5, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert labels.vector_counts.tolist() == [2, 0, 0]
    assert labels.heads() == {"vector": 4}
    for wrong in ({"a": np.zeros((1, 3), np.float32)}, {**vectors, "a": np.zeros((1, 6), np.float32)}):
        with pytest.raises(UsageError, match="vectors must all be"):
            make(images, links, vectors=wrong)


@pytest.mark.parametrize("split", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.0, 0.0, 0.0)])
def test_wrong_shares(split: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="split must be three shares"):
        make([image(0, "p")], [link("r", 0)], split=split)


def test_wrong_split_name() -> None:
    with pytest.raises(UsageError, match="split must be one of train, validation, test"):
        make([image(0, "p")], [link("r", 0)]).rows("dev")


@pytest.mark.parametrize("full", [True, False])
def test_label_set_comes_back_from_its_file(tmp_path: Path, full: bool) -> None:
    images = [image(number, f"p{number}") for number in range(5)]
    links = [link(f"r{number}", number) for number in range(5)]
    topics = [topic("document", f"r{number}", number % 2) for number in range(5)] if full else []
    findings = (
        [finding("r1", "mass", "present", 110), finding("r2", "mass", "uncertain", 110)] if full else []
    )
    vectors = {window_id("r3", 100): np.ones((2, 6), np.float32)} if full else {}
    labels = make(images, links, topics, findings if full else [], vectors=vectors, split=(0.6, 0.2, 0.2))
    labels.save(tmp_path / "labels.parquet")
    back = LabelSet.load(tmp_path / "labels.parquet")
    assert len(back) == 5
    for name, value in labels.__dict__.items():
        other = getattr(back, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(other, value)
            assert (other.dtype, other.shape) == (value.dtype, value.shape), name
        elif name == "targets":
            assert all(np.array_equal(value[level], other[level]) for level in LEVELS)
        else:
            assert other == value, name
    first = (tmp_path / "labels.parquet").read_bytes()
    back.save(tmp_path / "labels.parquet")
    assert (tmp_path / "labels.parquet").read_bytes() == first


def test_files_that_are_no_label_sets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        LabelSet.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(UsageError, match="cannot be read"):
        LabelSet.load(tmp_path / "text.parquet")
    pa.parquet.write_table(make_table(TOPICS, []), tmp_path / "topics.parquet")
    with pytest.raises(UsageError, match="holds no label set"):
        LabelSet.load(tmp_path / "topics.parquet")
