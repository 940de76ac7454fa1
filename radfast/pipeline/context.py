"""What every step of a run is given, and where a run keeps its files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from radfast import store
from radfast.config import Config
from radfast.device import count_threads
from radfast.types import TABLES, Progress


@dataclass(frozen=True)
class Context:
    """One run: its inputs, its output folder, its settings.

    Attributes
    ----------
    archive : Path
        Folder of DICOM files.
    reports : Path or None
        Report file or folder; None takes the texts beside the studies.
    out : Path
        Output folder.
    config : Config
        Resolved settings.
    run_id : str
        12 hexadecimal digits made from the settings and the inputs' names, so that a rerun has the same.
    key : str
        Key of the stage at work: names its checkpoint.
    progress : callable
        ``progress(done, total)``.
    """

    archive: Path
    reports: Path | None
    out: Path
    config: Config
    run_id: str
    key: str
    progress: Progress

    @property
    def threads(self) -> int:
        """Threads to use, at least 1."""
        return count_threads(self.config.threads)

    @property
    def model(self) -> Path:
        """Folder of all that labels further images."""
        return self.out / "model"

    @property
    def work(self) -> Path:
        """Folder of intermediate files."""
        return self.out / "work"

    @property
    def pixels(self) -> Path:
        """The 8-bit pictures: uint8 (N, H, W)."""
        return self.work / "pixels.npy"

    def read(self, name: str) -> pa.Table:
        """Read an output table by name."""
        return store.read_table(self.out / f"{name}.parquet", TABLES[name])

    def write(self, name: str, table: pa.Table) -> None:
        """Write an output table by name."""
        store.write_table(self.out / f"{name}.parquet", table, TABLES[name])


def count_values(table: pa.Table, column: str) -> dict[str, int]:
    """Return how often each value of a column occurs, most frequent first."""
    counts = Counter(str(value) for value in table.column(column).to_pylist())
    return dict(sorted(counts.items(), key=lambda row: (-row[1], row[0])))


def plural(count: int, noun: str) -> str:
    """Return ``1 image``, ``2 images``, ``0 studies``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def jsonable(value: Any) -> Any:
    """Turn NumPy scalars and arrays into plain values, NaN and infinities into None."""
    import numpy as np

    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
