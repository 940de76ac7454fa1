"""Every file below a folder, once, in an order that depends on names alone."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from radfast.archive.reasons import Reason


@dataclass(frozen=True)
class Found:
    """What a walk saw.

    Attributes
    ----------
    files : list of str
        Regular files relative to the root, forward slashes, sorted.
    odd : dict of str to Reason
        Entries that cannot be opened as a file or listed as a folder (folders end in '/').
    """

    files: list[str] = field(default_factory=list)
    odd: dict[str, Reason] = field(default_factory=dict)


def find_files(root: Path, skip: frozenset[Path] = frozenset()) -> Found:
    """List the files below `root`.

    Real folders are walked first, links to folders after them; no folder is listed twice, so loops end and
    a file keeps the name it has without links.

    Parameters
    ----------
    root : Path
        Folder to walk.
    skip : frozenset of Path
        Resolved files and folders to leave out.

    Raises
    ------
    OSError
        If `root` itself cannot be listed.
    """
    found = Found()
    left_out = {path.name for path in skip}
    seen = {_identity(root.stat())}
    pending = [""]
    linked: list[str] = []
    while pending or linked:
        if not pending:
            # the smallest name first: which of two links to one folder wins must not depend on the disk
            linked.sort(reverse=True)
            folder = linked.pop()
            try:
                identity = _identity((root / folder).stat())
            except OSError:
                found.odd[printable(folder)] = Reason.BROKEN_LINK
                continue
            if identity in seen:
                continue
            seen.add(identity)
            pending.append(folder)
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                listing = list(entries)
        except OSError:
            if not folder:
                raise
            found.odd[printable(folder) + "/"] = Reason.UNREADABLE
            continue
        for entry in listing:
            name = f"{folder}/{entry.name}" if folder else entry.name
            # resolving every path of millions would take minutes
            if (entry.name in left_out or entry.is_symlink()) and _resolve(entry.path) in skip:
                continue
            _sort_in(entry, name, found, pending, linked, seen)
    found.files.sort()
    return found


def _sort_in(
    entry: os.DirEntry[str],
    name: str,
    found: Found,
    pending: list[str],
    linked: list[str],
    seen: set[tuple[int, int]],
) -> None:
    try:
        if entry.is_symlink():
            if entry.is_dir():
                linked.append(name)
                return
            if not Path(entry.path).exists():
                found.odd[printable(name)] = Reason.BROKEN_LINK
                return
        elif entry.is_dir():
            seen.add(_identity(entry.stat(follow_symlinks=False)))
            pending.append(name)
            return
        if entry.is_file():
            found.files.append(name)
        else:
            found.odd[printable(name)] = Reason.SPECIAL_FILE
    except OSError as error:
        circle = error.errno == errno.ELOOP
        found.odd[printable(name)] = Reason.BROKEN_LINK if circle else Reason.UNREADABLE


def _resolve(path: str) -> Path:
    # Path.resolve raises on links in a circle
    return Path(os.path.realpath(path))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def printable(name: str) -> str:
    r"""Return a file name that any UTF-8 table can hold: bytes that are no UTF-8 become ``\xNN``."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name
