"""One side of a comparison: obeys lines of JSON on standard input, so that two revisions can take turns."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from bench.cases import CASES


def serve() -> None:
    """Answer ``{"case": name}`` with the work in it, ``{"go": true}`` with seconds, until input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a chatty library must not break the protocol
    state: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        if "case" in order:
            case = next((case for case in CASES if case.name == order["case"]), None)
            if case is None:
                answer: dict[str, Any] = {"absent": True}
            else:
                state = case.set_up(**case.sizes)
                case.check(state, case.work(state))
                answer = {"count": case.count(state), "unit": case.unit, "sizes": dict(case.sizes)}
        else:
            start = time.perf_counter()
            case.work(state)  # type: ignore[union-attr]
            answer = {"seconds": time.perf_counter() - start}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
