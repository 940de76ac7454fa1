"""Topics at three levels: documents, a second level within each document topic, and sentence windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from radfast.errors import InputError
from radfast.topics import files
from radfast.topics.counts import Documents, read_documents
from radfast.topics.lda import LDA
from radfast.topics.second import SecondLevel
from radfast.topics.training import Schedule
from radfast.types import LEVELS, Progress, no_progress
from radfast.version import __version__


class TopicHierarchy(BaseEstimator):  # type: ignore[misc]
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
    backend : {"auto", "cpu", "cuda"}

    Attributes
    ----------
    document_topic_, second_topic_ : int32, shape (D,)
        Most probable topic; the second is document topic * n_second + its sub-topic. -1 for an empty
        document.
    document_probability_, second_probability_ : float32, shape (D,)
        Its probability (the second: within the document topic). 0 for an empty document.
    sentence_topic_, sentence_probability_ : int32 and float32, shape (S,)
        The same for the S windows.
    document_, sentence_ : LDA or None
        The models of the first and third level; None where there was no document or no word.
    second_ : SecondLevel
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
        backend: str = "auto",
    ) -> None:
        self.n_document = n_document
        self.n_second = n_second
        self.n_sentence = n_sentence
        self.alpha = alpha
        self.eta = eta
        self.n_sweeps = n_sweeps
        self.threads = threads
        self.random_state = random_state
        self.backend = backend

    def fit(
        self,
        documents: Any,
        windows: Any,
        progress: Progress = no_progress,
        checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> TopicHierarchy:
        """Train the three levels.

        Parameters
        ----------
        documents : Corpus or matrix of counts, shape (D, V)
        windows : Corpus or matrix of counts, shape (S, V')
            May have a vocabulary of its own. S or V' may be 0: the level then has no model.
        progress : callable
            ``progress(sweeps done, sweeps)`` over all levels.
        checkpoint : path, optional
            Folder in which the state of each level is kept; where it exists, the training goes on from it and
            ends in the same bits as one that never stopped. See `LDA.fit`.
        checkpoint_seconds : float
            Least time between two writings.

        Returns
        -------
        TopicHierarchy
            Itself.

        Raises
        ------
        InputError
            If a parameter or a count is out of its range.
        UsageError
            If a checkpoint is of another training.
        """
        reports = read_documents(documents, "TopicHierarchy.fit")
        sentences = read_documents(windows, "TopicHierarchy.fit")
        for name in ("n_document", "n_second", "n_sentence"):
            if getattr(self, name) < 1:
                raise InputError(f"[TopicHierarchy.fit] {name} must be 1 or more, is {getattr(self, name)}")
        kept = None if checkpoint is None else (Path(checkpoint), checkpoint_seconds)
        total = 3 * self.n_sweeps

        def at(level: int) -> Progress:
            return lambda done, _: progress(level * self.n_sweeps + done, total)

        self.document_, self.document_topic_, self.document_probability_ = self._fit_level(
            "document", reports, at(0), kept
        )
        self._fit_second(reports, at(1), kept)
        self.sentence_, self.sentence_topic_, self.sentence_probability_ = self._fit_level(
            "sentence", sentences, at(2), kept
        )
        progress(total, total)
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
        check_is_fitted(self)
        match level:
            case "document":
                return _top_words(self.document_, self.n_document, n)
            case "sentence":
                return _top_words(self.sentence_, self.n_sentence, n)
            case "second":
                return self.second_.top_words(n, self.document_.vocabulary_ if self.document_ else None)
            case _:
                raise InputError(f"[top_words] level must be one of {', '.join(LEVELS)}, is '{level}'")

    def save(self, folder: str | Path) -> None:
        """Write the three levels as safetensors files into `folder`; a level without a model has no file."""
        check_is_fitted(self)
        folder = Path(folder)
        for name in ("document", "sentence"):
            path, model = folder / f"{name}.safetensors", getattr(self, f"{name}_")
            if model is None:
                path.unlink(missing_ok=True)
            else:
                model.save(path)
        further = {name: getattr(self, name + "_") for name in _ASSIGNMENTS}
        self.second_.save(folder / "second.safetensors", further, self.get_params())

    @classmethod
    def load(cls, folder: str | Path) -> TopicHierarchy:
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If a file is missing or is not such a model.
        """
        folder = Path(folder)
        second, tensors, about = SecondLevel.load(folder / "second.safetensors", "TopicHierarchy.load")
        hierarchy = cls(**about)
        hierarchy.second_ = second
        for name in _ASSIGNMENTS:
            setattr(hierarchy, name + "_", tensors[name])
        for name in ("document", "sentence"):
            path = folder / f"{name}.safetensors"
            # A level without a model has only units without a topic.
            absent = not path.is_file() and not bool((tensors[f"{name}_topic"] >= 0).any())
            setattr(hierarchy, f"{name}_", None if absent else LDA.load(path))
        return hierarchy

    def _fit_level(
        self, name: str, documents: Documents, progress: Progress, kept: tuple[Path, float] | None
    ) -> tuple[LDA | None, NDArray[np.int32], NDArray[np.float32]]:
        if len(documents) == 0 or documents.n_words == 0:
            return None, np.full(len(documents), -1, np.int32), np.zeros(len(documents), np.float32)
        model = LDA(
            getattr(self, f"n_{name}"), self.alpha, self.eta, self.n_sweeps, self.backend, self.threads,
            self.random_state,
        )  # fmt: skip
        path, seconds = (None, 60.0) if kept is None else (kept[0] / f"{name}.safetensors", kept[1])
        model.fit(documents, progress=progress, checkpoint=path, checkpoint_seconds=seconds)
        theta = model.transform(documents)
        empty = np.diff(documents.indptr) == 0
        topic, probability = theta.argmax(axis=1).astype(np.int32), theta.max(axis=1)
        topic[empty], probability[empty] = -1, 0
        return model, topic, probability

    def _fit_second(self, reports: Documents, progress: Progress, kept: tuple[Path, float] | None) -> None:
        used = np.flatnonzero(self.document_topic_ >= 0)
        members, group = reports.take(used), self.document_topic_[used]
        checkpoint = None
        if kept is not None:
            about = {name: value for name, value in self.get_params().items() if name != "threads"}
            corpus = files.hash_arrays(members.indptr, members.tokens, group)
            about |= {"corpus": corpus, "version": __version__}
            checkpoint = files.Checkpoint(kept[0] / "second.safetensors", about, kept[1])
        self.second_, theta = SecondLevel.fit(
            members, group, (self.n_document, self.n_second),
            alpha=1.0 / self.n_second if self.alpha is None else self.alpha, eta=self.eta,
            seed=self.random_state, progress=progress, checkpoint=checkpoint,
            schedule=Schedule(self.n_sweeps, backend=self.backend, threads=self.threads),
        )  # fmt: skip
        self.second_topic_ = np.full(len(reports), -1, np.int32)
        self.second_topic_[used] = group * self.n_second + theta.argmax(axis=1).astype(np.int32)
        self.second_probability_ = np.zeros(len(reports), np.float32)
        self.second_probability_[used] = theta.max(axis=1, initial=0)


def _top_words(model: LDA | None, n_topics: int, n: int) -> list[list[tuple[str, float]]]:
    return [[] for _ in range(n_topics)] if model is None else model.top_words(n)


_ASSIGNMENTS = (
    "document_topic",
    "document_probability",
    "second_topic",
    "second_probability",
    "sentence_topic",
    "sentence_probability",
)
