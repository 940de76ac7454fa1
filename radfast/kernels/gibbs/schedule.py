"""Method ``auto`` of the `gibbs` kernel on the CPU: which sweep is done how, and on which documents.

A chain begins far from its posterior, and the sweeps that bring it near cost as much as those that count
later. On a part of the documents they are cheap, and documents that join find topics in good shape: each of
their tokens draws its first topic given all tokens that are in (a dense sweep in which nothing is taken out).
The documents that are in are the first of a permutation that the seed fixes. All begins with a small part,
whose topics are learnt before the first sweep (rearrange.py). All that is for dense
sweeps alone: with ``mh``, above 128 topics, runs of the same CPU time came out better without it
(docs/lda.md).

What happens in a sweep follows from its number, from the sweeps of the whole run and from the corpus; nothing
is kept between two calls but the topics (those of documents yet to join stay as `start` drew them), so that a
run in parts has the bits of a run in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radfast.kernels.gibbs.rearrange import LONG, SHORT, learn
from radfast.kernels.gibbs.team import compiled

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

#: Up to this many topics the sweeps are dense.
MOST_DENSE_TOPICS = 128
#: The start of a dense run: parts of the documents, one stage each.
START = (1 / 4, 1 / 2)  # from 1/16 a large corpus ended in poorer modes (docs/lda.md)
STAGE_SHARE, MOST_STAGE_SWEEPS = 0.15, 20  # of the run, in sweeps
LEAST_SWEEPS = 20  # shorter runs have no start
#: Of the corpus. A part of few documents can lead to a poor mode: on 6000 tokens 4 seeds of 20, else 1.
LEAST_TOKENS = 200_000
LEAST_TOKENS_PER_TOPIC = 150  # of a stage: fewer make no topics worth joining
#: Of the part whose topics are learnt first, which is no more than the first stage.
TOKENS_TO_LEARN = (500, 9_000)  # per topic, at least and at most


@dataclass
class Stage:
    """Sweeps up to number `end` with `method` on `n_documents`; where it begins, all after `joined` join."""

    begin: int
    end: int
    method: str
    n_documents: int
    joined: int


def plan_stages(chain: Chain, planned: int) -> Iterator[Stage]:
    """Yield the stages of a run of `planned` sweeps; the last has no end."""
    n_documents, n_tokens = len(chain.indptr) - 1, len(chain.rows)
    dense = chain.n_topics <= MOST_DENSE_TOPICS
    begin, joined = 0, count_learnt(chain, planned) or n_documents
    if dense and planned >= LEAST_SWEEPS and n_tokens >= LEAST_TOKENS:
        length = min(int(planned * STAGE_SHARE), MOST_STAGE_SWEEPS)
        for part in START:
            size = int(n_documents * part)
            if size > 0 and n_tokens * part >= LEAST_TOKENS_PER_TOPIC * chain.n_topics:
                yield Stage(begin, begin + length, "dense", size, min(joined, size))
                begin, joined = begin + length, size
    yield Stage(begin, 2**62, "dense" if dense else "mh", n_documents, joined)


def count_learnt(chain: Chain, planned: int) -> int:
    """Return the number of documents on which a run of `planned` sweeps learns its first topics."""
    n_documents, n_tokens = len(chain.indptr) - 1, len(chain.rows)
    least, most = (tokens * chain.n_topics for tokens in TOKENS_TO_LEARN)
    learnt = min(int(n_tokens * START[0]), most)
    if not 2 <= chain.n_topics <= MOST_DENSE_TOPICS or len(chain.totals) > 1:
        return 0
    if planned < LEAST_SWEEPS or n_tokens < LEAST_TOKENS or learnt < least:
        return 0
    return n_documents * learnt // n_tokens


def first_whole_sweep(chain: Chain, planned: int) -> int:
    """Return the number of the first sweep that takes all documents in a run of `planned` sweeps."""
    return next(s.begin for s in plan_stages(chain, planned) if s.n_documents == len(chain.indptr) - 1)


def run_stages(
    chain: Chain,
    n_sweeps: int,
    planned: int,
    sweep: Callable[[Chain, int, str], None],
    join: Callable[[Chain, int], None],
    threads: int,
) -> None:
    """Do `n_sweeps` sweeps of a run of `planned`.

    ``sweep(chain, n, method)`` samples n sweeps, ``join(chain, first)`` lets documents from `first` on join.
    """
    last, n_documents = chain.n_sweeps + n_sweeps, len(chain.indptr) - 1
    n_learnt = count_learnt(chain, planned) if chain.n_sweeps == 0 < n_sweeps else 0
    if n_learnt > 0:
        with _on_part(chain, n_learnt, n_learnt) as part:
            # The long course where it takes no more than all sweeps of the run.
            course = LONG if len(part.rows) * LONG.work <= len(chain.rows) * planned else SHORT
            learn(part, course, lambda chain, n: sweep(chain, n, "dense"), recount, threads)
        del part
    for stage in plan_stages(chain, planned):
        n = min(stage.end, last) - chain.n_sweeps
        if n <= 0:
            continue
        joins = chain.n_sweeps == stage.begin and stage.joined < stage.n_documents
        if not joins and stage.n_documents == n_documents:
            sweep(chain, n, stage.method)
            chain.n_sweeps += n
            continue
        with _on_part(chain, stage.n_documents, stage.joined if joins else stage.n_documents) as part:
            if joins:
                join(part, stage.joined)
            if stage.n_documents < n_documents:
                sweep(part, n, stage.method)
                chain.n_sweeps += n
        del part
        if stage.n_documents == n_documents:
            sweep(chain, n, stage.method)
            chain.n_sweeps += n


@contextmanager
def _on_part(chain: Chain, n_documents: int, n_counted: int) -> Iterator[Chain]:
    """Give a chain of the first documents of the permutation, of which the first `n_counted` are counted.

    It has the tables of `chain`, which gets its topics and its own counts back in the end, also where Ctrl-C
    comes: what brings them back is one compiled call, since Python answers signals between its own steps.
    """
    documents = np.random.default_rng(chain.seed).permutation(len(chain.indptr) - 1)[:n_documents]
    indptr = np.concatenate(([0], np.cumsum(np.diff(chain.indptr)[documents])))
    rows = np.empty(indptr[-1], chain.rows.dtype)
    topics = np.empty(indptr[-1], chain.topics.dtype)
    _copy_tokens(chain.indptr, documents, indptr, chain.rows, rows, True)
    _copy_tokens(chain.indptr, documents, indptr, chain.topics, topics, True)
    part = replace(
        chain, indptr=indptr, rows=rows, topics=topics, document_group=chain.document_group[documents]
    )
    try:
        recount(part, int(indptr[n_counted]))
        yield part
    finally:
        _put_back(
            chain.indptr, documents, indptr, chain.rows, chain.row_group, topics, chain.topics,
            chain.word_topic, chain.totals,
        )  # fmt: skip


def recount(chain: Chain, n_tokens: int | None = None) -> None:
    """Fill the counts of `chain` from its topics, or those of its first tokens."""
    _recount(chain.rows[:n_tokens], chain.row_group, chain.topics[:n_tokens], chain.word_topic, chain.totals)


@compiled
def count(rows: Any, row_group: Any, topics: Any, word_topic: Any, totals: Any) -> None:
    """Add the topics of all tokens to `word_topic` and `totals`."""
    for i in range(len(rows)):
        word_topic[rows[i], topics[i]] += 1
        totals[row_group[rows[i]], topics[i]] += 1


@compiled
def _copy_tokens(indptr: Any, documents: Any, part_indptr: Any, whole: Any, part: Any, out: bool) -> None:
    # Tokens of the documents out of `whole` into `part`, or back.
    for j in range(len(documents)):
        begin, size = indptr[documents[j]], part_indptr[j + 1] - part_indptr[j]
        for i in range(size):
            if out:
                part[part_indptr[j] + i] = whole[begin + i]
            else:
                whole[begin + i] = part[part_indptr[j] + i]


@compiled
def _recount(rows: Any, row_group: Any, topics: Any, word_topic: Any, totals: Any) -> None:
    word_topic[:] = 0
    totals[:] = 0
    count(rows, row_group, topics, word_topic, totals)


@compiled
def _put_back(
    indptr: Any, documents: Any, part_indptr: Any, rows: Any, row_group: Any, part_topics: Any, topics: Any,
    word_topic: Any, totals: Any,
) -> None:  # fmt: skip
    _copy_tokens(indptr, documents, part_indptr, topics, part_topics, False)
    _recount(rows, row_group, topics, word_topic, totals)
