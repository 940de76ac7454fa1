"""Skip-gram word vectors with hierarchical softmax, trained by gensim and kept in safetensors."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from radfast.config import VectorsConfig
from radfast.device import count_threads
from radfast.errors import UsageError
from radfast.kernels.cosine import as_rows, cosine_topk
from radfast.store import write_atomically
from radfast.types import Progress, no_progress

_LONGEST = 10_000  # gensim cuts longer sentences off without a word


class WordVectors:
    """Words and one vector for each.

    Parameters
    ----------
    words : sequence of str
        V distinct words.
    vectors : array of float (V, F)
        One row per word, any length.

    Attributes
    ----------
    words : list of str
        The words.
    vectors : float32 (V, F)
        Their vectors.

    Raises
    ------
    UsageError
        If the numbers of words and rows differ, or a word stands twice.
    """

    def __init__(self, words: Sequence[str], vectors: Any) -> None:
        self.words = list(words)
        self.vectors: npt.NDArray[np.float32] = as_rows(vectors, "[WordVectors] vectors")
        if len(self.words) != len(self.vectors):
            raise UsageError(f"[WordVectors] {len(self.words)} words but {len(self.vectors)} vectors")
        self._rows = {word: row for row, word in enumerate(self.words)}
        if len(self._rows) != len(self.words):
            raise UsageError("[WordVectors] words must be distinct, one stands twice")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._rows

    def row(self, word: str) -> int:
        """Return the row of `word`.

        Raises
        ------
        UsageError
            If the word has no vector.
        """
        if word not in self._rows:
            raise UsageError(f"[WordVectors] no vector for the word '{word}'")
        return self._rows[word]

    def vector(self, word: str) -> npt.NDArray[np.float32]:
        """Return the vector of `word`, float32 (F,)."""
        vector: npt.NDArray[np.float32] = self.vectors[self.row(word)]
        return vector

    def nearest(self, word: str, k: int = 10) -> list[tuple[str, float]]:
        """Return the `k` other words of highest cosine to `word`, best first."""
        row = self.row(word)
        scores, ids = cosine_topk(self.vectors[row : row + 1], self.vectors, k + 1)
        found = [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i not in (-1, row)]
        return [(self.words[i], s) for i, s in found[:k]]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: vectors, and the words as UTF-8 bytes with their ends."""
        text, ends = pack_words(self.words)
        with write_atomically(Path(path)) as part:
            save_file(
                {"vectors": np.ascontiguousarray(self.vectors), "word_bytes": text, "word_ends": ends}, part
            )

    @classmethod
    def load(cls, path: str | Path) -> WordVectors:
        """Read a file written by `save`.

        Raises
        ------
        UsageError
            If the file is missing or is not one of word vectors.
        """
        try:
            tensors = load_file(path)
            return cls(unpack_words(tensors["word_bytes"], tensors["word_ends"]), tensors["vectors"])
        except OSError as error:
            raise UsageError(f"cannot read word vectors {path}: {error.strerror or error}") from error
        except (SafetensorError, KeyError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} holds no word vectors: {error}") from error


def pack_words(words: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return all words as UTF-8 bytes, one after the other, and where each ends."""
    encoded = [word.encode() for word in words]
    ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def unpack_words(text: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> list[str]:
    """Undo `pack_words`."""
    data = text.tobytes()
    starts = [0, *ends.tolist()]
    return [data[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=False)]


class _Pieces:
    """Sentences any number of times, long ones in pieces."""

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        self._sentences = list(sentences) if isinstance(sentences, Iterator) else sentences

    def __iter__(self) -> Iterator[list[str]]:
        for sentence in self._sentences:
            for start in range(0, len(sentence), _LONGEST):
                yield list(sentence[start : start + _LONGEST])


def _hash_word(word: str) -> int:
    # Python's own hash of a string differs from one process to the next.
    return zlib.crc32(word.encode())


def train_word_vectors(
    sentences: Iterable[Sequence[str]],
    config: VectorsConfig,
    *,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = no_progress,
) -> WordVectors:
    """Train skip-gram vectors with hierarchical softmax.

    Parameters
    ----------
    sentences : iterable of list of str
        Words of each sentence or report in reading order; gone through ``epochs + 1`` times, so a generator
        is read into memory first.
    config : VectorsConfig
        Size F, window, sub-sampling, least count, epochs.
    seed : int
        Same seed and sentences, same bits.
    threads : int
        Checked, but one is used: gensim's threads race for the weights, and a race has no seed.
    progress : Progress
        Told after each epoch.

    Returns
    -------
    WordVectors
        Words by descending frequency; empty when no word occurs ``min_count`` times.

    References
    ----------
    Mikolov et al., Distributed representations of words and phrases and their compositionality, NIPS 2013.
    """
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    count_threads(threads)

    class Told(CallbackAny2Vec):  # type: ignore[misc]
        def __init__(self) -> None:
            self.done = 0

        def on_epoch_end(self, model: Any) -> None:
            self.done += 1
            progress(self.done, config.epochs)

    pieces = _Pieces(sentences)
    model = Word2Vec(
        vector_size=config.size,
        window=config.window,
        sample=config.sample,
        min_count=config.min_count,
        sg=1,
        hs=1,
        negative=0,
        workers=1,
        seed=seed + 1,  # gensim takes 0 for "no seed"
        hashfxn=_hash_word,
    )
    model.build_vocab(pieces)
    if not len(model.wv):
        return WordVectors([], np.empty((0, config.size), dtype=np.float32))
    model.train(pieces, total_examples=model.corpus_count, epochs=config.epochs, callbacks=[Told()])
    return WordVectors(model.wv.index_to_key, model.wv.vectors)
