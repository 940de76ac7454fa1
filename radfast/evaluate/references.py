"""Image references: what became of each, and precision, recall and F against a truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def precision_recall_f(truth: Collection[Hashable], found: Collection[Hashable]) -> dict[str, Any]:
    """Compare two sets of items.

    P = |truth and found| / |found|, R = |truth and found| / |truth|, F = 2PR / (P + R) (van Rijsbergen 1979).

    Parameters
    ----------
    truth, found : collection of hashable
        For links: pairs (report id, image id). Repeated items count once.

    Returns
    -------
    dict
        ``precision, recall, f`` (None where the denominator is 0; F is 0 where nothing is common) and
        ``true, found, correct`` as counts.
    """
    wanted, given = set(truth), set(found)
    return rates(len(wanted & given), len(given), len(wanted))


def rates(correct: int, found: int, true: int) -> dict[str, Any]:
    """Return precision, recall and F with the counts they are made of."""
    return {
        "precision": correct / found if found else None,
        "recall": correct / true if true else None,
        # 2PR / (P + R) = 2 correct / (found + true)
        "f": 2 * correct / (found + true) if found + true else None,
        "correct": correct,
        "found": found,
        "true": true,
    }


def score_links(truth: pa.Table, links: pa.Table) -> dict[str, Any]:
    """Return precision, recall and F of linked images against a truth (yardstick: Mabotuwana et al. 2013).

    Parameters
    ----------
    truth : pyarrow.Table
        Columns ``report_id`` and ``image_id``, and ``status`` where it is there: only rows 'linked' count.
    links : pyarrow.Table
        With the schema LINKS; rows without an image and rows not 'linked' count as not found.

    Returns
    -------
    dict
        As of `precision_recall_f`, over pairs (report id, image id).
    """
    return precision_recall_f(_linked_pairs(truth), _linked_pairs(links))


def _linked_pairs(table: pa.Table) -> set[tuple[str, str]]:
    if "status" in table.column_names:
        table = table.filter(pc.equal(table["status"], "linked"))
    pairs = zip(table["report_id"].to_pylist(), table["image_id"].to_pylist(), strict=True)
    return {(report, image) for report, image in pairs if image is not None}


def link_statistics(links: pa.Table, images: pa.Table | None = None) -> dict[str, Any]:
    """Count references and the images they reach.

    A reference is one place in a report (a range is one reference); it is linked if at least one of its
    images is.

    Parameters
    ----------
    links : pyarrow.Table
        With the schema LINKS.
    images : pyarrow.Table, optional
        With the schema IMAGES; adds the share of images that are linked, and the counts by modality.

    Returns
    -------
    dict
        ``rows``, ``references``, ``references_linked``, ``reports``, ``images_linked``,
        ``by_status`` (rows), ``by_evidence`` (linked images by the best evidence they have), ``prior`` and
        ``ambiguous`` (rows so flagged), ``images`` and ``by_modality`` (None without `images`).
    """
    names = (
        "report_id", "image_id", "reference", "span_start", "evidence", "status", "prior", "ambiguous",
    )  # fmt: skip
    columns = [links[name].to_pylist() for name in names]
    references: dict[tuple[Any, ...], bool] = {}
    best: dict[str, str] = {}
    by_status: Counter[str] = Counter()
    prior = ambiguous = 0
    for report, image, ordinal, start, evidence, status, is_prior, is_ambiguous in zip(*columns, strict=True):
        by_status[status] += 1
        prior += bool(is_prior)
        ambiguous += bool(is_ambiguous)
        linked = status == "linked" and image is not None
        if evidence == "reference":
            key = (report, ordinal, start)
            references[key] = references.get(key, False) or linked
        if linked and (image not in best or _strength(evidence) < _strength(best[image])):
            best[image] = evidence
    result: dict[str, Any] = {
        "rows": links.num_rows,
        "references": len(references),
        "references_linked": sum(references.values()),
        "reports": len({report for report in columns[0] if report}),
        "images_linked": len(best),
        "by_status": _ordered(by_status),
        "by_evidence": _ordered(Counter(best.values())),
        "prior": prior,
        "ambiguous": ambiguous,
        "images": None,
        "by_modality": None,
    }
    if images is not None:
        result["images"] = images.num_rows
        totals: Counter[str] = Counter()
        reached: Counter[str] = Counter()
        for image, modality in zip(
            images["image_id"].to_pylist(), images["modality"].to_pylist(), strict=True
        ):
            totals[modality] += 1
            reached[modality] += image in best
        result["by_modality"] = {
            name: {"images": count, "linked": reached[name]} for name, count in _ordered(totals).items()
        }
    return result


_EVIDENCE = ("reference", "key_object", "presentation_state", "structured_report", "accession_number")


def _strength(evidence: str) -> int:
    return _EVIDENCE.index(evidence) if evidence in _EVIDENCE else len(_EVIDENCE)


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda row: (-row[1], str(row[0]))))
