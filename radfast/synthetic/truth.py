"""Truth tables of a synthetic archive.

- ``images.parquet``: image_id, path, patient_id, study_uid, series, image, findings (concept ids drawn into
  it), body_region, modality, transfer_syntax, topic, subtopic.
- ``links.parquet``: one row per (reference, image) as `radfast.text.link_images` defines them: report_id,
  image_id or null, series, image, reference (ordinal; a range is one), status linked | prior | ambiguous |
  no_such_image | no_study, prior, evidence, span and sentence in bytes (null where the evidence is not text).
- ``findings.parquet``: report_id, concept_id, span, assertion of every ontology term in a report.
- ``topics.parquet``: report_id, topic (kind of examination), subtopic (dominant finding).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from radfast.store import write_table
from radfast.synthetic.dicom import Storage
from radfast.synthetic.grammar import Citation, MarkedText
from radfast.synthetic.ontology import read_names
from radfast.synthetic.study import Study
from radfast.types import SCHEMA_VERSION

_S, _L, _I, _B = pa.string(), pa.int64(), pa.int32(), pa.bool_()


def _schema(name: str, **fields: pa.DataType) -> pa.Schema:
    metadata = {"radfast.table": f"truth_{name}", "radfast.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(list(fields.items()), metadata=metadata)


TRUTH_IMAGES = _schema(
    "images", image_id=_S, path=_S, patient_id=_S, study_uid=_S, series=_L, image=_L, findings=pa.list_(_S),
    body_region=_S, modality=_S, transfer_syntax=_S, topic=_S, subtopic=_S,
)  # fmt: skip
TRUTH_LINKS = _schema(
    "links", report_id=_S, image_id=_S, series=_L, image=_L, reference=_I, status=_S, prior=_B, evidence=_S,
    span_start=_L, span_end=_L, sentence_start=_L, sentence_end=_L,
)  # fmt: skip
TRUTH_FINDINGS = _schema("findings", report_id=_S, concept_id=_S, span_start=_L, span_end=_L, assertion=_S)
TRUTH_TOPICS = _schema("topics", report_id=_S, topic=_S, subtopic=_S)


@dataclass
class Truth:
    """Rows of the truth tables, as they come."""

    images: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    topics: list[dict[str, Any]] = field(default_factory=list)

    def extend(self, other: Truth) -> None:
        """Append the rows of another part."""
        self.images += other.images
        self.links += other.links
        self.findings += other.findings
        self.topics += other.topics

    def add_images(self, study: Study, storage: Storage, paths: Mapping[str, str]) -> None:
        """Note the pictures of a study and the files they went to."""
        names = read_names()
        for picture in study.pictures:
            found = [lesion.finding for lesion in picture.lesions]
            self.images.append(
                {
                    "image_id": picture.uid,
                    "path": paths[picture.uid],
                    "patient_id": study.patient.patient_id,
                    "study_uid": study.uid,
                    "series": picture.series_number,
                    "image": picture.instance,
                    "findings": [names[finding.forms[0]] for finding in found],
                    "body_region": study.exam.region,
                    "modality": storage.modality,
                    "transfer_syntax": str(storage.syntax),
                    "topic": study.exam.key,
                    "subtopic": found[0].key if found else "normal",
                }
            )

    def add_report(
        self, report_id: str, study: Study, text: MarkedText, by_date: Mapping[str, Study]
    ) -> None:
        """Note what the report says; `by_date` holds the studies of the patient that have images."""
        names = read_names()
        self.topics.append({"report_id": report_id, "topic": study.exam.key, "subtopic": study.subtopic})
        for mention, start, end in text.mentions:
            row = {
                "report_id": report_id,
                "concept_id": names[mention.term.lower()],
                "assertion": mention.assertion,
            }
            self.findings.append(row | {"span_start": start, "span_end": end})
        linked: set[str] = set()
        for ordinal, (citation, start, end, sentence) in enumerate(text.citations):
            first, last = text.sentences[sentence]
            place = {"span_start": start, "span_end": end, "sentence_start": first, "sentence_end": last}
            for image in citation.images:
                image_id, status = _resolve(citation, image, study, by_date)
                if image_id is not None:
                    linked.add(image_id)
                self.links.append(
                    _link(report_id, image_id, status, citation.kind == "prior", "reference")
                    | {"series": citation.series, "image": image, "reference": ordinal}
                    | place
                )
        for uid in study.key_objects:
            if uid not in linked:
                self.links.append(_link(report_id, uid, "linked", False, "key_object"))
        if not text.citations and not study.key_objects and len(study.pictures) == 1:
            self.links.append(_link(report_id, study.pictures[0].uid, "linked", False, "accession_number"))


def _link(report_id: str, image_id: str | None, status: str, prior: bool, evidence: str) -> dict[str, Any]:
    return {
        "report_id": report_id,
        "image_id": image_id,
        "status": status,
        "prior": prior,
        "evidence": evidence,
    }


def _resolve(
    citation: Citation, image: int, study: Study, by_date: Mapping[str, Study]
) -> tuple[str | None, str]:
    """Return the instance that a citation means, and the status of the link."""
    if citation.kind == "prior":
        earlier = by_date.get(citation.date)
        if earlier is None:
            return None, "prior"
        study = earlier
    elif citation.kind == "ambiguous" and study.pictures:
        return None, "ambiguous"
    if not study.pictures:
        return None, "no_study"
    for picture in study.pictures:
        if (picture.series_number, picture.instance) == (citation.series, image):
            return picture.uid, "linked"
    return None, "no_such_image"


def write_truth(folder: Path, truth: Truth) -> None:
    """Write the four tables."""
    for name, schema, rows in (
        ("images", TRUTH_IMAGES, truth.images),
        ("links", TRUTH_LINKS, truth.links),
        ("findings", TRUTH_FINDINGS, truth.findings),
        ("topics", TRUTH_TOPICS, truth.topics),
    ):
        write_table(folder / f"{name}.parquet", pa.Table.from_pylist(rows, schema=schema), schema)
