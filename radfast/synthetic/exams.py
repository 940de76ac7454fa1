"""What an examination is made of: the shape of the tables in ``exams_chest`` and its neighbours.

Coordinates are those of `radfast.synthetic.canvas`: x from -1 (image left, the patient's right in axial
and frontal pictures) to 1, y from -1 (top) to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a finding is drawn.

    Attributes
    ----------
    kind : str
        Painter in `radfast.synthetic.lesions`, or "organ" where the anatomy itself changes.
    value : tuple of float
        HU for CT; signal per contrast (T1, T2) for MR; density in [0, 1] for radiographs.
    size : tuple of float
        Smallest and largest radius, share or factor, canvas units.
    organ : str
        Organ that is filled, followed or changed; "{side}" stands for right or left.
    inner : tuple of float
        Second value, for the centre of a ring or the line of a tear.
    """

    kind: str
    value: tuple[float, ...] = (0.0,)
    size: tuple[float, float] = (0.05, 0.1)
    organ: str = ""
    inner: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A finding of one kind of examination: its names, its look, its phrases.

    Attributes
    ----------
    key : str
        Sub-topic of the reports it dominates.
    forms : tuple of str
        Names in the ontology that the reports use; the first is the preferred one.
    look : Look
        How it is drawn.
    places : dict of str to Point
        Where it sits: phrase to coordinates.
    words : tuple of str
        Adjectives for it.
    details : tuple of str
        Templates of sentences that may follow or precede the citing one.
    advice : tuple of str
        Templates for the impression.
    mm : tuple of int
        Smallest and largest size in millimetres; empty where no size is dictated.
    countable : bool
        Whether it takes "a".
    weight : float
        How often it dominates a study.
    """

    key: str
    forms: tuple[str, ...]
    look: Look
    places: dict[str, Point]
    words: tuple[str, ...]
    details: tuple[str, ...]
    advice: tuple[str, ...]
    mm: tuple[int, int] | tuple[()] = ()
    countable: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class Series:
    """A series an examination may have: its numbers, its name, its contrast (index into `Look.value`)."""

    numbers: tuple[int, ...]
    description: str
    contrast: int = 0
    windows: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Exam:
    """One kind of examination, which is one document topic.

    Attributes
    ----------
    key : str
        Name of the topic and of the phantom.
    modality : tuple of str
        DICOM modalities it is stored as.
    body_part : str
        BodyPartExamined.
    region : str
        Body region in the truth table.
    titles, short : tuple of str
        Full titles; what a later report calls it ("CT").
    series : tuple of Series
        Series to choose from.
    last_image : int
        Largest usual InstanceNumber.
    techniques, reasons, normals : tuple of str
        Templates.
    parts : str
        Anatomy named in passing, plural or singular, separated by semicolons.
    findings : tuple of Finding
        What may be found.
    weight : float
        How often it is done.
    whole : bool
        Every picture shows every finding, as in a radiograph.
    """

    key: str
    modality: tuple[str, ...]
    body_part: str
    region: str
    titles: tuple[str, ...]
    short: str
    series: tuple[Series, ...]
    last_image: int
    techniques: tuple[str, ...]
    reasons: tuple[str, ...]
    normals: tuple[str, ...]
    parts: str
    findings: tuple[Finding, ...]
    weight: float = 1.0
    whole: bool = False
