"""Studies and instances of the archive, looked up by the numbers that reports and headers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NONE = -1
IntArray = npt.NDArray[np.int64]


@dataclass
class Studies:
    """Who names which study: codes 0..n-1 in order of first appearance in the images."""

    code: dict[str, int] = field(default_factory=dict)
    by_accession: dict[str, int] = field(default_factory=dict)
    by_date: dict[tuple[str, str], int] = field(default_factory=dict)
    with_accession: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, images: pa.Table) -> tuple[Studies, IntArray]:
        """Return the studies of `images`, and the code of each image, int64 (N,)."""
        studies = cls()
        uids = pc.dictionary_encode(images["study_uid"].combine_chunks())
        codes = uids.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        studies.code = {uid: code for code, uid in enumerate(uids.dictionary.to_pylist())}
        named = images.select(["accession_number", "patient_id", "study_date"])
        named = (
            named.append_column("code", pa.array(codes)).group_by([*named.column_names, "code"]).aggregate([])
        )
        for row in named.to_pylist():
            if row["accession_number"]:
                _note(studies.by_accession, row["accession_number"], row["code"])
                studies.with_accession.add(row["code"])
            if row["patient_id"] and row["study_date"]:
                _note(studies.by_date, (row["patient_id"], row["study_date"]), row["code"])
        return studies, codes

    def of_report(self, study_uid: str, accession_number: str, patient_id: str, study_date: str) -> int:
        """Return the study of a report by UID, else accession number, else patient and date; -1 for none.

        Patient and date count only where they contradict nothing: the report names no UID, and the report or
        the study has no accession number.
        """
        if study_uid in self.code:
            return self.code[study_uid]
        if accession_number in self.by_accession:
            return self.by_accession[accession_number]
        code = NONE if study_uid else self.of_date(patient_id, study_date)
        return NONE if accession_number and code in self.with_accession else code

    def of_date(self, patient_id: str, study_date: str) -> int:
        """Return the only study of a patient on a day; -1 for none or several."""
        return self.by_date.get((patient_id, study_date), NONE)


def _note(names: dict[Any, int], name: Any, code: int) -> None:
    """Remember `name`; one that two studies share names none."""
    names[name] = code if names.get(name, code) == code else NONE


class Instances:
    """Images by (study, series number, instance number), for many queries at once."""

    def __init__(self, images: pa.Table, study: IntArray) -> None:
        series, no_series = _with_nulls(images["series_number"])
        instance, no_instance = _with_nulls(images["instance_number"])
        self._full = _Join((study, series, instance), np.flatnonzero(~(no_series | no_instance)))
        self._bare = _Join((study, instance), np.flatnonzero(~no_instance))

    def find(self, study: IntArray, series: IntArray, image: IntArray) -> tuple[IntArray, IntArray]:
        """Find an image per query.

        Parameters
        ----------
        study, series, image : int64 (Q,)
            Study code and numbers; series -1 is not said.

        Returns
        -------
        row, count : int64 (Q,)
            First row that fits, -1 for none, and the number of rows that fit.
        """
        row, count = self._full.find((study, series, image))
        row_bare, count_bare = self._bare.find((study, image))
        return np.where(series == NONE, row_bare, row), np.where(series == NONE, count_bare, count)


def _with_nulls(column: pa.ChunkedArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    nulls = column.is_null().to_numpy().astype(bool)
    return pc.fill_null(column, 0).to_numpy().astype(np.int64), nulls


class _Join:
    """Rows by an integer key of several columns, packed two columns at a time so that int64 suffices."""

    def __init__(self, columns: tuple[IntArray, ...], rows: IntArray) -> None:
        self._levels: list[tuple[IntArray, IntArray]] = []
        key = np.zeros(len(rows), np.int64)
        for column in columns:
            values, code = np.unique(column[rows], return_inverse=True)
            pairs, key = np.unique(key * max(len(values), 1) + code.reshape(-1), return_inverse=True)
            key = key.reshape(-1)
            self._levels.append((values, pairs))
        order = np.argsort(key, kind="stable")
        self._rows = rows[order]
        self._start = np.searchsorted(key[order], np.arange(len(self._levels[-1][1]) + 1))

    def find(self, columns: tuple[IntArray, ...]) -> tuple[IntArray, IntArray]:
        """Return the first row of each key, -1 for none, and how many rows have it."""
        n = len(columns[0])
        if not len(self._rows):
            return np.full(n, NONE, np.int64), np.zeros(n, np.int64)
        key = np.zeros(n, np.int64)
        known = np.ones(n, bool)
        for column, (values, pairs) in zip(columns, self._levels, strict=True):
            code = np.minimum(np.searchsorted(values, column), len(values) - 1)
            known &= values[code] == column
            packed = key * len(values) + code
            key = np.minimum(np.searchsorted(pairs, packed), len(pairs) - 1)
            known &= pairs[key] == packed
        first, last = self._start[key], self._start[key + 1]
        return np.where(known, self._rows[first], NONE), np.where(known, last - first, 0)
