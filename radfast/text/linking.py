"""Image references joined to instances, and the windows of text around the citing sentences."""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from radfast.config import TextConfig
from radfast.text.groups import expand_sample
from radfast.text.lookup import NONE, Instances, IntArray, Studies
from radfast.text.references import ImageReference, find_image_references
from radfast.text.sentences import split_sentences
from radfast.types import LINKS, Progress, no_progress, window_id

_EVERY = 1024  # reports between two calls of progress
_EVIDENCE = ("reference", "key_object", "structured_report", "presentation_state", "accession_number")
_STATUS = ("linked", "no_such_image", "ambiguous", "prior", "no_study")
_LINKED, _NO_SUCH_IMAGE, _AMBIGUOUS, _PRIOR, _NO_STUDY = range(len(_STATUS))
_UNDECIDED = -1
_SHORTEST = 8  # bytes; a shorter text beside a reference names no sentence

_DROPPED = re.compile(r"\b(?:series|ser|se|images?|imgs?|ims?)\b", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")


class _Row(NamedTuple):
    """One row of the table under way; all integers, -1 for null."""

    report: int
    target: int  # row of the image
    study: int
    series: int
    image: int
    reference: int
    span_start: int = NONE
    span_end: int = NONE
    sentence_start: int = NONE
    sentence_end: int = NONE
    window_start: int = NONE
    window_end: int = NONE
    prior: int = 0
    ambiguous: int = 0
    evidence: int = 0
    status: int = _LINKED


_AT = {name: column for column, name in enumerate(_Row._fields)}


def link_images(
    reports: pa.Table,
    images: pa.Table,
    evidence: pa.Table,
    config: TextConfig,
    *,
    progress: Progress = no_progress,
) -> pa.Table:
    """Join the image references of the reports to the instances of the archive.

    A reference is looked up by (study, SeriesNumber, InstanceNumber) in the study of its report: the one with
    the report's study_uid, else the only one with its accession number, else, where neither contradicts, the
    only one of its patient and date. Where the report says no series, the image number must be unique in the
    study.

    What becomes of each (reference, image), in the column ``status``:

    - ``linked``: exactly one instance.
    - ``no_such_image``: the study has no such instance.
    - ``ambiguous``: several instances fit, or the reference itself is ambiguous ("series 3/4"); no image_id.
    - ``prior``: the reference is to a prior study that is not dated or not in the archive; no image_id. A
      prior whose date names one study of the patient is looked up there and keeps ``prior`` = true: it is
      linked, but its sentence is no label for the present study. A "prior" of the report's own date is the
      present study.
    - ``no_study``: the report has no study in the archive.

    One row per image of a reference; ``reference`` counts the samples of a report: each number of a list is
    one, a range is one with several rows. Further evidence follows the references of its report:

    - an image of the study that a key object selection, structured report or presentation state names and no
      reference of the report links gets one row with that kind. Where the text beside it stands in the
      report, the row has that sentence, else its spans are null. Evidence with a sentence comes first, then a
      key object, a structured report, a presentation state.
    - accession_number: a study of exactly one image with exactly one report, and nothing that cites or names
      an image, links the two as wholes; spans are null.

    Evidence of a study without a report makes no row: it stays in the evidence table.

    Parameters
    ----------
    reports, images, evidence : pa.Table
        Tables of schemas REPORTS, IMAGES, EVIDENCE.
    config : TextConfig
        ``window_before`` and ``window_after``: sentences of the window.
    progress : callable
        Called with (reports done, reports).

    Returns
    -------
    pa.Table
        Schema LINKS, in order of the reports, then of the text.
    """
    studies, image_study = Studies.read(images)
    names = ("study_uid", "accession_number", "patient_id", "study_date")
    headers = list(zip(*(pc.fill_null(reports[name], "").to_pylist() for name in names), strict=True))
    own = [studies.of_report(*header) for header in headers]
    flat = array("q")
    texts = reports["text"]
    for number, (_, _, patient, date) in enumerate(headers):
        text = texts[number].as_py() or ""
        references = find_image_references(text)
        if references:
            _cite(flat, number, references, _Windows(text, config), own[number], studies, patient, date)
        if (number + 1) % _EVERY == 0:
            progress(number + 1, len(headers))
    rows = np.array(flat, np.int64).reshape(-1, len(_Row._fields))
    _resolve(rows, Instances(images, image_study))
    named = _name(rows, own, texts, images, image_study, evidence, config)
    rows = np.concatenate([rows, named])
    rows = np.concatenate([rows, _pair_singles(rows, own, image_study)])
    rows = rows[np.argsort(rows[:, _AT["report"]], kind="stable")]
    progress(len(headers), len(headers))
    return _make_links(rows, reports, images)


def _cite(
    flat: array[int],
    number: int,
    references: list[ImageReference],
    windows_of: _Windows,
    own: int,
    studies: Studies,
    patient: str,
    date: str,
) -> None:
    """Append a row for every image that a report cites."""
    ordinal = 0
    for reference in references:
        study, status, prior = own, _NO_STUDY if own == NONE else _UNDECIDED, False
        if reference.prior and (not reference.prior_date or reference.prior_date != date):
            prior = True
            study = studies.of_date(patient, reference.prior_date)
            status = _PRIOR if study == NONE else _UNDECIDED
        if reference.ambiguous and status == _UNDECIDED:
            status = _AMBIGUOUS
        series = NONE if reference.series is None else reference.series
        places = (*reference.span, *reference.sentence, *windows_of.around(reference.sentence))
        for first, last in reference.samples:
            for image in expand_sample(first, last):
                flat.extend(
                    (
                        number,
                        NONE,
                        study,
                        series,
                        image,
                        ordinal,
                        *places,
                        prior,
                        reference.ambiguous,
                        0,
                        status,
                    )
                )
            ordinal += 1


class _Windows:
    """Sentences of one report and the windows around them."""

    def __init__(self, text: str, config: TextConfig) -> None:
        self._spans = split_sentences(text)
        self._config = config

    def around(self, sentence: tuple[int, int]) -> tuple[int, int]:
        """Return the window of a sentence: from its neighbour before to its neighbour after."""
        start, end = sentence
        first = int(np.searchsorted(self._spans[:, 1], start, "right"))
        last = int(np.searchsorted(self._spans[:, 0], end, "left")) - 1
        before = max(first - self._config.window_before, 0)
        after = min(last + self._config.window_after, len(self._spans) - 1)
        return min(start, int(self._spans[before, 0])), max(end, int(self._spans[after, 1]))

    def holding(self, start: int, end: int) -> tuple[int, int]:
        """Return the sentence or sentences that hold bytes [start, end)."""
        first = max(int(np.searchsorted(self._spans[:, 0], start, "right")) - 1, 0)
        last = int(np.searchsorted(self._spans[:, 0], end, "left")) - 1
        return int(self._spans[first, 0]), int(self._spans[max(last, first), 1])


def _resolve(rows: IntArray, instances: Instances) -> None:
    """Fill target and status of the undecided rows, in place."""
    todo = np.flatnonzero(rows[:, _AT["status"]] == _UNDECIDED)
    asked = rows[todo]
    target, count = instances.find(asked[:, _AT["study"]], asked[:, _AT["series"]], asked[:, _AT["image"]])
    rows[todo, _AT["target"]] = np.where(count == 1, target, NONE)
    rows[todo, _AT["status"]] = np.select([count == 1, count == 0], [_LINKED, _NO_SUCH_IMAGE], _AMBIGUOUS)


def _name(
    rows: IntArray,
    own: Sequence[int],
    texts: pa.ChunkedArray,
    images: pa.Table,
    image_study: IntArray,
    evidence: pa.Table,
    config: TextConfig,
) -> IntArray:
    """Return a row per image that other evidence names and the report of its study does not cite."""
    at = np.asarray(pc.index_in(evidence["image_id"], images["image_id"]).fill_null(NONE))
    kinds = evidence["kind"].to_pylist()
    beside = evidence["text"].to_pylist()
    reports_of: dict[int, list[int]] = defaultdict(list)
    for number, study in enumerate(own):
        reports_of[study].append(number)
    linked = rows[(rows[:, _AT["status"]] == _LINKED) & (rows[:, _AT["prior"]] == 0)]
    cited = set(zip(linked[:, _AT["report"]].tolist(), linked[:, _AT["target"]].tolist(), strict=True))
    best: dict[tuple[int, int], tuple[int, int, int, tuple[int, ...]]] = {}
    for row, target in enumerate(at.tolist()):
        if target == NONE or kinds[row] not in _EVIDENCE:
            continue
        for number in reports_of.get(int(image_study[target]), ()):
            if (number, target) in cited:
                continue
            places = _find_places(texts[number].as_py() or "", beside[row] or "", config)
            rank = (int(not places), _EVIDENCE.index(kinds[row]), row, places)
            best[number, target] = min(best.get((number, target), rank), rank)
    ordinals = _next_ordinals(rows)
    flat = array("q")
    for number, target in sorted(best):
        _, kind, _, places = best[number, target]
        ordinal = ordinals[number]
        ordinals[number] += 1
        filled = _Row(number, target, own[number], NONE, NONE, ordinal, *places)
        flat.extend(filled._replace(evidence=kind))
    return np.array(flat, np.int64).reshape(-1, len(_Row._fields))


def _find_places(text: str, beside: str, config: TextConfig) -> tuple[int, ...]:
    """Return span, sentence and window of the text beside a reference where the report has it, else ()."""
    words = beside.split()
    if len(beside) < _SHORTEST or not words:
        return ()
    found = re.search(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE)
    if found is None:
        return ()
    start = len(text[: found.start()].encode("utf-8", "surrogatepass"))
    end = start + len(found[0].encode("utf-8", "surrogatepass"))
    windows_of = _Windows(text, config)
    sentence = windows_of.holding(start, end)
    return (start, end, *sentence, *windows_of.around(sentence))


def _next_ordinals(rows: IntArray) -> dict[int, int]:
    ordinals: dict[int, int] = defaultdict(int)
    for number, ordinal in zip(
        rows[:, _AT["report"]].tolist(), rows[:, _AT["reference"]].tolist(), strict=True
    ):
        ordinals[number] = max(ordinals[number], ordinal + 1)
    return ordinals


def _pair_singles(rows: IntArray, own: Sequence[int], image_study: IntArray) -> IntArray:
    """Link a study's only image to its only report where the report has no row."""
    taken = set(rows[:, _AT["report"]].tolist())
    n_studies = int(image_study.max(initial=-1)) + 1
    n_images = np.bincount(image_study, minlength=n_studies)
    targets = np.zeros(n_studies, np.int64)
    targets[image_study] = np.arange(len(image_study))
    own_array = np.asarray(own, np.int64)
    n_reports = np.bincount(own_array[own_array >= 0], minlength=n_studies)
    flat = array("q")
    kind = _EVIDENCE.index("accession_number")
    for number, study in enumerate(own):
        if study != NONE and number not in taken and n_images[study] == 1 and n_reports[study] == 1:
            flat.extend(_Row(number, int(targets[study]), study, NONE, NONE, 0, evidence=kind))
    return np.array(flat, np.int64).reshape(-1, len(_Row._fields))


def _make_links(rows: IntArray, reports: pa.Table, images: pa.Table) -> pa.Table:
    """Turn integers into the table of schema LINKS."""
    columns: dict[str, pa.Array] = {
        "report_id": reports["report_id"].take(pa.array(rows[:, _AT["report"]])),
        "image_id": images["image_id"].take(_nullable(rows[:, _AT["target"]])),
        "evidence": pa.array(_EVIDENCE).take(pa.array(rows[:, _AT["evidence"]])),
        "status": pa.array(_STATUS).take(pa.array(rows[:, _AT["status"]])),
    }
    for field in LINKS:
        if field.name not in columns:
            values = rows[:, _AT[field.name]]
            columns[field.name] = (
                pa.array(values.astype(bool)) if pa.types.is_boolean(field.type) else _nullable(values)
            )
    return pa.table([columns[name] for name in LINKS.names], names=LINKS.names).cast(LINKS)


def _nullable(values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(values, mask=values == NONE)


def windows(reports: pa.Table, links: pa.Table) -> tuple[list[str], list[str]]:
    """Return the text around every citing sentence, for the topics at sentence level.

    A window is the citing sentence with its neighbours (`TextConfig.window_before`, ``window_after``),
    without digits and without the words series, ser, se, image(s), img(s), im(s). Only links that are linked,
    not prior, not ambiguous and have a sentence count; a sentence cited for several images makes one window.

    Parameters
    ----------
    reports, links : pa.Table
        Tables of schemas REPORTS and LINKS.

    Returns
    -------
    window_ids : list of str
        `radfast.types.window_id` of report and first byte of the sentence, in order of the links.
    texts : list of str
        The cleaned windows.
    """
    usable = pc.and_(
        pc.equal(links["status"], "linked"), pc.invert(pc.or_(links["prior"], links["ambiguous"]))
    )
    usable = pc.and_(usable, pc.is_valid(links["sentence_start"]))
    names = ["report_id", "sentence_start", "window_start", "window_end"]
    chosen = links.filter(usable).select(names)
    row_of = {name: row for row, name in enumerate(reports["report_id"].to_pylist())}
    texts = reports["text"]
    found: dict[str, str] = {}
    for name, sentence, start, end in _tuples(chosen):
        key = window_id(name, sentence)
        if key not in found:
            raw = texts[row_of[name]].as_py().encode("utf-8", "surrogatepass")
            found[key] = _clean(raw[start:end].decode("utf-8", "replace"))
    return list(found), list(found.values())


def _tuples(table: pa.Table) -> Iterable[tuple[str, int, int, int]]:
    return zip(*(table[name].to_pylist() for name in table.column_names), strict=True)


def _clean(text: str) -> str:
    return _DROPPED.sub(" ", _DIGITS.sub("", text))
