"""The gibbs kernel stays within 20 bytes per token and 12 V K bytes, at any number of threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from radfast.kernels import gibbs

_PROGRAM = """
import re, sys
import numpy as np
from radfast.kernels import gibbs

method, n_topics, planned, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def run(n_tokens, n_sweeps):
    rows = np.random.default_rng(0).integers(0, 2000, n_tokens, dtype=np.int32)
    indptr = np.append(np.arange(0, n_tokens, 50), n_tokens)
    chain = gibbs.start(indptr, rows, n_topics, n_rows=2000, alpha=0.1, eta=0.01)
    gibbs.sample(chain, n_sweeps, method=method, planned=planned, threads=threads)
    gibbs.refine(chain, 2, threads=threads)
def peak():
    # Not getrusage: its peak is inherited from the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read()).group(1))
run(100_000, planned or 1)  # all is loaded and compiled
before = peak()
run(2_000_000, planned or 1)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
@pytest.mark.parametrize(
    ("method", "n_topics", "planned", "threads"),
    [
        ("mh", 200, 0, 8),
        ("dense", 200, 0, 8),
        ("sparse", 200, 0, 2),
        ("auto", 16, 20, 2),
        ("auto", 200, 20, 2),
    ],
)
def test_memory_is_bounded(method, n_topics, planned, threads):
    arguments = [method, n_topics, planned, threads]
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    # What stays of the small run before counts for neither; 4 MB for what an allocator keeps.
    limit = 20 * 2_000_000 + 12 * 2000 * 208 + 4_000_000
    assert 4 * 2_000_000 < int(process.stdout) < limit


def test_rows_begin_with_a_line_of_the_cache():
    for n_topics in (3, 80, 300):
        chain = gibbs.start([0, 3], [0, 1, 1], n_topics, n_rows=2, alpha=0.1, eta=0.01)
        assert all(row.ctypes.data % 64 == 0 for row in chain.word_topic)
