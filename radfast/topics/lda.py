"""`LDA`: latent Dirichlet allocation by collapsed Gibbs sampling, as a scikit-learn estimator."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from radfast.errors import InputError
from radfast.kernels import gibbs
from radfast.topics import files
from radfast.topics.counts import Documents
from radfast.topics.model import TopicModel, round_rows
from radfast.topics.training import Callback, Schedule, Training
from radfast.types import Progress, no_progress
from radfast.version import __version__


class LDA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TopicModel, BaseEstimator):  # type: ignore[misc]
    """Topic model of bags of words.

    docs/topics.md tells the definitions, the rules and what is reproducible at length.

    Parameters
    ----------
    n_topics : int
        K, 1 to 65535.
    alpha : float or array_like of float64, shape (K,), optional
        Dirichlet parameter of documents over topics, one for all or one per topic; 1/K when None.
    eta : float
        Dirichlet parameter of topics over words.
    n_sweeps : int
        Sweeps of the sampler over all tokens.
    backend : {"auto", "cpu", "cuda"}
    threads : int
        0 takes all cores; the result is the same bits at any number.
    random_state : int
        Seed, 0 or more.
    method : str
        Sampler, one of `radfast.kernels.gibbs.METHODS`; which is which is said there.
    evaluate_every : int
        Sweeps between two values of the log-likelihood trace; 0 takes the last sweep only.
    burn_in : int
        Sweeps before the first sample, the first estimate of alpha and the first look at `tolerance`.
    sample_every : int
        After `burn_in`, the counts of every sweep that is a multiple of this enter the mean that
        `components_` is made of, and so do those of the last sweep; 0 takes the last sweep only.
    refine : int
        Rounds in which the counts are at last replaced by expected counts, which make better topics than any
        sample or mean of samples (`radfast.kernels.gibbs.refine`); 0 keeps the counts of the samples.
    optimize_alpha : {"no", "symmetric", "asymmetric"}
        Estimate alpha from the topics of the tokens by Minka's fixed point: one value, or one per topic.
    optimize_every : int
        Sweeps between two estimates of alpha.
    tolerance : float
        Nats per token. The training ends early when the mean of the last `patience` values of the trace is
        above the mean of the `patience` values before by less than this; values up to `burn_in` do not count.
        0 never ends early.
    patience : int

    Attributes
    ----------
    components_ : float32, shape (K, V)
        p(word | topic); rows sum to 1.
    word_topic_ : float32, shape (V, K)
        Expected tokens of each word in each topic. Without `refine` int32 or int64: tokens, summed over
        `n_samples_` samples.
    topic_tokens_ : float64 or int64, shape (K,)
        Its sums over words; a topic with none is unused.
    n_samples_ : int
        1 with `refine`.
    alpha_ : float or float64 (K,)
        As last estimated.
    log_likelihood_ : float64, shape (n,)
        Joint log p(words, topics), nats, after each sweep of `log_likelihood_sweeps_` int32 (n,).
    n_features_in_ : int
        V.
    vocabulary_ : tuple of str or None
    n_sweeps_ : int
        Sweeps done.

    References
    ----------
    Blei, Ng and Jordan 2003; Griffiths and Steyvers 2004; Wallach, Mimno and McCallum 2009.
    """

    def __init__(
        self,
        n_topics: int = 80,
        alpha: float | ArrayLike | None = None,
        eta: float = 0.01,
        n_sweeps: int = 200,
        backend: str = "auto",
        threads: int = 0,
        random_state: int = 0,
        method: str = "auto",
        evaluate_every: int = 10,
        burn_in: int = 50,
        sample_every: int = 0,
        refine: int = 6,
        optimize_alpha: str = "no",
        optimize_every: int = 10,
        tolerance: float = 0.0,
        patience: int = 5,
    ) -> None:
        self.n_topics = n_topics
        self.alpha = alpha
        self.eta = eta
        self.n_sweeps = n_sweeps
        self.backend = backend
        self.threads = threads
        self.random_state = random_state
        self.method = method
        self.evaluate_every = evaluate_every
        self.burn_in = burn_in
        self.sample_every = sample_every
        self.refine = refine
        self.optimize_alpha = optimize_alpha
        self.optimize_every = optimize_every
        self.tolerance = tolerance
        self.patience = patience

    def fit(
        self,
        X: Any,
        y: object = None,
        *,
        callback: Callback | None = None,
        progress: Progress = no_progress,
        checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> LDA:
        """Learn the topics of `X`.

        Parameters
        ----------
        X : Corpus or matrix of counts, shape (D, V)
            See `read_documents`. Empty documents are allowed.
        y : ignored
        callback : callable, optional
            ``callback(sweep, log_likelihood)`` at every point of the trace; True ends the training.
        progress : callable
            ``progress(sweeps done, sweeps)``.
        checkpoint : path, optional
            File in which the state of the training is kept, written at points of the trace. Where it exists,
            the training goes on from it, and ends in the same bits as one that never stopped.
        checkpoint_seconds : float
            Least time between two writings.

        Returns
        -------
        LDA
            The estimator.

        Raises
        ------
        InputError
            If D or V is 0, or a parameter or a count is out of its range.
        UsageError
            If the checkpoint is of another training.
        """
        documents = self._read(X, "fit", reset=True)
        schedule, alpha = self._check(documents, "LDA.fit")
        kept = (
            None if checkpoint is None else self._checkpoint(Path(checkpoint), checkpoint_seconds, documents)
        )
        chain = gibbs.start(
            documents.indptr, documents.tokens, self.n_topics, n_rows=documents.n_words, eta=self.eta,
            seed=self.random_state, **Training.beginning(kept, alpha),
        )  # fmt: skip
        self.vocabulary_ = documents.vocabulary
        self._batches = 1
        self._adopt(Training(chain, schedule, kept).run(progress=progress, callback=callback))
        return self

    def partial_fit(self, X: Any, y: object = None, *, progress: Progress = no_progress) -> LDA:
        """Learn from a further batch of documents; the first batch is a `fit`.

        The counts of the batches before stay as they are and stand beside those of the batch, whose tokens
        are swept `n_sweeps` times (incremental Gibbs sampling without rejuvenation: Canini, Shi and
        Griffiths 2009). Nothing but the counts is kept of a batch; alpha stays as the first batch left it,
        and words unknown to the first batch are left out. Each batch has random numbers of its own. The
        sampler is ``dense``, or ``exact`` where `method` says so. Counts are rounded to whole tokens, every
        word keeps its number of them, and are not refined again.

        Parameters
        ----------
        X : Corpus or matrix of counts, shape (D, V)
        y : ignored
        progress : callable
            ``progress(sweeps done, sweeps)``.

        Returns
        -------
        LDA
            The estimator.

        Raises
        ------
        InputError
            As `fit`; and for a further batch if `method` or `backend` has no sampler that keeps counts fixed.
        """
        if not hasattr(self, "components_"):
            return self.fit(X, progress=progress)
        documents = self._align(X, "partial_fit")
        schedule, _ = self._check(documents, "LDA.partial_fit")
        if self.method not in ("auto", "dense", "exact") or self.backend == "cuda":
            raise InputError(
                "[LDA.partial_fit] method and backend of a further batch must be auto, dense or exact and "
                f"auto or cpu, are '{self.method}' and '{self.backend}'"
            )
        chain = gibbs.start(
            documents.indptr, documents.tokens, self.n_topics, n_rows=documents.n_words, alpha=self.alpha_,
            eta=self.eta, seed=self.random_state + self._batches,
        )  # fmt: skip
        # Several samples stand for as many corpora: their mean.
        kept = round_rows(self.word_topic_, self.n_samples_)
        chain.word_topic[:, : self.n_topics] += kept
        chain.totals[0, : self.n_topics] += kept.sum(axis=0, dtype=np.int32)
        method = "exact" if self.method == "exact" else "dense"
        fixed = replace(schedule, method=method, optimize_alpha="no", sample_every=0, refine=0)
        self._batches += 1
        self._adopt(Training(chain, fixed).run(progress=progress))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _check(self, documents: Documents, function: str) -> tuple[Schedule, Any]:
        if len(documents) == 0 or documents.n_words == 0:
            raise InputError(
                f"[{function}] X must have documents and words, has {documents.n_words} feature(s) "
                f"(shape=({len(documents)}, {documents.n_words})) while a minimum of 1 is required."
            )
        schedule = Schedule(**{field.name: getattr(self, field.name) for field in fields(Schedule)})
        schedule.check(function)
        for name, least in (("n_topics", 1), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"[{function}] {name} must be a whole number from {least}, is {value}")
        alpha = np.asarray(1.0 / self.n_topics if self.alpha is None else self.alpha, np.float64)
        if alpha.shape not in ((), (self.n_topics,)):
            raise InputError(f"[{function}] alpha must be a number or ({self.n_topics},), is {alpha.shape}")
        for name, value in (("alpha", alpha), ("eta", np.asarray(self.eta))):
            if not bool((np.isfinite(value) & (value > 0)).all()):
                raise InputError(f"[{function}] {name} must be above 0, is {value.min()}")
        return schedule, files.plain_alpha(alpha)

    def _checkpoint(self, path: Path, seconds: float, documents: Documents) -> files.Checkpoint:
        settings = {name: value for name, value in self.get_params().items() if name != "threads"}
        corpus = files.hash_arrays(documents.indptr, documents.tokens, np.array(documents.n_words))
        return files.Checkpoint(path, {**settings, "corpus": corpus, "version": __version__}, seconds)

    def _adopt(self, training: Training) -> None:
        counts, _, n_samples = training.counts()
        self.alpha_ = training.chain.alpha
        self.n_sweeps_ = training.chain.n_sweeps
        self.log_likelihood_sweeps_ = np.array(training.sweeps, np.int32)
        self.log_likelihood_ = np.array(training.values, np.float64)
        self._take_counts(counts, n_samples)
