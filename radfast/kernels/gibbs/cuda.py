"""The `gibbs` kernel on the GPU: method ``mh`` by csrc/gibbs.cu, the same topics as on the CPU, bit for bit.

Records of 8 bytes stay on the GPU, word-major, with a position of 4 bytes and 2 of topic per token; positions
and the lists of units are built once per chain and kept with it. A corpus that does not fit is streamed: its
records stay in host memory, the pass over words sends ranges of them, the pass over documents ranges of
documents whose records the host gathers and puts back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radfast.kernels import on_gpu
from radfast.kernels.gibbs import cpu
from radfast.kernels.gibbs.team import compiled

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

# As in csrc/gibbs.cu.
_SEGMENT = 8192
_BLOCK = 256
_HELD = {"gibbs_pass_128": 128, "gibbs_pass_256": 256, "gibbs_pass_2048": 2048}
_IN_ORDER = 32

_TABLE_BYTES = 48 << 10  # of inverse totals, totals and their changes, up to which a block keeps a copy
_COUNTS_BYTES = 256 << 20  # of the counts of long units in one launch
_BYTES_PER_TOKEN = 16  # on the GPU: record, position, topic, new topic of long units
_SHARE_OF_MEMORY = 0.8  # of what is free, for records

_WORDS, _DOCUMENTS = 0, 1


def sample(chain: Chain, n_sweeps: int) -> None:
    """Advance `chain` by `n_sweeps` sweeps of method ``mh``."""
    if not isinstance(chain.on_gpu, _Sampler):
        free = int(on_gpu.cupy().cuda.runtime.memGetInfo()[0])
        room = int(free * _SHARE_OF_MEMORY) // _BYTES_PER_TOKEN
        chain.on_gpu = _Resident(chain) if len(chain.rows) <= room else _Streamed(chain, room)
    sampler = chain.on_gpu
    sampler.begin(chain)
    sampler.run_pass(chain, _DOCUMENTS, chain.n_sweeps - 1, only_propose=True)
    for sweep in range(chain.n_sweeps, chain.n_sweeps + n_sweeps):
        sampler.run_pass(chain, _WORDS, sweep)
        sampler.run_pass(chain, _DOCUMENTS, sweep)
    sampler.end(chain)
    chain.n_sweeps += n_sweeps


@compiled
def _find_positions(rows: Any, row_start: Any, position: Any) -> None:
    following = row_start[:-1].copy()
    for i in range(len(rows)):
        position[i] = following[rows[i]]
        following[rows[i]] += 1


@dataclass(frozen=True)
class _Launch:
    """Units of one class of length, and how their kernel is started."""

    name: str
    units: Any
    blocks: int
    threads: int
    shared: int


class _Plan:
    """Units first .. last-1 of a kind, sorted into classes of length."""

    def __init__(self, start: NDArray[np.int64], start_on_gpu: Any, group: Any, first: int, last: int,
                 entries: int, stride: int) -> None:  # fmt: skip
        cp, limits = on_gpu.cupy(), on_gpu.limits()
        self.first, self.last = first, last
        self.begin, self.end = int(start[first]), int(start[last])
        self.start, self.group = start_on_gpu, group
        tables = 12 * entries if 12 * entries <= min(_TABLE_BYTES, limits.shared // 2) else 0
        self.cached, self.table_bytes = np.int32(tables > 0), tables
        lengths = np.diff(start[first : last + 1])
        # Longest first, so that no block is left alone with a long unit at the end.
        order = np.argsort(-lengths, kind="stable")
        order, lengths = order[: np.count_nonzero(lengths)], lengths[order][: np.count_nonzero(lengths)]
        units = (order + first).astype(np.int32)
        self.launches: list[_Launch] = []
        below = _IN_ORDER
        short = units[lengths <= below]
        self._add("gibbs_pass_short", short, _BLOCK // 32, _BLOCK, tables)
        for name, held in _HELD.items():
            warps = 1
            if held <= _BLOCK:
                of_warp = 4 * stride + 2 * held
                warps = min(_BLOCK // 32, (limits.shared - tables) // of_warp)
                shared, teams, threads = tables + warps * of_warp, warps, 32 * warps
            else:
                shared, teams, threads = tables + 4 * stride + 2 * held, 1, _BLOCK
            if warps and shared <= limits.shared:
                self._add(name, units[(lengths > below) & (lengths <= held)], teams, threads, shared)
                below = held
        long = lengths > below
        self.segments = list(_cut_segments(units[long], lengths[long], max(1, _COUNTS_BYTES // (4 * stride))))
        self.segments = [(*map(cp.asarray, arrays), rows) for *arrays, rows in self.segments]
        self.most_rows = max((rows for *_, rows in self.segments), default=0)

    def _add(self, name: str, units: NDArray[np.int32], teams: int, threads: int, shared: int) -> None:
        if len(units):
            # Blocks stay, so that they add their share of the totals once.
            blocks = min(-(-len(units) // teams), 8 * on_gpu.limits().processors)
            self.launches.append(_Launch(name, on_gpu.cupy().asarray(units), blocks, threads, shared))


def _cut_segments(
    units: NDArray[np.int32], lengths: NDArray[np.int64], most_rows: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], int]]:
    """Yield batches of (unit, first token, row of the counts) per segment, and the number of rows."""
    for begin in range(0, len(units), most_rows):
        some, n = units[begin : begin + most_rows], lengths[begin : begin + most_rows]
        parts = -(-n // _SEGMENT)
        row = np.repeat(np.arange(len(some), dtype=np.int32), parts)
        first = (np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)) * _SEGMENT
        yield some[row], first.astype(np.int32), row, len(some)


class _Sampler:
    """What resident and streamed sampling share: tables, and the launches of a pass."""

    def __init__(self, chain: Chain) -> None:
        cp = on_gpu.cupy()
        self.kernels = on_gpu.load("gibbs")
        n_rows = len(chain.row_group)
        self.row_start = np.concatenate(([0], np.cumsum(np.bincount(chain.rows, minlength=n_rows)))).astype(
            np.int64
        )
        self.position = np.empty(len(chain.rows), np.uint32)
        _find_positions(chain.rows, self.row_start, self.position)
        self.starts = {_WORDS: self.row_start, _DOCUMENTS: chain.indptr}
        self.starts_on_gpu = {kind: cp.asarray(start) for kind, start in self.starts.items()}
        self.groups = {_WORDS: cp.asarray(chain.row_group), _DOCUMENTS: cp.asarray(chain.document_group)}
        self.totals = cp.asarray(chain.totals)
        self.moved = cp.zeros(chain.totals.shape, np.int32)
        self.inverse = cp.zeros(chain.totals.shape, np.float32)

    def plan(self, chain: Chain, kind: int, first: int, last: int) -> _Plan:
        return _Plan(self.starts[kind], self.starts_on_gpu[kind], self.groups[kind], first, last,
                     chain.totals.size, chain.totals.shape[1])  # fmt: skip

    def begin(self, chain: Chain) -> None:
        self.totals[...] = on_gpu.cupy().asarray(chain.totals)
        tables = build_prior(chain.alpha, chain.n_topics)
        alpha = (
            *tables[:2],
            *(table if table is None else on_gpu.cupy().asarray(table) for table in tables[2:]),
        )
        self.priors = {_WORDS: build_prior(chain.eta, chain.n_topics), _DOCUMENTS: alpha}

    def settle_totals(self, chain: Chain) -> None:
        entries = chain.totals.size
        arguments = (self.totals, self.moved, self.inverse, np.int32(entries), _smoothing(chain))
        self.kernels.launch("gibbs_settle_totals", (-(-entries // _BLOCK), 1), _BLOCK, arguments)

    def run_pass(self, chain: Chain, kind: int, sweep: int, *, only_propose: bool = False) -> None:
        raise NotImplementedError

    def end(self, chain: Chain) -> None:
        raise NotImplementedError

    def run_plan(self, chain: Chain, plan: _Plan, kind: int, sweep: int, only_propose: bool, records: Any,
                 position: Any, base: int) -> None:  # fmt: skip
        cp = on_gpu.cupy()
        # Proposals of the documents serve the sweep to come, and are named after it.
        following = sweep + 1 if kind == _DOCUMENTS else sweep
        arguments = (
            plan.start, plan.group, position, records, np.int64(base), self.inverse, self.totals, self.moved,
            np.int32(chain.totals.shape[1]), np.int32(chain.totals.size), np.int32(chain.n_topics),
            *self.priors[kind], _smoothing(chain),
            np.uint64(chain.seed), np.int64(sweep), np.int64(following), np.int32(kind),
            np.int32(only_propose),
        )  # fmt: skip
        for one in plan.launches:
            rest = (one.units, np.int32(len(one.units)), plan.cached)
            self.kernels.launch(one.name, (one.blocks, 1), one.threads, (*arguments, *rest), one.shared)
        if not plan.segments:
            return
        counts = cp.empty((plan.most_rows, chain.totals.shape[1]), np.int32)
        fresh = cp.empty(plan.end - base, np.uint16)
        for units, firsts, rows, _ in plan.segments:
            grid = (len(units), 1)
            counts.fill(0)
            if not only_propose:
                self.count(plan.start, records, position, base, (units, firsts, rows), counts)
            judged = (*arguments, units, firsts, rows, counts, fresh, plan.cached)
            self.kernels.launch("gibbs_judge_long", grid, _BLOCK, judged, plan.table_bytes)
            self.kernels.launch("gibbs_propose_long", grid, _BLOCK, (*arguments, units, firsts, fresh))

    def count(
        self, start: Any, records: Any, position: Any, base: int, segments: tuple[Any, ...], counts: Any
    ) -> None:
        """Add the topics of the segments to their rows of `counts`."""
        stride = counts.shape[1]
        cached = 4 * stride <= on_gpu.limits().shared
        arguments = (
            start,
            position,
            records,
            np.int64(base),
            *segments,
            counts,
            np.int32(stride),
            np.int32(cached),
        )
        self.kernels.launch(
            "gibbs_count", (len(segments[0]), 1), _BLOCK, arguments, 4 * stride if cached else 0
        )


class _Resident(_Sampler):
    """All records on the GPU."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        cp = on_gpu.cupy()
        self.position_on_gpu = cp.asarray(self.position)
        self.records = cp.zeros(len(chain.rows), np.uint64)
        self.plans = {
            kind: self.plan(chain, kind, 0, len(self.starts[kind]) - 1) for kind in (_WORDS, _DOCUMENTS)
        }

    def _each_token(self, name: str, *arguments: Any) -> None:
        n = len(self.records)
        self.kernels.launch(
            name, (-(-n // _BLOCK), 1), _BLOCK, (self.position_on_gpu, *arguments, np.int64(n))
        )

    def begin(self, chain: Chain) -> None:
        super().begin(chain)
        self._each_token("gibbs_fill", on_gpu.cupy().asarray(chain.topics), self.records)

    def run_pass(self, chain: Chain, kind: int, sweep: int, *, only_propose: bool = False) -> None:
        self.settle_totals(chain)
        position = self.position_on_gpu if kind == _DOCUMENTS else None
        self.run_plan(chain, self.plans[kind], kind, sweep, only_propose, self.records, position, 0)

    def end(self, chain: Chain) -> None:
        cp = on_gpu.cupy()
        self.settle_totals(chain)
        topics = cp.empty(len(self.records), np.uint16)
        self._each_token("gibbs_read", self.records, topics)
        chain.topics[...] = cp.asnumpy(topics)
        chain.totals[...] = cp.asnumpy(self.totals)
        # Counts of words are made anew from the records, a range of words at a time.
        most = max(1, _COUNTS_BYTES // (4 * chain.word_topic.shape[1]))
        words, lengths = np.arange(len(self.row_start) - 1, dtype=np.int32), np.diff(self.row_start)
        for first, (units, firsts, rows, n) in zip(
            range(0, len(words), most), _cut_segments(words, lengths, most), strict=True
        ):
            counts = cp.zeros((n, chain.word_topic.shape[1]), np.int32)
            segments = (cp.asarray(units), cp.asarray(firsts), cp.asarray(rows))
            self.count(self.starts_on_gpu[_WORDS], self.records, None, 0, segments, counts)
            chain.word_topic[first : first + n] = cp.asnumpy(counts)


class _Streamed(_Sampler):
    """Records in host memory, at most about `room` tokens on the GPU at a time, and at least one unit."""

    def __init__(self, chain: Chain, room: int) -> None:
        super().__init__(chain)
        self.records = np.zeros(len(chain.rows), np.uint64)
        self.plans = {}
        for kind, start in self.starts.items():
            edges = [0]
            while edges[-1] < len(start) - 1:
                goal = start[edges[-1]] + room
                edges.append(max(edges[-1] + 1, int(np.searchsorted(start, goal, side="right")) - 1))
            self.plans[kind] = [
                self.plan(chain, kind, a, b) for a, b in pairwise(edges) if start[a] < start[b]
            ]

    def begin(self, chain: Chain) -> None:
        super().begin(chain)
        self.records[self.position] = chain.topics

    def run_pass(self, chain: Chain, kind: int, sweep: int, *, only_propose: bool = False) -> None:
        cp = on_gpu.cupy()
        self.settle_totals(chain)
        for plan in self.plans[kind]:
            span = slice(plan.begin, plan.end)
            here: Any = self.position[span] if kind == _DOCUMENTS else span
            records = cp.asarray(self.records[here])
            self.run_plan(chain, plan, kind, sweep, only_propose, records, None, plan.begin)
            self.records[here] = cp.asnumpy(records)

    def end(self, chain: Chain) -> None:
        self.settle_totals(chain)
        chain.topics[...] = (self.records[self.position] & np.uint64(0xFFFF)).astype(np.uint16)
        chain.totals[...] = on_gpu.cupy().asnumpy(self.totals)
        chain.word_topic.fill(0)
        cpu.count(chain.rows, chain.row_group, chain.topics, chain.word_topic, np.zeros_like(chain.totals))


def build_prior(
    concentration: float | NDArray[np.float64], n_topics: int
) -> tuple[np.float32, np.float64, Any, Any, Any]:
    """Return the Prior of csrc/gibbs.cuh: value, sum, and where topics differ values, keep and instead.

    Topic k is drawn by its share of the sum with an alias table (Vose 1991), built as in csrc/gibbs.cpp.
    """
    values = np.broadcast_to(np.asarray(concentration, np.float64), n_topics)
    if (values == values[0]).all():
        value = np.float32(values[0])
        return value, np.float64(n_topics * float(value)), None, None, None
    total = np.float64(list(accumulate(values.tolist()))[-1])  # one after the other: NumPy would add in pairs
    share = (values / total * n_topics).tolist()
    keep = np.full(n_topics, 0xFFFFFFFF, np.uint32)
    instead = np.arange(n_topics, dtype=np.uint32)
    small = [k for k in range(n_topics) if share[k] < 1]
    large = [k for k in range(n_topics) if share[k] >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        keep[low] = int(share[low] * 4294967295.0)
        instead[low] = high
        share[high] -= 1 - share[low]
        if share[high] < 1:
            small.append(large.pop())
    return np.float32(0), total, values.astype(np.float32), keep, instead


def _smoothing(chain: Chain) -> Any:
    return np.float32(chain.n_words * chain.eta)
