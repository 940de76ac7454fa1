"""Which stage need not run again: inputs, settings and code unchanged, outputs still as written."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from radfast import store
from radfast.errors import CannotWriteError, UsageError
from radfast.version import __version__

# Read in full at each start, a picture cache of a large archive would take longer than the stage it saves.
_HASHED_BYTES = 256 << 20


@dataclass(frozen=True)
class Record:
    """What a finished stage left behind."""

    key: str
    outputs: dict[str, str]
    seconds: float
    peak_memory: int  # bytes
    note: str  # what came out, in a few words


@cache
def hash_code(*modules: str) -> str:
    """Return a hash of the sources of `modules` (names below radfast) and of the compiled core."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(__version__.encode())
    for module in sorted({*modules, "kernels", "types", "store"}):
        path = root / module
        files = sorted(path.rglob("*")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(root)}".encode() + file.read_bytes())
    for core in sorted(root.glob("_core*.so")):
        digest.update(core.read_bytes())
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Return what identifies an output: its SHA-256, or its size where it is very large; folders likewise."""
    if path.is_dir():
        parts = [
            f"{file.relative_to(path)}={fingerprint(file)}"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
        return store.hash_value(parts)
    size = path.stat().st_size
    return f"size:{size}" if size > _HASHED_BYTES else store.hash_file(path)


def fingerprint_input(path: Path | None) -> str:
    """Return a fingerprint of an input from names, sizes and times; files are not opened."""
    if path is None or not path.exists():
        return "none"
    digest = hashlib.sha256()
    if path.is_file():
        files = [path]
    else:
        files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    for file in sorted(files):
        try:
            status = file.stat()
        except OSError:
            continue
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


class Memo:
    """Records of finished stages in ``OUT/stages``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "stages"

    def read(self, stage: str) -> Record | None:
        """Return the record of `stage`, None where it never finished."""
        try:
            return Record(**json.loads((self.folder / f"{stage}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def is_current(self, stage: str, key: str) -> bool:
        """Tell whether `stage` finished with `key` and its outputs are as it left them."""
        record = self.read(stage)
        if record is None or record.key != key:
            return False
        return all(
            (self.out / name).exists() and fingerprint(self.out / name) == mark
            for name, mark in record.outputs.items()
        )

    def run(self, stage: str, key: str, outputs: tuple[str, ...], work: Callable[[], str]) -> str:
        """Run `work`, record it and return its note; an interrupted stage leaves no record and runs again."""
        (self.folder / f"{stage}.json").unlink(missing_ok=True)
        for name in outputs:  # what this run does not write must not pass for its result
            path = self.out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        start = time.monotonic()
        note = work()
        record = Record(
            key,
            {name: fingerprint(self.out / name) for name in outputs if (self.out / name).exists()},
            round(time.monotonic() - start, 3),
            peak_memory(),
            note,
        )
        store.write_json(self.folder / f"{stage}.json", record.__dict__)
        return note


def peak_memory() -> int:
    """Return the peak resident memory of this process and its largest child, bytes."""
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) * 1024


@contextmanager
def open_output(out: Path) -> Iterator[None]:
    """Make the output folder and hold it, so that two runs never write into one.

    Raises
    ------
    CannotWriteError
        If the folder cannot be made or written.
    UsageError
        If another run holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise CannotWriteError(f"cannot write into {out}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another run works in {out}: wait for it or choose another folder") from error
        for part in out.rglob(".*.part"):  # left by a run that was killed
            part.unlink(missing_ok=True)
        yield


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory and versions, for provenance."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    versions = {}
    for name in (
        "numpy",
        "scipy",
        "numba",
        "torch",
        "pydicom",
        "pyarrow",
        "gensim",
        "scikit-learn",
        "onnxruntime",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "radfast": __version__,
        "versions": versions,
    }
