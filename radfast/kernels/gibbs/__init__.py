"""Collapsed Gibbs sampling of latent Dirichlet allocation (LDA).

Chain over the topics z of T tokens, document and topic distributions integrated out (Griffiths and Steyvers
2004):

    p(z_i = k | rest) ~ (n_dk + alpha_k) (n_wk + eta) / (n_k + V eta)        counts without token i itself

Contract
--------
- A corpus is ``indptr`` int64 (D+1,) and ``rows`` int32 (T,): document d owns tokens
  ``indptr[d]:indptr[d+1]``, and ``rows[i]`` is the row of token i in the count table. For one model a row is
  a word.
- Many small models over disjoint documents run as one batch of G groups: ``document_group`` int32 (D,) names
  the model of a document, ``row_group`` int32 (R,) that of a row (a row is then a word of one group), and
  every group has K topics of its own. ``n_words`` is the V of the formula, the same for all groups.
- ``topics`` uint16 (T,), ``word_topic`` int32 (R, P) and ``totals`` int32 (G, P), where P is K rounded up to
  16 and the columns from K on stay 0. After every call ``word_topic`` and ``totals`` are exactly the counts
  of ``topics``.
- An empty document has no tokens and takes no part; `fold_in` gives it the prior mean.
- Randomness: token i of document d in sweep s draws from a counter-based stream of (seed, s, d), so that
  results are the same bits at any number of threads, and the same whether n sweeps are run in one call or in
  several.

Methods
-------
``exact``  the chain above, token after token, in float64: one thread. Draw for draw equal to
           `reference.sample`.
``dense``  documents in parallel, all K topics weighed for each token. Each document's own counts are exact,
           and so is the removal of the token's own count; the counts of words and topics are those at the
           start of a batch of documents, of which there are 16 in a sweep (delayed counts: Newman et al.
           2009, "Distributed algorithms for topic models"). float32, C++ (csrc/gibbs_dense.h). Not the exact
           chain: the tests bound its deviation on corpora small enough to enumerate.
``sparse`` the same chain as ``dense`` with other random numbers: for a token only the topics of its document
           are weighed, and all K only where it leaves them (the document bucket of Yao, Mimno and McCallum
           2009). For large K.
``mh``     Metropolis-Hastings, the same time per token at any K: a pass over words and a pass over documents,
           3 proposals each (WarpLDA: Chen et al. 2016; csrc/gibbs.h says it in full). The token's own count
           is removed exactly; words and documents of up to 8 tokens are sampled token after token, of longer
           ones, and of the totals, the counts are those at the start (delayed counts). float32, up to 2^32 -
           1 tokens. Not the exact chain either, and bounded by the same tests.
``auto``   ``dense`` up to K = 128, ``mh`` above. Where `sample` is told the length of the whole run, a run of
           ``dense`` starts on a growing part of the documents, if there are tokens enough: schedule.py says
           when; the first topics are learnt on a small part, where they are moved to where they are missing
           (rearrange.py). docs/lda.md has what each choice costs and gains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radfast.device import choose_backend, count_threads
from radfast.errors import UsageError
from radfast.kernels.gibbs import cpu, cuda, inference
from radfast.kernels.gibbs.checks import check_alpha, check_corpus, read_groups
from radfast.kernels.gibbs.schedule import MOST_DENSE_TOPICS, first_whole_sweep
from radfast.kernels.gibbs.team import LANES, align_zeros
from radfast.kernels.ids import read_ids

__all__ = [
    "METHODS",
    "Chain",
    "first_whole_sweep",
    "fold_in",
    "log_likelihood",
    "log_predictive",
    "refine",
    "sample",
    "start",
]

METHODS = ("auto", "exact", "dense", "sparse", "mh")
MAX_TOPICS = 65_535
MAX_TOKENS_MH = 2**32 - 1


@dataclass
class Chain:
    """State of a sampler: corpus, topics of its tokens, their counts (see the module for shapes)."""

    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    document_group: NDArray[np.int32]
    row_group: NDArray[np.int32]
    n_topics: int
    n_words: int
    #: One number, or float64 (K,); may be set anew between calls of `sample`.
    alpha: float | NDArray[np.float64]
    eta: float
    seed: int
    topics: NDArray[np.uint16]
    word_topic: NDArray[np.int32]
    totals: NDArray[np.int32]
    n_sweeps: int = 0
    #: What the CUDA backend keeps between calls; made from the corpus, so never copied with a chain.
    on_gpu: Any = field(default=None, init=False, repr=False, compare=False)


def start(
    indptr: ArrayLike,
    rows: ArrayLike,
    n_topics: int,
    *,
    n_rows: int,
    alpha: float | ArrayLike,
    eta: float,
    seed: int = 0,
    n_words: int | None = None,
    document_group: ArrayLike | None = None,
    row_group: ArrayLike | None = None,
    topics: ArrayLike | None = None,
    n_sweeps: int = 0,
) -> Chain:
    """Begin a chain, each token at a random topic or at the topics given.

    Parameters
    ----------
    indptr : array_like of int64, shape (D+1,)
    rows : array_like of int32, shape (T,)
    n_topics : int
        K, 1 to 65535.
    n_rows : int
        R, rows of the count table.
    alpha : float, or array_like of float64, shape (K,)
        Dirichlet parameters of documents over topics, above 0; one number stands for K of them.
    eta : float
        Symmetric Dirichlet parameter of topics over words, above 0.
    seed : int
    n_words : int, optional
        V; `n_rows` by default.
    document_group, row_group : array_like of int32, shapes (D,) and (R,), optional
        Model of each document and row; one model for all by default.
    topics : array_like of uint16, shape (T,), optional
        Topics to go on from.
    n_sweeps : int
        Sweeps already done; names the random streams to come.

    Returns
    -------
    Chain

    Raises
    ------
    UsageError
        If a shape, an id or a parameter is out of its range.
    """
    bounds = read_ids(indptr, np.int64, "[start] indptr")
    ids = read_ids(rows, np.int32, "[start] rows")
    n_documents = len(bounds) - 1
    check_corpus("start", bounds, ids, n_rows)
    if not 1 <= n_topics <= MAX_TOPICS:
        raise UsageError(f"[start] n_topics must be 1 to {MAX_TOPICS}, is {n_topics}")
    prior = check_alpha("start", alpha, n_topics)
    if not (np.isfinite(eta) and eta > 0):
        raise UsageError(f"[start] eta must be above 0, is {eta}")
    of_document = read_groups("document_group", document_group, n_documents)
    of_row = read_groups("row_group", row_group, n_rows)
    n_groups = 1 + max(int(of_document.max(initial=0)), int(of_row.max(initial=0)))
    owner = np.repeat(of_document, np.diff(bounds))
    if not np.array_equal(of_row[ids], owner):
        raise UsageError(
            "[start] row_group must give every token's row the group of its document, some differ"
        )
    if topics is None:
        labels = np.empty(len(ids), np.uint16)
        cpu.draw_topics(bounds, n_topics, seed, labels)
    else:
        labels = read_ids(topics, np.uint16, "[start] topics").copy()
        if labels.shape != ids.shape:
            raise UsageError(f"[start] topics must have shape {ids.shape}, is {labels.shape}")
        if len(labels) and int(labels.max()) >= n_topics:
            raise UsageError(f"[start] topics must be below n_topics {n_topics}, is {int(labels.max())}")
    padded = -(-n_topics // LANES) * LANES
    word_topic = align_zeros((n_rows, padded), np.int32)
    totals = np.zeros((n_groups, padded), np.int32)
    cpu.count(ids, of_row, labels, word_topic, totals)
    return Chain(
        bounds, ids, of_document, of_row, n_topics, n_rows if n_words is None else n_words,
        prior, float(eta), int(seed) & 0xFFFFFFFFFFFFFFFF, labels, word_topic, totals, n_sweeps,
    )  # fmt: skip


def sample(
    chain: Chain,
    n_sweeps: int,
    *,
    method: str = "auto",
    planned: int = 0,
    backend: str = "auto",
    threads: int = 0,
    sums: NDArray[np.int32] | None = None,
) -> None:
    """Advance `chain` in place by `n_sweeps` sweeps over all tokens.

    On the CPU Ctrl-C ends the call after the sweep at hand: the counts are those of the topics then, and the
    sweeps since the last whole stage are not in ``n_sweeps``.

    Parameters
    ----------
    chain : Chain
    n_sweeps : int
        0 or more.
    method : {"auto", "exact", "dense", "sparse", "mh"}
        See the module.
    planned : int
        For ``auto`` on the CPU: sweeps of the whole run, of which this call may be a part; the same in all
        calls of a run. Until `first_whole_sweep` some documents keep the topics that `start` drew, which the
        counts and the likelihood show. 0 has no such start.
    backend : {"auto", "cpu", "cuda"}
        "cuda" has the method ``mh``, which is what ``auto`` means there; "auto" takes it where there is a GPU
        and ``mh`` is asked for, by name or by K. The topics are the same bits on both.
    threads : int
        0 takes all cores; the result does not depend on it.
    sums : int32, shape (R, P), optional
        ``word_topic`` as it is after every sweep of this call is added here: the sum of as many samples.
        Sweeps before `first_whole_sweep` are left out.

    Raises
    ------
    UsageError
        If the method or the backend does not exist, the backend does not have the method, or `sums` has
        another shape, type or order of memory.
    """
    if method not in METHODS:
        raise UsageError(f"[sample] method must be one of {', '.join(METHODS)}, is '{method}'")
    if n_sweeps < 0:
        raise UsageError(f"[sample] n_sweeps must be 0 or more, is {n_sweeps}")
    if planned < 0:
        raise UsageError(f"[sample] planned must be 0 or more, is {planned}")
    if sums is not None:
        table = chain.word_topic
        if sums.shape != table.shape or sums.dtype != table.dtype or not sums.flags.c_contiguous:
            raise UsageError(
                f"[sample] sums must be a contiguous int32 {table.shape}, is {sums.dtype} {sums.shape}"
            )
    if backend == "cuda" and method not in ("auto", "mh"):
        raise UsageError(f"[sample] method on backend 'cuda' must be mh or auto, is '{method}'")
    large = method == "auto" and chain.n_topics > MOST_DENSE_TOPICS
    if (method == "mh" or large) and len(chain.rows) > MAX_TOKENS_MH:
        raise UsageError(f"[sample] method 'mh' takes up to {MAX_TOKENS_MH} tokens, got {len(chain.rows)}")
    supported = ("cpu", "cuda") if method == "mh" or large or backend == "cuda" else ("cpu",)
    match choose_backend(backend, chain.topics, kernel="gibbs", supported=supported):
        case "cuda":
            for n in [n_sweeps] if sums is None else [1] * n_sweeps:
                cuda.sample(chain, n)
                if sums is not None:
                    sums += chain.word_topic
        case _:
            cpu.sample(
                chain, n_sweeps, method=method, threads=count_threads(threads), planned=planned, sums=sums
            )


def log_likelihood(chain: Chain, *, threads: int = 0) -> float:
    """Return the joint log p(words, topics | alpha, eta) of the chain's state, in nats (float64).

    Summed over groups; a group without tokens adds 0. Griffiths and Steyvers 2004, equations 2 and 3.
    """
    return inference.log_likelihood(chain, threads=count_threads(threads))


def refine(
    chain: Chain, n_rounds: int = 6, *, counts: ArrayLike | None = None, threads: int = 0
) -> NDArray[np.float32]:
    """Return the expected counts of rows in topics, given the topics of each document's other tokens.

    A sample gives a token one topic, this all of them by their probabilities: expectation maximization over
    p(word | topic), the topics of documents held at the sample's and each token's own left out. Topics made
    of these counts predict better than those of a sample, and of a mean of samples. The first step from a
    sample is close to the estimator CGS_p of Papanikolaou et al. (JMLR 2017); csrc/gibbs_refine.h has the
    rule, docs/lda.md what it gains. Runs on the CPU.

    Parameters
    ----------
    chain : Chain
        Stays as it is.
    n_rounds : int
        0 or more; a round is 2 steps for each row under the same totals.
    counts : array_like of number, shape (R, K), optional
        Where to begin, 0 or more; the counts of the chain by default.
    threads : int
        0 takes all cores; the result does not depend on it.

    Returns
    -------
    float32, shape (R, K)
        A row sums to its number of tokens.

    Raises
    ------
    UsageError
        If `n_rounds` or `counts` is out of its range, or `counts` has another shape.
    """
    if n_rounds < 0:
        raise UsageError(f"[refine] n_rounds must be 0 or more, is {n_rounds}")
    shape = (len(chain.word_topic), chain.n_topics)
    first = chain.word_topic[:, : chain.n_topics] if counts is None else np.asarray(counts)
    if first.shape != shape:
        raise UsageError(f"[refine] counts must have shape {shape}, is {first.shape}")
    if counts is not None and not (np.isfinite(first.sum()) and first.min(initial=0) >= 0):
        raise UsageError("[refine] counts must be finite and 0 or more, some are not")
    expected = align_zeros(chain.word_topic.shape, np.float32)
    expected[:, : chain.n_topics] = first
    return inference.refine(chain, expected, n_rounds=n_rounds, threads=count_threads(threads))


def fold_in(
    indptr: ArrayLike,
    rows: ArrayLike,
    phi: NDArray[np.float32],
    alpha: float | ArrayLike,
    *,
    n_iterations: int = 50,
    tolerance: float = 1e-3,
    threads: int = 0,
) -> NDArray[np.float32]:
    """Infer topic shares of documents under fixed topics, without randomness.

    Zeroth-order collapsed variational inference (Asuncion et al. 2009): with g_wk the share of topic k in a
    token of word w, of which the document has m_w, g_wk ~ (c_k - g_wk + alpha_k) phi[w, k] where c_k is
    sum_w m_w g_wk; word after word until the mean change of g over the tokens is below `tolerance` in a round
    over all topics; then theta_k = (c_k + alpha_k) / (N_d + sum alpha). csrc/gibbs_fold.h has the rules.

    Parameters
    ----------
    indptr : array_like of int64, shape (D+1,)
    rows : array_like of int32, shape (T,)
    phi : float32, shape (R, K)
        p(word of the row | topic), above 0; a transposed (K, R) array is read as it is.
    alpha : float, or array_like of float64, shape (K,)
    n_iterations : int
        Most rounds for a document.
    tolerance : float
    threads : int
        0 takes all cores; the result does not depend on it.

    Returns
    -------
    float32, shape (D, K)
        Rows sum to 1; an empty document has the prior mean alpha_k / sum alpha, which is 1/K for one alpha.
        A row depends on the words of its document alone: not on their order, nor on the other documents.

    Raises
    ------
    UsageError
        If a shape, an id or a parameter is out of its range.
    """
    bounds = read_ids(indptr, np.int64, "[fold_in] indptr")
    ids = read_ids(rows, np.int32, "[fold_in] rows")
    check_corpus("fold_in", bounds, ids, len(phi))
    prior = check_alpha("fold_in", alpha, phi.shape[1])
    return inference.fold_in(
        bounds, ids, np.asarray(phi, np.float32), prior, n_iterations=n_iterations, tolerance=tolerance,
        threads=count_threads(threads),
    )  # fmt: skip


def log_predictive(
    indptr: ArrayLike, rows: ArrayLike, theta: NDArray[np.float32], phi: NDArray[np.float32], *,
    threads: int = 0,
) -> NDArray[np.float64]:  # fmt: skip
    """Return sum_i log sum_k theta[d, k] phi[rows[i], k] per document, in nats.

    Parameters
    ----------
    indptr : array_like of int64, shape (D+1,)
    rows : array_like of int32, shape (T,)
    theta : float32, shape (D, K)
    phi : float32, shape (R, K)
    threads : int
        0 takes all cores; the result does not depend on it.

    Returns
    -------
    float64, shape (D,)
        0 for an empty document.

    Raises
    ------
    UsageError
        If a shape or an id is out of its range.
    """
    bounds = read_ids(indptr, np.int64, "[log_predictive] indptr")
    ids = read_ids(rows, np.int32, "[log_predictive] rows")
    check_corpus("log_predictive", bounds, ids, len(phi))
    if theta.shape != (len(bounds) - 1, phi.shape[1]):
        raise UsageError(
            f"[log_predictive] theta must have shape {(len(bounds) - 1, phi.shape[1])}, is {theta.shape}"
        )
    return inference.log_predictive(bounds, ids, theta, phi, threads=count_threads(threads))
