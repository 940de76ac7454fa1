"""Progress three ways: bars on a terminal, a line per 30 s elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Literal, Protocol

from radfast.errors import UsageError

Mode = Literal["auto", "bars", "lines", "json", "none"]
_LINE_SECONDS = 30.0
_JSON_SECONDS = 1.0


class Reporter(Protocol):
    """What the pipeline tells while it works."""

    def begin(self, stage: str) -> None:
        """A stage starts."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` units are done; total 0 means unknown."""

    def end(self, note: str) -> None:
        """The stage is over; `note` says in a few words what came out."""

    def close(self) -> None:
        """The run is over."""


class _Silent:
    def begin(self, stage: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def end(self, note: str) -> None: ...
    def close(self) -> None: ...


class _Lines:
    def __init__(self) -> None:
        self._stage, self._start, self._last = "", 0.0, 0.0

    def begin(self, stage: str) -> None:
        self._stage, self._start = stage, time.monotonic()
        self._last = self._start

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS:
            self._last = now
            share = f"{done} of {total}" if total else f"{done}"
            print(f"{self._stage:<9} {share} after {now - self._start:.0f} s", file=sys.stderr, flush=True)  # noqa: T201

    def end(self, note: str) -> None:
        seconds = time.monotonic() - self._start
        print(f"{self._stage:<9} {seconds:7.1f} s  {note}", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None: ...


class _Json:
    def __init__(self) -> None:
        self._stage, self._start, self._last = "", 0.0, 0.0

    def _write(self, event: str, **values: Any) -> None:
        seconds = round(time.monotonic() - self._start, 3)
        line = {"event": event, "stage": self._stage, "seconds": seconds, **values}
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201

    def begin(self, stage: str) -> None:
        self._stage, self._start, self._last = stage, time.monotonic(), 0.0
        self._write("begin")

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _JSON_SECONDS:
            self._last = now
            self._write("progress", done=done, total=total)

    def end(self, note: str) -> None:
        self._write("end", note=note)

    def close(self) -> None: ...


class _Bars:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._stage, self._start = "", 0.0
        self._task: Any = None

    def begin(self, stage: str) -> None:
        self._stage, self._start = stage, time.monotonic()
        self._task = self._bars.add_task(stage, total=None)

    def advance(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total or None)

    def end(self, note: str) -> None:
        self._bars.remove_task(self._task)
        seconds = time.monotonic() - self._start
        self._console.print(f"{self._stage:<9} {seconds:7.1f} s  {note}", highlight=False, markup=False)

    def close(self) -> None:
        self._bars.stop()


def make_reporter(mode: str) -> Reporter:
    """Return the reporter for ``--progress`` `mode`; "auto" looks whether a terminal is there."""
    if mode == "auto":
        mode = "bars" if sys.stderr.isatty() else "lines"
    match mode:
        case "bars":
            return _Bars()
        case "lines":
            return _Lines()
        case "json":
            return _Json()
        case "none":
            return _Silent()
    raise UsageError(f"--progress {mode}: choose auto, bars, lines, json or none")
