"""What a report is made of beside the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radfast.errors import UsageError
from radfast.types import (
    DESCRIPTIONS,
    FINDINGS,
    IMAGES,
    LABELS,
    LEDGER,
    LINKS,
    REPORTS,
    TOPIC_WORDS,
    TOPICS,
)

_TABLES = {
    "images": IMAGES,
    "reports": REPORTS,
    "links": LINKS,
    "findings": FINDINGS,
    "topics": TOPICS,
    "topic_words": TOPIC_WORDS,
    "labels": LABELS,
    "descriptions": DESCRIPTIONS,
    "ledger": LEDGER,
}


@dataclass(frozen=True)
class StageCost:
    """What one stage cost.

    Attributes
    ----------
    name : str
    seconds : float
        Wall time.
    peak_memory : int or None
        Largest resident size while it ran, bytes.
    note : str
        What came out, in a few words; no patient data.
    """

    name: str
    seconds: float
    peak_memory: int | None = None
    note: str = ""


@dataclass(frozen=True)
class ReportContext:
    """A run as the report shows it. Tables may be empty, never absent.

    Attributes
    ----------
    run_id : str
    created : str
        Time of the run as text, ISO 8601.
    title : str
    images, reports, links, findings, topics, topic_words, labels, descriptions, ledger : pyarrow.Table
        With the schemas of `radfast.types`.
    pictures : uint8, shape (N, H, W)
        8-bit pictures; row = ``images.pixel_row``. May be memory-mapped: only rows shown are read.
    nearest : mapping of str to sequence of (str, float)
        Words with their nearest words by cosine, best first.
    bigrams : sequence of (str, str, int)
        Disease bi-grams of the windows with their counts, most frequent first.
    config : mapping
        Resolved settings.
    versions : mapping of str to str
        radfast, Python and libraries.
    hardware : mapping of str to str
        Processor, cores, memory, GPU, operating system.
    stages : sequence of StageCost
        In the order they ran.
    """

    run_id: str
    created: str
    images: pa.Table
    reports: pa.Table
    links: pa.Table
    findings: pa.Table
    topics: pa.Table
    topic_words: pa.Table
    labels: pa.Table
    descriptions: pa.Table
    ledger: pa.Table
    pictures: NDArray[np.uint8]
    title: str = "Radiology archive, labeled from its own reports"
    nearest: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    bigrams: Sequence[tuple[str, str, int]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[StageCost] = ()

    def check(self) -> None:
        """Refuse what cannot be shown.

        Raises
        ------
        UsageError
            If a table lacks a column of its schema or the pictures are no uint8 (N, H, W).
        """
        for name, schema in _TABLES.items():
            missing = [field for field in schema.names if field not in getattr(self, name).column_names]
            if missing:
                raise UsageError(f"[render_report] {name} must have the columns {', '.join(missing)}")
        if self.pictures.ndim != 3 or self.pictures.dtype != np.uint8:
            raise UsageError(
                "[render_report] pictures must be uint8 (N, H, W), "
                f"are {self.pictures.dtype} {self.pictures.shape}"
            )
