"""Exact search for words by vector, by word and by topic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import save_file

from radfast.device import choose_backend
from radfast.errors import UsageError
from radfast.kernels.cosine import Found, PreparedKeys, as_rows, cosine_topk
from radfast.kernels.cosine.halves import FoundHalves, cosine_topk_halves
from radfast.kernels.cosine.pruned import PrunedKeys
from radfast.store import write_atomically

NEAREST = pa.schema(
    [
        pa.field("word", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False, metadata={"about": "0 is the nearest"}),
        pa.field("neighbour", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False, metadata={"about": "cosine"}),
    ]
)
# Making the pruned search ready pays from this many queries and words on, and it serves small k best.
_MANY_QUERIES, _MANY_WORDS, _SMALL_K = 2048, 4096, 64
_VECTORS, _WORDS = "vectors.safetensors", "words.arrow"


class KeywordIndex:
    """Words with their vectors, searched exactly by cosine.

    The lengths of the vectors, 4 bytes a word, are taken once: in the first search of all words, or of lists
    with as many pairs as there are words. A GPU gets its copy of the vectors in its first search. `add`,
    `remove` and pickling drop both. Unit or packed copies are not kept on the host: they would double the
    memory, and undo that of a memory-mapped index.

    Parameters
    ----------
    words : sequence of str
        V distinct words; the position of a word is its id.
    vectors : array of float (V, F)
        One row per word, any length. Kept, not copied, where it is float32: it must not change any more.
    threads : int
        Threads of a search, 0 takes all cores.

    Attributes
    ----------
    words : list of str
        The words.
    vectors : float32 (V, F)
        Their vectors; memory-mapped after `load`.
    groups : tuple of (int64 (G+1,), int32) or None
        Candidate lists by topic, made by `set_groups`.

    Raises
    ------
    UsageError
        If the numbers of words and rows differ, or a word stands twice.
    """

    def __init__(self, words: Sequence[str], vectors: Any, *, threads: int = 0) -> None:
        self.words = list(words)
        self.vectors: npt.NDArray[np.float32] = as_rows(vectors, "[KeywordIndex] vectors")
        self.threads = threads
        self.groups: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]] | None = None
        self._prepared: PreparedKeys | None = None
        self._pruned: PrunedKeys | None = None
        self._number()

    def _number(self) -> None:
        self._prepared = self._pruned = None
        if len(self.words) != len(self.vectors):
            raise UsageError(f"[KeywordIndex] {len(self.words)} words but {len(self.vectors)} vectors")
        self._ids = {word: row for row, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            raise UsageError("[KeywordIndex] words must be distinct, one stands twice")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None, "_pruned": None}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def ids_of(self, words: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the ids of `words`, int32 (n,).

        Raises
        ------
        UsageError
            If a word is not in the index.
        """
        for place, word in enumerate(words):
            if word not in self._ids:
                raise UsageError(f"[KeywordIndex] word {place}, '{word}', is not in the index")
        return np.array([self._ids[word] for word in words], dtype=np.int32)

    def search(self, queries: Any, k: int = 10, *, group: Any = None) -> Found:
        """Find the `k` words nearest to each query.

        Parameters
        ----------
        queries : array of float (Q, F)
            Vectors of any length.
        k : int
            Answers per query.
        group : int32 (Q,), optional
            Compare query q only with the words of ``groups[group[q]]``; -1 compares it with none.

        Returns
        -------
        scores : float32 (Q, k)
            Cosines, best first; minus infinity in free places.
        ids : int32 (Q, k)
            Word ids; equal scores by smaller id; -1 in free places.
        """
        rows = as_rows(queries, "[KeywordIndex.search] queries")
        many = len(self) >= _MANY_WORDS and len(rows) >= _MANY_QUERIES
        if group is None and k <= _SMALL_K and many and not _has_gpu():
            if self._pruned is None:
                self._pruned = PrunedKeys(self._keys(None, len(rows)))
            return self._pruned.search(rows, k, threads=self.threads)
        candidates = self._candidates(group)
        keys = self._keys(candidates, len(rows))
        return cosine_topk(rows, keys, k, candidates=candidates, threads=self.threads)

    def search_halves(self, queries: Any, k: int = 10, *, group: Any = None) -> FoundHalves:
        """Find the `k` words nearest to either half of each query, (Q, 2F): the higher cosine counts.

        Returns scores float32 (Q, k), ids int32 (Q, k) and half int8 (Q, k), which tells the half that gave
        the score (-1 in free places). See `radfast.kernels.cosine.halves`.
        """
        rows = as_rows(queries, "[KeywordIndex.search_halves] queries")
        candidates = self._candidates(group)
        keys = self._keys(candidates, 2 * len(rows))
        return cosine_topk_halves(rows, keys, k, candidates=candidates, threads=self.threads)

    def search_words(self, words: Sequence[str], k: int = 10) -> list[list[tuple[str, float]]]:
        """Return for each of `words` the `k` other words of highest cosine, as (word, cosine), best first."""
        own = self.ids_of(words)
        scores, ids = self.search(self.vectors[own], k + 1)
        return [
            [(self.words[i], float(s)) for i, s in zip(row, values, strict=True) if i not in (-1, me)][:k]
            for me, row, values in zip(own.tolist(), ids.tolist(), scores.tolist(), strict=True)
        ]

    def nearest_table(self, words: Sequence[str] | None = None, k: int = 10) -> pa.Table:
        """Return the nearest words of each of `words` (all words when None): word, rank, neighbour, score."""
        words = self.words if words is None else words
        rows = [
            {"word": word, "rank": rank, "neighbour": other, "score": score}
            for word, found in zip(words, self.search_words(words, k), strict=True)
            for rank, (other, score) in enumerate(found)
        ]
        return pa.Table.from_pylist(rows, schema=NEAREST)

    def set_groups(self, lists: Sequence[Sequence[str]], keep: Collection[str] | None = None) -> None:
        """Make the candidate list of each topic from its words.

        Parameters
        ----------
        lists : sequence of sequences of str
            Words of each of G topics; words that are not in the index are left out.
        keep : set of str, optional
            Leave out all other words, for example those of no disease.
        """
        ids = [
            sorted({self._ids[w] for w in words if w in self._ids and (keep is None or w in keep)})
            for words in lists
        ]
        indptr = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in ids], out=indptr[1:])
        self.groups = indptr, np.array([i for one in ids for i in one], dtype=np.int32)

    def _keys(self, candidates: tuple[Any, Any, Any] | None, n_queries: int) -> Any:
        # A search of a few lists leaves the other rows alone: they may lie on disk. A GPU gets all, once.
        if self._prepared is None:
            few = candidates is not None and n_queries * self._longest_list() < len(self) and not _has_gpu()
            if few:
                return self.vectors
            self._prepared = PreparedKeys(self.vectors, threads=self.threads)
        return self._prepared

    def _longest_list(self) -> int:
        return int(np.diff(self.groups[0]).max(initial=0)) if self.groups is not None else 0

    def _candidates(self, group: Any) -> tuple[Any, Any, Any] | None:
        if group is None:
            return None
        if self.groups is None:
            raise UsageError("[KeywordIndex] a search by group needs set_groups first")
        return (*self.groups, group)

    def add(self, words: Sequence[str], vectors: Any) -> None:
        """Add words at the end; ids of the others stay.

        Raises
        ------
        UsageError
            If a word is there already or the vectors have another number of features.
        """
        rows = as_rows(vectors, "[KeywordIndex.add] vectors")
        if rows.shape[1] != self.vectors.shape[1]:
            raise UsageError(
                f"[KeywordIndex.add] vectors must have {self.vectors.shape[1]} features, have {rows.shape[1]}"
            )
        if len(rows) != len(words) or len({*self.words, *words}) != len(self.words) + len(words):
            raise UsageError("[KeywordIndex.add] words must be new, distinct, and as many as vectors")
        self.words.extend(words)
        self.vectors = np.concatenate([self.vectors, rows])
        self._number()

    def remove(self, words: Sequence[str]) -> None:
        """Remove words; those behind move up, also in the groups.

        Raises
        ------
        UsageError
            If a word is not in the index.
        """
        gone = self.ids_of(words)
        stays = np.ones(len(self.words), dtype=bool)
        stays[gone] = False
        if self.groups is not None:
            indptr, ids = self.groups
            kept = stays[ids]
            self.groups = (
                np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[indptr],
                (np.cumsum(stays, dtype=np.int32) - 1)[ids[kept]],
            )
        self.words = [word for word, kept in zip(self.words, stays.tolist(), strict=True) if kept]
        self.vectors = self.vectors[stays]
        self._number()

    def save(self, folder: str | Path) -> None:
        """Write vectors.safetensors (vectors and groups) and words.arrow into `folder`."""
        folder = Path(folder)
        table = pa.table({"word": pa.array(self.words, pa.string())})
        with write_atomically(folder / _WORDS) as part, pa.ipc.new_file(str(part), table.schema) as writer:
            writer.write_table(table)
        tensors: dict[str, Any] = {"vectors": np.ascontiguousarray(self.vectors)}
        if self.groups is not None:
            tensors["group_indptr"], tensors["group_ids"] = self.groups
        with write_atomically(folder / _VECTORS) as part:
            save_file(tensors, part, metadata={"words": _digest(self.words)})

    @classmethod
    def load(cls, folder: str | Path, *, mmap: bool = True, threads: int = 0) -> KeywordIndex:
        """Read an index written by `save`; the vectors stay on disk until used when `mmap` is true.

        Raises
        ------
        UsageError
            If a file is missing or damaged, or words and vectors are of different indexes.
        """
        folder = Path(folder)
        try:
            with pa.memory_map(str(folder / _WORDS)) as file:
                words = pa.ipc.open_file(file).read_all().column("word").to_pylist()
            tensors, metadata = _map_tensors(folder / _VECTORS)
            vectors = tensors["vectors"]
        except OSError as error:
            raise UsageError(f"cannot read keyword index {folder}: {error.strerror or error}") from error
        except (pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder} holds no keyword index: {error}") from error
        if metadata.get("words") != _digest(words):
            raise UsageError(f"{folder}: {_WORDS} and {_VECTORS} are of different indexes")
        index = cls(words, vectors if mmap else np.array(vectors), threads=threads)
        if "group_indptr" in tensors:
            index.groups = np.array(tensors["group_indptr"]), np.array(tensors["group_ids"])
        return index


def _has_gpu() -> bool:
    return choose_backend("auto", kernel="KeywordIndex") == "cuda"


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _map_tensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    # safetensors.numpy copies; its format is a length, a JSON header, and the raw arrays.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path.name} is not safetensors")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    kinds = {"F32": np.float32, "I64": np.int64, "I32": np.int32}
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, entry in header.items():
        kind, shape = np.dtype(kinds[entry["dtype"]]), tuple(entry["shape"])
        if 0 in shape:
            tensors[name] = np.empty(shape, dtype=kind)
            continue
        tensors[name] = np.memmap(path, kind, "r", offset=8 + length + entry["data_offsets"][0], shape=shape)
    return tensors, metadata
