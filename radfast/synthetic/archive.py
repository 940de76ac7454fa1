"""An archive with known truth: DICOM folders, reports, ontology, truth tables.

Every patient has a random stream of its own, made of the seed and the patient's number, so that the archive
is the same to the byte at any number of worker processes.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.store import write_bytes
from radfast.synthetic.citations import Group
from radfast.synthetic.dicom import (
    Storage,
    build_image,
    build_key_objects,
    choose_storage,
    save,
    store_values,
    take_unsigned,
)
from radfast.synthetic.lesions import draw_picture
from radfast.synthetic.ontology import ONTOLOGY
from radfast.synthetic.reports import Case, Statement, dictate
from radfast.synthetic.study import (
    Picture,
    Study,
    choose_date,
    choose_exam,
    choose_lesions,
    choose_patient,
    make_uid,
    plan_studies,
)
from radfast.synthetic.truth import Truth, write_truth
from radfast.types import Progress, no_progress

_TEXT_CHUNK = 50
_SERIAL = 8  # so few patients are not worth a process


@dataclass(frozen=True)
class Summary:
    """What `make_archive` wrote."""

    patients: int
    studies: int
    images: int
    reports: int
    words: int
    key_objects: int
    broken: int


@dataclass
class _Part:
    """What one task made."""

    reports: list[dict[str, str]] = field(default_factory=list)
    truth: Truth = field(default_factory=Truth)
    files: list[str] = field(default_factory=list)
    studies: int = 0
    words: int = 0
    key_objects: int = 0


def make_archive(
    out: Path,
    n_patients: int = 120,
    seed: int = 0,
    *,
    n_text_only: int | None = None,
    n_broken: int = 0,
    threads: int = 0,
    progress: Progress = no_progress,
) -> Summary:
    """Write a synthetic archive with its truth.

    A script that calls this does so under ``if __name__ == "__main__"``: the worker processes import it.

    Parameters
    ----------
    out : Path
        Folder to fill: ``archive/`` (DICOM), ``reports.jsonl``, ``ontology.obo`` and
        ``truth/{images,links,findings,topics}.parquet`` (see `radfast.synthetic.truth`).
    n_patients : int
        Patients with images: about 1.25 studies and 3.7 images each.
    seed : int
        With `n_patients`, `n_text_only` and `n_broken`, it decides every byte.
    n_text_only : int, optional
        Reports of studies that have no images; three per patient when not given.
    n_broken : int
        Odd files put beside the studies: text files, duplicates of instances, truncated DICOM, in turn.
    threads : int
        Worker processes, 0 for all cores.
    progress : callable
        Called with (patients done, patients).

    Returns
    -------
    Summary
        Counts.

    Raises
    ------
    UsageError
        If a count or the seed is negative, or ``out/archive`` is there and not empty.
    """
    out = Path(out)
    for name, value in (
        ("n_patients", n_patients),
        ("seed", seed),
        ("n_text_only", n_text_only or 0),
        ("n_broken", n_broken),
    ):
        if value < 0:
            raise UsageError(f"[make_archive] {name} must be 0 or more, is {value}")
    archive = out / "archive"
    if archive.is_dir() and any(archive.iterdir()):
        raise UsageError(f"[make_archive] {archive} must be empty, is not")
    archive.mkdir(parents=True, exist_ok=True)
    n_text = 3 * n_patients if n_text_only is None else n_text_only
    total = _Part()
    for done, part in enumerate(
        _run_tasks(_list_tasks(archive, n_patients, n_text, seed), threads, n_patients), 1
    ):
        total.reports += part.reports
        total.truth.extend(part.truth)
        total.files += part.files
        total.studies += part.studies
        total.words += part.words
        total.key_objects += part.key_objects
        progress(min(done, n_patients), n_patients)
    _write_broken(archive, total.files, n_broken, seed)
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in total.reports]
    write_bytes(out / "reports.jsonl", "".join(f"{line}\n" for line in lines).encode())
    write_bytes(out / "ontology.obo", ONTOLOGY.read_bytes())
    write_truth(out / "truth", total.truth)
    return Summary(
        n_patients,
        total.studies,
        len(total.truth.images),
        len(total.reports),
        total.words,
        total.key_objects,
        n_broken,
    )


_Task = tuple[str, Path, int, int]  # kind, archive, seed, number of the patient or of the first text


def _list_tasks(archive: Path, n_patients: int, n_text: int, seed: int) -> list[tuple[_Task, int]]:
    tasks: list[tuple[_Task, int]] = [(("patient", archive, seed, number), 1) for number in range(n_patients)]
    tasks += [
        (("text", archive, seed, first), min(_TEXT_CHUNK, n_text - first))
        for first in range(0, n_text, _TEXT_CHUNK)
    ]
    return tasks


def _run_tasks(tasks: list[tuple[_Task, int]], threads: int, n_patients: int) -> Iterator[_Part]:
    workers = min(count_threads(threads), max(1, n_patients))
    if workers == 1 or n_patients < _SERIAL:
        yield from map(_run_task, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_run_task, tasks, chunksize=2)


def _run_task(task: tuple[_Task, int]) -> _Part:
    (kind, archive, seed, number), count = task
    if kind == "patient":
        return _make_patient(archive, seed, number)
    part = _Part()
    for text in range(number, number + count):
        _make_text(part, seed, text)
    return part


def _make_patient(archive: Path, seed: int, number: int) -> _Part:
    rng = Random(f"{seed}/patient/{number}")
    patient = choose_patient(f"RF{number + 1:06d}", rng)
    part = _Part()
    studies = plan_studies(patient, seed, rng)
    folder = _choose_folders(rng)
    by_date = {study.date: study for study in studies}
    for index, study in enumerate(studies):
        storage = choose_storage(study, rng)
        paths: dict[str, str] = {}
        for row, picture in enumerate(study.pictures):
            paths[picture.uid] = folder(study, picture, row)
            image_rng = np.random.default_rng([seed, number, index, row])
            _save_picture(archive / paths[picture.uid], study, picture, storage, image_rng)
        if study.key_objects:
            path = folder(study, None, len(study.pictures))
            save(build_key_objects(study, storage), archive / path)
            part.key_objects += 1
        part.files += sorted(paths.values())
        part.studies += 1
        assert study.case is not None
        text = dictate(study.case, rng)
        report_id = f"R{patient.patient_id[2:]}-{index + 1}"
        part.reports.append(_name_study(report_id, study, text.text, rng))
        part.words += text.words
        part.truth.add_images(study, storage, paths)
        part.truth.add_report(report_id, study, text, by_date)
    return part


def _save_picture(
    path: Path, study: Study, picture: Picture, storage: Storage, rng: np.random.Generator
) -> None:
    if picture.frames > 1:
        storage = take_unsigned(storage)
    planes = [
        store_values(draw_picture(study.exam, list(picture.lesions), picture.series.contrast, rng), storage)
        for _ in range(picture.frames)
    ]
    save(build_image(study, picture, storage, planes[0] if len(planes) == 1 else np.stack(planes)), path)


def _name_study(report_id: str, study: Study, text: str, rng: Random) -> dict[str, str]:
    """Return the report's row; some name their study by UID alone, by accession number alone, or by date."""
    how = rng.choices(("both", "uid", "accession", "date"), (80, 8, 8, 4))[0]
    return {
        "report_id": report_id,
        "patient_id": study.patient.patient_id,
        "study_uid": study.uid if how in ("both", "uid") else "",
        "accession_number": study.accession if how in ("both", "accession") else "",
        "study_date": study.date,
        "text": text,
    }


def _make_text(part: _Part, seed: int, number: int) -> None:
    """Add a report without images, of a patient that has none."""
    rng = Random(f"{seed}/text/{number}")
    patient = choose_patient(f"RT{number + 1:06d}", rng)
    exam = choose_exam(rng)
    study = Study(
        patient, exam, make_uid(seed, "text", number), f"T{number + 1:08d}", f"{choose_date(rng):%Y%m%d}", ""
    )
    study.lesions = choose_lesions(exam, rng, rng.choices((0, 1, 2, 3), (14, 54, 26, 6))[0])
    statements = []
    for lesion in study.lesions:
        groups: list[Group] = []
        if rng.random() < 0.35:
            groups = [(rng.choice(rng.choice(exam.series).numbers), [rng.randint(1, exam.last_image)])]
        statements.append(Statement(lesion, rng.choices(("present", "uncertain"), (92, 8))[0], groups))
    text = dictate(Case(exam, statements), rng)
    report_id = f"T{number + 1:06d}"
    part.reports.append(_name_study(report_id, study, text.text, rng))
    part.words += text.words
    part.truth.add_report(report_id, study, text, {})


def _choose_folders(rng: Random) -> Any:
    """Return a way to name files: (study, picture or None for a key object, row) -> relative path."""
    shape = rng.randrange(5)

    def name(study: Study, picture: Picture | None, row: int) -> str:
        patient = study.patient.patient_id
        series = picture.series_number if picture else 9001
        instance = picture.instance if picture else 1
        uid = picture.uid if picture else make_uid(study.uid, "key objects")
        return (
            f"{patient}/study {study.date}/series_{series}/IM{instance:05d}.dcm",
            f"{patient}/{study.accession}/{series:04d}{instance:05d}",
            f"pacs/{study.date[:4]}/{study.date[4:6]}/{study.uid[-8:]}/{uid}.dcm",
            f"incoming/{study.accession}.{row + 1}.DCM",
            f"disk1/{patient[-2:]}/{patient}/é/{study.accession}/S{series}/I{row + 1}",
        )[shape]

    return name


def _write_broken(archive: Path, files: list[str], count: int, seed: int) -> None:
    """Write odd files: a text file, a duplicate of an instance, a truncated instance, in turn."""
    rng = Random(f"{seed}/broken")
    for number in range(count):
        folder = archive / "odd"
        folder.mkdir(exist_ok=True)
        if number % 3 == 0 or not files:
            (folder / f"notes{number}.txt").write_text(
                "Exported for the synthetic archive.\n", encoding="utf-8"
            )
        elif number % 3 == 1:
            shutil.copyfile(archive / rng.choice(files), folder / f"copy{number}.dcm")
        else:
            data = (archive / rng.choice(files)).read_bytes()
            (folder / f"cut{number}.dcm").write_bytes(data[: rng.randint(200, min(len(data) // 2, 2000))])
