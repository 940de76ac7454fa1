"""References to images in key object selections, presentation states and structured reports."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from radfast.archive.dicom import read_items, read_text

_MAX_DEPTH = 64
_MAX_REFERENCES = 100_000

_CONCEPT_NAME = 0x0040A043
_MEANING = 0x00080104
_CODE = 0x00080100
_VALUE_TYPE = 0x0040A040
_TEXT_VALUE = 0x0040A160
_CONTENT = 0x0040A730
_REFERENCED_SOP = 0x00081199
_REFERENCED_IMAGE = 0x00081140
_REFERENCED_SERIES = 0x00081115
_REFERENCED_UID = 0x00081155
_EVIDENCE = (0x0040A375, 0x0040A385)
_KEY_DESCRIPTION = "113012"

Reference = tuple[str, str]


def read_references(values: Dataset, kind: str) -> tuple[str, list[Reference]]:
    """Read what an evidence object says about which images.

    Parameters
    ----------
    values : Dataset
        The whole object without pixels.
    kind : str
        "key_object", "presentation_state" or "structured_report".

    Returns
    -------
    title : str
        Document title, or content label of a presentation state.
    references : list of (SOPInstanceUID, text)
        In document order, each pair once.
    """
    if kind == "presentation_state":
        title, pairs = read_text(values, 0x00700080), _walk_presentation(values)
    else:
        title = _concept(values, _MEANING)
        pairs = _walk_key_object(values) if kind == "key_object" else _walk_report(values, "", 0)
    references: dict[Reference, None] = {}
    for uid, text in pairs:
        if uid:
            references[uid, text] = None
        if len(references) >= _MAX_REFERENCES:
            break
    return title, list(references)


def _concept(item: Dataset, tag: int) -> str:
    names = read_items(item, _CONCEPT_NAME)
    return read_text(names[0], tag) if names else ""


def _instances(item: Dataset, tag: int = _REFERENCED_SOP) -> Iterator[str]:
    for reference in read_items(item, tag):
        yield read_text(reference, _REFERENCED_UID)


def _walk_key_object(values: Dataset) -> Iterator[Reference]:
    content = read_items(values, _CONTENT)
    described = [
        read_text(item, _TEXT_VALUE)
        for item in content
        if read_text(item, _VALUE_TYPE) == "TEXT" and _concept(item, _CODE) == _KEY_DESCRIPTION
    ]
    text = " ".join(described)
    named = [uid for item in content if read_text(item, _VALUE_TYPE) == "IMAGE" for uid in _instances(item)]
    if not named:
        # documents that select whole series name their images in the evidence list only
        named = [
            uid
            for tag in _EVIDENCE
            for study in read_items(values, tag)
            for series in read_items(study, _REFERENCED_SERIES)
            for uid in _instances(series)
        ]
    for uid in named:
        yield uid, text


def _walk_presentation(values: Dataset) -> Iterator[Reference]:
    everywhere: list[str] = []
    notes: dict[str, list[str]] = {}
    for annotation in read_items(values, 0x00700001):
        words = [word for item in read_items(annotation, 0x00700008) if (word := read_text(item, 0x00700006))]
        targets = list(_instances(annotation, _REFERENCED_IMAGE))
        for target in targets:
            notes.setdefault(target, []).extend(words)
        if not targets:
            everywhere.extend(words)
    holders = [values, *read_items(values, 0x00700402)]
    for holder in holders:
        for series in read_items(holder, _REFERENCED_SERIES):
            for uid in _instances(series, _REFERENCED_IMAGE):
                yield uid, " ".join(notes.get(uid, []) + everywhere)


def _walk_report(item: Dataset, text: str, depth: int) -> Iterator[Reference]:
    """Yield the images below a content item with the text of the nearest item that has some.

    That is the value of an enclosing TEXT item; in a container, the TEXT items that stand beside the image.
    """
    if depth > _MAX_DEPTH:
        return
    children = read_items(item, _CONTENT)
    if read_text(item, _VALUE_TYPE) == "CONTAINER":
        beside = [child for child in children if read_text(child, _VALUE_TYPE) == "TEXT"]
        text = " ".join(word for child in beside if (word := read_text(child, _TEXT_VALUE)))
    elif own := read_text(item, _TEXT_VALUE):
        text = own
    for child in children:
        if read_text(child, _VALUE_TYPE) in ("IMAGE", "COMPOSITE"):
            for uid in _instances(child):
                yield uid, text
        yield from _walk_report(child, text, depth + 1)
