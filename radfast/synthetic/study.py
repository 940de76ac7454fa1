"""Patients and their studies, planned: what is found, which pictures show it, what the report will cite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from radfast.synthetic.catalog import EXAMS
from radfast.synthetic.citations import Group, Item
from radfast.synthetic.exams import Exam, Finding, Series
from radfast.synthetic.lesions import Lesion
from radfast.synthetic.reports import Case, Statement
from radfast.synthetic.vocabulary import tail_names

_FIRST_DAY = date(2001, 1, 2)
_DAYS = 4000


def make_uid(*parts: object) -> str:
    """Return a UID under 2.25 that depends on `parts` alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 6 | 1 << 120}"


@dataclass(frozen=True)
class Patient:
    """Who is imaged; all of it invented."""

    patient_id: str
    name: str
    sex: str
    birth_date: str


@dataclass(frozen=True)
class Picture:
    """One instance of a study."""

    uid: str
    series: Series
    series_number: int
    instance: int
    lesions: tuple[Lesion, ...]
    frames: int = 1


@dataclass
class Study:
    """One study: its pictures, its evidence and the case its report dictates."""

    patient: Patient
    exam: Exam
    uid: str
    accession: str
    date: str
    time: str
    lesions: tuple[Lesion, ...] = ()
    pictures: list[Picture] = field(default_factory=list)
    case: Case | None = None
    key_objects: tuple[str, ...] = ()  # UIDs of the pictures a key object selection names

    @property
    def subtopic(self) -> str:
        """Key of the dominant finding, "normal" without one."""
        return self.lesions[0].finding.key if self.lesions else "normal"


def choose_exam(rng: Random) -> Exam:
    """Draw an examination by its weight."""
    return rng.choices(EXAMS, [exam.weight for exam in EXAMS])[0]


def choose_lesions(exam: Exam, rng: Random, count: int) -> tuple[Lesion, ...]:
    """Draw different findings of an examination; those that change the anatomy at most once."""
    left: list[Finding] = list(exam.findings)
    lesions: list[Lesion] = []
    while len(lesions) < count and left:
        finding = rng.choices(left, [f.weight for f in left])[0]
        left.remove(finding)
        if finding.look.kind == "organ":
            left = [f for f in left if f.look.kind != "organ"]
        lesions.append(Lesion(finding, rng.choice(list(finding.places))))
    return tuple(lesions)


def choose_date(rng: Random) -> date:
    """Draw a day of study."""
    return _FIRST_DAY + timedelta(rng.randrange(_DAYS))


def choose_patient(patient_id: str, rng: Random) -> Patient:
    """Invent a patient."""
    names = tail_names()
    birth = date(1925, 1, 1) + timedelta(rng.randrange(24000))
    return Patient(patient_id, f"{names.draw(rng)}^{names.draw(rng)}", rng.choice("FM"), f"{birth:%Y%m%d}")


class _Shelf:
    """Series of a study and their instance numbers in use."""

    def __init__(self, study: Study, rng: Random) -> None:
        self.study, self.rng = study, rng
        exam = study.exam
        count = min(len(exam.series), 1 if exam.whole else rng.choices((1, 2, 3), (3, 5, 2))[0])
        self.series: list[tuple[Series, int]] = []
        for series in rng.sample(exam.series, count):
            number = rng.choice([n for n in series.numbers if n not in {taken for _, taken in self.series}])
            self.series.append((series, number))
        self.used: dict[int, set[int]] = {number: set() for _, number in self.series}

    def place(
        self, series: Series, number: int, instances: Sequence[int], lesions: tuple[Lesion, ...]
    ) -> None:
        """Add pictures."""
        for instance in instances:
            self.used[number].add(instance)
            frames = 3 if not self.study.exam.whole and self.rng.random() < 0.02 else 1
            uid = make_uid(self.study.uid, number, instance)
            self.study.pictures.append(Picture(uid, series, number, instance, lesions, frames))

    def find_room(self, number: int, count: int) -> list[int]:
        """Return `count` neighbouring instance numbers that are free, with free neighbours."""
        used = self.used[number]
        low = 1000 if number > 1000 else 1
        last = low + self.study.exam.last_image - count - 1
        for _ in range(200):
            start = self.rng.randint(low, max(low, last))
            if not used.intersection(range(start - 3, start + count + 3)):
                return list(range(start, start + count))
        start = max(used) + 4
        return list(range(start, start + count))

    def missing(self) -> Group:
        """Return an image that the study does not have."""
        _, number = self.rng.choice(self.series)
        return number, [self.find_room(number, 1)[0]]


def _as_items(instances: Sequence[int], rng: Random) -> list[Item]:
    """Write instance numbers as a list or as a range, sometimes a range wider than what is kept."""
    if len(instances) == 1:
        return [instances[0]]
    if rng.random() < 0.6:
        wide = rng.random() < 0.35
        return [(max(1, instances[0] - (2 if wide else 0)), instances[-1] + (1 if wide else 0))]
    return list(instances)


def _show_lesion(shelf: _Shelf, lesion: Lesion, rng: Random) -> list[Group]:
    """Add the pictures of one lesion and return how the report cites them."""
    groups: list[Group] = []
    for series, number in rng.sample(shelf.series, 2 if len(shelf.series) > 1 and rng.random() < 0.2 else 1):
        instances = shelf.find_room(number, rng.choices((1, 2, 3), (6, 2, 2))[0])
        shelf.place(series, number, instances, (lesion,))
        groups.append((number, _as_items(instances, rng)))
    if len(groups) == 1 and rng.random() < 0.12:  # two places in one series: "55, 60, 84-7"
        number, items = groups[0]
        series = next(s for s, n in shelf.series if n == number)
        more = shelf.find_room(number, rng.choice((1, 3)))
        shelf.place(series, number, more, (lesion,))
        groups[0] = (number, [*items, *_as_items(more, rng)])
    return groups


def _show_whole(shelf: _Shelf, lesions: tuple[Lesion, ...], rng: Random) -> list[list[Group]]:
    """Add the pictures of a radiograph, all with all lesions, and return the citations of each lesion."""
    series, number = shelf.series[0]
    instances = list(range(1, rng.choices((2, 3, 4), (3, 5, 2))[0]))
    shelf.place(series, number, instances, lesions)
    return [[(number, [rng.choice(instances)])] for _ in lesions]


def _plan_pictures(study: Study, rng: Random) -> tuple[_Shelf, list[list[Group]]]:
    shelf = _Shelf(study, rng)
    if study.exam.whole:
        return shelf, _show_whole(shelf, study.lesions, rng)
    groups = [_show_lesion(shelf, lesion, rng) for lesion in study.lesions]
    for _ in range(rng.choices((0, 1, 2), (4, 4, 2))[0] if study.lesions else rng.randint(1, 3)):
        series, number = rng.choice(shelf.series)
        shelf.place(series, number, shelf.find_room(number, 1), ())
    return shelf, groups


def _choose_prior(earlier: Sequence[Study], study: Study, rng: Random) -> tuple[str, Group] | None:
    """Return images of an earlier study to cite: one of the archive, or one that nobody has."""
    same = [old for old in earlier if old.exam is study.exam and old.pictures]
    if same and rng.random() < 0.7:
        picture = rng.choice(same[-1].pictures)
        return same[-1].date, (picture.series_number, [picture.instance])
    if rng.random() > 0.07:
        return None
    taken = {old.date for old in earlier}
    when = f"{date(int(study.date[:4]) - rng.randint(1, 4), rng.randint(1, 12), rng.randint(1, 28)):%Y%m%d}"
    group: Group = (rng.randint(2, 6), [rng.randint(1, 90)])
    return ("" if rng.random() < 0.3 or when in taken else when), group


def _plan_case(
    study: Study, shelf: _Shelf, cited: list[list[Group]], earlier: Sequence[Study], rng: Random
) -> None:
    quiet = rng.random() < 0.1  # the report cites nothing; half of these have a key object selection
    prior = None if quiet else _choose_prior(earlier, study, rng)
    statements: list[Statement] = []
    for index, (lesion, groups) in enumerate(zip(study.lesions, cited, strict=True)):
        ambiguous = None
        if not quiet and rng.random() < 0.05:
            first = rng.randint(2, 6)
            ambiguous = (first, first + 1), rng.randint(1, 60)
        sure = "present" if rng.random() < 0.92 else "uncertain"
        statements.append(
            Statement(lesion, sure, () if quiet else groups, prior if index == 0 else None, ambiguous)
        )
    plain = [picture for picture in study.pictures if not picture.lesions]
    normal_groups: list[Group] = []
    if not quiet and plain and (not study.lesions or rng.random() < 0.2):
        picture = rng.choice(plain)
        group: Group = (picture.series_number, [picture.instance])
        if rng.random() < 0.5:
            drawn = {lesion.finding.key for lesion in study.lesions}
            absent = rng.choice([f for f in study.exam.findings if f.key not in drawn])
            lesion = Lesion(absent, rng.choice(list(absent.places)))
            statements.append(Statement(lesion, "absent", [group]))
        else:
            normal_groups.append(group)
    if not quiet and rng.random() < 0.05:
        normal_groups.append(shelf.missing())
    named = (prior[0] if prior else "") or (earlier[-1].date if earlier and rng.random() < 0.5 else "")
    study.case = Case(study.exam, statements, normal_groups, named)
    if rng.random() < (0.5 if quiet else 0.08):
        key = [picture.uid for picture in study.pictures if picture.lesions] or [study.pictures[0].uid]
        study.key_objects = tuple(key)


def plan_studies(patient: Patient, seed: int, rng: Random) -> list[Study]:
    """Plan the studies of one patient, oldest first.

    Parameters
    ----------
    patient : Patient
        Whose studies.
    seed : int
        Seed of the archive, for the UIDs.
    rng : random.Random
        The patient's own stream.

    Returns
    -------
    list of Study
        With pictures, case and key objects.
    """
    studies: list[Study] = []
    day = choose_date(rng)
    exam = choose_exam(rng)
    for number in range(rng.choices((1, 2, 3), (80, 15, 5))[0]):
        if number:
            day += timedelta(rng.randint(20, 700))
            exam = exam if rng.random() < 0.7 else choose_exam(rng)
        study = Study(
            patient,
            exam,
            make_uid(seed, patient.patient_id, number),
            f"A{patient.patient_id[2:]}{number + 1:02d}",
            f"{day:%Y%m%d}",
            f"{rng.randint(7, 19):02d}{rng.randint(0, 59):02d}00",
        )
        count = rng.choices((0, 1, 2, 3), (14, 54, 26, 6))[0]
        study.lesions = choose_lesions(exam, rng, min(count, 2) if exam.whole else count)
        shelf, cited = _plan_pictures(study, rng)
        _plan_case(study, shelf, cited, studies, rng)
        studies.append(study)
    return studies
