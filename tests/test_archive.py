"""Ingest: every file ends in one row, whatever it holds and whatever it does to its worker."""

from __future__ import annotations

import csv
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import COMPREHENSIVE_SR, KEY_OBJECT, make_dataset, make_image, ramp, save
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from radfast.archive import Ingested, Reason, ingest, read_instance
from radfast.archive.discover import find_files
from radfast.archive.pool import ENTRY, DecodePool
from radfast.config import ArchiveConfig
from radfast.errors import NothingFoundError, RadfastError, UsageError
from radfast.types import EVIDENCE, IMAGES, LEDGER, REPORTS

SMALL = ArchiveConfig(picture_size=16)


def run(archive: Path, out: Path, reports: Path | None = None, **options: Any) -> Ingested:
    return ingest(archive, reports, out / "pixels.npy", options.pop("config", SMALL), threads=1, **options)


def states(result: Ingested) -> dict[str, tuple[str, str]]:
    rows = result.ledger.to_pylist()
    assert len({row["input_id"] for row in rows}) == len(rows)
    return {row["input_id"]: (row["state"], row["reason"]) for row in rows}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three images of two studies, a key object, and things that are none."""
    folder = tmp_path / "archive"
    save(make_image("a", ramp()), folder / "p1" / "s1" / "IM0001")
    save(make_image("b", ramp(), RLELossless), folder / "p1" / "s1" / "1.2.3.IMA")
    second = make_image("c", ramp(8, 40), StudyInstanceUID="1.2.99", PatientID="P2", AccessionNumber="ACC2")
    save(second, folder / "p2" / "deep" / "er" / "x.dcm")
    save(make_image("a", ramp(step=3)), folder / "p2" / "copy.dcm")
    save(make_dataset("k", KEY_OBJECT), folder / "p1" / "kos")
    (folder / "p1" / "report.txt").write_text("FINDINGS: a nodule.")
    (folder / "p2" / "report.txt").write_text(" \n")
    (folder / "p2" / "deep" / "note.TXT").write_text("Normal.")
    (folder / "thumbs.db").write_bytes(b"\0" * 400)
    (folder / "empty").touch()
    return folder


EXPECTED = {
    "empty": ("ignored", "empty_file"),
    "p1/kos": ("evidence", "no_reference"),
    "p1/report.txt": ("used", ""),
    "p1/s1/1.2.3.IMA": ("described", ""),
    "p1/s1/IM0001": ("described", ""),
    "p2/copy.dcm": ("duplicate", "duplicate_instance"),
    "p2/deep/er/x.dcm": ("described", ""),
    "p2/deep/note.TXT": ("used", ""),
    "p2/report.txt": ("rejected", "empty_text"),
    "thumbs.db": ("ignored", "not_dicom"),
}


def test_every_file_has_one_state(archive: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = run(archive, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert states(result) == EXPECTED
    assert seen[-1] == (7, 7)
    for table, schema in [
        (result.images, IMAGES),
        (result.reports, REPORTS),
        (result.evidence, EVIDENCE),
        (result.ledger, LEDGER),
    ]:
        assert table.schema.equals(schema)
    assert result.images["path"].to_pylist() == ["p1/s1/1.2.3.IMA", "p1/s1/IM0001", "p2/deep/er/x.dcm"]
    assert result.images["pixel_row"].to_pylist() == [0, 1, 2]
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16), np.uint8)
    for row, path in enumerate(result.images["path"].to_pylist()):
        np.testing.assert_array_equal(pixels[row], read_instance(archive / path, 16).picture)
    reports = {row["report_id"]: row for row in result.reports.to_pylist()}
    assert reports["p2/deep/note.TXT"]["study_uid"] == "1.2.99"
    assert reports["p2/deep/note.TXT"]["patient_id"] == "P2"


def test_result_does_not_depend_on_the_number_of_processes(archive: Path, tmp_path: Path) -> None:
    for index in range(40):
        save(make_image(f"n{index}", ramp() + index), archive / "many" / f"{index:03}")
    one = ingest(archive, None, tmp_path / "1" / "pixels.npy", SMALL, threads=1)
    three = ingest(archive, None, tmp_path / "3" / "pixels.npy", SMALL, threads=3)
    assert (tmp_path / "1" / "pixels.npy").read_bytes() == (tmp_path / "3" / "pixels.npy").read_bytes()
    for table in ("images", "reports", "evidence", "ledger"):
        assert getattr(one, table).equals(getattr(three, table))


def test_table_of_reports(archive: Path, tmp_path: Path) -> None:
    table = archive / "reports.csv"
    table.write_text("report_id,accession_number,text\nr1,ACC1,one\nr2,ACC9,two\nr1,ACC2,three\nr3,ACC2,\n")
    result = run(archive, tmp_path, table)
    found = states(result)
    assert found["reports.csv"] == ("ignored", "report_table")
    assert [found[f"reports.csv:{row}"] for row in (1, 2, 3, 4)] == [
        ("used", ""),
        ("unmatched", "no_study"),
        ("duplicate", "duplicate_report_id"),
        ("rejected", "empty_text"),
    ]
    assert found["p1/report.txt"] == ("ignored", "not_dicom")
    assert result.reports["match"].to_pylist() == ["accession_number", "none"]
    assert result.reports["study_date"].to_pylist() == ["20200131", ""]


def test_folder_of_reports_elsewhere(archive: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "ACC2.txt").write_text("two")
    (texts / "p1.txt").write_text("one")
    result = run(archive, tmp_path, texts)
    assert result.reports["match"].to_pylist() == ["accession_number", "folder"]
    assert states(result)["p1.txt"] == ("used", "")


def test_output_inside_the_archive_is_no_input(archive: Path) -> None:
    assert states(run(archive, archive / "out")) == EXPECTED
    assert states(run(archive, archive / "out")) == EXPECTED


def test_links_and_odd_entries(archive: Path, tmp_path: Path) -> None:
    (archive / "p1" / "loop").symlink_to(archive)
    (archive / "a_link").symlink_to(archive / "p2")
    outside = tmp_path / "outside"
    save(make_image("o", ramp()), outside / "deep" / "o.dcm")
    (archive / "linked").symlink_to(outside)
    (archive / "again").symlink_to(outside)
    (archive / "dangling").symlink_to(archive / "nothing")
    (archive / "circle").symlink_to("circle")
    os.mkfifo(archive / "pipe")
    name = os.fsdecode(b"caf\xe9.dcm")
    save(make_image("u", ramp()), archive / name)
    found = states(run(archive, tmp_path))
    assert found == EXPECTED | {
        "again/deep/o.dcm": ("described", ""),
        "circle": ("rejected", "broken_link"),
        "dangling": ("rejected", "broken_link"),
        "pipe": ("ignored", "special_file"),
        "caf\\xe9.dcm": ("described", ""),
    }


def test_files_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b/1", "a", "b.x", "B/2", "a0", "b/0/z"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_files(tmp_path).files == sorted(names)


def test_errors_at_the_door(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="archive folder does not exist"):
        run(tmp_path / "absent", tmp_path)
    with pytest.raises(UsageError, match=r"reports.*does not exist"):
        run(archive, tmp_path, tmp_path / "absent.csv")
    table = tmp_path / "r.csv"
    table.write_text("id,report\n1,x\n")
    with pytest.raises(UsageError, match="no column 'text'"):
        run(archive, tmp_path, table)


def test_nothing_found_says_what_was_seen(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    with pytest.raises(NothingFoundError, match="no DICOM file among 0 files"):
        run(folder, tmp_path)
    (folder / "a").write_text("text")
    (folder / "b").touch()
    with pytest.raises(NothingFoundError, match=r"no DICOM file among 2 files .*1 not_dicom, 1 empty_file"):
        run(folder, tmp_path)
    save(make_dataset("k", KEY_OBJECT), folder / "kos")
    with pytest.raises(NothingFoundError, match="no image that can be used among 3 files"):
        run(folder, tmp_path)
    assert not (tmp_path / "pixels.npy").exists()
    assert not list(tmp_path.glob(".pixels*"))


# A worker that does what the names of its files say.
UNRULY = """
import sys
sys.path[:] = sys.argv[3:]
import os, time
from pathlib import Path
import radfast.archive.instance as instance
read = instance.read_instance
def unruly(path, size):
    print("noise on standard output", flush=True)
    if path.name.startswith("kill"):
        os.kill(os.getpid(), 9)
    if path.name.startswith("once") and not path.with_name("mark").exists():
        path.with_name("mark").touch()
        os._exit(3)
    if path.name.startswith("hang"):
        time.sleep(600)
    if path.name.startswith("exit"):
        os._exit(7)
    return read(path, size)
instance.read_instance = unruly
from radfast.archive.worker import serve
serve(int(sys.argv[1]), float(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_or_hangs_costs_its_own_file_only(workers: int, tmp_path: Path) -> None:
    names = ["a", "b", "exit1", "c", "d", "kill1", "kill2", "e", "once", "f", "hang", "g", "h", "i"]
    for name in names:
        save(make_image(name, ramp()), tmp_path / name)
    with DecodePool(16, 1.5, workers, UNRULY) as pool:
        answers = [
            (answer["state"], answer["reason"], answer["detail"])
            for answer, _ in pool.decode(tmp_path, names)
        ]
    found = dict(zip(names, answers, strict=True))
    assert found.pop("exit1") == ("rejected", "worker_crashed", "exit 7")
    assert found.pop("kill1") == ("rejected", "worker_crashed", "SIGKILL")
    assert found.pop("kill2") == ("rejected", "worker_crashed", "SIGKILL")
    assert found.pop("hang") == ("rejected", "decode_timeout", "over 1.5 s")
    assert set(found.values()) == {("described", "", "")}


def test_workers_that_cannot_start_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (
        DecodePool(16, 5.0, 1, "raise SystemExit(1)") as pool,
        pytest.raises(RadfastError, match="do not start"),
    ):
        list(pool.decode(tmp_path, ["a"]))


def test_workers_do_not_need_the_main_module(archive: Path, tmp_path: Path) -> None:
    """A script without a main guard must not be run again by its workers, and an import must be cheap."""
    assert "__main__" not in ENTRY
    heavy = ("pyarrow", "torch", "numba", "sklearn", "radfast.types")
    check = "import sys; sys.path[:] = sys.argv[3:]; import radfast.archive.worker, radfast.archive.instance;"
    check += f"sys.exit(1 if set({heavy!r}) & set(sys.modules) else 0)"
    with DecodePool(16, 5.0, 1, check) as pool, pytest.raises(RadfastError, match=r"\(exit 0\)"):
        list(pool.decode(tmp_path, ["a"]))


def test_all_of_pydicoms_own_files_are_accounted_for(data: Path, tmp_path: Path) -> None:
    folder = data / "dicom"
    with (folder / "inventory.csv").open(newline="") as file:
        inventory = {row["file"]: row for row in csv.DictReader(file)}
    rows: dict[str, dict[str, Any]] = {}
    for part in ("pydicom", "pydicom-data"):
        result = ingest(folder / part, None, tmp_path / part / "pixels.npy", SMALL, threads=2)
        rows |= {f"{part}/{row['input_id']}": row for row in result.ledger.to_pylist()}
        assert result.images.num_rows == len(np.load(tmp_path / part / "pixels.npy"))
    assert rows.keys() == inventory.keys()
    reasons = {reason.value for reason in Reason}
    for name, row in rows.items():
        assert row["sha256"] == inventory[name]["sha256"]
        assert row["reason"] in reasons
        assert row["state"] == "described" or row["state"] == "evidence" or row["reason"]
    counts = Counter(row["state"] for row in rows.values())
    assert counts["described"] + counts["duplicate"] >= 115
    assert {name for name, row in rows.items() if row["state"] == "evidence"} == {
        f"pydicom/test_files/{name}.dcm" for name in ("reportsi", "test-SR")
    }
    read_anyway = {
        Path(name).name
        for name, row in inventory.items()
        if row["pydicom_decode"].startswith(("FAIL", "none"))
        and rows[name]["state"] in ("described", "duplicate")
    }
    # one lacks its transfer syntax only, one its last frames but not the middle one, one is no image
    assert read_anyway == {
        "OT-PAL-8-face.dcm",
        "emri_small_jpeg_2k_lossless_too_short.dcm",
        "reportsi_with_empty_number_tags.dcm",
    }


def test_details_hold_no_patient_data(tmp_path: Path) -> None:
    secret = "SECRET9"
    folder = tmp_path / "archive"
    values = {
        "PatientID": secret,
        "PatientName": secret,
        "AccessionNumber": secret,
        "StudyDescription": secret,
    }
    save(make_image("a", ramp(), **values), folder / "a")
    for keyword, value in [("Rows", 0), ("NumberOfFrames", 9), ("PhotometricInterpretation", secret)]:
        dataset = make_image(keyword, ramp(), **values)
        setattr(dataset, keyword, value)
        save(dataset, folder / keyword)
    data = (folder / "a").read_bytes()
    for end in range(200, len(data), 61):
        (folder / f"cut{end}").write_bytes(data[:end])
    (tmp_path / "r.csv").write_text(
        f'text,accession_number\n{secret},1,2\n{secret},"3"4\n{secret},{secret}\n'
    )
    result = run(folder, tmp_path, tmp_path / "r.csv")
    for row in result.ledger.to_pylist():
        assert secret not in row["detail"]
        assert row["reason"] or row["state"] in ("described", "used", "duplicate")


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Cut, flip, drop, double or overwrite a part of a file, a few times."""
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # headers matter more than pixels
        start = rng.choice((0, 132, 132, 132))
        at = rng.randrange(
            min(start, len(broken) - 1), min(len(broken), start + rng.choice((9, 300, 700, 1 << 20)))
        )
        size = rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0:
                broken[at] ^= 1 << rng.randrange(8)
            case 1:
                del broken[at : at + size]
            case 2:
                broken[at:at] = broken[at : at + size]
            case 3:
                broken[at : at + size] = rng.choice((b"\xff", b"\0", b"\x7f")) * size
            case 4:
                broken[at : at + size] = rng.randbytes(size)
            case 5:
                del broken[max(at, 140) :]
        if not broken:
            break
    return bytes(broken)


def fuzz(folder: Path, seed: int, count: int) -> Counter[str]:
    """Ingest `count` mutated files beside one good one; return how they ended."""
    rng = random.Random(seed)
    seeds = []
    for syntax in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ):
        image = make_image("seed", ramp(64, 64), syntax, WindowCenter=9, WindowWidth=5)
        seeds.append(save(image, folder / "seed").read_bytes())
    frames = make_image("seed", np.stack([ramp(8, 8)] * 3), RLELossless, NumberOfFrames=3)
    seeds.append(save(frames, folder / "seed").read_bytes())
    item = Dataset()
    item.ValueType, item.TextValue = "TEXT", "words"
    report = make_dataset("seed", COMPREHENSIVE_SR, ValueType="CONTAINER", ContentSequence=[item] * 3)
    seeds.append(save(report, folder / "seed").read_bytes())
    (folder / "seed").unlink()
    save(make_image("good", ramp()), folder / "in" / "good")
    for index in range(count):
        (folder / "in" / f"{index:05}").write_bytes(mutate(rng.choice(seeds), rng))
    config = ArchiveConfig(picture_size=16, decode_timeout=20)
    result = ingest(folder / "in", None, folder / "pixels.npy", config, threads=2)
    rows = result.ledger.to_pylist()
    assert sorted(row["input_id"] for row in rows) == sorted(path.name for path in (folder / "in").iterdir())
    assert states(result)["good"] == ("described", "")
    assert {row["reason"] for row in rows} <= {reason.value for reason in Reason}
    assert len(np.load(folder / "pixels.npy")) == result.images.num_rows
    return Counter(row["reason"] or row["state"] for row in rows)


def test_mutated_files_each_end_in_one_row(tmp_path: Path) -> None:
    counts = fuzz(tmp_path, seed=0, count=250)
    assert len(counts) >= 8
    assert counts["decode_timeout"] == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_mutated_files_each_end_in_one_row(seed: int, tmp_path: Path) -> None:
    counts = fuzz(tmp_path, seed=seed, count=2500)
    assert counts["decode_timeout"] == 0


def test_documentation_lists_every_reason() -> None:
    page = (Path(__file__).parents[1] / "docs" / "inputs.md").read_text()
    for reason in Reason:
        assert reason is Reason.NONE or f"| `{reason.value}` |" in page
