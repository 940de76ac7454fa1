"""Processes that decode; when one dies or hangs, the file it was at is charged and the others go on.

A pool of the standard library loses every task in flight with one killed process, or waits for ever; here
each worker is a plain child with two pipes, the parent knows which file it is at, and a new child takes the
place of a dead one.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from radfast.archive.reasons import Reason
from radfast.archive.worker import IN_HEAD, OUT_HEAD
from radfast.errors import RadfastError

Answer = tuple[dict[str, Any], bytes]

_ENTRY = "import sys; sys.path[:] = sys.argv[3:]; from radfast.archive.worker import serve; "
ENTRY = _ENTRY + "serve(int(sys.argv[1]), float(sys.argv[2]))"

_IN_FLIGHT = 4  # files handed to one worker: one at work, the rest waiting so that it never idles
_WINDOW_BYTES = 128 << 20  # pictures that may wait for an earlier file
_START_SECONDS = 120.0
_MAX_FAILED_STARTS = 3
_TRIES = 2  # a file that kills its worker once gets a second chance: the killer may have come from outside
_READ = 1 << 20


class _Worker:
    def __init__(self, command: list[str]) -> None:
        # one thread each: the processes are the parallelism
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | single,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise RadfastError("[DecodePool] a worker has no pipes")
        self.inward, self.outward = self.process.stdin, self.process.stdout
        os.set_blocking(self.outward.fileno(), False)
        self.buffer = bytearray()
        self.queue: deque[int] = deque()
        self.ready = self.shut = False
        self.since = time.monotonic()

    def send(self, index: int, path: bytes) -> None:
        if not self.queue:
            self.since = time.monotonic()
        self.queue.append(index)
        # a death is noticed where the answers are read
        with suppress(BrokenPipeError):
            self.inward.write(IN_HEAD.pack(len(path)) + path)

    def read(self) -> bool:
        """Take what the pipe holds; False at its end."""
        while True:
            try:
                block = os.read(self.outward.fileno(), _READ)
            except BlockingIOError:
                return True
            if not block:
                self.shut = True
                return False
            self.buffer += block

    def answers(self) -> Iterator[Answer]:
        while len(self.buffer) >= OUT_HEAD.size:
            text, picture = OUT_HEAD.unpack_from(self.buffer)
            end = OUT_HEAD.size + text + picture
            if len(self.buffer) < end:
                return
            answer = json.loads(self.buffer[OUT_HEAD.size : OUT_HEAD.size + text])
            pixels = bytes(self.buffer[OUT_HEAD.size + text : end])
            del self.buffer[:end]
            self.since = time.monotonic()
            yield answer, pixels

    def end(self) -> str:
        """See it off and say how it ended: one whose pipe is shut gets a moment to leave its exit code."""
        if self.shut:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
        self.process.kill()
        code = self.process.wait()
        self.inward.close()
        self.outward.close()
        if code >= 0:
            return f"exit {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class DecodePool:
    """Decodes files in processes of its own.

    Parameters
    ----------
    size : int
        Side of the pictures, pixels.
    timeout : float
        Seconds for one file.
    workers : int
        Processes.
    entry : str
        Python source a worker runs with (size, timeout, *sys.path) as arguments.
    """

    def __init__(self, size: int, timeout: float, workers: int, entry: str = ENTRY) -> None:
        self._command = [
            sys.executable,
            "-c",
            entry,
            str(size),
            str(timeout),
            *(entry or str(Path.cwd()) for entry in sys.path),
        ]
        self._timeout = timeout
        self._limit = max(_IN_FLIGHT * workers, min(4096, _WINDOW_BYTES // (size * size)))
        self._count = workers
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._selector.close()

    def decode(self, root: Path, names: Sequence[str]) -> Iterator[Answer]:
        """Yield the answer for each file of `names` below `root`, in their order.

        Raises
        ------
        RadfastError
            If no worker can be started.
        """
        done: dict[int, Answer] = {}
        again: deque[int] = deque()
        tries: dict[int, int] = {}
        given = emitted = 0
        for _ in range(min(self._count, -(-len(names) // _IN_FLIGHT))):
            self._start()
        while emitted < len(names):
            for worker in self._workers:
                while worker.ready and len(worker.queue) < _IN_FLIGHT:
                    if again:
                        index = again.popleft()
                    elif given < min(len(names), emitted + self._limit):
                        index, given = given, given + 1
                    else:
                        break
                    worker.send(index, os.fsencode(root / names[index]))
            for worker, verdict in self._listen(done):
                lost = list(worker.queue)
                if lost:
                    first = lost.pop(0)
                    tries[first] = tries.get(first, 0) + 1
                    if verdict == Reason.DECODE_TIMEOUT.value:
                        done[first] = _refusal(Reason.DECODE_TIMEOUT, f"over {self._timeout:g} s"), b""
                    elif tries[first] < _TRIES:
                        lost.insert(0, first)
                    else:
                        done[first] = _refusal(Reason.WORKER_CRASHED, verdict), b""
                again.extendleft(reversed(lost))
                self._start()
            while emitted in done:
                yield done.pop(emitted)
                emitted += 1

    def _start(self) -> None:
        worker = _Worker(self._command)
        self._workers.append(worker)
        self._selector.register(worker.outward, selectors.EVENT_READ, worker)

    def _listen(self, done: dict[int, Answer]) -> list[tuple[_Worker, str]]:
        """Collect answers for at most a second; return the workers that ended, and how."""
        ended: list[tuple[_Worker, str]] = []
        heard = set()
        for key, _ in self._selector.select(timeout=self._patience()):
            worker: _Worker = key.data
            heard.add(id(worker))
            alive = worker.read()
            for answer, picture in worker.answers():
                if not worker.ready:
                    worker.ready, self._failed_starts = True, 0
                else:
                    done[worker.queue.popleft()] = answer, picture
            if not alive:
                ended.append((worker, self._drop(worker)))
        now = time.monotonic()
        for worker in [worker for worker in self._workers if id(worker) not in heard]:
            allowed = self._timeout if worker.ready else _START_SECONDS
            if (worker.queue or not worker.ready) and now - worker.since > allowed:
                self._drop(worker)
                ended.append((worker, Reason.DECODE_TIMEOUT.value))
        return ended

    def _patience(self) -> float:
        return min(1.0, self._timeout / 4)

    def _drop(self, worker: _Worker) -> str:
        self._selector.unregister(worker.outward)
        self._workers.remove(worker)
        verdict = worker.end()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise RadfastError(f"[DecodePool] decode workers do not start ({verdict})")
        return verdict


def _refusal(reason: Reason, detail: str) -> dict[str, Any]:
    return {"state": "rejected", "reason": reason.value, "detail": detail, "kind": "dicom", "sha256": None}
