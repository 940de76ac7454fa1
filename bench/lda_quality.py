"""CPU time on one core until held-out perplexity is that of tomotopy: bench/results/lda.json.

Each round trains tomotopy once and then an `LDA` as it is by default (method ``auto``, counts refined) with
10, 15, 20, ... sweeps, until a run ends at tomotopy's perplexity or below; the figure is the ratio of the CPU
time of those two trainings, 0 if ours takes longer, and the median over rounds, which differ in seed. CPU
time runs from the tokens in memory to the trained topics: all that `fit` does is counted. tomotopy's topics
are those of its last sample; the ratio of ours by its last sample (``refine=0``) stands beside the other.
After that one run of ours of `FINAL` sweeps tells what it comes to in the end.
Perplexity is document completion, computed by the same function for both from their counts of words in
topics: half of each held-out document gives its shares (`gibbs.fold_in`), the other half is predicted.

    python -m bench.lda_quality DATA [--rounds 3] [--cases notes-80 ...] [--save lda]

DATA is the folder with text/mtsamples_*.jsonl, text/stopwords_*.txt and lda/roco_ccby.ldac.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
from collections import Counter
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.compare import RESULTS, write_result
from radfast.kernels import gibbs
from radfast.topics import LDA, Documents

ETA = 0.01
SWEEPS = (10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000)
FINAL = 800


@dataclass
class Quality:
    """A corpus, K, alpha, and the sweeps that tomotopy makes."""

    corpus: str
    n_topics: int
    alpha: float
    peer_sweeps: int

    @property
    def name(self) -> str:
        """Corpus, K and alpha, and the peer's sweeps."""
        return f"{self.corpus}-{self.n_topics}-alpha{self.alpha}-sweeps{self.peer_sweeps}"


CASES = (
    Quality("notes", 80, 0.1, 200),
    Quality("notes", 80, 0.1, 1000),
    Quality("notes", 80, 0.01, 200),
    Quality("sentences", 80, 0.01, 200),
    Quality("sentences", 80, 0.01, 1000),
    Quality("sentences", 80, 0.1, 200),
    Quality("captions", 80, 0.05, 200),
    Quality("captions", 80, 0.05, 1000),
    Quality("notes", 800, 0.01, 100),
    Quality("notes", 1000, 0.05, 100),
    Quality("sentences", 800, 0.05, 100),
    Quality("sentences", 1000, 0.01, 100),
    Quality("captions", 800, 0.1, 100),
    Quality("captions", 1000, 0.01, 100),
    Quality("synthetic", 80, 0.1, 200),
    Quality("synthetic20k", 800, 0.05, 100),
    Quality("synthetic20k", 1000, 0.05, 100),
    Quality("apart", 80, 0.1, 200),
)

Split = tuple[NDArray[np.int64], NDArray[np.int32], int, tuple[NDArray[Any], ...]]


def read_texts(data: Path) -> list[str]:
    """Transcriptions of all specialties."""
    names = ("mtsamples_radiology.jsonl", "mtsamples_other.jsonl")
    return [json.loads(x)["text"] for n in names for x in (data / "text" / n).read_text().splitlines()]


def read_words(data: Path, texts: list[str]) -> list[list[str]]:
    """Words of 3 letters or more that are no stop words."""
    stop = set((data / "text" / "stopwords_en_sklearn_bsd3.txt").read_text().split())
    found = (re.findall("[a-z]{3,}", text.lower()) for text in texts)
    return [[word for word in words if word not in stop] for words in found]


def read_windows(data: Path) -> list[list[str]]:
    """Words of two sentences at a time of the transcriptions."""
    windows = []
    for text in read_texts(data):
        sentences = [words for words in read_words(data, re.split(r"(?<=[.!?:])\s+", text)) if words]
        windows += [list(chain.from_iterable(sentences[i : i + 2])) for i in range(0, len(sentences), 2)]
    return windows


def number_words(documents: list[list[str]]) -> tuple[list[list[int]], int]:
    """Ids of words that stand in 3 documents or more."""
    documents_with = Counter(word for words in documents for word in set(words))
    ids = {w: i for i, w in enumerate(sorted(w for w, n in documents_with.items() if n >= 3))}
    return [[ids[w] for w in words if w in ids] for words in documents], len(ids)


def read_captions(data: Path) -> tuple[list[list[int]], int]:
    """Figure captions as bags of words."""
    documents = []
    for line in (data / "lda" / "roco_ccby.ldac").read_text().splitlines():
        pairs = (field.split(":") for field in line.split()[1:])
        documents.append([int(word) for word, count in pairs for _ in range(int(count))])
    return documents, 1 + max(max(d) for d in documents if d)


def draw_synthetic(n_documents: int, spread: float) -> tuple[list[NDArray[np.int32]], int]:
    """Draw a corpus from an LDA of 80 topics, about 130 tokens a document, words by Zipf's law.

    The topics are drawn from a Dirichlet distribution of total `spread`: under 200, true topics have a
    held-out perplexity of 610, and of 217 under 20, where topics stand far apart.
    """
    n_words, n_topics = 29_000, 80
    random = np.random.default_rng(7)
    zipf = 1.0 / np.arange(1, n_words + 1)
    phi = random.dirichlet(zipf / zipf.sum() * spread + 1e-9, n_topics)
    sizes = np.maximum(2, random.gamma(2, 65, n_documents).astype(int))
    shares = random.dirichlet(np.full(n_topics, 0.1), n_documents)
    topics = np.concatenate([random.choice(n_topics, n, p=p) for n, p in zip(sizes, shares, strict=True)])
    words = np.empty(len(topics), np.int32)
    for k in range(n_topics):
        of_topic = topics == k
        cumulated = np.cumsum(phi[k])
        words[of_topic] = np.searchsorted(cumulated, random.random(of_topic.sum()) * cumulated[-1])
    return np.split(words, np.cumsum(sizes)[:-1]), n_words


def split(name: str, data: Path) -> Split:
    """Training documents as indptr and rows, V, and the halves of those held out."""
    documents: list[Any]
    match name:
        case "notes":
            documents, n_words = number_words(read_words(data, read_texts(data)))
        case "sentences":
            documents, n_words = number_words(read_windows(data))
        case "captions":
            documents, n_words = read_captions(data)
        case "synthetic":
            documents, n_words = draw_synthetic(100_000, 200)
        case "synthetic20k":
            documents, n_words = draw_synthetic(20_000, 200)
        case _:
            documents, n_words = draw_synthetic(20_000, 20)
    documents = [d for d in documents if len(d) > 1]
    random = np.random.default_rng(1)
    documents = [documents[i] for i in random.permutation(len(documents))]
    n_held = min(2000, len(documents) // (10 if len(documents) > 5000 else 5))
    training, held = documents[:-n_held], documents[-n_held:]
    seen = np.bincount(np.concatenate([np.array(d) for d in training]), minlength=n_words) > 0
    first, second = [], []
    for document in held:
        words = random.permutation([w for w in document if seen[w]])
        first.append(words[: len(words) // 2])
        second.append(words[len(words) // 2 :] if len(words) > 1 else words[:0])
    indptr, rows = _join(training)
    return indptr, rows, n_words, (*_join(first), *_join(second))


def _join(documents: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    indptr = np.concatenate(([0], np.cumsum([len(d) for d in documents]))).astype(np.int64)
    return indptr, np.concatenate([np.asarray(d, np.int32) for d in documents])


def perplexity(word_topic: NDArray[Any], case: Quality, corpus: Split) -> float:
    """Document completion under counts of words in topics (V, K)."""
    _, _, n_words, (first_indptr, first, second_indptr, second) = corpus
    phi = ((word_topic + ETA) / (word_topic.sum(axis=0) + n_words * ETA)).astype(np.float32)
    theta = gibbs.fold_in(first_indptr, first, phi, case.alpha, threads=1)
    return float(np.exp(-gibbs.log_predictive(second_indptr, second, theta, phi).sum() / len(second)))


def train_peer(case: Quality, corpus: Split, seed: int) -> tuple[float, float]:
    """CPU seconds and perplexity of tomotopy."""
    import tomotopy

    indptr, rows, n_words, _ = corpus
    model = tomotopy.LDAModel(k=case.n_topics, alpha=case.alpha, eta=ETA, seed=seed + 1)
    model.optim_interval = 0
    for begin, end in pairwise(indptr):
        model.add_doc([str(w) for w in rows[begin:end]])
    start = time.process_time()
    model.train(case.peer_sweeps, workers=1)
    seconds = time.process_time() - start
    word_topic = np.zeros((n_words, case.n_topics))
    ids = [int(word) for word in model.used_vocabs]
    for k in range(case.n_topics):
        word_topic[ids, k] = model.get_topic_word_dist(k, normalize=False) - ETA
    return seconds, perplexity(np.maximum(word_topic, 0), case, corpus)


def train_ours(
    case: Quality, corpus: Split, seed: int, n_sweeps: int, *, threads: int = 1, **changes: Any
) -> tuple[float, float]:
    """CPU seconds and perplexity of a run of `n_sweeps`; `changes` are parameters of `LDA`."""
    indptr, rows, n_words, _ = corpus
    documents = Documents(indptr, rows, n_words)
    start = time.process_time()
    model = LDA(
        case.n_topics, case.alpha, ETA, n_sweeps, "cpu", threads, seed, evaluate_every=0, **changes
    ).fit(documents)  # fmt: skip
    seconds = time.process_time() - start
    return seconds, perplexity(model.word_topic_ / model.n_samples_, case, corpus)


def reach(
    case: Quality, corpus: Split, seed: int, goal: float, peer_seconds: float, least: int, **changes: Any
) -> list[dict[str, Any]]:
    """Train with `least` sweeps and more until the perplexity is `goal` or below, or the peer was faster."""
    runs = []
    for n_sweeps in SWEEPS[SWEEPS.index(least) :]:
        seconds, value = train_ours(case, corpus, seed, n_sweeps, **changes)
        runs.append({"sweeps": n_sweeps, "seconds": seconds, "perplexity": value, "reached": value <= goal})
        if value <= goal or seconds > peer_seconds:
            break
    return runs


def compare(case: Quality, data: Path, rounds: int) -> dict[str, Any]:
    """Train both in turn, `rounds` times."""
    corpus = split(case.corpus, data)
    train_ours(case, corpus, 0, 60)  # compiles
    pairs: list[dict[str, Any]] = []
    for seed in range(rounds):
        peer_seconds, peer_value = train_peer(case, corpus, seed)
        pair: dict[str, Any] = {"peer_seconds": peer_seconds, "peer_perplexity": peer_value}
        least = SWEEPS[0]
        for name, changes in (("refined", {}), ("last", {"refine": 0})):
            runs = reach(case, corpus, seed, peer_value, peer_seconds, least, **changes)
            least = runs[-1]["sweeps"]
            ratio = peer_seconds / runs[-1]["seconds"] if runs[-1]["reached"] else 0.0
            pair |= {f"ours_{name}": runs, f"ratio_{name}": ratio}
        seconds, value = train_ours(case, corpus, seed, FINAL)
        pair |= {"final_seconds": seconds, "final_perplexity": value}
        pairs.append(pair)
        print(case.name, seed, {k: round(v, 2) for k, v in pair.items() if isinstance(v, float)}, flush=True)
    return {
        "case": case.name, "documents": len(corpus[0]) - 1, "tokens": len(corpus[1]), "words": corpus[2],
        "cpu_time_ratio": float(np.median([pair["ratio_refined"] for pair in pairs])),
        "cpu_time_ratio_by_last_sample": float(np.median([pair["ratio_last"] for pair in pairs])),
        "rounds": pairs,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def main() -> None:
    """Run the cases and write them to bench/results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="*", help="names, or their first parts: notes-80")
    parser.add_argument("--save", default="lda", help="name of the file under bench/results")
    options = parser.parse_args()
    wanted = options.cases or sorted({case.corpus for case in CASES})
    chosen = [case for case in CASES if any(f"{case.name}-".startswith(f"{part}-") for part in wanted)]
    # Rows of cases that do not run now stay.
    path = RESULTS / f"{options.save}.json"
    rows = {row["case"]: row for row in json.loads(path.read_text())["results"]} if path.exists() else {}
    for case in chosen:
        rows[case.name] = compare(case, options.data, options.rounds)
        write_result(options.save, [rows[case.name] for case in CASES if case.name in rows])


if __name__ == "__main__":
    main()
