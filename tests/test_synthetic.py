"""The synthetic archive: its files, its truth against independent readers, statistics, determinism."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest

from radfast.config import TextConfig
from radfast.errors import UsageError
from radfast.synthetic import make_archive, stream_reports
from radfast.synthetic.catalog import EXAMS
from radfast.synthetic.citations import cite, cite_ambiguous, cite_prior
from radfast.synthetic.grammar import Citation, MarkedText
from radfast.synthetic.lesions import Lesion, draw_picture
from radfast.synthetic.ontology import ONTOLOGY, read_names
from radfast.synthetic.phantoms import PHANTOMS
from radfast.text import find_image_references, link_images
from radfast.types import EVIDENCE, IMAGES, REPORTS, make_table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small archive with odd files."""
    out = tmp_path_factory.mktemp("synthetic")
    summary = make_archive(out, 7, 5, n_text_only=12, n_broken=3, threads=1)
    return out, summary


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Reports alone, enough of them for statistics."""
    out = tmp_path_factory.mktemp("spoken")
    make_archive(out, 0, 1, n_text_only=600, threads=1)
    return out


def _rows(out, name):
    return pq.read_table(out / "truth" / f"{name}.parquet").to_pylist()


def _reports(out):
    return [json.loads(line) for line in (out / "reports.jsonl").read_text(encoding="utf-8").splitlines()]


def _digest(out):
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _index(out):
    """Read the archive's headers as the IMAGES and EVIDENCE tables, by pydicom alone."""
    images, evidence = [], []
    for path in sorted((out / "archive").rglob("*")):
        if not path.is_file() or "odd" in path.parts:
            continue
        data = pydicom.dcmread(path, stop_before_pixels=True)
        if data.Modality == "KO":
            evidence += [
                {"kind": "key_object", "image_id": item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID}
                | {"study_uid": data.StudyInstanceUID, "source_uid": data.SOPInstanceUID, "text": ""}
                for item in data.ContentSequence
            ]
            continue
        images.append(
            {
                "image_id": str(data.SOPInstanceUID),
                "patient_id": data.PatientID,
                "study_uid": str(data.StudyInstanceUID),
                "accession_number": data.AccessionNumber,
                "study_date": data.StudyDate,
                "series_number": int(data.SeriesNumber),
                "instance_number": int(data.InstanceNumber),
                "path": path.relative_to(out / "archive").as_posix(),
            }
        )
    return make_table(IMAGES, images), make_table(EVIDENCE, evidence)


def test_every_file_is_in_the_truth(made):
    out, summary = made
    images, evidence = _index(out)
    truth = {row["path"]: row for row in _rows(out, "images")}
    assert summary.images == len(truth) == images.num_rows > 10
    assert len(set(evidence["source_uid"].to_pylist())) == summary.key_objects
    assert summary.reports == len(_reports(out)) == summary.studies + 12
    for row in images.to_pylist():
        assert truth[row["path"]]["image_id"] == row["image_id"]
        assert (truth[row["path"]]["series"], truth[row["path"]]["image"]) == (
            row["series_number"],
            row["instance_number"],
        )
    assert (out / "ontology.obo").read_bytes() == ONTOLOGY.read_bytes()


def test_pictures_decode_to_what_the_header_says(made):
    out, _ = made
    for row in _rows(out, "images"):
        data = pydicom.dcmread(out / "archive" / row["path"])
        assert str(data.file_meta.TransferSyntaxUID) == row["transfer_syntax"]
        pixels = data.pixel_array
        assert pixels.shape[-2:] == (512, 512)
        assert pixels.ndim == (3 if int(data.get("NumberOfFrames", 1)) > 1 else 2)
        low = -(1 << data.BitsStored - 1) if data.PixelRepresentation else 0
        assert low <= pixels.min() < pixels.max() <= low + (1 << data.BitsStored) - 1
        assert pixels.std() > 0


def test_same_bytes_from_one_process_and_from_two(tmp_path):
    for name, threads in (("one", 1), ("two", 2)):
        make_archive(tmp_path / name, 8, 2, n_text_only=60, n_broken=2, threads=threads)
    one = _digest(tmp_path / "one")
    assert one == _digest(tmp_path / "two")
    make_archive(tmp_path / "other", 1, 3, n_text_only=0, threads=1)
    assert not set(one.values()) & set(_digest(tmp_path / "other" / "archive").values())


def test_links_equal_those_of_the_linker(made):
    out, _ = made
    images, evidence = _index(out)
    reports = make_table(REPORTS, _reports(out))
    columns = (
        "report_id",
        "image_id",
        "series",
        "image",
        "reference",
        "status",
        "prior",
        "evidence",
        "span_start",
        "span_end",
    )
    found = link_images(reports, images, evidence, TextConfig()).select(columns).to_pylist()
    truth = [{name: row[name] for name in columns} for row in _rows(out, "links")]
    for row in [*found, *truth]:
        row["reference"] = None if row["span_start"] is None else row["reference"]
    assert Counter(map(repr, found)) == Counter(map(repr, truth))
    assert {row["status"] for row in truth} >= {"linked", "no_such_image", "no_study"}


def test_link_spans_hold_the_citation(made):
    out, _ = made
    texts = {row["report_id"]: row["text"].encode() for row in _reports(out)}
    known = {(row["study_uid"], row["series"], row["image"]) for row in _rows(out, "images")}
    uid_of = {row["image_id"]: row for row in _rows(out, "images")}
    for row in _rows(out, "links"):
        if row["evidence"] != "reference":
            continue
        span = texts[row["report_id"]][row["span_start"] : row["span_end"]]
        assert row["sentence_start"] <= row["span_start"] < row["span_end"] <= row["sentence_end"]
        if row["series"] is not None:
            assert str(row["series"]).encode() in span
        if row["status"] == "linked":
            image = uid_of[row["image_id"]]
            assert (image["study_uid"], row["series"], row["image"]) in known


def _spoken(pieces):
    text = MarkedText()
    text.write_sentence([("There is a nodule", None), *pieces, (".", None)])
    return text


def test_citations_mean_what_an_independent_reader_takes_from_them():
    rng = Random(7)
    for _ in range(400):
        groups = []
        for series in rng.sample((2, 3, 17, 1001), rng.choice((1, 1, 2))):
            numbers = sorted(rng.sample(range(5, 140), rng.choice((1, 1, 3))))
            items = [(n, n + rng.randint(1, 12)) if rng.random() < 0.3 else n for n in numbers]
            groups.append((series, items))
        text = _spoken(cite(rng, groups))
        meant = [(c.series, image) for c, *_ in text.citations for image in c.images]
        read = [(r.series, image) for r in find_image_references(text.text) for image in r.images]
        assert read == meant, text.text


def test_prior_and_ambiguous_citations_are_marked():
    rng = Random(3)
    for _ in range(40):
        prior = _spoken(cite_prior(rng, "20120304", (2, [40]), "CT"))
        assert prior.citations[0][0] == Citation(2, (40,), "prior", "20120304")
        assert re.search(r"\b0?3/0?4/2012\b", prior.text)
        (read,) = find_image_references(prior.text)
        assert (read.prior, read.prior_date) == (True, "20120304")
        (read,) = find_image_references(_spoken(cite_ambiguous(rng, (3, 4), 12)).text)
        assert read.ambiguous


def _uncovered(out):
    """Return ontology names in the reports that the truth does not hold, longest names first."""
    names = sorted(read_names(), key=len, reverse=True)
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, names)) + r")\b")
    spans: dict[str, list[tuple[int, int]]] = {}
    for row in _rows(out, "findings"):
        spans.setdefault(row["report_id"], []).append((row["span_start"], row["span_end"]))
    missed = []
    for report in _reports(out):
        low = report["text"].lower()
        for hit in pattern.finditer(low):
            start = len(low[: hit.start()].encode())
            end = start + len(hit[0].encode())
            if not any(a <= start and end <= b for a, b in spans.get(report["report_id"], ())):
                missed.append(hit[0])
    return missed


def test_every_ontology_term_is_in_the_findings(spoken):
    assert _uncovered(spoken) == []
    texts = {row["report_id"]: row["text"].encode() for row in _reports(spoken)}
    seen = Counter()
    for row in _rows(spoken, "findings"):
        term = texts[row["report_id"]][row["span_start"] : row["span_end"]].decode().lower()
        assert read_names()[term] == row["concept_id"]
        seen[row["assertion"]] += 1
    assert set(seen) == {"present", "absent", "uncertain", "historical", "hypothetical", "family"}
    assert min(seen.values()) >= 10


def test_every_form_of_a_finding_is_in_the_ontology():
    for exam in EXAMS:
        for finding in exam.findings:
            concepts = {read_names()[form] for form in finding.forms}
            assert len(concepts) <= 2  # a general and a special name at most


def test_reports_have_the_statistics_of_the_source(spoken):
    words = [len(row["text"].split()) for row in _reports(spoken)]
    assert 120 < statistics.mean(words) < 142
    assert 78 < statistics.stdev(words) < 115
    assert max(words) <= 1502
    counts = Counter(word.strip(".,:()").lower() for row in _reports(spoken) for word in row["text"].split())
    frequency = np.array(sorted(counts.values(), reverse=True), float)
    ranks = np.unique(np.geomspace(1, min(3000, len(frequency)), 40).astype(int))
    slope = np.polyfit(np.log(ranks), np.log(frequency[ranks - 1]), 1)[0]
    assert -1.3 < slope < -0.85
    topics = Counter(row["topic"] for row in _rows(spoken, "topics"))
    assert set(topics) == {exam.key for exam in EXAMS}


def test_stream_is_exact_repeatable_and_a_prefix_of_itself():
    long = list(stream_reports(60_000, 4))
    assert sum(len(report.split()) for report in long) == 60_000
    short = list(stream_reports(20_000, 4))
    assert short[:-1] == long[: len(short) - 1]
    assert long[0] != next(stream_reports(60_000, 5))
    words = [len(report.split()) for report in long]
    assert 110 < statistics.mean(words) < 150
    assert max(words) <= 1502
    assert not any(letter < " " and letter != "\n" for report in long for letter in report)
    assert list(stream_reports(0)) == []
    assert [len(report.split()) for report in stream_reports(1)] == [1]


def _shrink(plane):
    small = plane.reshape(32, 16, 32, 16).mean((1, 3))
    return (small - small.mean()) / small.std()


def test_exams_are_told_apart_by_their_pictures():
    known, asked = [], []
    for row, exam in enumerate(EXAMS):
        for take in range(12):
            contrast = take % 2
            finding = exam.findings[take % len(exam.findings)]
            lesions = [Lesion(finding, next(iter(finding.places)))] if take % 3 else []
            picture = _shrink(draw_picture(exam, lesions, contrast, np.random.default_rng([row, take])))
            (known if take < 8 else asked).append((row, picture))
    nearest = [min(known, key=lambda k, p=p: float(((k[1] - p) ** 2).sum()))[0] for _, p in asked]
    right = sum(row == answer for (row, _), answer in zip(asked, nearest, strict=True))
    assert right / len(asked) > 0.9


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: exam.key)
def test_every_finding_can_be_seen(exam):
    noise = PHANTOMS[exam.key][2]
    for finding in exam.findings:
        for contrast in (0, 1):
            lesion = Lesion(finding, list(finding.places)[-1])
            # The same stream up to the lesion: pose and anatomy agree, the noise does not.
            pair = []
            for lesions in ([], [lesion]):
                rng = np.random.default_rng([9, contrast])
                if finding.look.kind == "organ" and not lesions:
                    rng.uniform(*finding.look.size)
                pair.append(draw_picture(exam, lesions, contrast, rng).reshape(64, 8, 64, 8).mean((1, 3)))
            difference = np.abs(pair[1] - pair[0])
            assert (difference > 2 * noise).sum() >= 3, (finding.key, contrast)


def test_odd_files(made):
    out, _ = made
    odd = out / "archive" / "odd"
    assert sorted(path.name for path in odd.iterdir()) == ["copy1.dcm", "cut2.dcm", "notes0.txt"]
    instances = {row["image_id"] for row in _rows(out, "images")}
    assert pydicom.dcmread(odd / "copy1.dcm").SOPInstanceUID in instances
    cut = (odd / "cut2.dcm").read_bytes()
    whole = [
        path.read_bytes() for path in (out / "archive").rglob("*") if path.is_file() and path.parent != odd
    ]
    assert any(data.startswith(cut) and len(cut) < len(data) / 2 for data in whole)


def test_doors(tmp_path, made):
    with pytest.raises(UsageError, match=r"\[make_archive\] n_patients"):
        make_archive(tmp_path, -1)
    with pytest.raises(UsageError, match="must be empty"):
        make_archive(made[0], 1)
    with pytest.raises(UsageError, match=r"\[stream_reports\]"):
        stream_reports(-1)


def test_truth_tables_have_their_columns(made):
    out, _ = made
    table = pq.read_table(Path(out) / "truth" / "images.parquet")
    assert table.schema.field("findings").type == pa.list_(pa.string())
    concepts = set(read_names().values())
    assert {concept for row in table["findings"].to_pylist() for concept in row} <= concepts
