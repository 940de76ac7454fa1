"""A signal in the middle of a run ends it soon, and the chain is whole."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from radfast.kernels import gibbs


class Stopped(Exception):
    """What the handler raises."""


@pytest.fixture
def alarm():
    """Call it to get a signal in the middle of what follows."""

    def stop(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    timers = []

    def ring(seconds):
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1)))
        timers[-1].start()

    yield ring
    for timer in timers:
        timer.join()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("method", "n_topics", "planned"),
    [("dense", 20, 0), ("sparse", 20, 0), ("mh", 20, 0), ("auto", 20, 10**6), ("auto", 130, 0)],
)
def test_a_run_ends_soon_and_the_chain_is_whole(alarm, method, n_topics, planned, threads):
    random = np.random.default_rng(0)
    sizes = random.integers(0, 30, 15_000)
    indptr = np.concatenate(([0], np.cumsum(sizes)))  # enough tokens for a start on a part
    rows = random.integers(0, 500, indptr[-1]).astype(np.int32)
    chain = gibbs.start(indptr, rows, n_topics, n_rows=500, alpha=0.1, eta=0.05, seed=1)
    gibbs.sample(chain, 0, method=method, planned=planned)
    before = chain.topics.copy()
    alarm(0.5)
    with pytest.raises(Stopped):
        gibbs.sample(
            chain, 10**6, method=method, planned=planned, threads=threads
        )  # whole, it would take hours
    counts = np.zeros_like(chain.word_topic)
    np.add.at(counts, (rows, chain.topics), 1)
    np.testing.assert_array_equal(chain.word_topic, counts)
    np.testing.assert_array_equal(chain.totals[0], counts.sum(axis=0))
    assert (chain.topics != before).any()
    done = chain.n_sweeps
    gibbs.sample(chain, 1, method=method, planned=planned)
    assert chain.n_sweeps == done + 1
