"""What a fitted topic model answers: shares of topics, probability of documents, words, likeness, a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from radfast.errors import InputError
from radfast.kernels import gibbs
from radfast.topics import files, heldout
from radfast.topics.coherence import npmi_coherence
from radfast.topics.counts import Documents, align_documents, is_corpus, read_documents
from radfast.topics.similarity import align_words, match_topics, topic_similarity

_Model = TypeVar("_Model", bound="TopicModel")
#: Tokens of a word that a topic must hold for the word to be one of its own; expected counts are fractions.
LEAST = 0.1


class TopicModel:
    """The part of `LDA` that reads a fitted model; its attributes are described there."""

    eta: float
    threads: int
    components_: NDArray[np.float32]
    word_topic_: NDArray[Any]
    topic_tokens_: NDArray[Any]
    alpha_: Any
    log_likelihood_: NDArray[np.float64]
    log_likelihood_sweeps_: NDArray[np.int32]
    vocabulary_: tuple[str, ...] | None
    n_features_in_: int
    n_samples_: int
    n_sweeps_: int
    feature_names_in_: NDArray[Any]
    _batches: int
    get_params: Callable[[], dict[str, Any]]

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the topic shares of documents, float32 (D, K); rows sum to 1.

        Deterministic fold-in with the topics held fixed (`radfast.kernels.gibbs.fold_in`). Words the model
        never saw are left out when both sides have a vocabulary; an empty document gets the prior mean,
        alpha_k / sum alpha.
        """
        documents = self._align(X, "transform")
        return gibbs.fold_in(
            documents.indptr, documents.tokens, self.components_.T, self.alpha_, threads=self.threads
        )

    def perplexity(self, X: Any, method: str = "completion", n_particles: int = 20) -> float:
        """Return the held-out perplexity of `X`, exp(-sum log p / number of tokens); lower is better.

        Parameters
        ----------
        X : Corpus or matrix of counts, shape (D, V)
        method : {"completion", "left_to_right"}
            ``completion``: every document is halved at random (seed 0, independent of the order of its
            tokens). Its topic shares theta are inferred from one half; log p is the sum over the tokens w of
            the other half of log sum_k theta_dk p(w | k). Documents of one token give no second half and do
            not count. ``left_to_right``: log p(w_d) of the whole document, its topic shares integrated out,
            by the estimator of Wallach et al. 2009 (algorithm 3) with `n_particles` particles, in the order
            that the halving takes; every token counts. Its time grows with the square of the length.
        n_particles : int
            1 or more; for ``left_to_right``.

        Returns
        -------
        float
            Deterministic. The two methods differ in what they measure: compare like with like.

        Raises
        ------
        InputError
            If no document has a token to predict.
        """
        documents = self._align(X, "perplexity")
        return heldout.perplexity(
            documents, self.components_, self.alpha_, method=method, n_particles=n_particles,
            threads=self.threads,
        )  # fmt: skip

    def score(self, X: Any, y: object = None) -> float:
        """Return the mean log probability of a held-out token, -log `perplexity`; higher is better."""
        return -float(np.log(self.perplexity(X)))

    def top_words(self, n: int = 50) -> list[list[tuple[str, float]]]:
        """Return for each topic its `n` heaviest words as (word, p(word | topic)).

        Heaviest first, ties by smaller id. Only words that the topic holds a token of, a tenth of one where
        counts are refined; an unused topic has none. Without a vocabulary the word is the name of the column,
        or its id as text.
        """
        check_is_fitted(self)
        return [
            [(self._word(i), float(self.components_[topic, i])) for i in ids]
            for topic, ids in enumerate(self.top_word_ids(n))
        ]

    def top_word_ids(self, n: int = 50) -> list[NDArray[np.int64]]:
        """Return for each topic the ids of its `n` heaviest words; see `top_words`."""
        check_is_fitted(self)
        return [
            heaviest(row, counts, n) for row, counts in zip(self.components_, self.word_topic_.T, strict=True)
        ]

    def coherence(self, X: Any, n: int = 10) -> NDArray[np.float64]:
        """Return the NPMI coherence of each topic's `n` top words on the documents `X`, float64 (K,)."""
        return npmi_coherence(self.top_word_ids(n), self._align(X, "coherence"))

    def similarity(self, other: TopicModel | None = None) -> NDArray[np.float64]:
        """Return the similarity of each topic to each of `other` (itself when None), float64 (K, L), 0 to 1.

        The Bhattacharyya coefficient of `radfast.topics.topic_similarity`; words are matched by name where
        both models have a vocabulary.
        """
        return topic_similarity(self.components_, self._components_of(other))

    def match(self, other: TopicModel) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pair the topics with those of `other`: see `radfast.topics.match_topics`."""
        return match_topics(self.components_, self._components_of(other))

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one safetensors file; counts and parameters, in whole."""
        check_is_fitted(self)
        about = {
            "params": self.get_params(),
            "n_sweeps": self.n_sweeps_,
            "n_samples": self.n_samples_,
            "batches": self._batches,
            "vocabulary": None if self.vocabulary_ is None else list(self.vocabulary_),
            "columns": list(getattr(self, "feature_names_in_", [])),
        }
        tensors = {
            "word_topic": self.word_topic_,
            "alpha": np.asarray(self.alpha_, np.float64),
            "log_likelihood": self.log_likelihood_,
            "log_likelihood_sweeps": self.log_likelihood_sweeps_,
        }
        files.write_model(Path(path), tensors, about)

    @classmethod
    def load(cls: type[_Model], path: str | Path) -> _Model:
        """Read a model that `save` wrote.

        Raises
        ------
        UsageError
            If the file is missing or is not such a model.
        """
        tensors, about = files.read_model(Path(path), "LDA.load")
        model = cls(**about["params"])
        model.n_sweeps_ = about["n_sweeps"]
        model.vocabulary_ = None if about["vocabulary"] is None else tuple(about["vocabulary"])
        if about["columns"]:
            model.feature_names_in_ = np.array(about["columns"], dtype=object)
        model.n_features_in_ = len(tensors["word_topic"])
        model.alpha_ = files.plain_alpha(tensors["alpha"])
        model.log_likelihood_ = tensors["log_likelihood"]
        model.log_likelihood_sweeps_ = tensors["log_likelihood_sweeps"]
        model._batches = about["batches"]
        model._take_counts(tensors["word_topic"], about["n_samples"])
        return model

    def _read(self, X: Any, function: str, *, reset: bool) -> Documents:
        documents = read_documents(X, f"LDA.{function}")
        if is_corpus(X):
            if reset:
                self.__dict__.pop("feature_names_in_", None)
                self.n_features_in_ = documents.n_words
        else:
            try:
                validate_data(self, X, reset=reset, skip_check_array=True)
            except ValueError as error:
                raise InputError(f"[LDA.{function}] {error}") from error
        return documents

    def _align(self, X: Any, function: str) -> Documents:
        check_is_fitted(self)
        documents = self._read(X, function, reset=False)
        return align_documents(documents, self.n_features_in_, self.vocabulary_, f"LDA.{function}")

    def _components_of(self, other: TopicModel | None) -> NDArray[np.float32]:
        check_is_fitted(self)
        if other is None:
            return self.components_
        check_is_fitted(other)
        return align_words(other.components_, other.vocabulary_, self.vocabulary_)

    def _take_counts(self, counts: NDArray[Any], n_samples: int) -> None:
        self.word_topic_, self.n_samples_ = counts, n_samples
        self.topic_tokens_ = counts.sum(axis=0, dtype=np.int64 if counts.dtype.kind == "i" else np.float64)
        mass = self.topic_tokens_ + n_samples * len(counts) * self.eta
        self.components_ = np.empty(counts.shape[::-1], np.float32)
        # Some rows at a time: they are turned while they are in the cache.
        for low in range(0, len(counts), 128):
            shares = weigh_words(counts[low : low + 128], mass, n_samples * self.eta)
            self.components_[:, low : low + 128] = shares.T

    def _word(self, i: int) -> str:
        if self.vocabulary_ is not None:
            return self.vocabulary_[i]
        columns = getattr(self, "feature_names_in_", None)
        return str(i) if columns is None else str(columns[i])


def weigh_words(
    counts: NDArray[Any], mass: NDArray[np.floating[Any]], smoothing: float
) -> NDArray[np.float32]:
    """Return p(word of the row | topic), float32 (R, K): (counts + smoothing) / mass.

    Parameters
    ----------
    counts : int or float, shape (R, K)
    mass : float64, shape (K,)
    smoothing : float
    """
    shares: NDArray[np.float32] = counts.astype(np.float32)
    shares += np.float32(smoothing)
    shares *= (1 / mass).astype(np.float32)
    return shares


def round_rows(counts: NDArray[Any], n_samples: int) -> NDArray[np.int32]:
    """Return ``counts / n_samples`` (R, K) in whole tokens, int32; a row keeps its sum, to the nearest whole.

    The largest fractions are rounded up, ties by smaller topic.
    """
    whole = np.empty(counts.shape, np.int32)
    for low in range(0, len(whole), 1024):
        mean = counts[low : low + 1024] / n_samples
        floor = np.floor(mean)
        short = np.rint(mean.sum(axis=1, dtype=np.float64)) - floor.sum(axis=1, dtype=np.float64)
        rank = np.argsort(np.argsort(floor - mean, axis=1, kind="stable"), axis=1)
        whole[low : low + 1024] = floor + (rank < short[:, None])
    return whole


def heaviest(shares: NDArray[np.float32], counts: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return the places of the `n` largest `shares` among words that the topic holds `LEAST` tokens of."""
    present = np.flatnonzero(counts >= LEAST)
    return present[np.argsort(-shares[present], kind="stable")[:n]]
