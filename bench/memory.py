"""Memory that a cosine search takes beside its data: the peak of the process less inputs and answers.

Each figure comes from a process of its own, which first searches a few queries (code, threads and the index
of a peer are not counted), then sets the peak back and searches all. Linux only.

    python -m bench.memory --case cosine-dense-1t --save cosine-memory
"""

from __future__ import annotations

import argparse
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.cases import CASES
from bench.compare import write_result

_FEW = 32


def _resident(field: str) -> int:
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert match is not None
    return int(match[1]) * 1024


def measure_beside(name: str, who: str) -> dict[str, Any]:
    """Run case `name`, ours or one of its peers, in this process and return its bytes beside the data."""
    case = next(case for case in CASES if case.name == name)
    work = case.work if who == "radfast" else case.peers[who]
    state = case.set_up(**case.sizes)
    few = {**state, "queries": state["queries"][:_FEW]}
    work(few)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets the peak back
    before = _resident("VmRSS")
    answers = work({**few, "queries": state["queries"]})
    peak = _resident("VmHWM")
    answers = answers if isinstance(answers, tuple) else (answers,)
    size = sum(part.nbytes for part in answers)
    return {"case": name, "who": who, "sizes": dict(case.sizes), "bytes": peak - before - size}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="bench.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--case", action="append", required=True, help="cosine case, repeatable")
    parser.add_argument("--peer", action="append", default=[], help="peer to measure as well, repeatable")
    parser.add_argument("--save", help="name of the file under bench/results")
    options = parser.parse_args()
    results = []
    for name in options.case:
        for who in ("radfast", *options.peer):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                results.append(process.submit(measure_beside, name, who).result())
            print(f"{name:<24} {who:<12} {results[-1]['bytes'] / 1e6:8.1f} MB beside the data")
    if options.save:
        print(f"written to {write_result(options.save, results)}")


if __name__ == "__main__":
    main()
