"""`LDA`: latent Dirichlet allocation by collapsed Gibbs sampling, as a scikit-learn estimator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from radfast import store
from radfast.errors import UsageError
from radfast.kernels import gibbs
from radfast.topics.coherence import npmi_coherence
from radfast.topics.counts import Documents, align_documents, read_documents, split_tokens
from radfast.types import Progress, no_progress

#: ``callback(sweep, log_likelihood)``; returning True ends the training.
Callback = Callable[[int, float], bool | None]


class LDA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Topic model of bags of words.

    Parameters
    ----------
    n_topics : int
        K, 1 to 65535.
    alpha : float, optional
        Dirichlet parameter of documents over topics; 1/K when None.
    eta : float
        Dirichlet parameter of topics over words.
    n_sweeps : int
        Sweeps of the sampler over all tokens.
    backend : {"auto", "cpu"}
    threads : int
        0 takes all cores; the result is the same bits at any number.
    random_state : int
        Seed, 0 or more.
    method : {"auto", "exact", "dense", "mh"}
        Sampler: see `radfast.kernels.gibbs`.
    evaluate_every : int
        Sweeps between two values of the log-likelihood trace; 0 takes the last sweep only.

    Attributes
    ----------
    components_ : float32, shape (K, V)
        p(word | topic) of the last sweep; rows sum to 1.
    topic_tokens_ : int64, shape (K,)
        Training tokens of each topic; a topic with none is unused.
    log_likelihood_ : float64, shape (n,)
        Joint log p(words, topics), nats, after each sweep of `log_likelihood_sweeps_` int32 (n,).
    alpha_ : float
    n_features_in_ : int
        V.
    vocabulary_ : tuple of str or None
    n_sweeps_ : int
        Sweeps done.

    References
    ----------
    Blei, Ng and Jordan 2003; Griffiths and Steyvers 2004.
    """

    def __init__(
        self,
        n_topics: int = 80,
        alpha: float | None = None,
        eta: float = 0.01,
        n_sweeps: int = 200,
        backend: str = "auto",
        threads: int = 0,
        random_state: int = 0,
        method: str = "auto",
        evaluate_every: int = 10,
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

    def fit(
        self, X: Any, y: object = None, *, callback: Callback | None = None, progress: Progress = no_progress
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

        Returns
        -------
        LDA
            The estimator.

        Raises
        ------
        UsageError
            If V is 0, or a parameter or a count is out of its range.
        """
        documents = read_documents(X, "LDA.fit")
        self._check(documents)
        alpha = 1.0 / self.n_topics if self.alpha is None else float(self.alpha)
        chain = gibbs.start(
            documents.indptr, documents.tokens, self.n_topics, n_rows=documents.n_words, alpha=alpha,
            eta=self.eta, seed=self.random_state,
        )  # fmt: skip
        trace: list[tuple[int, float]] = []
        block = self.evaluate_every or self.n_sweeps
        progress(0, self.n_sweeps)
        while chain.n_sweeps < self.n_sweeps:
            gibbs.sample(
                chain, min(block, self.n_sweeps - chain.n_sweeps), method=self.method, backend=self.backend,
                threads=self.threads,
            )  # fmt: skip
            trace.append((chain.n_sweeps, gibbs.log_likelihood(chain, threads=self.threads)))
            progress(chain.n_sweeps, self.n_sweeps)
            if callback is not None and callback(*trace[-1]):
                break
        self.alpha_ = alpha
        self.n_features_in_ = documents.n_words
        self.vocabulary_ = documents.vocabulary
        self.n_sweeps_ = chain.n_sweeps
        self.topic_tokens_ = chain.totals[0, : self.n_topics].astype(np.int64)
        self.log_likelihood_sweeps_ = np.array([sweep for sweep, _ in trace], np.int32)
        self.log_likelihood_ = np.array([value for _, value in trace], np.float64)
        self.components_ = word_shares(chain).T.copy()
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the topic shares of documents, float32 (D, K); rows sum to 1.

        Deterministic fold-in with the topics held fixed (`radfast.kernels.gibbs.fold_in`). Words the model
        never saw are left out when both sides have a vocabulary; an empty document gets 1/K everywhere.
        """
        documents = self._align(X, "LDA.transform")
        return self._fold_in(documents)

    def perplexity(self, X: Any) -> float:
        """Return the document-completion perplexity of `X`; lower is better.

        Every document is halved at random (seed 0, independent of the order of its tokens). Its topic shares
        theta are inferred from one half; the result is exp(-sum log sum_k theta_dk p(w | k) / N) over the N
        tokens w of the other halves. Documents of one token give no second half and do not count.

        Raises
        ------
        UsageError
            If no document has two tokens.
        """
        observed, held = split_tokens(self._align(X, "LDA.perplexity"))
        if len(held.tokens) == 0:
            raise UsageError("[LDA.perplexity] a document of 2 tokens or more is needed, there is none")
        theta = self._fold_in(observed)
        value = gibbs.log_predictive(
            held.indptr, held.tokens, theta, np.ascontiguousarray(self.components_.T)
        )
        return float(np.exp(-value.sum() / len(held.tokens)))

    def score(self, X: Any, y: object = None) -> float:
        """Return the mean log probability of a held-out token, -log `perplexity`; higher is better."""
        return -float(np.log(self.perplexity(X)))

    def top_words(self, n: int = 50) -> list[list[tuple[str, float]]]:
        """Return for each topic its `n` heaviest words as (word, p(word | topic)).

        Heaviest first, ties by smaller id. Only words that the topic holds a token of; an unused topic has
        none. Without a vocabulary the word is its id as text.
        """
        check_is_fitted(self)
        return [
            [(self._word(i), float(self.components_[topic, i])) for i in ids]
            for topic, ids in enumerate(self.top_word_ids(n))
        ]

    def top_word_ids(self, n: int = 50) -> list[NDArray[np.int64]]:
        """Return for each topic the ids of its `n` heaviest words; see `top_words`."""
        check_is_fitted(self)
        mass = self.topic_tokens_ + self.n_features_in_ * self.eta
        return [
            heaviest(row, weight, self.eta, n) for row, weight in zip(self.components_, mass, strict=True)
        ]

    def coherence(self, X: Any, n: int = 10) -> NDArray[np.float64]:
        """Return the NPMI coherence of each topic's `n` top words on the documents `X`, float64 (K,)."""
        return npmi_coherence(self.top_word_ids(n), self._align(X, "LDA.coherence"))

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one safetensors file."""
        check_is_fitted(self)
        about = {
            "params": self.get_params(),
            "alpha": self.alpha_,
            "n_sweeps": self.n_sweeps_,
            "vocabulary": None if self.vocabulary_ is None else list(self.vocabulary_),
        }
        tensors = {
            "components": self.components_,
            "topic_tokens": self.topic_tokens_,
            "log_likelihood": self.log_likelihood_,
            "log_likelihood_sweeps": self.log_likelihood_sweeps_,
        }
        metadata = {"radfast": json.dumps(about, sort_keys=True, default=int)}
        store.write_bytes(Path(path), to_safetensors(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> LDA:
        """Read a model that `save` wrote.

        Raises
        ------
        UsageError
            If the file is missing or is not such a model.
        """
        tensors, about = read_model(Path(path), "LDA.load")
        model = cls(**about["params"])
        model.alpha_ = about["alpha"]
        model.n_sweeps_ = about["n_sweeps"]
        model.vocabulary_ = None if about["vocabulary"] is None else tuple(about["vocabulary"])
        model.components_ = tensors["components"]
        model.n_features_in_ = model.components_.shape[1]
        model.topic_tokens_ = tensors["topic_tokens"]
        model.log_likelihood_ = tensors["log_likelihood"]
        model.log_likelihood_sweeps_ = tensors["log_likelihood_sweeps"]
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _check(self, documents: Documents) -> None:
        if documents.n_words == 0:
            raise UsageError("[LDA.fit] X must have at least 1 word (V), has 0")
        for name, least in (("n_sweeps", 1), ("evaluate_every", 0), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise UsageError(f"[LDA.fit] {name} must be a whole number from {least}, is {value}")

    def _align(self, X: Any, function: str) -> Documents:
        check_is_fitted(self)
        return align_documents(read_documents(X, function), self.n_features_in_, self.vocabulary_, function)

    def _fold_in(self, documents: Documents) -> NDArray[np.float32]:
        return gibbs.fold_in(
            documents.indptr, documents.tokens, self.components_.T, self.alpha_, threads=self.threads
        )

    def _word(self, i: int) -> str:
        return str(i) if self.vocabulary_ is None else self.vocabulary_[i]


def word_shares(chain: gibbs.Chain) -> NDArray[np.float32]:
    """Return p(word of the row | topic) of a chain's state, float32 (R, K)."""
    k = chain.n_topics
    mass = chain.totals[:, :k].astype(np.float64) + chain.n_words * chain.eta
    shares = np.empty((len(chain.word_topic), k), np.float32)
    # A block of rows at a time: the float64 intermediate stays small beside the table.
    for low in range(0, len(shares), 1024):
        rows = slice(low, low + 1024)
        shares[rows] = (chain.word_topic[rows, :k] + chain.eta) / mass[chain.row_group[rows]]
    return shares


def heaviest(shares: NDArray[np.float32], mass: float, eta: float, n: int) -> NDArray[np.int64]:
    """Return the ids of the `n` largest `shares` among words with at least one token in the topic."""
    # share * mass is count + eta.
    present = np.flatnonzero(shares.astype(np.float64) * mass > 0.5 + eta)
    return present[np.argsort(-shares[present], kind="stable")[:n]]


def read_model(path: Path, function: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the tensors and the description of a safetensors file written by this package."""
    if not path.is_file():
        raise UsageError(f"[{function}] {path} is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["radfast"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UsageError(f"[{function}] {path} is not a topic model of radfast") from error
    return tensors, about
