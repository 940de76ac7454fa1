"""Topics at three levels: documents, a second level within each document topic, and sentence windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from radfast import store
from radfast.errors import UsageError
from radfast.kernels import gibbs
from radfast.topics.counts import Documents, read_documents
from radfast.topics.lda import LDA, heaviest, read_model, word_shares
from radfast.types import LEVELS, Progress, no_progress


class TopicHierarchy:
    """Three levels of LDA: topics of reports, topics within each, topics of sentence windows.

    Shin et al., CVPR 2015. The second level is one LDA per document topic over the documents whose most
    probable topic it is. All of them are trained as one batch of the sampler, each on count rows of its own
    (word within a document topic).

    Parameters
    ----------
    n_document, n_second, n_sentence : int
        Topics per level; `n_second` within each document topic.
    alpha : float, optional
        Dirichlet parameter of documents and windows over topics; 1/K of the level when None.
    eta : float
        Dirichlet parameter of topics over words.
    n_sweeps : int
        Sweeps per level.
    threads : int
        0 takes all cores.
    random_state : int
        Seed.

    Attributes
    ----------
    document_topic_, second_topic_ : int32, shape (D,)
        Most probable topic; the second is document topic * n_second + its sub-topic. -1 for an empty
        document.
    document_probability_, second_probability_ : float32, shape (D,)
        Its probability (the second: within the document topic). 0 for an empty document.
    sentence_topic_, sentence_probability_ : int32 and float32, shape (S,)
        The same for the S windows.
    document_, sentence_ : LDA
        The models of the first and third level.
    """

    def __init__(
        self,
        n_document: int = 80,
        n_second: int = 10,
        n_sentence: int = 1000,
        alpha: float | None = 0.01,
        eta: float = 0.01,
        n_sweeps: int = 200,
        threads: int = 0,
        random_state: int = 0,
    ) -> None:
        self.n_document = n_document
        self.n_second = n_second
        self.n_sentence = n_sentence
        self.alpha = alpha
        self.eta = eta
        self.n_sweeps = n_sweeps
        self.threads = threads
        self.random_state = random_state

    def fit(self, documents: Any, windows: Any, progress: Progress = no_progress) -> TopicHierarchy:
        """Train the three levels.

        Parameters
        ----------
        documents : Corpus or matrix of counts, shape (D, V)
        windows : Corpus or matrix of counts, shape (S, V')
            May have a vocabulary of its own.
        progress : callable
            ``progress(sweeps done, sweeps)`` over all levels.

        Returns
        -------
        TopicHierarchy
            Itself.
        """
        reports = read_documents(documents, "TopicHierarchy.fit")
        sentences = read_documents(windows, "TopicHierarchy.fit")
        total = 3 * self.n_sweeps

        def at(level: int) -> Progress:
            return lambda done, _: progress(level * self.n_sweeps + done, total)

        self.document_ = self._model(self.n_document).fit(reports, progress=at(0))
        self.document_topic_, self.document_probability_ = _hard_topics(
            reports, self.document_.transform(reports)
        )
        self._fit_second(reports, at(1))
        self.sentence_ = self._model(self.n_sentence).fit(sentences, progress=at(2))
        self.sentence_topic_, self.sentence_probability_ = _hard_topics(
            sentences, self.sentence_.transform(sentences)
        )
        return self

    def top_words(self, level: str, n: int = 50) -> list[list[tuple[str, float]]]:
        """Return the heaviest words of each topic of a level as (word, p(word | topic)).

        Parameters
        ----------
        level : {"document", "second", "sentence"}
        n : int

        Returns
        -------
        list of lists
            `n_document`, `n_document` * `n_second` or `n_sentence` of them; empty for an unused topic.
        """
        match level:
            case "document":
                return self.document_.top_words(n)
            case "sentence":
                return self.sentence_.top_words(n)
            case "second":
                return self._second_words(n)
            case _:
                raise UsageError(f"[top_words] level must be one of {', '.join(LEVELS)}, is '{level}'")

    def save(self, folder: str | Path) -> None:
        """Write the three levels as safetensors files into `folder`."""
        folder = Path(folder)
        self.document_.save(folder / "document.safetensors")
        self.sentence_.save(folder / "sentence.safetensors")
        names = (
            "n_document",
            "n_second",
            "n_sentence",
            "alpha",
            "eta",
            "n_sweeps",
            "threads",
            "random_state",
        )
        about = {name: getattr(self, name) for name in names}
        tensors = {
            "row_word": self._row_word,
            "row_group": self._row_group,
            "shares": self._shares,
            "second_tokens": self.second_tokens_,
            **{name: getattr(self, name + "_") for name in _ASSIGNMENTS},
        }
        metadata = {"radfast": json.dumps(about, sort_keys=True, default=int)}
        store.write_bytes(folder / "second.safetensors", to_safetensors(tensors, metadata=metadata))

    @classmethod
    def load(cls, folder: str | Path) -> TopicHierarchy:
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If a file is missing or is not such a model.
        """
        folder = Path(folder)
        tensors, about = read_model(folder / "second.safetensors", "TopicHierarchy.load")
        hierarchy = cls(**about)
        hierarchy.document_ = LDA.load(folder / "document.safetensors")
        hierarchy.sentence_ = LDA.load(folder / "sentence.safetensors")
        hierarchy._row_word, hierarchy._row_group = tensors["row_word"], tensors["row_group"]
        hierarchy._shares, hierarchy.second_tokens_ = tensors["shares"], tensors["second_tokens"]
        for name in _ASSIGNMENTS:
            setattr(hierarchy, name + "_", tensors[name])
        return hierarchy

    def _model(self, n_topics: int) -> LDA:
        return LDA(n_topics, self.alpha, self.eta, self.n_sweeps, "auto", self.threads, self.random_state)

    def _fit_second(self, reports: Documents, progress: Progress) -> None:
        # A row of the count table is a word within a document topic: the sub-models share no count.
        kept = np.flatnonzero(self.document_topic_ >= 0)
        members, group = reports.take(kept), self.document_topic_[kept]
        keys = np.repeat(group.astype(np.int64), np.diff(members.indptr)) * reports.n_words + members.tokens
        unique, rows = np.unique(keys, return_inverse=True)
        self._row_group = (unique // reports.n_words).astype(np.int32)
        self._row_word = (unique % reports.n_words).astype(np.int32)
        alpha = 1.0 / self.n_second if self.alpha is None else self.alpha
        chain = gibbs.start(
            members.indptr, rows, self.n_second, n_rows=len(unique), alpha=alpha, eta=self.eta,
            seed=self.random_state, n_words=reports.n_words, document_group=group, row_group=self._row_group,
        )  # fmt: skip
        for done in range(0, self.n_sweeps, 10):
            gibbs.sample(chain, min(10, self.n_sweeps - done), threads=self.threads)
            progress(chain.n_sweeps, self.n_sweeps)
        self._shares = word_shares(chain)
        self.second_tokens_ = np.zeros((self.n_document, self.n_second), np.int64)
        self.second_tokens_[: len(chain.totals)] = chain.totals[:, : self.n_second]
        theta = gibbs.fold_in(members.indptr, rows, self._shares, alpha, threads=self.threads)
        self.second_topic_ = np.full(len(reports), -1, np.int32)
        self.second_topic_[kept] = group * self.n_second + theta.argmax(axis=1).astype(np.int32)
        self.second_probability_ = np.zeros(len(reports), np.float32)
        self.second_probability_[kept] = theta.max(axis=1, initial=0)

    def _second_words(self, n: int) -> list[list[tuple[str, float]]]:
        words = self.document_.vocabulary_
        mass = self.second_tokens_ + self.document_.n_features_in_ * self.eta
        edges = np.searchsorted(self._row_group, np.arange(self.n_document + 1))
        topics = []
        for group in range(self.n_document):
            ids = self._row_word[edges[group] : edges[group + 1]]
            block = self._shares[edges[group] : edges[group + 1]]
            for k in range(self.n_second):
                best = heaviest(block[:, k], mass[group, k], self.eta, n)
                topics.append(
                    [(str(ids[i]) if words is None else words[ids[i]], float(block[i, k])) for i in best]
                )
        return topics


_ASSIGNMENTS = (
    "document_topic",
    "document_probability",
    "second_topic",
    "second_probability",
    "sentence_topic",
    "sentence_probability",
)


def _hard_topics(
    documents: Documents, theta: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    empty = np.diff(documents.indptr) == 0
    topic, probability = theta.argmax(axis=1).astype(np.int32), theta.max(axis=1, initial=0)
    topic[empty], probability[empty] = -1, 0
    return topic, probability
