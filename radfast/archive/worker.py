"""The process that decodes: paths come in, answers go out; it may die at any file without harm to the run.

Both directions carry frames. In: 4-byte length, path as the file system spells it. Out: two 4-byte lengths,
JSON, bytes of the picture. Nothing is unpickled: a decoder gone wild in here cannot reach the parent.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

OUT_HEAD = struct.Struct("<II")
IN_HEAD = struct.Struct("<I")

#: Address space of one worker, bytes: a file that wants more ends as too_large, and the machine stays up.
MEMORY_BYTES = 4 << 30


def serve(size: int, timeout: float) -> None:
    """Answer paths from standard input until it ends.

    Parameters
    ----------
    size : int
        Side of the pictures, pixels.
    timeout : float
        Seconds for one file. The parent ends a worker that takes longer; an orphan ends itself soon after.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inward = os.fdopen(os.dup(0), "rb")
    outward = os.fdopen(os.dup(1), "wb", buffering=0)
    _mute()
    _limit_memory()
    from radfast.archive.instance import read_instance

    _send(outward, {"ready": True}, b"")
    while (path := _receive(inward)) is not None:
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout + 5)
        instance = read_instance(Path(os.fsdecode(path)), size)
        signal.setitimer(signal.ITIMER_REAL, 0)
        picture = b"" if instance.picture is None else instance.picture.tobytes()
        answer = {name: value for name, value in vars(instance).items() if name != "picture"}
        _send(outward, answer, picture)


def _mute() -> None:
    """Point the standard streams at nothing: decoders print what they like, sometimes values of a file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _receive(inward: BinaryIO) -> bytes | None:
    head = inward.read(IN_HEAD.size)
    return inward.read(IN_HEAD.unpack(head)[0]) if len(head) == IN_HEAD.size else None


def _send(outward: Any, answer: dict[str, Any], picture: bytes) -> None:
    text = json.dumps(answer).encode()
    frame = memoryview(OUT_HEAD.pack(len(text), len(picture)) + text + picture)
    while frame:
        frame = frame[outward.write(frame) :]
