"""Files of topic models and of trainings under way: safetensors, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from radfast import store
from radfast.errors import UsageError

Tensors = dict[str, NDArray[Any]]


def write_model(path: Path, tensors: Tensors, about: dict[str, Any]) -> None:
    """Write `tensors` and the description `about`, which must be JSON, to one safetensors file."""
    metadata = {"radfast": json.dumps(about, sort_keys=True, default=_plain)}
    whole = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    store.write_bytes(path, to_safetensors(whole, metadata=metadata))


def read_model(path: Path, function: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_model` wrote.

    Raises
    ------
    UsageError
        If the file is missing or is not of this package.
    """
    if not path.is_file():
        raise UsageError(f"[{function}] {path} is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["radfast"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UsageError(f"[{function}] {path} is not a topic model of radfast") from error
    return tensors, about


def hash_arrays(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the bytes of `arrays`, with their types and shapes, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Checkpoint:
    """The file of a training under way; it is read at once.

    Parameters
    ----------
    path : Path
    about : dict
        What the training depends on: settings, corpus, version.
    seconds : float
        Least time between two writings.

    Attributes
    ----------
    state : dict of arrays or None
        What the file held, None where there was no file.

    Raises
    ------
    UsageError
        If the file is of another training, with the first thing that differs.
    """

    def __init__(self, path: Path, about: dict[str, Any], seconds: float = 60.0) -> None:
        self.path = path
        self.about = about
        self.seconds = seconds
        self.state: Tensors | None = None
        if path.exists():
            self.state, theirs = read_model(path, "checkpoint")
            ours = json.loads(json.dumps(about, default=_plain))
            for name in sorted(ours.keys() | theirs.keys()):
                if ours.get(name) != theirs.get(name):
                    raise UsageError(
                        f"[checkpoint] {path} is of another training ({name} differs): remove it to go on"
                    )

    def write(self, state: Tensors) -> None:
        """Replace the file."""
        write_model(self.path, state, self.about)


def plain_alpha(alpha: NDArray[np.float64]) -> Any:
    """Return a 0-dimensional array as a float, any other as it is."""
    return alpha if alpha.ndim else float(alpha)


def _plain(value: Any) -> Any:
    # NumPy numbers and arrays among the parameters.
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a parameter of type {type(value).__name__} cannot be stored")
