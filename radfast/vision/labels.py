"""The label set: which image learns which classes, and on which side of the split its patient stands.

One sample is one image reference: neighbouring slices of a range share a sentence, so they count once in the
class counts and in every evaluation. Training draws one image of the sample per epoch; validation and test
take the middle one. Patients, not images, are split (the paper splits images, section 4.1, which lets one
patient's slices stand on both sides).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from radfast.errors import UsageError
from radfast.store import write_atomically
from radfast.types import LEVELS, SPLITS


@dataclass(frozen=True)
class LabelSet:
    """Images with their classes; row order is by sample, the images of a sample stand together.

    Attributes
    ----------
    image_ids : list of str, length N
        SOPInstanceUID.
    pixel_rows : int64 (N,)
        Row of the pictures.
    link_rows : int64 (N,)
        Row of the links table that is the evidence.
    samples : int32 (N,)
        Sample an image belongs to, ascending from 0.
    representative : bool (N,)
        The middle image of its sample: the one that is evaluated.
    splits : int8 (N,)
        Index into `radfast.types.SPLITS`.
    patient_ids, report_ids, window_ids : list of str, length N
        Window id is empty where no sentence cites the image.
    classes : dict of str to list of str
        Class names per head: topic numbers as text, and for "disease" 'X present' or 'X absent'.
    targets : dict of str to int32 (N,)
        Class index per level, -1 for none.
    disease : int8 (N, C)
        1 yes, 0 no or not mentioned, -1 uncertain: takes no part in the loss.
    vectors : float32 (N, 2F)
        Mean of the targets of the window's bi-grams, zero where there is none.
    vector_counts : int32 (N,)
        Bi-grams of the window.
    dropped : dict of str to dict of str to int
        Classes left out per head, with the samples they had.
    """

    image_ids: list[str]
    pixel_rows: npt.NDArray[np.int64]
    link_rows: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int32]
    representative: npt.NDArray[np.bool_]
    splits: npt.NDArray[np.int8]
    patient_ids: list[str]
    report_ids: list[str]
    window_ids: list[str]
    classes: dict[str, list[str]]
    targets: dict[str, npt.NDArray[np.int32]]
    disease: npt.NDArray[np.int8]
    vectors: npt.NDArray[np.float32]
    vector_counts: npt.NDArray[np.int32]
    dropped: dict[str, dict[str, int]]

    def __len__(self) -> int:
        return len(self.image_ids)

    def heads(self) -> dict[str, int]:
        """Return the outputs that can be learned: head name to width, in the order of the chain."""
        heads = {name: len(self.classes[name]) for name in LEVELS if self.classes[name]}
        if self.vector_counts.any():
            heads["vector"] = self.vectors.shape[1]
        if self.classes["disease"]:
            heads["disease"] = len(self.classes["disease"])
        return heads

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the rows (M,) that are evaluated in `split`: the middle image of each of its samples."""
        if split not in SPLITS:
            raise UsageError(f"[rows] split must be one of {', '.join(SPLITS)}, is '{split}'")
        return np.flatnonzero(self.representative & (self.splits == SPLITS.index(split)))

    def save(self, path: Path) -> None:
        """Write as one Parquet file (zstd); class lists go into its metadata."""
        columns: dict[str, Any] = {
            "image_id": self.image_ids,
            "pixel_row": self.pixel_rows,
            "link_row": self.link_rows,
            "sample": self.samples,
            "representative": self.representative,
            "split": self.splits,
            "patient_id": self.patient_ids,
            "report_id": self.report_ids,
            "window_id": self.window_ids,
            **self.targets,
            "vector_count": self.vector_counts,
        }
        for name, matrix in (("disease", self.disease), ("vector", self.vectors)):
            if matrix.shape[1]:  # Arrow has no list of width 0 that keeps its length
                columns[name] = pa.FixedSizeListArray.from_arrays(
                    pa.array(matrix.reshape(-1)), matrix.shape[1]
                )
        about = {"classes": self.classes, "dropped": self.dropped}
        metadata = {"radfast.label_set": json.dumps(about, sort_keys=True, ensure_ascii=False)}
        with write_atomically(path) as part:
            pq.write_table(pa.table(columns).replace_schema_metadata(metadata), part, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> LabelSet:
        """Read a file written by `save`.

        Raises
        ------
        UsageError
            If the file is missing or holds no label set.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"[LabelSet.load] {path} cannot be read as a label set") from error
        about = json.loads((table.schema.metadata or {}).get(b"radfast.label_set", b"null"))
        if about is None:
            raise UsageError(f"[LabelSet.load] {path} holds no label set")
        arrays = {
            name: np.array(table[name].to_numpy())  # Arrow lends read-only memory
            for name, column in zip(table.column_names, table.schema.types, strict=True)
            if not (pa.types.is_string(column) or pa.types.is_fixed_size_list(column))
        }
        return cls(
            table["image_id"].to_pylist(),
            arrays["pixel_row"],
            arrays["link_row"],
            arrays["sample"],
            arrays["representative"],
            arrays["split"],
            table["patient_id"].to_pylist(),
            table["report_id"].to_pylist(),
            table["window_id"].to_pylist(),
            about["classes"],
            {level: arrays[level] for level in LEVELS},
            _read_matrix(table, "disease", np.int8),
            _read_matrix(table, "vector", np.float32),
            arrays["vector_count"],
            about["dropped"],
        )


def _read_matrix(table: pa.Table, name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    if name not in table.column_names:
        return np.zeros((table.num_rows, 0), dtype)
    values = table[name].combine_chunks().flatten().to_numpy()
    return np.array(values, dtype).reshape(table.num_rows, -1)
