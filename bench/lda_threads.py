"""What a second core adds to LDA: bench/results/lda-threads.json.

Wall time of the same run with one thread and with two, in turn; the figure is the median ratio over the
pairs. A run is a whole one of ``auto``, its first topics learnt and all. tomotopy beside it, with one worker
and with two, and what the machine gives at most: two runs of one thread that have nothing in common, at the
same time, against one of them alone.

    python -m bench.lda_threads DATA [--rounds 7]

DATA as for `bench.lda_quality`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare import write_result
from bench.lda_quality import ETA, Split, split
from radfast.kernels import gibbs

CASES = (
    ("notes", 80), ("notes", 1000), ("sentences", 80), ("sentences", 1000), ("captions", 80), ("apart", 80),
)  # fmt: skip
ALPHA, TOKENS = 0.1, 40_000_000  # tokens times sweeps of a run
THREADS = (1, 2)


def compare(rounds: int, run: Callable[[int], float]) -> dict[str, Any]:
    """Time ``run(threads)`` with each number of threads in turn."""
    run(1)
    seconds = [[run(threads) for threads in THREADS] for _ in range(rounds)]
    return {"ratio": float(np.median([one / two for one, two in seconds])), "seconds": seconds}


def time_call(work: Callable[[], Any]) -> float:
    """Wall seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_kernel(name: str, n_topics: int, corpus: Split, rounds: int) -> list[dict[str, Any]]:
    """A run of ``auto`` and rounds of `refine`."""
    indptr, rows, n_words, _ = corpus
    n_sweeps = max(20, TOKENS // len(rows))

    def begin() -> gibbs.Chain:
        return gibbs.start(indptr, rows, n_topics, n_rows=n_words, alpha=ALPHA, eta=ETA, seed=0)

    def sample(threads: int) -> float:
        chain = begin()
        return time_call(lambda: gibbs.sample(chain, n_sweeps, planned=n_sweeps, threads=threads))

    sampled = begin()
    gibbs.sample(sampled, 20)
    works = {
        "run": sample,
        "refine": lambda threads: time_call(lambda: gibbs.refine(sampled, threads=threads)),
    }
    return [
        {"case": f"{name}-{n_topics}-{what}", "tokens": len(rows), **compare(rounds, run)}
        for what, run in works.items()
    ]


def time_two_runs(corpus: Split, rounds: int) -> dict[str, Any]:
    """Sweeps over the notes at K = 80: twice a run alone, over two runs at once."""
    indptr, rows, n_words, _ = corpus

    def sample(_: int) -> None:
        chain = gibbs.start(indptr, rows, 80, n_rows=n_words, alpha=ALPHA, eta=ETA, seed=0)
        gibbs.sample(chain, max(20, TOKENS // len(rows)), threads=1)

    def run(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return time_call(lambda: list(pool.map(sample, range(threads)))) / threads

    return {"case": "notes-80-two-runs", "tokens": len(rows), **compare(rounds, run)}


def time_peer(corpus: Split, rounds: int) -> dict[str, Any]:
    """Sweeps of tomotopy over the notes at K = 80."""
    import tomotopy

    indptr, rows, _, _ = corpus

    def run(threads: int) -> float:
        model = tomotopy.LDAModel(k=80, alpha=ALPHA, eta=ETA, seed=1)
        model.optim_interval = 0
        for begin, end in pairwise(indptr):
            model.add_doc([str(w) for w in rows[begin:end]])
        model.train(1, workers=threads)
        return time_call(lambda: model.train(50, workers=threads))

    return {"case": "notes-80-tomotopy", "tokens": len(rows), **compare(rounds, run)}


def main() -> None:
    """Run all cases and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    results = []
    for name, n_topics in CASES:
        corpus = split(name, options.data)
        results += time_kernel(name, n_topics, corpus, options.rounds)
        if (name, n_topics) == CASES[0]:
            results += [time_peer(corpus, options.rounds), time_two_runs(corpus, options.rounds)]
    for result in results:
        print(result["case"], round(result["ratio"], 2))
    write_result("lda-threads", results)


if __name__ == "__main__":
    main()
