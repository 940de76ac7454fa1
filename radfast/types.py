"""Words and tables that the stages share: shape letters, ledger states, Parquet schemas.

Shape letters, used in every docstring: D documents, T tokens, V words, K topics, S sentences, F features,
Q queries, N keys or images, C classes, H x W pixels. Units: mm, HU, seconds, bytes. All text offsets are
bytes of the UTF-8 report text, half open.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import pyarrow as pa

SCHEMA_VERSION = 1

#: ``progress(done, total)``; total 0 means unknown.
Progress = Callable[[int, int], None]

LEVELS = ("document", "second", "sentence")
SPLITS = ("train", "validation", "test")


def no_progress(done: int, total: int) -> None:
    """Swallow progress; the default everywhere."""


class State(str, Enum):
    """Where an input ended. Every input ends in exactly one of these."""

    LABELED = "labeled"  # image linked to a sentence: part of the label set
    DESCRIBED = "described"  # image without a usable link: labeled by the networks alone
    EVIDENCE = "evidence"  # key object selection, presentation state, structured report
    USED = "used"  # report that belongs to a study of the archive
    UNMATCHED = "unmatched"  # report that matches no study: text and topics only
    DUPLICATE = "duplicate"  # same SOP instance or report id seen before
    IGNORED = "ignored"  # not DICOM and not a report, or DICOM that holds no picture
    REJECTED = "rejected"  # broken: see reason


def _schema(name: str, *fields: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema(
        [pa.field(field, kind, metadata={"about": about}) for field, kind, about in fields],
        metadata={"radfast.table": name, "radfast.schema_version": str(SCHEMA_VERSION)},
    )


_S, _I, _L, _F, _D, _B = pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()

IMAGES = _schema(
    "images",
    ("image_id", _S, "SOPInstanceUID"),
    ("patient_id", _S, "PatientID"),
    ("study_uid", _S, "StudyInstanceUID"),
    ("series_uid", _S, "SeriesInstanceUID"),
    ("accession_number", _S, "AccessionNumber, empty when absent"),
    ("study_date", _S, "StudyDate as YYYYMMDD, empty when absent"),
    ("modality", _S, "Modality"),
    ("body_part", _S, "BodyPartExamined, empty when absent"),
    ("series_number", _L, "SeriesNumber, null when absent"),
    ("instance_number", _L, "InstanceNumber, null when absent"),
    ("sop_class", _S, "SOPClassUID"),
    ("transfer_syntax", _S, "TransferSyntaxUID"),
    ("photometric", _S, "PhotometricInterpretation"),
    ("rows", _I, "Rows, pixels"),
    ("columns", _I, "Columns, pixels"),
    ("frames", _I, "NumberOfFrames, 1 when absent"),
    ("frame", _I, "0-based frame that stands for the instance: the middle one"),
    ("bits_stored", _I, "BitsStored"),
    ("window_center", _D, "window center used for the 8-bit picture, modality units (HU for CT)"),
    ("window_width", _D, "window width used, modality units"),
    (
        "window_source",
        _S,
        "origin of the window: voi | voi_lut | modality_default | percentile | none (colour)",
    ),
    ("path", _S, "file, relative to the archive, forward slashes"),
    ("sha256", _S, "SHA-256 of the file"),
    ("pixel_row", _L, "row of pixels.npy"),
)

REPORTS = _schema(
    "reports",
    ("report_id", _S, "unique id: from the source, else made from it"),
    ("patient_id", _S, "PatientID, empty when unknown"),
    ("study_uid", _S, "study the report belongs to, empty when none"),
    ("accession_number", _S, "AccessionNumber, empty when unknown"),
    ("study_date", _S, "YYYYMMDD, empty when unknown"),
    ("text", _S, "the report as read, UTF-8"),
    ("source", _S, "file and row: 'reports.csv:17' or a path relative to the archive"),
    ("match", _S, "how the study was found: study_uid | accession_number | folder | patient_date | none"),
)

EVIDENCE = _schema(
    "evidence",
    ("kind", _S, "key_object | presentation_state | structured_report"),
    ("image_id", _S, "SOPInstanceUID referenced"),
    ("study_uid", _S, "StudyInstanceUID of the object"),
    ("source_uid", _S, "SOPInstanceUID of the object"),
    ("path", _S, "file, relative to the archive"),
    ("title", _S, "document title or content label"),
    ("text", _S, "text that stands with the reference, empty when none"),
)

LINKS = _schema(
    "links",
    ("report_id", _S, "report that cites"),
    ("image_id", _S, "SOPInstanceUID, null where the reference found no instance"),
    ("series", _L, "series number as written, null when not said"),
    ("image", _L, "image number as written, null when none"),
    ("reference", _I, "ordinal of the reference in its report; a range is one reference and one sample"),
    ("span_start", _L, "first byte of the reference"),
    ("span_end", _L, "byte after it"),
    ("sentence_start", _L, "citing sentence"),
    ("sentence_end", _L, "byte after the citing sentence"),
    ("window_start", _L, "previous sentence to following sentence"),
    ("window_end", _L, "byte after the window"),
    ("prior", _B, "the sentence speaks of a prior study"),
    ("ambiguous", _B, "the reference can be read in several ways"),
    ("evidence", _S, "reference | key_object | presentation_state | structured_report | accession_number"),
    ("status", _S, "linked | no_such_image | ambiguous | prior | no_study"),
)

FINDINGS = _schema(
    "findings",
    ("report_id", _S, "report"),
    ("concept_id", _S, "id in the ontology"),
    ("name", _S, "preferred name in the ontology"),
    ("span_start", _L, "first byte of the mention"),
    ("span_end", _L, "byte after it"),
    ("sentence_start", _L, "sentence of the mention"),
    ("sentence_end", _L, "byte after it"),
    ("section", _S, "section heading in lower case, empty when none"),
    ("assertion", _S, "present | absent | uncertain | historical | hypothetical | family"),
    ("cue", _S, "rule that decided, empty for the default 'present'"),
)

TOPICS = _schema(
    "topics",
    ("level", _S, "document | second | sentence"),
    ("unit_id", _S, "report id, or for the sentence level the window id 'report@byte'"),
    ("topic", _I, "most probable topic; second level: document topic * K2 + its sub-topic"),
    ("probability", _F, "its probability"),
)

TOPIC_WORDS = _schema(
    "topic_words",
    ("level", _S, "document | second | sentence"),
    ("topic", _I, "topic"),
    ("rank", _I, "0 is the heaviest word"),
    ("word", _S, "word"),
    ("weight", _F, "p(word | topic)"),
)

LABELS = _schema(
    "labels",
    ("image_id", _S, "SOPInstanceUID"),
    ("level", _S, "document | second | sentence | disease"),
    ("split", _S, "train | validation | test | none (image outside the label set)"),
    ("target", _S, "class taken from the report, null when there is none"),
    ("rank", _I, "0 is the network's first answer"),
    ("predicted", _S, "class the network gives"),
    ("score", _F, "its probability"),
    ("report_id", _S, "evidence: report, null when there is none"),
    ("span_start", _L, "evidence: first byte"),
    ("span_end", _L, "evidence: byte after it"),
    ("sentence", _S, "evidence: the citing sentence"),
    ("run_id", _S, "run that made the row"),
    ("model_hash", _S, "SHA-256 of the network's weights"),
)

DESCRIPTIONS = _schema(
    "descriptions",
    ("image_id", _S, "SOPInstanceUID"),
    ("level", _S, "level whose predicted topic offered the word"),
    ("keyword", _S, "word"),
    ("score", _F, "cosine to the nearer half of the predicted vector"),
    ("half", _I, "0 first, 1 second half of the vector"),
    ("disease_word", _B, "the word stands in a name of the ontology"),
    ("in_window", _B, "the word stands in the citing window, null without a window"),
    ("report_id", _S, "evidence: report, null when there is none"),
    ("span_start", _L, "evidence: where the word stands in the report, null when it does not"),
    ("span_end", _L, "byte after it"),
    ("sentence", _S, "evidence: the citing sentence"),
    ("run_id", _S, "run that made the row"),
    ("model_hash", _S, "SHA-256 of the network's weights"),
)

LEDGER = _schema(
    "ledger",
    ("input_id", _S, "path relative to its root, with ':row' for a row of a table"),
    ("kind", _S, "dicom | report | other"),
    ("object_id", _S, "SOPInstanceUID or report id, null when unreadable"),
    ("state", _S, "the one state it ended in: see radfast.types.State"),
    ("reason", _S, "reason code, empty where the state says all"),
    ("detail", _S, "what the rule saw: value classes, never patient data"),
    ("sha256", _S, "SHA-256 of the file, null for rows of a table and unreadable files"),
)

TABLES = {
    schema.metadata[b"radfast.table"].decode(): schema
    for schema in (
        IMAGES, REPORTS, EVIDENCE, LINKS, FINDINGS, TOPICS, TOPIC_WORDS, LABELS, DESCRIPTIONS, LEDGER,
    )
}  # fmt: skip


def make_table(schema: pa.Schema, rows: list[dict[str, object]]) -> pa.Table:
    """Build a table of `schema` from rows; missing keys become null."""
    return pa.Table.from_pylist(rows, schema=schema)


def window_id(report_id: str, sentence_start: int) -> str:
    """Name the window around the sentence that starts at byte `sentence_start` of a report."""
    return f"{report_id}@{sentence_start}"
