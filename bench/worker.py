"""One side of a comparison: obeys lines of JSON on standard input, so that two revisions can take turns."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.case import Case
from bench.cases import CASES


def serve() -> None:
    """Answer ``{"case": name}`` with the work in it, ``{"go": true}`` with seconds, until input ends.

    With ``"peer"`` beside the case the peer does the work.
    """
    # A chatty library must not break the protocol, be it written in C++.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    state: Any = None
    work: Callable[[Any], Any] = print
    for line in sys.stdin:
        order = json.loads(line)
        if "case" in order:
            case = next((case for case in CASES if case.name == order["case"]), None)
            if case is None:
                answer: dict[str, Any] = {"absent": True}
            else:
                answer, state, work = _start(case, order.get("peer"))
        else:
            start = time.perf_counter()
            work(state)
            answer = {"seconds": time.perf_counter() - start}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _start(case: Case, peer: str | None) -> tuple[dict[str, Any], Any, Callable[[Any], Any]]:
    """Set the case up and do its work once, ours or the peer's; return the answer, the state and the work."""
    state = case.set_up(**case.sizes)
    work = case.peers[peer] if peer else case.work
    try:
        result = work(state)
    except ImportError as error:
        return {"missing": error.name}, None, work
    if not peer:
        case.check(state, result)
    return {"count": case.count(state), "unit": case.unit, "sizes": dict(case.sizes)}, state, work


if __name__ == "__main__":
    serve()
