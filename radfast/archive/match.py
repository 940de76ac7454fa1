"""Whose report is it: studies of the archive by UID, accession number, folder, and patient with date."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from radfast.archive.reasons import Reason
from radfast.archive.reports import RawReport


@dataclass(frozen=True)
class Study:
    """Keys of one study, '' where its objects do not say."""

    patient_id: str
    accession_number: str
    study_date: str


_SEVERAL = ""
_WHOLE = re.compile(r"(\d+)\.0+")


def _spellings(key: str) -> list[str]:
    """Return a key as given, and without the '.0' that a table of floats adds to a number."""
    whole = _WHOLE.fullmatch(key)
    return [key, whole[1]] if whole else [key]


@dataclass
class Studies:
    """Studies seen in the archive."""

    by_uid: dict[str, Study] = field(default_factory=dict)
    _by_accession: dict[str, list[str]] = field(default_factory=dict)
    _by_patient: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _by_folder: dict[str, str] = field(default_factory=dict)
    _last: tuple[str, str] = ("", "")

    def add(self, path: str, values: dict[str, str]) -> None:
        """Learn from one object at `path` (relative to the archive) which study lies there."""
        uid = values.get("study_uid", "")
        if not uid:
            return
        if uid not in self.by_uid:
            study = Study(values["patient_id"], values["accession_number"], values["study_date"])
            self.by_uid[uid] = study
            if study.accession_number:
                self._by_accession.setdefault(study.accession_number, []).append(uid)
            if study.patient_id and study.study_date:
                self._by_patient.setdefault((study.patient_id, study.study_date), []).append(uid)
        folder = path.rpartition("/")[0]
        if self._last == (folder, uid):
            return
        self._last = folder, uid
        while True:
            if self._by_folder.setdefault(folder, uid) != uid:
                self._by_folder[folder] = _SEVERAL
            if not folder:
                return
            folder = folder.rpartition("/")[0]

    def find(self, report: RawReport) -> tuple[str, str, Reason]:
        """Find the study of a report.

        The keys are tried in the order study_uid, accession_number, folder, patient_id with study_date. The
        last one is not tried against a key of the report that contradicts it.

        Returns
        -------
        study_uid : str
            '' where none was found.
        match : str
            study_uid | accession_number | folder | patient_date | none.
        reason : Reason
            Why none was found.
        """
        path = PurePosixPath(report.path) if report.path is not None else None
        names = [] if path is None else [path.stem, path.parent.name]
        for uid in (report.study_uid, *names):
            if uid in self.by_uid:
                return uid, "study_uid", Reason.NONE
        reason = Reason.NO_STUDY
        for number in (*_spellings(report.accession_number), *names):
            if number and (candidates := self._by_accession.get(number)):
                uid = self._choose(candidates, report)
                if uid:
                    return uid, "accession_number", Reason.NONE
                reason = Reason.AMBIGUOUS_STUDY
        if path is not None:
            uid, several = self._find_folder(path)
            if uid:
                return uid, "folder", Reason.NONE
            reason = Reason.AMBIGUOUS_STUDY if several else reason
        if report.patient_id and report.study_date:
            days = ((patient, report.study_date) for patient in _spellings(report.patient_id))
            candidates = [
                uid
                for uid in next((self._by_patient[day] for day in days if day in self._by_patient), [])
                if not report.study_uid
                and not (report.accession_number and self.by_uid[uid].accession_number)
            ]
            if len(candidates) == 1:
                return candidates[0], "patient_date", Reason.NONE
            reason = Reason.AMBIGUOUS_STUDY if candidates else reason
        return "", "none", reason

    def _choose(self, candidates: list[str], report: RawReport) -> str:
        """Return the one study of an accession number, '' where patient and date leave several."""
        for given in ("patient_id", "study_date"):
            value = getattr(report, given)
            if len(candidates) > 1 and value:
                candidates = [
                    uid for uid in candidates if getattr(self.by_uid[uid], given) == value
                ] or candidates
        return candidates[0] if len(candidates) == 1 else ""

    def _find_folder(self, path: PurePosixPath) -> tuple[str, bool]:
        """Return the only study in the report's folder, in the folder of its name, or one folder up."""
        parent = path.parent
        places = [str(path.with_suffix("")), "" if str(parent) == "." else str(parent)]
        if places[1] and str(parent.parent) != ".":
            places.append(str(parent.parent))
        for place in places:
            if place in self._by_folder:
                uid = self._by_folder[place]
                return uid, uid == _SEVERAL
        return "", False
