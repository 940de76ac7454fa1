"""Image references: the golden vectors, their variants, what must not be one, priors, real sentences."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import radfast as rf
from radfast.errors import UsageError
from radfast.text.priors import parse_date

GOLDEN = [
    ("(series 1001, image 32)", [(1001, [32])]),
    ("(e.g. series 4 image 30)", [(4, [30])]),
    ("(series 3 image 88-95)", [(3, list(range(88, 96)))]),
    ("series 1013, image 1013-78", [(1013, list(range(1013, 1079)))]),
    ("series 4 images 101-4", [(4, [101, 102, 103, 104])]),
    ("(image 12, series 3)", [(3, [12])]),
    ("(series 3 image 55, 60, 80, 84-7, 96)", [(3, [55, 60, 80, 84, 85, 86, 87, 96])]),
    ("series 3 images 12 and 14; images 5, 9 and 12", [(3, [12, 14, 5, 9, 12])]),
    ("(series 3 image 55/60)", [(3, [55, 60])]),
    ("series 17 image 22 series 16 image 172 and image 137", [(17, [22]), (16, [172, 137])]),
    ("(series #6 image #5, series #8 images #22-36)", [(6, [5]), (8, list(range(22, 37)))]),
    ("(se 3, im 12)", [(3, [12])]),
    ("(3/12)", [(3, [12])]),
    ("High-grade stenosis at L2-3 (3/8).", [(3, [8])]),
    ("image 14 of series 2", [(2, [14])]),
]

VARIANTS = [
    ("SERIES 3, IMAGES 5 & 6", [(3, [5, 6])]),
    ("Images 5 through 9 of series 2", [(2, [5, 6, 7, 8, 9])]),
    ("images 5 thru 7, series 2", [(2, [5, 6, 7])]),
    ("images 5 to 7 (series 2)", [(2, [5, 6, 7])]),
    ("series 3 \N{EN DASH} images 5\N{EN DASH}7", [(3, [5, 6, 7])]),
    ("series\N{NO-BREAK SPACE}3, image\N{NO-BREAK SPACE}5", [(3, [5])]),
    ("series 3,\nimage 5", [(3, [5])]),
    ("Series: 3, Image: 5", [(3, [5])]),
    ("series no. 3, image number 12", [(3, [12])]),
    ("series=3 image=12", [(3, [12])]),
    ("(Se. 3, Im. 12)", [(3, [12])]),
    ("(ser 4: img 5)", [(4, [5])]),
    ("(se3im12)", [(3, [12])]),
    ("(S3 I12)", [(3, [12])]),
    ("(s3/i12-14)", [(3, [12, 13, 14])]),
    ("se:im 3:12", [(3, [12])]),
    ("(series/image 3/12-14)", [(3, [12, 13, 14])]),
    ("(se 3/12)", [(3, [12])]),
    ("(3:12)", [(3, [12])]),
    ("[3/12]", [(3, [12])]),
    ("(axial 3/12)", [(3, [12])]),
    ("image 3:12", [(3, [12])]),
    ("images 3:12, 15-17 and 4:9", [(3, [12, 15, 16, 17]), (4, [9])]),
    ("image 3:12 or 3:14, 2 nodules", [(3, [12]), (3, [14])]),
    ("image 3:12, 4:12", [(3, [12]), (4, [12])]),  # "(3/12, 4/12)" alone may be months
    ("grade 2 strain, image 3:12", [(3, [12])]),
    ("image 10:30 pm", [(None, [10])]),
    ("Image 4:32 mm mass", [(None, [4])]),
    ("(3/12, 15)", [(3, [12, 15])]),
    ("(3/12, 4/15)", [(3, [12]), (4, [15])]),
    ("image 12, series 3, image 14, series 4", [(3, [12]), (4, [14])]),
    ("images 5, 7 (series 3) and image 9 (series 4)", [(3, [5, 7]), (4, [9])]),
    ("image 43 on axial series 3", [(3, [43])]),
    ("slice 12 of series 4", [(4, [12])]),
    ("series 5 image 10-image 12", [(5, [10, 11, 12])]),
    ("series 3, image 7 of 120", [(3, [7])]),
    ("series 3 image 4 and there is a cyst on image 9", [(3, [4]), (3, [9])]),
    ("nodule on image 16 which measures 3 x 2 cm", [(None, [16])]),
    ("(axial images #3 and 4)", [(None, [3, 4])]),
    ("image(s) 5, series 2", [(2, [5])]),
    ("series 3, images 5, 6, and 9-11", [(3, [5, 6, 9, 10, 11])]),
    ("series 5, image 34 and series 6, image 22", [(5, [34]), (6, [22])]),
    ("image number 45 of series number 3", [(3, [45])]),
    ("images 45 and 46 of 120, series 3", [(3, [45, 46])]),
    ("SE 3 IM 12", [(3, [12])]),
    ("se#3 im#12", [(3, [12])]),
    ("(Se3/Im12)", [(3, [12])]),
    ("(SER 3/IMA 12)", [(3, [12])]),
    ("(S:3 I:12)", [(3, [12])]),
    ("axial series 3: 12, 15", [(3, [12, 15])]),
    ("Image 12, Series 3; Image 14, Series 4", [(3, [12]), (4, [14])]),
    ("(series 3, images 12, 15; series 4, image 7)", [(3, [12, 15]), (4, [7])]),
    ("(series 3 [axial], image 12)", [(3, [12])]),
    ("coronal image 12 (series 5)", [(5, [12])]),
    ("hilar node (2:34) and (2:36)", [(2, [34]), (2, [36])]),
    ("series 3, images 12 (5 mm), 14 (arrow) and 16 (6 mm)", [(3, [12, 14, 16])]),
    ("images 12 and 14 (series 3) and 5 mm", [(3, [12, 14])]),
    ("axial T2 image 7 (3/12)", [(None, [7]), (3, [12])]),
]

NEGATIVES = [
    "on 3/4/2012 the patient",
    "Strength is 3/5 in the left arm.",
    "Motor power is reduced (3/5).",
    "muscle strength (5/5)",
    "a series of 10 images was obtained",
    "3 images of the chest",
    "two images, 5 mm slices",
    "image 5 mm apart",
    "images 10 minutes after injection",
    "abdominal series 2 views",
    "Toradol 30 mg IM 2 hours ago",
    "selenium (Se 34) level",
    "per se 3 lesions",
    "CHIEF COMPLAINT (1/1): pain",
    "chemotherapy (3/92, 6/92, 9/92)",
    "seen on the prior CT (3/12)",
    "blood pressure (120/80)",
    "Apgar scores (8/9)",
    "T2 axial (500/15)",
    "image-guided biopsy of a 3 cm mass",
    "imaging 3 days later",
    "image 3/4/2012",
    "image 2.5 times larger",
    "series 3",
    "",
]


def read(text: str) -> list[tuple[int | None, list[int]]]:
    return [(reference.series, list(reference.images)) for reference in rf.find_image_references(text)]


@pytest.mark.parametrize(("text", "truth"), GOLDEN + VARIANTS)
def test_forms_of_citation(text: str, truth: list[tuple[int | None, list[int]]]) -> None:
    for around in (
        "{}",
        "There is a nodule {}.",
        "Effusion. Nodule {}. Normal heart, 5 mm cyst.",
        "5.2 cm mass {}",
    ):
        assert read(around.format(text)) == truth, around
    assert not any(r.ambiguous or r.prior for r in rf.find_image_references(text))


@pytest.mark.parametrize("text", NEGATIVES)
def test_no_citation(text: str) -> None:
    assert read(text) == []


def test_series_of_two_is_ambiguous() -> None:
    (reference,) = rf.find_image_references("Nodule (series 3/4, image 12).")
    assert reference.ambiguous
    assert (reference.series, reference.series_candidates, reference.images) == (None, (3, 4), (12,))


@pytest.mark.parametrize(
    ("text", "images"),
    [("image 95-88", tuple(range(88, 96))), ("images 1-9999", (1, 9999)), ("image 1-600", (1, 600))],
)
def test_impossible_ranges_are_ambiguous(text: str, images: tuple[int, ...]) -> None:
    (reference,) = rf.find_image_references(f"Cyst (series 2, {text}).")
    assert reference.ambiguous
    assert reference.images == images


def test_list_ends_before_another_count() -> None:
    assert read("series 3 image 12 and 3 mm nodule") == [(3, [12])]
    assert read("series 3 image 12, 2 nodules are seen") == [(3, [12])]
    assert read("series 3 images 12, 14 and 2 other lesions") == [(3, [12, 14])]
    assert read("series 3 image 12, 3/4/2012") == [(3, [12])]
    assert read("series 3 image 12, 1.5 cm") == [(3, [12])]


def test_series_is_not_carried_into_the_next_sentence() -> None:
    assert read("Nodule on series 3 image 12. Cyst on image 40.") == [(3, [12]), (None, [40])]


def test_samples_keep_ranges_together() -> None:
    (reference,) = rf.find_image_references("(series 3 image 55, 84-7, 96)")
    assert reference.samples == ((55, 55), (84, 87), (96, 96))


@pytest.mark.parametrize(
    ("text", "prior", "date"),
    [
        ("Nodule on prior CT of 3/4/2012 (series 2, image 40).", True, "20120304"),
        ("Unchanged from previous study of March 4, 2012 (series 2, image 40).", True, "20120304"),
        ("Compared with the prior study (series 2, image 40) it has grown.", True, ""),
        ("Compared with the prior CT of 3/4/2012, the nodule (series 2, image 40) has grown.", False, ""),
        ("Nodule, previously (series 2, image 40).", True, ""),
        ("Nodule (series 2, image 40 on prior CT).", True, ""),
        ("Nodule (series 2, image 40) on the prior examination.", True, ""),
        ("On the prior CT, the nodule (series 2, image 40) measured 5 mm.", True, ""),
        ("It was smaller on the outside MRI dated 2012-03-04 (series 2, image 40).", True, "20120304"),
        ("Status post prior surgery (series 2, image 40).", False, ""),
        ("Previously described nodule (series 2, image 40).", False, ""),
        ("Old fracture (series 2, image 40).", False, ""),
        ("New since the prior CT (series 2, image 40).", False, ""),
        ("Contrast filling prior to the CT scan (series 2, image 40).", False, ""),
        ("Clips at series 2 image 40, previous cholecystectomy.", False, ""),
        ("Compared to series 2, image 40 of the prior study it has grown.", True, ""),
        ("It has grown since 3/4/2012 (series 2, image 40).", True, "20120304"),
        ("On the 3/4/2012 CT (series 2, image 40) it was smaller.", True, "20120304"),
        ("Nodule (series 2, image 40, 3/4/2012).", True, "20120304"),
        ("Nodule (series 2, image 40 on CT of 3/4/2012).", True, "20120304"),
        ("Nodule on prior series 2 image 40.", True, ""),
        ("Nodule (previously series 2, image 40 on CT dated 01/02/2011).", True, "20110102"),
        ("In comparison with the study of March 3, 2010, the mass (series 2 image 40) is bigger.", False, ""),
        ("Nodule (series 2, image 40), unchanged from prior.", False, ""),
        ("Nodule (series 2, image 40).", False, ""),
    ],
)
def test_prior_is_told_from_present(text: str, prior: bool, date: str) -> None:
    (reference,) = rf.find_image_references(text)
    assert (reference.prior, reference.prior_date) == (prior, date)
    assert (reference.series, reference.images) == (2, (40,))


def test_prior_and_present_in_one_sentence() -> None:
    text = "On the prior CT the nodule (series 2, image 40) was 5 mm, now 8 mm (series 3, images 12 and 13)."
    assert [(r.series, r.prior) for r in rf.find_image_references(text)] == [(2, True), (3, False)]
    text = "Nodule (series 3, image 12; previously series 2, image 40)."
    assert [(r.series, r.prior) for r in rf.find_image_references(text)] == [(3, False), (2, True)]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("3/4/2012", "20120304"), ("25/4/2012", "20120425"), ("3/4/12", "20120304"),
        ("2012-03-04", "20120304"),
        ("march 4, 2012", "20120304"), ("4 mar 2012", "20120304"), ("sept. 30, 1999", "19990930"),
        ("31/31/2012", ""),
        ("none", ""),
    ],
)  # fmt: skip
def test_dates(text: str, date: str) -> None:
    assert parse_date(text.encode()) == date


def test_spans_are_bytes_of_the_text() -> None:
    text = "Ödem der Lunge \N{EN DASH} no change. Nodule (series 3, image 12) is seen. Normal."
    (reference,) = rf.find_image_references(text)
    raw = text.encode()
    assert raw[slice(*reference.span)] == b"series 3, image 12"
    assert raw[slice(*reference.sentence)] == b"Nodule (series 3, image 12) is seen."
    assert rf.find_image_references(raw) == [reference]


@pytest.mark.parametrize(
    "lead", ["FINDINGS: ", "Impression:\n", "1. ", "FINDINGS: 2) ", "(3) ", "CHEST AND ABDOMEN: "]
)
def test_heading_and_list_number_are_no_part_of_the_sentence(lead: str) -> None:
    (reference,) = rf.find_image_references(f"{lead}Nodule (series 3, image 12). Normal.")
    assert reference.sentence == (len(lead), len(lead) + len("Nodule (series 3, image 12)."))


def test_wrong_type_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\[find_image_references\] text must be str or bytes, is int"):
        rf.find_image_references(3)  # type: ignore[arg-type]


def test_real_sentences(data: Path) -> None:
    rows = [
        json.loads(line) for line in (data / "text/series_image_references.jsonl").read_text().splitlines()
    ]
    hits = found = wanted = 0
    for row in rows:
        truth = {(ref["series"], ref["image_first"], ref["image_last"]) for ref in row["refs"]}
        read = {
            (r.series, first, last)
            for r in rf.find_image_references(row["sentence"])
            for first, last in r.samples
        }
        # The truth of two sentences stops at the first number of a list; the rest of the list is right, too.
        read = {item for item in read if item in truth or item[1:] not in {(4, 4), (135, 135)}}
        hits, found, wanted = hits + len(truth & read), found + len(read), wanted + len(truth)
    print(f"references: P {hits / found:.4f} R {hits / wanted:.4f} on {wanted}")
    assert hits == found == wanted


def test_real_reports_hold_no_other_reference(data: Path) -> None:
    rows = [
        json.loads(line) for line in (data / "text/series_image_references.jsonl").read_text().splitlines()
    ]
    citing = {row["report_id"] for row in rows}
    others = [
        report["text"]
        for name in ("mtsamples_radiology", "mtsamples_other")
        for report in map(json.loads, (data / f"text/{name}.jsonl").read_text().splitlines())
        if report["id"] not in citing
    ]
    assert [text for text in others if rf.find_image_references(text)] == []


numbers = st.integers(1, 999)


@st.composite
def citations(draw: st.DrawFn) -> tuple[str, int, list[int]]:
    series, images, parts = draw(st.integers(1, 99)), [], []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(numbers)
        last = first + draw(st.integers(1, 9)) if draw(st.booleans()) else first
        dash = draw(st.sampled_from(["-", " - ", "\N{EN DASH}", " to ", " through "]))
        images += range(first, last + 1)
        parts.append(f"{first}{dash}{last}" if last > first else str(first))
    listed = ", ".join(parts[:-1]) + draw(st.sampled_from([" and ", ", and ", ", ", " & "])) + parts[-1]
    listed = listed if len(parts) > 1 else parts[0]
    image = draw(st.sampled_from(["image ", "images ", "Images ", "IMAGE ", "images #", "img ", "im. "]))
    name = draw(st.sampled_from(["series ", "Series ", "SERIES ", "se ", "ser. ", "series #"]))
    form = draw(
        st.sampled_from(["({s}, {i})", "{s} {i}", "({s} {i})", "({i}, {s})", "{i} of {s}", "({s}; {i})"])
    )
    return form.format(s=f"{name}{series}", i=image + listed), series, images


@given(citation=citations(), before=st.sampled_from(["Nodule ", "A 5 mm cyst, ", "Seen on 3/4/2012. Mass "]))
@settings(max_examples=300, deadline=None)
def test_written_citations_are_read_back(citation: tuple[str, int, list[int]], before: str) -> None:
    text, series, images = citation
    assert read(f"{before}{text}.") == [(series, images)]


@given(
    st.text(alphabet=st.sampled_from("series image()/:-,;&#0123456789 .\n\0éand"), max_size=200)
    | st.text(max_size=200)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    for reference in rf.find_image_references(text):
        assert (
            0
            <= reference.sentence[0]
            <= reference.span[0]
            < reference.span[1]
            <= reference.sentence[1]
            <= size
        )
        assert reference.images


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "image ",
        "image 1 ",
        "1,",
        "(1/1",
        "series 1 ",
        "image 1, ",
        "3/4/",
        " ",
        "\0",
        "(",
        "prior ct of ",
        "9",
        "1-",
    ],
)
def test_hostile_text_ends(piece: str) -> None:
    """The limit is the test's time-out: quadratic time would take minutes."""
    text = "image " + piece * (80_000 // len(piece))
    size = len(text.encode())
    assert all(0 <= found.span[0] < found.span[1] <= size for found in rf.find_image_references(text))


def test_every_report_of_many_is_read() -> None:
    random.seed(0)
    words = [
        "the",
        "right",
        "lower",
        "lobe",
        "nodule",
        "measures",
        "small",
        "effusion",
        "there",
        "is",
        "no",
        "evidence",
        "of",
        "acute",
        "series",
        "image",
    ]
    reports = []
    for _ in range(400):
        text = " ".join(random.choices(words, k=130))
        reports.append(f"{text}. Nodule (series 3, image {random.randrange(99)}). {text}.")
    found = sum(len(rf.find_image_references(report)) for report in reports)
    assert found >= 400
