"""The evaluation: every row of METHOD's list, from the tables of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from radfast import describe, evaluate, store, text, topics, vectors, vision
from radfast.pipeline.context import Context, count_values, jsonable
from radfast.pipeline.learn import Outputs, candidates, read_evidence, read_outputs
from radfast.pipeline.memo import Memo, describe_machine
from radfast.types import LEVELS, SPLITS

_NEAREST_WORDS = 12
_NEAREST = 8
_COHERENT_WORDS = 10


def measure(run: Context) -> dict[str, Any]:
    """Return all metrics of a run, JSON-able, without NaN.

    Keys: corpus, links, topics, curve, label_set, classification, vectors, keywords, diseases,
    disease_ranking, findings, ledger, truth, published, run. None where there is nothing to measure.
    """
    reports, links, images = run.read("reports"), run.read("links"), run.read("images")
    labels = _read_labels(run)
    outputs = read_outputs(run)
    metrics: dict[str, Any] = {
        "corpus": _corpus(run, reports),
        "links": evaluate.link_statistics(links, images),
        "topics": _topics(run),
        "curve": _curve(run),
        "findings": count_values(run.read("findings"), "assertion"),
        "ledger": count_values(run.read("ledger"), "state"),
        "label_set": None,
        "classification": None,
        "vectors": None,
        "keywords": None,
        "diseases": None,
        "disease_ranking": None,
        "truth": _truth(run, links),
        "published": evaluate.published_figures(),
        "run": _provenance(run),
    }
    if labels is not None:
        metrics["label_set"] = _label_set(labels)
    if labels is not None and outputs:
        metrics.update(_images(run, labels, outputs, images))
    clean: dict[str, Any] = jsonable(metrics)
    return clean


def _read_labels(run: Context) -> vision.LabelSet | None:
    path = run.work / "label_set.parquet"
    return vision.LabelSet.load(path) if path.is_file() else None


def _tokenize(run: Context, texts: pa.Array | list[str]) -> text.Corpus:
    """Tokenize for counting: nothing is dropped."""
    tokenizer = text.Tokenizer(
        lowercase=run.config.text.lowercase, min_length=1, min_df=1, drop_top=0, threads=run.threads
    )
    return tokenizer.fit_transform(texts)


def _corpus(run: Context, reports: pa.Table) -> dict[str, Any]:
    everything = _tokenize(run, reports["text"])
    sentences = [
        source.encode()[start:end].decode(errors="replace")
        for source in reports["text"].to_pylist()
        for start, end in text.split_sentences(source)
    ]
    windows = _tokenize(run, text.windows(reports, run.read("links"))[1])
    disease = vectors.disease_words(
        json.loads((run.model / "disease_names.json").read_text(encoding="utf-8"))
    )
    is_disease = np.array([word in disease for word in windows.vocabulary], bool)
    counts = np.bincount(everything.tokens, minlength=len(everything.vocabulary))
    return evaluate.corpus_statistics(
        np.diff(everything.indptr),
        np.diff(_tokenize(run, sentences).indptr),
        np.diff(windows.indptr),
        dict(zip(everything.vocabulary, counts.tolist(), strict=True)),
        disease_words_per_window=[
            int(is_disease[part].sum()) for part in np.split(windows.tokens, windows.indptr[1:-1])
        ],
    )


def _topics(run: Context) -> dict[str, Any]:
    words, assigned = run.read("topic_words"), run.read("topics")
    corpora = {"document": run.work / "documents", "sentence": run.work / "windows"}
    found = {}
    for level in LEVELS:
        rows = [row for row in words.to_pylist() if row["level"] == level]
        units = [row["topic"] for row in assigned.to_pylist() if row["level"] == level]
        sizes = Counter(units)
        coherence = None
        if rows and level in corpora:
            corpus = text.Corpus.load(corpora[level])
            coherence = _coherence(rows, corpus)
        found[level] = {
            "n_topics": len({row["topic"] for row in rows}),
            "n_used": len(sizes),
            "n_units": len(units),
            "largest_share": max(sizes.values()) / len(units) if units else None,
            "npmi": coherence,
        }
    return found


def _coherence(rows: list[dict[str, Any]], corpus: text.Corpus) -> float | None:
    place = {word: row for row, word in enumerate(corpus.vocabulary)}
    ids: dict[int, list[int]] = {}
    for row in rows:
        if row["rank"] < _COHERENT_WORDS and row["word"] in place:
            ids.setdefault(row["topic"], []).append(place[row["word"]])
    values = topics.npmi_coherence(list(ids.values()), corpus)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _curve(run: Context) -> dict[str, Any] | None:
    path = run.work / "curve.json"
    curve = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if curve is None:
        return None
    return evaluate.summarize_curve(curve["candidates"], curve["perplexity"], curve["chosen"], curve["rule"])


def _label_set(labels: vision.LabelSet) -> dict[str, Any]:
    one = labels.representative
    patients = np.array(labels.patient_ids)
    levels = {
        level: evaluate.class_counts(labels.classes[level], labels.targets[level][one], labels.dropped[level])
        for level in LEVELS
    }
    return {
        "levels": levels,
        "splits": {
            split: {
                "samples": int((one & (labels.splits == place)).sum()),
                "images": int((labels.splits == place).sum()),
                "patients": len(set(patients[labels.splits == place])),
            }
            for place, split in enumerate(SPLITS)
        },
        "disease_classes": [
            {"name": name, "n": int((labels.disease[one, column] == 1).sum())}
            for column, name in enumerate(labels.classes["disease"])
        ],
    }


def _images(run: Context, labels: vision.LabelSet, outputs: Outputs, images: pa.Table) -> dict[str, Any]:
    """Measure the network on the held-out patients."""
    test = labels.rows("test")
    row_of = {name: row for row, name in enumerate(images["image_id"].to_pylist())}
    place = np.array([row_of[labels.image_ids[row]] for row in test], np.int64)
    groups = [labels.patient_ids[row] for row in test]
    common: dict[str, Any] = {"draws": run.config.evaluate.draws, "seed": run.config.seed}
    found: dict[str, Any] = {"classification": {}}
    if not len(test):
        return found
    for level in LEVELS:
        if level in outputs:
            found["classification"][level] = evaluate.score_classification(
                labels.targets[level][test],
                outputs[level][place],
                names=[f"{level} {name}" for name in labels.classes[level]],
                groups=groups,
                **common,
            )
    if "disease" in outputs:
        scores, target, names = outputs["disease"][place], labels.disease[test], labels.classes["disease"]
        found["diseases"] = evaluate.score_diseases(target, scores, names, groups=groups)
        found["disease_ranking"] = evaluate.score_disease_ranking(
            target, scores, names, groups=groups, **common
        )
    if "vector" in outputs:
        found["vectors"] = _vectors(run, labels, outputs["vector"][place], test, groups, common)
        found["keywords"] = _keywords(run, labels, outputs, test, place, groups, common)
    return found


def _vectors(
    run: Context,
    labels: vision.LabelSet,
    predicted: npt.NDArray[np.float32],
    test: npt.NDArray[np.int64],
    groups: list[str],
    common: dict[str, Any],
) -> dict[str, Any]:
    known = vectors.WordVectors.load(run.model / "vectors.safetensors")
    bigrams = {pair: row for row, (pair, _) in enumerate(read_json(run.work / "bigrams.json"))}
    of_window = read_json(run.work / "window_bigrams.json")
    pairs = [(first, second) for first, second in (pair.split(" ") for pair in bigrams)]
    targets = [[bigrams[pair] for pair in of_window.get(labels.window_ids[row], [])] for row in test]
    nearest = vectors.KeywordIndex(known.words, known.vectors, threads=run.threads)
    common_words = list(dict.fromkeys(word for pair in pairs for word in pair))[:_NEAREST_WORDS]
    return {
        **evaluate.score_vectors(
            predicted, vectors.bigram_targets(pairs, known), targets, groups=groups, **common
        ),
        "bigrams": [
            {"bigram": pair, "count": count}
            for pair, count in read_json(run.work / "bigrams.json")
            if len(set(pair.split(" "))) == 2
        ][:50],
        "nearest": dict(zip(common_words, nearest.search_words(common_words, _NEAREST), strict=True)),
    }


def _keywords(
    run: Context,
    labels: vision.LabelSet,
    outputs: Outputs,
    test: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    groups: list[str],
    common: dict[str, Any],
) -> dict[str, Any]:
    trained = vision.load_network(run.model / "network.safetensors")
    chosen = {name: values[place] for name, values in outputs.items()}
    settings = run.config.describe
    offer = candidates(run.out, settings.top_words, chosen, trained)
    given = {
        name: _name_keywords(offer, keep, settings.diversity)
        for name, keep in (("ontology", offer["disease"]), ("unfiltered", None))
    }
    windows = _read_windows(run, labels)
    train = labels.rows("train")
    frequent = Counter(word for row in train for word in windows[row] or ())
    return evaluate.score_keywords(
        _score_words(offer),
        given,
        [windows[row] for row in test],
        offer["disease"],
        [word for word, _ in sorted(frequent.items(), key=lambda item: (-item[1], item[0]))],
        groups=groups,
        ranks=settings.ranks,
        **common,
    )


def _name_keywords(
    offer: dict[str, Any], keep: Collection[str] | None, diversity: float
) -> list[list[str | None]]:
    """Return the keywords that the descriptions hold, one per level, None for none."""
    fields = ("topics", "predicted", "topic_words", "words", "vectors")
    chosen = describe.choose_keywords(*(offer[name] for name in fields), keep=keep, diversity=diversity)
    words = offer["words"]
    return [[words[i] if i >= 0 else None for i in row] for row in chosen.ids[:, :, 0].tolist()]


def _read_windows(run: Context, labels: vision.LabelSet) -> list[set[str] | None]:
    """Return the words of each image's citing window, None where no sentence cites it."""
    texts = read_evidence(run, labels)["window"].to_pylist()
    corpus = _tokenize(run, [window or "" for window in texts])
    parts = np.split(corpus.tokens, corpus.indptr[1:-1])
    return [
        None if window is None else {corpus.vocabulary[token] for token in set(part.tolist())}
        for window, part in zip(texts, parts, strict=True)
    ]


def _score_words(offer: dict[str, Any]) -> dict[str, list[list[tuple[str, float]]]]:
    """Return each predicted topic's words, heaviest first, with their cosine to the nearer half."""
    place = {word: row for row, word in enumerate(offer["words"])}
    units = offer["vectors"] / np.maximum(np.linalg.norm(offer["vectors"], axis=1, keepdims=True), 1e-12)
    halves = offer["predicted"].reshape(len(offer["predicted"]), 2, -1)
    halves = halves / np.maximum(np.linalg.norm(halves, axis=2, keepdims=True), 1e-12)
    scored: dict[str, list[list[tuple[str, float]]]] = {}
    for column, level in enumerate(LEVELS):
        scored[level] = []
        for topic, pair in zip(offer["topics"][:, column], halves, strict=True):
            words = [
                word for word in (offer["topic_words"][column][topic] if topic >= 0 else []) if word in place
            ]
            scores = (pair @ units[[place[word] for word in words]].T).max(axis=0) if words else []
            scored[level].append([(word, float(score)) for word, score in zip(words, scores, strict=True)])
    return scored


def _truth(run: Context, links: pa.Table) -> dict[str, Any] | None:
    """Hold links, findings and topics against tables annotated by hand, where there are some."""
    folder = run.config.evaluate.truth
    if folder is None:
        return None
    found: dict[str, Any] = {}
    if (path := folder / "links.parquet").is_file():
        found["links"] = evaluate.score_links(pq.read_table(path), links)
    if (path := folder / "findings.parquet").is_file():
        found["findings"] = evaluate.score_assertions(pq.read_table(path), run.read("findings"))
    if (path := folder / "topics.parquet").is_file():
        theme = dict(
            zip(*(pq.read_table(path)[name].to_pylist() for name in ("report_id", "topic")), strict=True)
        )
        rows = [
            row
            for row in run.read("topics").to_pylist()
            if row["level"] == "document" and row["unit_id"] in theme
        ]
        found["topics"] = evaluate.score_topics(
            [theme[row["unit_id"]] for row in rows], [row["topic"] for row in rows], seed=run.config.seed
        )
    return found


def _provenance(run: Context) -> dict[str, Any]:
    memo = Memo(run.out)
    finished = sorted(memo.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    records = {path.stem: memo.read(path.stem) for path in finished}
    return {
        "run_id": run.run_id,
        "config_hash": store.hash_value(run.config.model_dump(mode="json")),
        "machine": describe_machine(),
        "stages": [
            {
                "name": name,
                "seconds": record.seconds,
                "peak_memory_bytes": record.peak_memory,
                "note": record.note,
            }
            for name, record in records.items()
            if record is not None
        ],
    }


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
