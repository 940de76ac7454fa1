"""Engines on disk: found by what they compute, believed only where they were made.

``<network>-<machine>.engine`` is the engine, ``.json`` beside it says what it is: the network's key (weights,
shape, dtype, precision, batch, calibration), the machine (GPU, capability, driver, library and version), the
accuracy measured after the build, and the engine's SHA-256. An engine is loaded only when all of it holds.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radfast.kernels.cnn.gate import Gate
from radfast.kernels.cnn.onnx import keep_file

log = logging.getLogger("radfast.cnn")

_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """An engine with what was found out about it.

    Attributes
    ----------
    engine : bytes
    products : dict of str to int
        How many products the file computes in each type.
    gate : Gate
    """

    engine: bytes
    products: dict[str, int]
    gate: Gate


class EngineCache:
    """A folder of engines for one machine."""

    def __init__(self, folder: Path, machine: dict[str, str]) -> None:
        self.folder = folder
        self.machine = machine

    def _locate(self, key: dict[str, Any]) -> Path:
        return self.folder / f"{_hash(key)[:24]}-{_hash(self.machine)[:8]}.engine"

    def load(self, key: dict[str, Any]) -> Kept | None:
        """Return the engine of `key`; None, with a line in the log where a foreign or broken one is there."""
        path = self._locate(key)
        if not path.is_file():
            for other in sorted(self.folder.glob(f"{_hash(key)[:24]}-*.json")):
                log.warning(
                    "%s is of another GPU, driver or TensorRT: an engine is built for this one", other.stem
                )
                break
            return None
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            engine = path.read_bytes()
            expected = {"format": _FORMAT, "key": key, "machine": self.machine}
            if {name: about[name] for name in expected} != expected:
                raise ValueError("made for something else")
            if about["sha256"] != hashlib.sha256(engine).hexdigest():
                raise ValueError("damaged")
            return Kept(engine, about["products"], Gate(**about["gate"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not used and built anew: %s", path.name, error or type(error).__name__)
            return None

    def keep(self, key: dict[str, Any], kept: Kept) -> None:
        """Write an engine; what describes it comes last, so that half of a pair is never believed."""
        path = self._locate(key)
        about = {
            "format": _FORMAT,
            "key": key,
            "machine": self.machine,
            "products": kept.products,
            "gate": kept.gate.to_dict(),
            "sha256": hashlib.sha256(kept.engine).hexdigest(),
        }
        keep_file(path, kept.engine)
        keep_file(path.with_suffix(".json"), json.dumps(about, indent=1, sort_keys=True).encode())

    def load_timing(self) -> bytes:
        """Return what earlier builds on this machine measured; empty where there is nothing."""
        try:
            return self._timing.read_bytes()
        except OSError:
            return b""

    def keep_timing(self, timing: bytes) -> None:
        """Keep what a build measured."""
        if timing:
            keep_file(self._timing, timing)

    @property
    def _timing(self) -> Path:
        return self.folder / f"timing-{_hash(self.machine)[:8]}.cache"


def _hash(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
