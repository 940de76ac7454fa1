"""Ours against a peer, or base against head: interleaved, judged by the median of pair ratios.

Each round runs A, A again and B. The ratios A/A give the band that this machine's noise makes of no change
at all, in this very session; a median of B/A inside it says nothing. Stored times are never compared.
A peer works in a process of its own, which stands still while ours works, so that neither side pays for
the other's memory and threads.

    python -m bench.compare --case cosine-dense-2t --peer numpy      ours against a peer
    python -m bench.compare --base main~3                         every case, two revisions, two processes
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.cases import CASES
from radfast import _core

_ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
_REST = 0.05  # seconds before each call of a peer comparison: the threads of some runtimes spin on after work


def judge(first: list[float], again: list[float], other: list[float]) -> dict[str, Any]:
    """Compare `other` with `first`, both in seconds per call and measured in turn.

    Returns
    -------
    dict
        ``ratio``: median of other/first; ``low``, ``high``: the 99 % bootstrap interval of the median that
        again/first has in the same run; ``verdict``: "same", "slower" or "faster".
    """
    a, b, c = (np.asarray(times) for times in (first, again, other))
    random = np.random.default_rng(0)
    draws = random.integers(0, len(a), (2000, len(a)))
    low, high = np.quantile(np.median((b / a)[draws], axis=1), [0.005, 0.995])
    ratio = float(np.median(c / a))
    verdict = "slower" if ratio > high else "faster" if ratio < low else "same"
    return {"ratio": ratio, "low": float(low), "high": float(high), "verdict": verdict, "pairs": len(a)}


def take_turns(a: Callable[[], float], b: Callable[[], float], rounds: int) -> dict[str, Any]:
    """Run A, A, B `rounds` times (the order of the last two alternates) and judge B against A."""
    first, again, other = [], [], []
    for turn in range(rounds):
        first.append(a())
        if turn % 2:
            other.append(b())
            again.append(a())
        else:
            again.append(a())
            other.append(b())
    seconds = {"seconds": float(np.median(first)), "seconds_other": float(np.median(other))}
    return {**judge(first, again, other), **seconds}


def compare_peer(name: str, peer: str, rounds: int) -> dict[str, Any]:
    """Run case `name` in this process against one of its peers in another."""
    case = next(case for case in CASES if case.name == name)
    state = case.set_up(**case.sizes)
    case.check(state, case.work(state))
    work = case.count(state)
    products = case.products(state) if case.products else 0.0
    shares: dict[str, list[float]] = {"share_of_peak": [], "share_of_peak_other": []}

    def rested(share: str, call: Callable[[], float]) -> Callable[[], float]:
        def turn() -> float:
            time.sleep(_REST)
            # The clock of a processor wanders: its peak is taken right before and after.
            before = _measure_peak(case.threads) if products else 0.0
            seconds = call()
            if before:
                peak = (before + _measure_peak(case.threads)) / 2
                shares[share].append(products / seconds / peak)
            return seconds

        return turn

    def ours() -> float:
        start = time.perf_counter()
        case.work(state)
        return time.perf_counter() - start

    with closing(_Side(_ROOT)) as side:
        missing = side.ask(case=name, peer=peer).get("missing")
        if missing:
            raise ModuleNotFoundError(name=missing)

        def undisturbed() -> float:
            with side.stand_still():
                return ours()

        turns = rested("share_of_peak", undisturbed), rested("share_of_peak_other", side.time)
        result = take_turns(*turns, rounds)
    return {
        "case": name,
        "peer": peer,
        "sizes": dict(case.sizes),
        "unit": case.unit,
        "per_second": work / result["seconds"],
        "per_second_other": work / result["seconds_other"],
        **{share: float(np.median(values)) for share, values in shares.items() if values},
        **result,
    }


def _measure_peak(threads: int) -> float:
    """Return the multiply-adds per second that `threads` threads make on registers alone; 0 without SIMD."""
    with ThreadPoolExecutor(threads) as team:
        return sum(team.map(_core.fma_peak, [0.1] * threads))


class _Side:
    """A worker process: of a revision, or of a peer."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker ended with code {self._process.wait()} at {order}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def time(self) -> float:
        return float(self.ask(go=True)["seconds"])

    @contextmanager
    def stand_still(self) -> Iterator[None]:
        """Stop the process meanwhile: threads of some runtimes clear memory up long after the answer."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def _build_revision(revision: str) -> Iterator[Path]:
    """Check `revision` out beside this one and build its core there."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), revision], cwd=_ROOT, check=True)
        try:
            _build(tree)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=_ROOT, check=True)


def _build(tree: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=tree, env=environment, check=True)


def compare_revisions(revision: str, names: list[str], rounds: int) -> list[dict[str, Any]]:
    """Run the cases of both revisions in turn; a case that the base lacks is left out and said."""
    results = []
    with _build_revision(revision) as tree, ExitStack() as stack:
        _build(_ROOT)
        base, head = _Side(tree), _Side(_ROOT)
        stack.callback(base.close)
        stack.callback(head.close)
        for name in names:
            answers = [side.ask(case=name) for side in (base, head)]
            if any(answer.get("absent") for answer in answers):
                print(f"{name:<24} only in one of the two revisions")
                continue
            result = {"case": name, "base": revision, **take_turns(base.time, head.time, rounds)}
            results.append(result)
            print(_line(name, f"against {revision}", result))
    return results


def _line(name: str, what: str, result: dict[str, Any]) -> str:
    band = f"A/A {result['low']:.3f} to {result['high']:.3f}, {result['pairs']} pairs"
    share = f", {result['share_of_peak']:.3f} of the peak" if "share_of_peak" in result else ""
    return f"{name:<24} {what}: time ratio {result['ratio']:.3f} ({band}) {result['verdict']}{share}"


def write_result(name: str, results: list[dict[str, Any]]) -> Path:
    """Write results with machine and versions to bench/results/`name`.json."""
    from radfast.pipeline import describe_machine

    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"machine": describe_machine(), "results": results}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def _with_others(name: str, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return results and what the file holds of other cases and peers, measured on the same machine."""
    from radfast.pipeline import describe_machine

    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if old.get("machine") != describe_machine():
        return results

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["case"], row.get("peer"), row.get("base")

    now = {key(row) for row in results}
    order = [case.name for case in CASES]
    rows = [*results, *(row for row in old["results"] if key(row) not in now and row["case"] in order)]
    return sorted(rows, key=lambda row: order.index(row["case"]))


def _check_names(names: list[str], peers: list[str]) -> None:
    """Refuse what there is not before anything is measured."""
    known = {case.name: case.peers for case in CASES}
    for name in names:
        if name not in known:
            raise SystemExit(f"no case '{name}'; there are {', '.join(known)}")
        for peer in peers:
            if peer not in known[name]:
                raise SystemExit(f"case '{name}' has no peer '{peer}', but {', '.join(known[name])}")


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog="bench.compare", description=__doc__.split("\n")[0])
    parser.add_argument("--case", action="append", help="case, repeatable; default all")
    parser.add_argument("--peer", action="append", help="peer of the case, repeatable; default all installed")
    parser.add_argument("--base", help="revision to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", help="name of the file under bench/results; other rows of it stay")
    options = parser.parse_args()
    names = options.case or [case.name for case in CASES]
    _check_names(names, options.peer or [])
    if options.base:
        results = compare_revisions(options.base, names, options.rounds)
    else:
        results = []
        for case in (case for case in CASES if case.name in names):
            for peer in options.peer or case.peers:
                try:
                    result = compare_peer(case.name, peer, options.rounds)
                except ImportError as error:
                    print(f"{case.name:<24} {peer} is not installed ({error.name})")
                    continue
                except FileNotFoundError as error:
                    print(f"{case.name:<24} left out: {error}")
                    continue
                results.append(result)
                print(_line(case.name, f"{peer} over radfast", result))
    if options.save:
        rows = _with_others(options.save, results)
        print(f"written to {write_result(options.save, rows).relative_to(_ROOT)}")
    if options.base and any(result["verdict"] == "slower" for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
