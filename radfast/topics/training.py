"""The course of a training: sweeps in blocks, with trace, samples, alpha, early stop and checkpoints.

What happens after a sweep depends on its number and on the state of the chain alone, never on the clock, so
that a run that was killed and resumed at a checkpoint ends in the very same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfast.errors import InputError
from radfast.kernels import gibbs
from radfast.topics.files import Checkpoint, plain_alpha
from radfast.topics.prior import OPTIMIZE, estimate_alpha
from radfast.types import Progress, no_progress

#: ``callback(sweep, log_likelihood)``; returning True ends the training.
Callback = Callable[[int, float], bool | None]
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Schedule:
    """When what happens; the fields are parameters of `LDA`."""

    n_sweeps: int
    method: str = "auto"
    backend: str = "auto"
    threads: int = 0
    evaluate_every: int = 10
    burn_in: int = 50
    sample_every: int = 0
    refine: int = 6
    optimize_alpha: str = "no"
    optimize_every: int = 10
    tolerance: float = 0.0
    patience: int = 5

    def check(self, function: str) -> None:
        """Raise `InputError` for the first field out of its range."""
        least = {"n_sweeps": 1, "evaluate_every": 0, "burn_in": 0, "sample_every": 0, "refine": 0}
        for name, bound in {**least, "optimize_every": 1, "patience": 1}.items():
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < bound:
                raise InputError(f"[{function}] {name} must be a whole number from {bound}, is {value}")
        if self.method not in gibbs.METHODS:
            raise InputError(
                f"[{function}] method must be one of {', '.join(gibbs.METHODS)}, is '{self.method}'"
            )
        if self.optimize_alpha not in OPTIMIZE:
            known = ", ".join(OPTIMIZE)
            raise InputError(
                f"[{function}] optimize_alpha must be one of {known}, is '{self.optimize_alpha}'"
            )
        if not self.tolerance >= 0:
            raise InputError(f"[{function}] tolerance must be 0 or more, is {self.tolerance}")

    def traces(self, sweep: int) -> bool:
        """Tell whether the log-likelihood is noted after `sweep`."""
        return sweep == self.n_sweeps or (self.evaluate_every > 0 and sweep % self.evaluate_every == 0)

    def samples(self, sweep: int) -> bool:
        """Tell whether the counts after `sweep` enter the mean; the last sweep always does."""
        return self.sample_every > 0 and sweep > self.burn_in and sweep % self.sample_every == 0

    def optimizes(self, sweep: int) -> bool:
        """Tell whether alpha is estimated after `sweep`."""
        return self.optimize_alpha != "no" and sweep > self.burn_in and sweep % self.optimize_every == 0

    def next_stop(self, sweep: int, first_sample: int | None) -> int:
        """Return the first sweep after `sweep` at which anything happens.

        Where the kernel sums the samples, `first_sample` is the sweep after which it begins.
        """
        steps = [self.evaluate_every, self.sample_every if first_sample is None else 0]
        steps.append(self.optimize_every if self.optimize_alpha != "no" else 0)
        stops = [self.n_sweeps, *((sweep // step + 1) * step for step in steps if step)]
        if first_sample is not None and first_sample > sweep:
            stops.append(first_sample)
        return min(stops)


class Training:
    """A chain on its way through a `Schedule`.

    Attributes
    ----------
    chain : Chain
    sweeps, values : list of int, list of float
        The trace: log p(words, topics), nats, after each of the sweeps.
    n_samples : int
        Samples in the sum so far.
    ended : bool
        A callback or the rule for an early stop ended the training.
    """

    def __init__(self, chain: gibbs.Chain, schedule: Schedule, checkpoint: Checkpoint | None = None) -> None:
        self.chain = chain
        self.schedule = schedule
        self.checkpoint = checkpoint
        self.sweeps: list[int] = []
        self.values: list[float] = []
        self.n_samples = 0
        self.ended = False
        self._counts: NDArray[Any] | None = None
        self._totals: NDArray[np.int64] = np.zeros((len(chain.totals), chain.n_topics), np.int64)
        # Where every sweep is a sample the kernel sums them, if 32 bits hold the sum.
        self._table: NDArray[np.int32] | None = None
        if schedule.sample_every == 1 and schedule.n_sweeps * len(chain.rows) <= _INT32:
            self._table = np.zeros_like(chain.word_topic)
        # The stages need to know the length of the run, which an early stop leaves open.
        staged = schedule.method == "auto" and schedule.tolerance == 0 and len(chain.totals) == 1
        self._planned = schedule.n_sweeps if staged else 0
        self._whole = gibbs.first_whole_sweep(chain, self._planned)
        if checkpoint is not None and checkpoint.state is not None:
            self._restore(checkpoint.state)

    @staticmethod
    def beginning(checkpoint: Checkpoint | None, alpha: Any) -> dict[str, Any]:
        """Return what `gibbs.start` takes to go on from `checkpoint`, to begin with `alpha` without one."""
        if checkpoint is None or checkpoint.state is None:
            return {"alpha": alpha}
        state = checkpoint.state
        return {
            "alpha": plain_alpha(state["alpha"]),
            "topics": state["topics"],
            "n_sweeps": int(state["numbers"][0]),
        }

    def run(
        self,
        *,
        progress: Progress = no_progress,
        callback: Callback | None = None,
    ) -> Training:
        """Sweep to the end; the checkpoint is written at points of the trace, when it is time, and last."""
        plan, chain = self.schedule, self.chain
        saved = time.monotonic()
        progress(chain.n_sweeps, plan.n_sweeps)
        while chain.n_sweeps < plan.n_sweeps and not self.ended:
            begin, first_sample = chain.n_sweeps, max(plan.burn_in, self._whole)
            stop = plan.next_stop(begin, None if self._table is None else first_sample)
            adds = self._table is not None and stop > first_sample
            gibbs.sample(
                chain,
                stop - chain.n_sweeps,
                method=plan.method,
                planned=self._planned,
                backend=plan.backend,
                threads=plan.threads,
                sums=self._table if adds else None,
            )
            whole = stop > self._whole
            if whole and plan.optimizes(stop):
                self._optimize()
            if adds:
                self.n_samples += stop - begin
            elif whole and plan.samples(stop):
                self._counts, self._totals = self._sums()
                self.n_samples += 1
            if not plan.traces(stop):
                continue
            self.sweeps.append(stop)
            self.values.append(gibbs.log_likelihood(chain, threads=plan.threads))
            progress(stop, plan.n_sweeps)
            asked = callback is not None and bool(callback(stop, self.values[-1]))
            self.ended = asked or self._settled()
            last = self.ended or stop == plan.n_sweeps
            if self.checkpoint is not None and (last or time.monotonic() - saved >= self.checkpoint.seconds):
                self.checkpoint.write(self._state())
                saved = time.monotonic()
        return self

    def counts(self) -> tuple[NDArray[Any], NDArray[Any], int]:
        """Return tokens (R, K) of each row and (G, K) of each group in each topic, and the number of samples.

        They are the sum of so many samples, of which the last sweep is always one. Where the schedule has
        them refined they are the float32 and float64 counts expected from one sample.
        """
        if self.schedule.refine == 0:
            return self._samples()
        mean = None
        if self.n_samples:
            counts, _, n_samples = self._samples()
            mean = counts / np.float32(n_samples)
        expected = gibbs.refine(self.chain, self.schedule.refine, counts=mean, threads=self.schedule.threads)
        return expected, _sum_groups(expected, self.chain.row_group, len(self._totals)), 1

    def _samples(self) -> tuple[NDArray[Any], NDArray[np.int64], int]:
        self._read_table()
        if self.n_samples and self.schedule.samples(self.chain.n_sweeps):
            assert self._counts is not None
            return self._counts, self._totals, self.n_samples
        return *self._sums(), self.n_samples + 1

    def _state(self) -> dict[str, NDArray[Any]]:
        # All that a twin needs beside the corpus and the settings.
        self._read_table()
        numbers = [self.chain.n_sweeps, self.n_samples, int(self.ended)]
        state: dict[str, NDArray[Any]] = {
            "topics": self.chain.topics,
            "alpha": np.asarray(self.chain.alpha, np.float64),
            "sweeps": np.array(self.sweeps, np.int64),
            "values": np.array(self.values, np.float64),
            "numbers": np.array(numbers, np.int64),
        }
        if self._counts is not None:
            state |= {"counts": self._counts, "totals": self._totals}
        return state

    def _restore(self, state: dict[str, NDArray[Any]]) -> None:
        self.sweeps = [int(sweep) for sweep in state["sweeps"]]
        self.values = [float(value) for value in state["values"]]
        _, self.n_samples, ended = (int(number) for number in state["numbers"])
        self.ended = bool(ended)
        if "counts" in state and self._table is not None:
            self._table[:, : self.chain.n_topics] = state["counts"]
        elif "counts" in state:
            self._counts, self._totals = state["counts"], state["totals"]

    def _read_table(self) -> None:
        if self._table is not None and self.n_samples:
            self._counts = self._table[:, : self.chain.n_topics].copy()
            self._totals = _sum_groups(self._counts, self.chain.row_group, len(self._totals))

    def _sums(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        k, plan = self.chain.n_topics, self.schedule
        counts, totals = self.chain.word_topic[:, :k], self.chain.totals[:, :k].astype(np.int64)
        if self._counts is not None:
            return self._counts + counts, self._totals + totals
        most = plan.n_sweeps // plan.sample_every + 1 if plan.sample_every else 1
        return counts.astype(np.int64 if most * len(self.chain.rows) > _INT32 else np.int32), totals

    def _optimize(self) -> None:
        n_topics = self.chain.n_topics
        alpha = np.broadcast_to(np.asarray(self.chain.alpha, np.float64), (n_topics,))
        symmetric = self.schedule.optimize_alpha == "symmetric"
        fresh = estimate_alpha(self.chain.indptr, self.chain.topics, alpha, symmetric=symmetric)
        self.chain.alpha = float(fresh[0]) if symmetric else fresh

    def _settled(self) -> bool:
        plan = self.schedule
        values = [v for s, v in zip(self.sweeps, self.values, strict=True) if s > plan.burn_in]
        if plan.tolerance == 0 or len(values) < 2 * plan.patience:
            return False
        late, early = values[-plan.patience :], values[-2 * plan.patience : -plan.patience]
        gain = (sum(late) - sum(early)) / plan.patience
        return gain < plan.tolerance * len(self.chain.rows)


def _sum_groups(counts: NDArray[Any], row_group: NDArray[np.int32], n_groups: int) -> NDArray[Any]:
    # Rows are in the order of their groups. `np.add.at` takes longer than 30 sweeps of a small corpus.
    edges = np.searchsorted(row_group, np.arange(n_groups + 1))
    kind = np.int64 if counts.dtype.kind == "i" else np.float64
    return np.array([counts[a:b].sum(axis=0, dtype=kind) for a, b in pairwise(edges)])
