"""Reports from tables and text files: encodings, broken rows, columns, and the study they belong to."""

from __future__ import annotations

import datetime
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radfast.archive.match import Studies
from radfast.archive.reasons import Reason
from radfast.archive.reports import RawReport, check_reports, read_checked_reports, read_reports
from radfast.config import ArchiveConfig, ColumnsConfig
from radfast.errors import UsageError


def read(path: Path, **columns: str) -> list[RawReport]:
    return list(read_reports(path, ArchiveConfig(columns=ColumnsConfig(**columns))))


def write(path: Path, data: str | bytes) -> Path:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


ROWS = [
    {"report_id": "r1", "patient_id": "007", "text": 'FINDINGS: "ring", one;\nIMPRESSION: größer.'},
    {"report_id": "r2", "patient_id": "8", "text": "Normal,\tno change."},
]


def table(kind: str, path: Path) -> Path:
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    if kind.startswith("jsonl"):
        return write(path, "\n\n".join(json.dumps(row) for row in ROWS))
    mark = {"csv": ",", "csv.gz": ";", "tsv": "\t"}[kind]
    lines = [mark.join(ROWS[0])]
    lines += [mark.join('"' + value.replace('"', '""') + '"' for value in row.values()) for row in ROWS]
    return write(path, "\ufeff" + "\r\n".join(lines) + "\r\n")


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "parquet"])
def test_each_kind_of_table_gives_the_same_reports(kind: str, tmp_path: Path) -> None:
    found = read(table(kind, tmp_path / f"reports.{kind}"))
    assert [report.text for report in found] == [row["text"] for row in ROWS]
    assert [report.report_id for report in found] == ["r1", "r2"]
    assert [report.patient_id for report in found] == ["007", "8"]
    rows = ("1", "3") if kind.startswith("jsonl") else ("1", "2")
    assert [report.input_id for report in found] == [f"reports.{kind}:{row}" for row in rows]
    assert all(report.refusal is None and report.detail == "" for report in found)


def test_columns_are_named_by_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "Befund,Nr,x\nLunge frei,17,y\n")
    (report,) = read(path, text="Befund", accession_number="Nr")
    assert (report.text, report.accession_number, report.report_id) == ("Lunge frei", "17", "r.csv:1")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("r.csv", "id,report\n1,text\n"),
        ("r.csv", ""),
        ("r.tsv", "id\treport\n1\ttext\n"),
        ("r.jsonl", '{"id": 1, "report": "text"}\n'),
        ("r.jsonl", '{"id": 1, "report": "text"}\n' * 1500),
    ],
)
def test_missing_text_column_names_what_there_is(name: str, data: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(UsageError, match="no column 'text'") as error:
        check_reports(path, ArchiveConfig())
    assert name in str(error.value)
    assert ("'id', 'report'" in str(error.value)) == bool(data)


@pytest.mark.parametrize(
    "first", ["DOE,1955-03-04,Normal chest.", "DOE,x," + "Normal chest. " * 9, "DOE,(77),b"]
)
def test_a_table_without_header_is_not_quoted(first: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its first row is no header") as error:
        read(write(tmp_path / "r.csv", first + "\n" + first + "\n"))
    assert "DOE" not in str(error.value)


def test_renamed_optional_column_must_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,acc\na,1\n")
    assert len(read(path)) == 1
    with pytest.raises(UsageError, match="no column 'accession'"):
        read(path, accession_number="accession")


def test_broken_rows_cost_only_themselves(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", 'report_id,text\na,one\nb,two,three\n"c"x,quoted\n\nd,four\n')
    found = read(path)
    assert [(report.input_id, report.refusal) for report in found] == [
        ("r.csv:1", None),
        ("r.csv:2", Reason.MALFORMED_ROW),
        ("r.csv:3", Reason.MALFORMED_ROW),
        ("r.csv:4", None),
    ]
    assert found[3].text == "four"
    lines = [
        '{"text": "one"}',
        "{broken",
        "[1]",
        '{"text": 5}',
        '{"report_id": "x"}',
        "[" * 100_000,
        '{"text": "two"}',
    ]
    found = read(write(tmp_path / "r.jsonl", "\n".join(lines)))
    refused = [report.refusal for report in found]
    assert refused == [None, *[Reason.MALFORMED_ROW] * 3, None, Reason.MALFORMED_ROW, None]
    assert found[4].text == ""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("r.csv", 'report_id,text\na,one\nb,"two\nc,three\n'),
        ("r.csv.gz", b""),
        ("r.parquet", b"PAR1 no table"),
        ("r.xlsx", b"PK"),
    ],
)
def test_unreadable_tables_are_one_clear_line(name: str, data: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"report_id,text\n" * 999)[:40] if name.endswith("gz") else b"")
    if data:
        write(path, data)
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "two" not in str(error.value)


def test_missing_path_and_empty_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UsageError, match=r"does not exist|holds no file"):
            read(path)


def test_latin_1_rows_are_read_and_counted(tmp_path: Path) -> None:
    rows = [b"report_id,text", "a,größer".encode("latin-1"), "b,größer".encode(), "c,süß".encode("latin-1")]
    found = read(write(tmp_path / "r.csv", b"\n".join(rows)))
    assert [report.text for report in found] == ["größer", "größer", "süß"]
    assert [report.detail for report in found] == ["read as latin-1", "", "read as latin-1"]


def test_utf_16_and_nul_bytes(tmp_path: Path) -> None:
    assert read(write(tmp_path / "r.csv", "report_id,text\na,größer\n".encode("utf-16")))[0].text == "größer"
    assert read(write(tmp_path / "r.csv", "report_id,text\na,no\0rmal\n"))[0].text == "normal"


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    (report,) = read(write(tmp_path / "r.jsonl", '{"text": "a \\ud800 b", "report_id": "\\udfff"}'))
    assert report.text == "a \ufffd\ufffd\ufffd b"
    report.text.encode()
    report.report_id.encode()


def test_parquet_values_of_other_types(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "report_id": 12,
        "patient_id": 7.0,
        "study_date": datetime.date(2020, 1, 31),
        "text": "a",
        "accession_number": None,
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "r.parquet")
    (report,) = read(tmp_path / "r.parquet")
    assert (report.report_id, report.patient_id, report.study_date) == ("12", "7", "20200131")
    assert report.accession_number == ""


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("2020-01-31", "20200131"),
        ("20200131", "20200131"),
        ("2020/01/31 10:00", "20200131"),
        ("31.01.2020", ""),
        ("2020-13-01", ""),
        ("", ""),
    ],
)
def test_dates(written: str, read_as: str, tmp_path: Path) -> None:
    (report,) = read(write(tmp_path / "r.jsonl", json.dumps({"text": "a", "study_date": written})))
    assert report.study_date == read_as


def test_long_reports(tmp_path: Path) -> None:
    text = "word " * 200_000
    assert read(write(tmp_path / "r.csv", f'text\n"{text}"\n'))[0].text == text


def test_folder_of_texts_and_tables(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "a.TXT", b"\xef\xbb\xbfone")
    write(tmp_path / "sub" / "b.txt", "zwölf".encode("latin-1"))
    write(tmp_path / "sub" / "c.txt", b"\0\1\2")
    write(tmp_path / "notes.doc", "x")
    write(tmp_path / "t.csv", "text\nthree\n")
    found = {report.input_id: report for report in read(tmp_path)}
    assert list(found) == ["a.TXT", "notes.doc", "sub/b.txt", "sub/c.txt", "t.csv:1"]
    assert found["a.TXT"].text == "one"
    assert found["sub/b.txt"].text == "zwölf"
    assert found["sub/b.txt"].report_id == "sub/b.txt"
    assert found["sub/c.txt"].refusal is Reason.NOT_TEXT
    assert found["notes.doc"].refusal is Reason.NOT_A_REPORT
    assert found["a.TXT"].sha256 is not None


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_reading_holds_no_more_than_a_few_reports(kind: str, tmp_path: Path) -> None:
    rows = [{"report_id": str(index), "text": "word " * 400} for index in range(10_000)]
    path = tmp_path / f"r.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1000)
    elif kind == "jsonl":
        write(path, "\n".join(json.dumps(row) for row in rows))
    else:
        write(path, "report_id,text\n" + "\n".join(",".join(row.values()) for row in rows))
    reports = read_reports(path, ArchiveConfig())
    next(reports)
    tracemalloc.start()
    count = 1 + sum(1 for _ in reports)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 6 << 20  # the texts have 20 MB


@pytest.fixture
def studies() -> Studies:
    known = Studies()
    for path, uid, patient, accession, date in [
        ("p1/a/1", "1.1", "P1", "A1", "20200101"),
        ("p1/a/2", "1.1", "P1", "A1", "20200101"),
        ("p1/b/1", "1.2", "P1", "A2", "20200102"),
        ("p2/x/y/1", "1.3", "P2", "", "20200101"),
        ("p3/1", "1.4", "P3", "A5", "20200101"),
        ("p4/1", "1.5", "P4", "A5", "20200101"),
        ("p5/1", "1.6", "P5", "", "20200101"),
        ("p5/2", "1.7", "P5", "", "20200101"),
    ]:
        known.add(
            path, {"study_uid": uid, "patient_id": patient, "accession_number": accession, "study_date": date}
        )
    return known


@pytest.mark.parametrize(
    ("report", "uid", "match"),
    [
        ({"study_uid": "1.2", "accession_number": "A1"}, "1.2", "study_uid"),
        ({"study_uid": "9.9", "accession_number": "A1"}, "1.1", "accession_number"),
        ({"accession_number": "A5"}, "", "none"),
        ({"accession_number": "A5", "patient_id": "P4"}, "1.5", "accession_number"),
        ({"patient_id": "P1", "study_date": "20200102"}, "1.2", "patient_date"),
        ({"patient_id": "P1", "study_date": "20200103"}, "", "none"),
        ({"patient_id": "P5", "study_date": "20200101"}, "", "none"),
        ({"patient_id": "P2", "study_date": "20200101", "accession_number": "Z"}, "1.3", "patient_date"),
        ({"patient_id": "P1", "study_date": "20200101", "accession_number": "Z"}, "", "none"),
        ({"patient_id": "P2", "study_date": "20200101", "study_uid": "9.9"}, "", "none"),
        ({"path": "p1/a/report.txt"}, "1.1", "folder"),
        ({"path": "p1/report.txt"}, "", "none"),
        ({"path": "p1/a/texts/report.txt"}, "1.1", "folder"),
        ({"path": "p2/report.txt"}, "1.3", "folder"),
        ({"path": "p2.txt"}, "1.3", "folder"),
        ({"path": "A2.txt"}, "1.2", "accession_number"),
        ({"path": "somewhere/1.5.txt"}, "1.5", "study_uid"),
        ({"path": "report.txt"}, "", "none"),
        ({}, "", "none"),
    ],
)
def test_matching(report: dict[str, str], uid: str, match: str, studies: Studies) -> None:
    found, how, reason = studies.find(RawReport("r", **report))  # type: ignore[arg-type]
    assert (found, how) == (uid, match)
    assert (reason is Reason.NONE) == bool(uid)


def test_ambiguity_is_told_from_absence(studies: Studies) -> None:
    assert studies.find(RawReport("r", accession_number="A5"))[2] is Reason.AMBIGUOUS_STUDY
    assert studies.find(RawReport("r", path="p1/report.txt"))[2] is Reason.AMBIGUOUS_STUDY
    assert studies.find(RawReport("r", accession_number="B"))[2] is Reason.NO_STUDY


def test_a_bad_table_of_a_folder_costs_only_itself(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "report_id,text\na,one\n")
    write(tmp_path / "b.csv", "DOE,x\n1,2\n")
    write(tmp_path / "c.csv", 'report_id,text\nc,three\nd,"lost\n')
    write(tmp_path / "d.parquet", b"")
    write(tmp_path / "e.txt", "five")
    check_reports(tmp_path, ArchiveConfig())
    found = read(tmp_path)
    assert [report.text for report in found if report.refusal is None] == ["one", "three", "five"]
    refused = {report.input_id: report.detail for report in found if report.refusal is Reason.BAD_TABLE}
    assert refused == {
        "b.csv": "has no column 'text' (columns.text)",
        "c.csv": "breaks off: a quote opened in row 2 is never closed",
        "d.parquet": "cannot be read as parquet: ArrowInvalid",
    }
    for name in ("a.csv", "c.csv", "e.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(UsageError, match="no column 'text'"):
        check_reports(tmp_path, ArchiveConfig())


def test_a_table_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    rows = "".join(f"r{row},text {row * 7919 % 10007}\n" for row in range(20_000)).encode()
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(b"report_id,text\n" + rows)[:-1000])
    check_reports(path, ArchiveConfig())
    *found, last = read_checked_reports(path, ArchiveConfig())
    assert len(found) > 15_000
    assert [report.report_id for report in found] == [f"r{row}" for row in range(len(found))]
    assert (last.input_id, last.refusal) == ("r.csv.gz", Reason.BAD_TABLE)


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_column_that_is_there_twice_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, "text,text\na,b\n")
    if name.endswith("parquet"):
        pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), path)
    with pytest.raises(UsageError, match="more than one column 'text'"):
        check_reports(path, ArchiveConfig())


def test_dates_that_python_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    dates = pa.array([1_577_923_200_000_000_001, None], pa.timestamp("ns"))
    pq.write_table(pa.table({"text": ["a", "b"], "study_date": dates}), path)
    assert [report.study_date for report in read(path)] == ["20200102", ""]
    pq.write_table(pa.table({"text": ["a"], "study_date": pa.array([10**7], pa.date32())}), path)
    assert [report.study_date for report in read(path)] == [""]


def test_half_a_character_at_the_end_costs_no_row(tmp_path: Path) -> None:
    data = "\ufeffreport_id,text\na,one\nb,two".encode("utf-16-le")
    path = tmp_path / "r.csv"
    path.write_bytes(data[:-1])
    assert [report.text for report in read(path)] == ["one", "tw\ufffd"]


def test_numbers_that_became_floats_find_their_study() -> None:
    studies = Studies()
    for uid, number, patient in (("1", "123", "7"), ("2", "5.0", "8"), ("3", "5", "9"), ("4", "", "4711")):
        keys = {"patient_id": patient, "accession_number": number, "study_date": "20200102"}
        studies.add(f"{uid}/a", {"study_uid": uid, **keys})
    asked = {"123.0": "1", "5.0": "2", "5": "3", "0123": "", "123.5": ""}
    assert {key: studies.find(RawReport("r", accession_number=key))[0] for key in asked} == asked
    assert studies.find(RawReport("r", patient_id="4711.0", study_date="20200102"))[0] == "4"
    as_given = {"patient_id": "4711.0", "accession_number": "", "study_date": "20200102"}
    studies.add("5/a", {"study_uid": "5", **as_given})
    assert studies.find(RawReport("r", patient_id="4711.0", study_date="20200102"))[0] == "5"
