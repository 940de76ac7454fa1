"""From labels to a network and back: train, label, describe."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from radfast import describe, store, text, vectors, vision
from radfast.errors import NothingFoundError
from radfast.kernels import cnn
from radfast.pipeline.context import Context, plural
from radfast.types import LABELS, LEDGER, LEVELS, SPLITS, TABLES, State, make_table, window_id

TRAIN_OUTPUTS = (
    "model/network.safetensors",
    "model/network.onnx",
    "work/label_set.parquet",
    "work/history.json",
    "work/bigrams.json",
    "work/window_bigrams.json",
)
_RANKS = 5
#: Reasons of the states that say no more by themselves.
_REASONS = {
    State.LABELED.value: "cited_by_report",
    State.DESCRIBED.value: "not_cited",
    State.EVIDENCE.value: "references_images",
    State.USED.value: "study_found",
    State.UNMATCHED.value: "no_such_study",
}

Outputs = Mapping[str, npt.NDArray[np.float32]]


def train(run: Context) -> str:
    """Build the label set from links, topics, findings and bi-grams, and train the network on it."""
    settings = run.config.vision
    try:
        labels = vision.build_label_set(
            run.read("images"),
            run.read("links"),
            run.read("topics"),
            run.read("findings"),
            _find_targets(run),
            min_images=settings.min_images,
            min_disease_images=run.config.findings.min_images,
            split=settings.split,
            seed=run.config.seed,
        )
        labels.save(run.work / "label_set.parquet")
        checkpoint = run.work / f"checkpoint-{run.key[:12]}.pt"
        for old in run.work.glob("checkpoint-*"):
            if not old.name.startswith(checkpoint.name):
                old.unlink()
        trained = vision.train(
            np.load(run.pixels, mmap_mode="r"),
            labels,
            settings,
            seed=run.config.seed,
            threads=run.threads,
            backend=run.config.backend,
            checkpoint=checkpoint,
            progress=run.progress,
        )
    except NothingFoundError as error:
        return str(error)
    vision.save_network(run.model / "network.safetensors", trained)
    store.write_json(run.work / "history.json", trained.history)
    for done in run.work.glob(f"{checkpoint.name}*"):
        done.unlink()
    heads = ", ".join(f"{name} {width}" for name, width in labels.heads().items())
    return f"{plural(len(labels), 'image')} in {plural(len(set(labels.samples)), 'sample')}; heads: {heads}"


def _find_targets(run: Context) -> dict[str, npt.NDArray[np.float32]]:
    """Return bi-gram targets by window id; words of a finding that is not present do not count."""
    path = run.model / "vectors.safetensors"
    if not path.is_file():
        return {}
    known = vectors.WordVectors.load(path)
    disease = {word for word in vectors.disease_words(_read_names(run)) if word in known}
    reports, links = run.read("reports"), run.read("links")
    tokenizer = text.Tokenizer(
        lowercase=run.config.text.lowercase,
        min_length=2,
        min_df=1,
        drop_top=0,
        numbers="drop",
        keep_spans=True,
        threads=run.threads,
    )
    corpus = tokenizer.fit_transform(reports["text"])
    places = np.asarray(corpus.spans)
    row_of = {report: row for row, report in enumerate(reports["report_id"].to_pylist())}
    denied = _denied_spans(run)
    of_window: dict[str, list[str]] = {}
    targets = {}
    linked = links.filter(pc.and_(pc.equal(links["status"], "linked"), pc.is_valid(links["sentence_start"])))
    columns = ["report_id", "sentence_start", "window_start", "window_end"]
    for link in linked.select(columns).group_by(columns, use_threads=False).aggregate([]).to_pylist():
        row = row_of[link["report_id"]]
        start, end = corpus.indptr[row], corpus.indptr[row + 1]
        spans, tokens = places[start:end], corpus.tokens[start:end]
        inside = (spans[:, 0] >= link["window_start"]) & (spans[:, 1] <= link["window_end"])
        words = [corpus.vocabulary[token] for token in tokens[inside]]
        for first, last in denied.get(link["report_id"], ()):
            for place in np.flatnonzero((spans[inside, 0] < last) & (spans[inside, 1] > first)):
                words[place] = ""
        bigrams = vectors.find_bigrams(words, disease)
        if run.config.vectors.isolated:
            bigrams += vectors.find_isolated(words, disease)
        name = window_id(link["report_id"], link["sentence_start"])
        of_window[name] = [" ".join(pair) for pair in bigrams]
        targets[name] = vectors.bigram_targets(bigrams, known)
    counts = Counter(pair for pairs in of_window.values() for pair in pairs)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    store.write_json(run.work / "bigrams.json", ordered)
    store.write_json(run.work / "window_bigrams.json", of_window)
    return targets


def _read_names(run: Context) -> list[str]:
    names: list[str] = json.loads((run.model / "disease_names.json").read_text(encoding="utf-8"))
    return names


def _denied_spans(run: Context) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {}
    found = run.read("findings").select(["report_id", "span_start", "span_end", "assertion"])
    for row in found.filter(pc.not_equal(found["assertion"], "present")).to_pylist():
        spans.setdefault(row["report_id"], []).append((row["span_start"], row["span_end"]))
    return spans


def label(run: Context) -> str:
    """Let the network answer for every image, and close the ledger."""
    images, links = run.read("images"), run.read("links")
    cited = set(links.filter(pc.equal(links["status"], "linked"))["image_id"].to_pylist())
    run.write("ledger", close_ledger(store.read_table(run.work / "ingested.parquet", LEDGER), cited))
    path = run.model / "network.safetensors"
    if not path.is_file() or not images.num_rows:
        run.write("labels", make_table(LABELS, []))
        return "no network: no labels"
    trained = vision.load_network(path)
    outputs = answer(trained, np.load(run.pixels, mmap_mode="r"), images, run)
    for name, values in outputs.items():
        store.write_array(run.work / "predictions" / f"{name}.npy", values)
    labels = vision.LabelSet.load(run.work / "label_set.parquet")
    table = tabulate_labels(images, outputs, trained, run.run_id, labels, read_evidence(run, labels))
    run.write("labels", table)
    return f"{plural(table.num_rows, 'label')} for {plural(images.num_rows, 'image')}"


def answer(trained: vision.TrainedNetwork, pixels: Any, images: pa.Table, run: Context) -> Outputs:
    """Return the network's outputs for every row of `images`, head by head."""
    compiled = cnn.compile(trained.net, run.config.backend, threads=run.threads)
    rows = images["pixel_row"].to_numpy().astype(np.int64)
    return vision.predict(trained, pixels, rows=rows, run=compiled, progress=run.progress)


def close_ledger(ledger: pa.Table, cited: set[str]) -> pa.Table:
    """Give each image its final state, labeled where a report cites it, and every row a reason."""
    states, reasons = ledger["state"].to_pylist(), ledger["reason"].to_pylist()
    for row, name in enumerate(ledger["object_id"].to_pylist()):
        if states[row] == State.DESCRIBED.value and name in cited:
            states[row] = State.LABELED.value
        reasons[row] = reasons[row] or _REASONS.get(states[row], "")
    for column, values in (("state", states), ("reason", reasons)):
        place = ledger.column_names.index(column)
        ledger = ledger.set_column(place, LEDGER.field(column), pa.array(values, pa.string()))
    return ledger


def read_evidence(run: Context, labels: vision.LabelSet) -> pa.Table:
    """Return for each image of the label set the link that is its evidence, with sentence and window text."""
    links = run.read("links").take(pa.array(labels.link_rows))
    reports = run.read("reports").select(["report_id", "text"])
    source = dict(zip(*reports.to_pydict().values(), strict=True))
    for name, first, last in (
        ("sentence", "sentence_start", "sentence_end"),
        ("window", "window_start", "window_end"),
    ):
        texts = [
            None if start is None else source[report].encode()[start:end].decode(errors="replace")
            for report, start, end in zip(
                links["report_id"].to_pylist(), links[first].to_pylist(), links[last].to_pylist(), strict=True
            )
        ]
        links = links.append_column(name, pa.array(texts, pa.string()))
    return links


def tabulate_labels(
    images: pa.Table,
    outputs: Outputs,
    trained: vision.TrainedNetwork,
    run_id: str,
    labels: vision.LabelSet | None = None,
    evidence: pa.Table | None = None,
) -> pa.Table:
    """Return the LABELS rows: per image and level the network's first answers, with target and evidence.

    Parameters
    ----------
    images : pyarrow.Table
        IMAGES rows (N).
    outputs : dict of str to float32 (N, C)
        Probabilities per head.
    trained : TrainedNetwork
        Gives class names and the model's hash.
    run_id : str
        Provenance.
    labels : LabelSet, optional
        Targets, splits and evidence of the images that have them.
    evidence : pyarrow.Table, optional
        Report, span and sentence per row of `labels`: see `read_evidence`.
    """
    names = images["image_id"].to_pylist()
    place = np.full(len(names), -1, np.int64)
    if labels is not None:
        row_of = {name: row for row, name in enumerate(labels.image_ids)}
        place = np.array([row_of.get(name, -1) for name in names], np.int64)
    parts = []
    for level in (*LEVELS, "disease"):
        if level not in outputs:
            continue
        classes = np.asarray(trained.classes[level], dtype=object)
        scores = outputs[level]
        ranks = min(_RANKS, len(classes))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :ranks]
        rows = np.repeat(np.arange(len(names)), ranks)
        columns = {
            "image_id": pa.array(names).take(pa.array(rows)),
            "level": pa.array(np.full(len(rows), level)),
            "rank": pa.array(np.tile(np.arange(ranks, dtype=np.int32), len(names))),
            "predicted": pa.array(classes[order.ravel()], pa.string()),
            "score": pa.array(np.take_along_axis(scores, order, axis=1).ravel()),
            "run_id": pa.array(np.full(len(rows), run_id)),
            "model_hash": pa.array(np.full(len(rows), trained.model_hash)),
            **_known(level, classes, place[rows], labels, evidence),
        }
        parts.append(pa.table([columns[name] for name in LABELS.names], schema=LABELS))
    return pa.concat_tables(parts) if parts else make_table(LABELS, [])


def _known(
    level: str,
    classes: npt.NDArray[Any],
    place: npt.NDArray[np.int64],
    labels: vision.LabelSet | None,
    evidence: pa.Table | None,
) -> dict[str, pa.Array]:
    """Return the columns that the label set knows, by its row numbers `place` (-1: none)."""
    if labels is None or evidence is None:
        columns = ("target", "report_id", "span_start", "span_end", "sentence")
        nothing = {name: pa.nulls(len(place), LABELS.field(name).type) for name in columns}
        return {**nothing, "split": pa.array(["none"] * len(place))}
    found = pa.array(place, mask=place < 0)
    if level == "disease":
        targets = ["; ".join(classes[row == 1]) or None for row in labels.disease]
    else:
        targets = [classes[target] if target >= 0 else None for target in labels.targets[level]]
    splits = pa.array([SPLITS[split] for split in labels.splits], pa.string())
    return {
        "target": pa.array(targets, pa.string()).take(found),
        "split": pc.fill_null(splits.take(found), "none"),
        **{
            name: evidence[name].combine_chunks().take(found)
            for name in ("report_id", "span_start", "span_end", "sentence")
        },
    }


def describe_images(run: Context) -> str:
    """Describe every image by keywords of its predicted topics."""
    images = run.read("images")
    path = run.model / "network.safetensors"
    outputs = read_outputs(run)
    if "vector" not in outputs or not (set(outputs) & set(LEVELS)):
        run.write("descriptions", make_table(TABLES["descriptions"], []))
        return "no predicted topic or vector: no keywords"
    trained = vision.load_network(path)
    labels = vision.LabelSet.load(run.work / "label_set.parquet")
    evidence = {
        image: describe.Evidence(row["report_id"], row["window"], row["window_start"], row["sentence"])
        for image, row in zip(labels.image_ids, read_evidence(run, labels).to_pylist(), strict=True)
        if row["window"] is not None
    }
    table = describe.describe_images(
        image_ids=images["image_id"].to_pylist(),
        **candidates(run.out, run.config.describe.top_words, outputs, trained),
        evidence=evidence,
        run_id=run.run_id,
        model_hash=trained.model_hash,
        diversity=run.config.describe.diversity,
        threads=run.threads,
        progress=run.progress,
    )
    run.write("descriptions", table)
    return f"{plural(table.num_rows, 'keyword')} for {plural(images.num_rows, 'image')}"


def read_outputs(run: Context) -> Outputs:
    """Return the network's outputs that the label stage wrote; empty where there is no network."""
    return {path.stem: np.load(path) for path in sorted((run.work / "predictions").glob("*.npy"))}


def candidates(out: Path, top_words: int, outputs: Outputs, trained: vision.TrainedNetwork) -> dict[str, Any]:
    """Return what the keywords are chosen from: topics and vectors predicted, topic words, word vectors."""
    known = vectors.WordVectors.load(out / "model" / "vectors.safetensors")
    names = json.loads((out / "model" / "disease_names.json").read_text(encoding="utf-8"))
    table = store.read_table(out / "topic_words.parquet", TABLES["topic_words"])
    words: dict[str, dict[int, list[str]]] = {level: {} for level in LEVELS}
    for row in table.filter(pc.less(table["rank"], top_words)).to_pylist():
        words[row["level"]].setdefault(row["topic"], []).append(row["word"])
    n_images = len(outputs["vector"])
    topics = np.full((n_images, len(LEVELS)), -1, np.int32)
    for place, level in enumerate(LEVELS):
        if level in outputs:
            classes = np.array(trained.classes[level], dtype=np.int32)
            topics[:, place] = classes[outputs[level].argmax(axis=1)]
    return {
        "topics": topics,
        "predicted": outputs["vector"],
        "topic_words": [
            [words[level].get(topic, []) for topic in range(max(words[level], default=-1) + 1)]
            for level in LEVELS
        ],
        "words": known.words,
        "vectors": known.vectors,
        "disease": vectors.disease_words(names),
    }
