"""Topics moved to where they are missing, in the beginning of a long dense run.

A Gibbs chain hardly leaves a state in which one topic holds what belongs in two, while others hold scraps: on
the way to a better one likelihood falls. So on a small part of the corpus, after some sweeps, topics that are
easily spared are given up and topics that fall in two are parted:

- what giving up a topic costs is -sum log (1 - r) over its tokens, r its share in the probability of the
  token, given the rest of its document and with the other topics grown to fill the gap;
- what parting a topic gains is found by parting it: the documents lie on the axis along which their words
  differ most (reciprocal averaging, Hill 1973), those on either side begin as a half, and some sweeps of a
  collapsed Gibbs chain of two topics put them right; the gain is sum log of the new probability over the old.

The best gain is paired with the least loss, and so on. Losses come out far too high, since the topics that
are left take in what is theirs only in the sweeps that follow: a gain of `LEAST_GAIN` of the loss is enough.
What comes of it is an ordinary state of the chain, which is sampled on. docs/lda.md has what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radfast.kernels.gibbs.streams import STEP, mix, stream
from radfast.kernels.gibbs.team import Team, compiled, cut_documents, spread_alpha

if TYPE_CHECKING:
    from radfast.kernels.gibbs import Chain

LEAST_GAIN = 0.05
_AXIS_STEPS, _SPLIT_SWEEPS = 15, 5
_FEW_WORDS, _FEW_TOKENS = 20, 2  # shrink the scores of rare words and short documents towards 0
_RANGES = 64  # of documents, each of which sums losses by itself: the result depends on how many there are
_SEED = 0x72656172  # the streams of the part are not those of the run


@dataclass(frozen=True)
class Course:
    """Sweeps before the first round of moves, sweeps after each, and how many rounds there are."""

    first_sweeps: int
    sweeps: int
    rounds: int

    @property
    def work(self) -> int:
        """In sweeps over the part; a round takes about as long as the sweeps after it."""
        return self.first_sweeps + 2 * self.rounds * self.sweeps


SHORT, LONG = Course(20, 10, 4), Course(30, 15, 6)


def learn(
    part: Chain,
    course: Course,
    sweep: Callable[[Chain, int], None],
    recount: Callable[[Chain], None],
    threads: int,
) -> None:
    """Bring `part` from random topics to good ones; ``sweep(chain, n)`` samples n dense sweeps.

    Ends early where topics have been moved and none is left to move.
    """
    chain = replace(part, seed=part.seed ^ _SEED, n_sweeps=0)
    sweep(chain, course.first_sweeps)
    chain.n_sweeps += course.first_sweeps
    moved = 0
    for _ in range(course.rounds):
        n_pairs = rearrange(chain, threads)
        if n_pairs == 0 < moved:
            break
        moved += n_pairs
        recount(chain)
        sweep(chain, course.sweeps)
        chain.n_sweeps += course.sweeps


def rearrange(chain: Chain, threads: int = 1) -> int:
    """Give up topics and part others in ``chain.topics``, whose counts are left as they were.

    Returns how many were parted, the same with any number of threads.
    """
    n_topics, n_tokens, n_documents = chain.n_topics, len(chain.rows), len(chain.indptr) - 1
    alpha = spread_alpha(chain.alpha, n_topics)
    smoothing = chain.n_words * chain.eta
    owner = np.repeat(np.arange(n_documents, dtype=np.int32), np.diff(chain.indptr))
    others, own = np.empty(n_tokens, np.float32), np.empty(n_tokens, np.float32)
    second, half = np.empty(n_tokens, np.uint16), np.zeros(n_tokens, np.uint8)
    gains, heirs = np.zeros(n_topics), np.arange(n_topics)
    ranges = cut_documents(chain.indptr, 0, n_documents, _RANGES)
    losses = np.zeros((len(ranges), n_topics))
    order = np.argsort(chain.topics, kind="stable")
    tokens_of = np.split(order, np.searchsorted(chain.topics[order], np.arange(1, n_topics)))

    def weigh(x: int, first: int, last: int) -> None:
        _weigh(
            first, last, chain.indptr, chain.rows, chain.topics, chain.word_topic, chain.totals[0], alpha,
            chain.eta, smoothing, others, own, second, losses[x],
        )  # fmt: skip

    def part(k: int) -> None:
        tokens = tokens_of[k]
        if len(tokens) == 0:
            return
        key = np.uint64(stream(np.uint64(chain.seed), chain.n_sweeps, k))
        gains[k] = _part(
            tokens, owner, chain.rows, len(chain.word_topic), alpha[k], chain.eta, smoothing, key,
            others, own, half,
        )  # fmt: skip
        heirs[k] = np.bincount(second[tokens]).argmax()

    with Team(threads) as team:
        team.run(weigh, [(x, *documents) for x, documents in enumerate(ranges)])
        team.run(part, [(k,) for k in range(n_topics)])
    pairs = choose_pairs(gains, losses.sum(axis=0), heirs)
    for _, given_up in pairs:
        chain.topics[tokens_of[given_up]] = second[tokens_of[given_up]]
    for parted, given_up in pairs:
        tokens = tokens_of[parted]
        chain.topics[tokens[half[tokens] == 1]] = given_up
    return len(pairs)


def choose_pairs(
    gains: NDArray[np.float64], losses: NDArray[np.float64], heirs: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Return pairs of a topic to part and one to give up for it; no topic is in two.

    Of two halves of a topic either can be spared, but not both: the heir of a topic that is given up stays.
    """
    spare = [int(k) for k in np.argsort(losses, kind="stable")]
    used: set[int] = set()
    given_up: set[int] = set()
    kept: set[int] = set()
    pairs = []
    for best in np.argsort(-gains, kind="stable"):
        k = int(best)
        j = next((j for j in spare if j not in used | kept | {k} and heirs[j] not in given_up), None)
        if k in used or j is None:
            continue
        if gains[k] <= LEAST_GAIN * losses[j]:
            break
        used |= {k, j}
        given_up.add(j)
        kept.add(int(heirs[j]))
        pairs.append((k, j))
    return pairs


@compiled
def _weigh(
    first: int, last: int, indptr: Any, rows: Any, topics: Any, word_topic: Any, totals: Any, alpha: Any,
    eta: float, smoothing: float, others: Any, own: Any, second: Any, losses: Any,
) -> None:  # fmt: skip
    # For every token of documents first..last-1 the weight of its topic, of all others, and the heaviest of
    # those; per topic its loss.
    n_topics, mass = len(alpha), alpha.sum()
    n_d = np.zeros(n_topics)
    inverse = np.empty(n_topics)
    weights = np.zeros((n_topics + 3) // 4 * 4)
    for k in range(n_topics):
        inverse[k] = 1.0 / (totals[k] + smoothing)
    for d in range(first, last):
        begin, end = indptr[d], indptr[d + 1]
        n_d[:] = 0
        for i in range(begin, end):
            n_d[topics[i]] += 1
        for i in range(begin, end):
            n_w, z = word_topic[rows[i]], topics[i]
            for k in range(n_topics):
                weights[k] = (n_d[k] + alpha[k]) * (n_w[k] + eta) * inverse[k]
            weights[z] = 0
            # In four running sums: one would wait for itself.
            rest, rest_1, rest_2, rest_3 = 0.0, 0.0, 0.0, 0.0
            for k in range(0, len(weights), 4):
                rest += weights[k]
                rest_1 += weights[k + 1]
                rest_2 += weights[k + 2]
                rest_3 += weights[k + 3]
            rest += rest_1 + rest_2 + rest_3
            second[i] = np.argmax(weights)
            mine = (n_d[z] - 1 + alpha[z]) * (n_w[z] - 1 + eta) / (totals[z] - 1 + smoothing)
            others[i] = rest
            own[i] = mine
            if n_topics > 1:
                grown = (end - begin - 1 + mass) / (end - begin - n_d[z] + mass)
                losses[z] -= math.log(rest / (rest + mine) * grown)


@compiled
def _part(
    tokens: Any, owner: Any, rows: Any, n_rows: int, alpha: float, eta: float, smoothing: float, key: Any,
    others: Any, own: Any, half: Any,
) -> float:  # fmt: skip
    # Parts the tokens of one topic, given in the order of the corpus: fills their `half`, returns the gain.
    n = len(tokens)
    local = np.full(n_rows, -1, np.int32)
    words, first = np.empty(n, np.int32), np.empty(n + 1, np.int64)
    n_words, n_documents = 0, 0
    for x in range(n):
        row = rows[tokens[x]]
        if local[row] < 0:
            local[row] = n_words
            n_words += 1
        words[x] = local[row]
        if x == 0 or owner[tokens[x]] != owner[tokens[x - 1]]:
            first[n_documents] = x
            n_documents += 1
    first[n_documents] = n
    first = first[: n_documents + 1]
    side = _find_sides(first, words, n_words, key)
    n_w, n_k = np.zeros((n_words, 2)), np.zeros(2)
    for x in range(n):
        n_w[words[x], side[x]] += 1
        n_k[side[x]] += 1
    gain = 0.0
    n_d = np.zeros(2)
    for sweep in range(_SPLIT_SWEEPS + 1):
        for d in range(n_documents):
            n_d[:] = 0
            for x in range(first[d], first[d + 1]):
                n_d[side[x]] += 1
            for x in range(first[d], first[d + 1]):
                old, word = side[x], words[x]
                n_d[old] -= 1
                n_w[word, old] -= 1
                n_k[old] -= 1
                # Both times the totals of both, which saves divisions.
                left = (n_d[0] + alpha / 2) * (n_w[word, 0] + eta) * (n_k[1] + smoothing)
                right = (n_d[1] + alpha / 2) * (n_w[word, 1] + eta) * (n_k[0] + smoothing)
                if sweep < _SPLIT_SWEEPS:
                    place = np.uint64(n_words + sweep * n + x + 1)
                    u = np.float64(mix(key + place * STEP) >> np.uint64(11)) * 2.0**-53
                    side[x] = 1 if u * (left + right) >= left else 0
                else:
                    i = tokens[x]
                    both = (left + right) / ((n_k[0] + smoothing) * (n_k[1] + smoothing))
                    gain += math.log((others[i] + both) / (others[i] + own[i]))
                n_d[side[x]] += 1
                n_w[word, side[x]] += 1
                n_k[side[x]] += 1
    for x in range(n):
        half[tokens[x]] = side[x]
    return gain


@compiled
def _find_sides(first: Any, words: Any, n_words: int, key: Any) -> Any:
    # On which side of the mean each token's document lies.
    n, n_documents = len(words), len(first) - 1
    n_w = np.zeros(n_words)
    for x in range(n):
        n_w[words[x]] += 1
    of_word, of_document = np.empty(n_words), np.zeros(n_documents)
    for w in range(n_words):
        of_word[w] = np.float64(mix(key + np.uint64(w + 1) * STEP) >> np.uint64(11)) * 2.0**-53 - 0.5
    for step in range(_AXIS_STEPS):
        mean = 0.0
        for d in range(n_documents):
            score = 0.0
            for x in range(first[d], first[d + 1]):
                score += of_word[words[x]]
            size = first[d + 1] - first[d]
            of_document[d] = score / (size + _FEW_TOKENS)
            mean += of_document[d] * size
        for d in range(n_documents):
            of_document[d] -= mean / n
        if step == _AXIS_STEPS - 1:
            break
        of_word[:] = 0
        for d in range(n_documents):
            for x in range(first[d], first[d + 1]):
                of_word[words[x]] += of_document[d]
        mean = 0.0
        for w in range(n_words):
            of_word[w] /= n_w[w] + _FEW_WORDS
            mean += of_word[w] * n_w[w]
        squares = 0.0
        for w in range(n_words):
            of_word[w] -= mean / n
            squares += of_word[w] ** 2 * n_w[w]
        if squares > 0:
            of_word /= math.sqrt(squares / n)
    side = np.empty(n, np.uint8)
    for d in range(n_documents):
        side[first[d] : first[d + 1]] = 1 if of_document[d] > 0 else 0
    return side
