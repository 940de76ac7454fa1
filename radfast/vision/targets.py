"""What an image is to learn: joins links, topics, findings and bi-grams to a label set."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from radfast.errors import NothingFoundError, UsageError
from radfast.types import LEVELS, SPLITS, window_id
from radfast.vision.labels import LabelSet

#: Assertions of a finding that make a class; "uncertain" masks it, the others leave it unmentioned.
_ASSERTED = ("present", "absent")
_MASKED = -1
_LINK_COLUMNS = (
    "image_id", "report_id", "reference", "span_start", "prior", "ambiguous", "status", "sentence_start",
)  # fmt: skip


def build_label_set(
    images: pa.Table,
    links: pa.Table,
    topics: pa.Table,
    findings: pa.Table,
    vectors: Mapping[str, npt.NDArray[np.float32]] | None = None,
    *,
    min_images: int = 20,
    min_disease_images: int = 10,
    split: tuple[float, float, float] = (0.85, 0.05, 0.10),
    seed: int = 0,
) -> LabelSet:
    """Join images with the topics, findings and bi-grams of the sentences that cite them.

    An image cited more than once belongs to the first reference that cites it (by report id and place in
    the text; a citing sentence goes before evidence without a sentence). Priors and ambiguous references
    give none.

    Parameters
    ----------
    images, links, topics, findings : pyarrow.Table
        With the schemas IMAGES, LINKS, TOPICS and FINDINGS of `radfast.types`.
    vectors : mapping of str to float32 (n, 2F), optional
        Targets of the bi-grams of a window, by window id; n may be 0.
    min_images : int
        Samples a topic needs; a class without a training sample is dropped, too.
    min_disease_images : int
        Samples a class 'X present' or 'X absent' needs.
    split : tuple of three float
        Share of the patients for train, validation and test; sums to 1.
    seed : int
        Decides which patient goes where, by a hash of the patient id: a patient more moves few others.

    Returns
    -------
    LabelSet

    Raises
    ------
    UsageError
        If the shares or the vectors' shapes are wrong.
    NothingFoundError
        If no image is linked to a report.
    """
    if min(split) < 0 or abs(sum(split) - 1) > 1e-6:
        raise UsageError(f"[build_label_set] split must be three shares that sum to 1, is {split}")
    chosen = _choose_images(images, links)
    if not chosen:
        raise NothingFoundError("no image is linked to a report: nothing to train on")
    link_rows = np.array([row for row, _, _ in chosen], np.int64)
    samples = np.array([sample for _, sample, _ in chosen], np.int32)
    picture = [row for _, _, row in chosen]
    report_ids, windows = _name_windows(links, link_rows)
    patients = _name_patients(images, picture)
    splits = _split_patients(patients, split, seed)
    representative = _mark_middle(samples)
    trained = splits == SPLITS.index("train")

    classes: dict[str, list[str]] = {}
    dropped: dict[str, dict[str, int]] = {}
    targets: dict[str, npt.NDArray[np.int32]] = {}
    for level in LEVELS:
        topic_of = _read_topics(topics, level)
        units = windows if level == "sentence" else report_ids
        topic = np.array([topic_of.get(unit, -1) for unit in units], np.int32)
        names, dropped[level] = _keep_classes(topic, representative, trained, min_images)
        targets[level] = np.searchsorted(names, topic).astype(np.int32)
        targets[level][~np.isin(topic, names)] = -1
        classes[level] = [str(name) for name in names]

    disease, classes["disease"], dropped["disease"] = _label_diseases(
        links, findings, link_rows, representative, trained, min_disease_images
    )
    mean, counts = _average_vectors(vectors or {}, windows)
    return LabelSet(
        [images["image_id"][row].as_py() for row in picture],
        images["pixel_row"].to_numpy()[picture].astype(np.int64),
        link_rows,
        samples,
        representative,
        splits,
        patients,
        report_ids,
        windows,
        classes,
        targets,
        disease,
        mean,
        counts,
        dropped,
    )


def _choose_images(images: pa.Table, links: pa.Table) -> list[tuple[int, int, int]]:
    """Return (row of links, sample, row of images) of each image that is cited, ordered by sample."""
    known = {name: row for row, name in enumerate(images["image_id"].to_pylist())}
    kept = (
        "image_id",
        "report_id",
        "reference",
        "span_start",
        "prior",
        "ambiguous",
        "status",
        "sentence_start",
    )
    columns = {name: links[name].to_pylist() for name in kept}
    order = []
    for row, image in enumerate(columns["image_id"]):
        report = columns["report_id"][row]
        flagged = columns["prior"][row] or columns["ambiguous"][row] or columns["status"][row] != "linked"
        if flagged or not report or image not in known:
            continue
        unsaid = columns["sentence_start"][row] is None
        order.append((unsaid, report, columns["span_start"][row] or 0, columns["reference"][row] or 0, row))
    chosen = []
    seen: set[str] = set()
    previous: tuple[Any, ...] = ()
    sample = -1
    for unsaid, report, start, reference, row in sorted(order):
        image = columns["image_id"][row]
        if image in seen:
            continue
        seen.add(image)
        # Without a sentence there is no range: every image stands for itself.
        key = (image,) if unsaid else (report, start, reference)
        sample += key != previous
        previous = key
        chosen.append((row, sample, known[image]))
    return chosen


def _name_windows(links: pa.Table, rows: npt.NDArray[np.int64]) -> tuple[list[str], list[str]]:
    taken = links.select(["report_id", "sentence_start"]).take(pa.array(rows))
    reports = taken["report_id"].to_pylist()
    starts = taken["sentence_start"].to_pylist()
    names = [
        "" if start is None else window_id(report, start)
        for report, start in zip(reports, starts, strict=True)
    ]
    return reports, names


def _name_patients(images: pa.Table, rows: Sequence[int]) -> list[str]:
    """Return one name per image; where the patient is unknown, the study stands in, then the image."""
    taken = images.select(["patient_id", "study_uid", "image_id"]).take(pa.array(rows, pa.int64()))
    columns = (taken[name].to_pylist() for name in taken.column_names)
    return [patient or study or image for patient, study, image in zip(*columns, strict=True)]


def _split_patients(
    patients: list[str], split: tuple[float, float, float], seed: int
) -> npt.NDArray[np.int8]:
    ordered = sorted(set(patients), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    count = len(ordered)
    # A split that is asked for gets a patient as soon as there is one to spare.
    wanted = [max(round(share * count), int(share > 0 and count > 2)) for share in split[1:]]
    n_train = max(count - sum(wanted), int(split[0] > 0))
    bounds = (n_train, n_train + wanted[0])
    place = {name: int(np.searchsorted(bounds, rank, side="right")) for rank, name in enumerate(ordered)}
    return np.array([place[name] for name in patients], np.int8)


def _mark_middle(samples: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    counts = np.bincount(samples)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    middle = np.zeros(len(samples), np.bool_)
    middle[starts + counts // 2] = True
    return middle


def _read_topics(topics: pa.Table, level: str) -> dict[str, int]:
    columns = (topics[name].to_pylist() for name in ("level", "unit_id", "topic"))
    return {unit: topic for found, unit, topic in zip(*columns, strict=True) if found == level}


def _keep_classes(
    topic: npt.NDArray[np.int32],
    representative: npt.NDArray[np.bool_],
    trained: npt.NDArray[np.bool_],
    min_images: int,
) -> tuple[npt.NDArray[np.int32], dict[str, int]]:
    names, counts = np.unique(topic[representative & (topic >= 0)], return_counts=True)
    kept = (counts >= min_images) & np.isin(names, topic[trained])
    return names[kept], {str(n): int(c) for n, c in zip(names[~kept], counts[~kept], strict=True)}


def _label_diseases(
    links: pa.Table,
    findings: pa.Table,
    link_rows: npt.NDArray[np.int64],
    representative: npt.NDArray[np.bool_],
    trained: npt.NDArray[np.bool_],
    min_images: int,
) -> tuple[npt.NDArray[np.int8], list[str], dict[str, int]]:
    """Return the matrix of 'X present' / 'X absent', its class names and the dropped ones."""
    mentions: dict[str, list[tuple[int, int, str, str]]] = {}
    columns = ("report_id", "span_start", "span_end", "name", "assertion")
    for report, start, end, name, assertion in zip(*(findings[c].to_pylist() for c in columns), strict=True):
        mentions.setdefault(report, []).append((start, end, name, assertion))
    edges = ("report_id", "sentence_start", "sentence_end", "window_start", "window_end")
    taken = links.select(edges).take(pa.array(link_rows))
    places = list(zip(*(taken[name].to_pylist() for name in edges), strict=True))
    states = [_read_assertions(mentions.get(place[0], []), *place[1:]) for place in places]

    counts: Counter[str] = Counter()
    learnable: set[str] = set()
    for row, state in enumerate(states):
        found = [f"{name} {said}" for name, said in state.items() if said in _ASSERTED]
        if representative[row]:
            counts.update(found)
        if trained[row]:
            learnable.update(found)
    names = sorted(name for name, count in counts.items() if count >= min_images and name in learnable)
    matrix = np.zeros((len(states), len(names)), np.int8)
    place_of = {name: column for column, name in enumerate(names)}
    for row, state in enumerate(states):
        if places[row][3] is None:
            matrix[row] = _MASKED  # no window: nothing is known, not even that it was not mentioned
        for name, said in state.items():
            both = [place_of[c] for c in (f"{name} present", f"{name} absent") if c in place_of]
            if said == "uncertain":
                matrix[row, both] = _MASKED
            elif (column := place_of.get(f"{name} {said}")) is not None:
                matrix[row, column] = 1
    return matrix, names, {name: count for name, count in sorted(counts.items()) if name not in place_of}


def _read_assertions(
    mentions: list[tuple[int, int, str, str]],
    sentence_start: int | None,
    sentence_end: int | None,
    window_start: int | None,
    window_end: int | None,
) -> dict[str, str]:
    """Return the assertion of each disease of a window; the citing sentence outweighs its neighbours."""
    if window_start is None or window_end is None:
        return {}
    rank = {"present": 2, "absent": 1, "uncertain": 0}
    best: dict[str, tuple[bool, int, str]] = {}
    for start, end, name, assertion in mentions:
        if assertion not in rank or start < window_start or end > window_end:
            continue
        inside = sentence_start is not None and sentence_end is not None
        citing = inside and start >= (sentence_start or 0) and end <= (sentence_end or 0)
        best[name] = max(best.get(name, (False, -1, "")), (citing, rank[assertion], assertion))
    return {name: said for name, (_, _, said) in sorted(best.items())}


def _average_vectors(
    vectors: Mapping[str, npt.NDArray[np.float32]], windows: list[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    widths = {target.shape[1:] for target in vectors.values()}
    if len(widths) > 1 or any(len(width) != 1 or width[0] % 2 for width in widths):
        raise UsageError(
            f"[build_label_set] vectors must all be (n, 2F) of one F, have shapes (n, ...): {sorted(widths)}"
        )
    width = widths.pop()[0] if widths else 0
    mean = np.zeros((len(windows), width), np.float32)
    counts = np.zeros(len(windows), np.int32)
    for row, name in enumerate(windows):
        target = vectors.get(name)
        if target is not None and len(target):
            # The cosine loss is linear in the target: one step on the mean equals one step on each bi-gram.
            mean[row] = target.mean(axis=0, dtype=np.float64)
            counts[row] = len(target)
    return mean, counts
