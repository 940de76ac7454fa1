"""From files to numbers: ingest, link, tokenize, topics, vectors, findings."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pyarrow as pa

from radfast import archive, findings, store, text, topics, vectors
from radfast.errors import NothingFoundError
from radfast.pipeline.context import Context, count_values, plural
from radfast.types import LEDGER, LEVELS, TABLES, make_table


def ingest(run: Context) -> str:
    """Read DICOM files and reports; every input gets its row in the ledger."""
    found = archive.ingest(
        run.archive, run.reports, run.pixels, run.config.archive, threads=run.threads, progress=run.progress
    )
    matches = count_values(found.reports, "match")
    if (
        run.reports is not None
        and found.reports.num_rows
        and matches.get("none", 0) == found.reports.num_rows
    ):
        raise NothingFoundError(
            f"none of {plural(found.reports.num_rows, 'report')} matches a study of {run.archive}: "
            "compare study_uid, accession_number, or patient_id and study_date of both"
        )
    run.write("images", found.images)
    run.write("reports", found.reports)
    run.write("evidence", found.evidence)
    store.write_table(run.work / "ingested.parquet", found.ledger, LEDGER)
    states = count_values(found.ledger, "state")
    said = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{plural(found.images.num_rows, 'image')}, {plural(found.reports.num_rows, 'report')} ({said})"


def link(run: Context) -> str:
    """Tie image references to images."""
    links = text.link_images(
        run.read("reports"), run.read("images"), run.read("evidence"), run.config.text, progress=run.progress
    )
    run.write("links", links)
    states = count_values(links, "status")
    return ", ".join(f"{count} {status}" for status, count in states.items()) or "no reference found"


def tokenize(run: Context) -> str:
    """Turn reports and citing windows into token ids over one vocabulary each."""
    settings = run.config.text
    reports, links = run.read("reports"), run.read("links")
    documents = text.Tokenizer(
        lowercase=settings.lowercase,
        min_length=settings.min_length,
        min_df=settings.min_df,
        drop_top=settings.drop_top,
        numbers=settings.numbers,
        threads=run.threads,
    ).fit_transform(reports["text"])
    identifiers, windows = text.windows(reports, links)
    about = text.Tokenizer(
        lowercase=settings.lowercase,
        min_length=settings.min_length,
        # A small archive has few windows: the threshold of the reports would empty them.
        min_df=min(settings.min_df, max(1, len(windows) // 100)),
        drop_top=settings.drop_top,
        numbers="drop",
        threads=run.threads,
    ).fit_transform(windows)
    documents.save(run.work / "documents")
    about.save(run.work / "windows")
    store.write_json(run.work / "windows.json", identifiers)
    return (
        f"{plural(len(documents.tokens), 'token')}, {plural(len(documents.vocabulary), 'word')}; "
        f"{plural(len(identifiers), 'window')}"
    )


def learn_topics(run: Context) -> str:
    """Learn topics at three levels, and the perplexity curve where candidates are given."""
    settings = run.config.topics
    reports = run.read("reports")
    documents = text.Corpus.load(run.work / "documents")
    windows = text.Corpus.load(run.work / "windows")
    usable = np.flatnonzero(np.diff(documents.indptr) >= run.config.text.min_terms)
    identifiers = json.loads((run.work / "windows.json").read_text(encoding="utf-8"))
    if usable.size == 0:
        run.write("topics", make_table(TABLES["topics"], []))
        run.write("topic_words", make_table(TABLES["topic_words"], []))
        return f"no report keeps {run.config.text.min_terms} terms: nothing to learn topics from"
    documents = documents.select(usable)
    curve = _draw_curve(run, documents, [reports["patient_id"][int(row)].as_py() for row in usable])
    n_document = settings.n_document or _size(usable.size, 50, 80)
    if curve is not None and settings.choose:
        n_document = curve["chosen"]
    n_second = settings.n_second or _size(usable.size // n_document, 20, 10)
    n_sentence = settings.n_sentence or _size(len(identifiers), 20, 1000)
    hierarchy = topics.TopicHierarchy(
        n_document=n_document,
        n_second=n_second,
        n_sentence=n_sentence,
        alpha=settings.alpha,
        eta=settings.eta,
        n_sweeps=settings.n_sweeps,
        backend=run.config.backend,
        threads=run.threads,
        random_state=run.config.seed,
    )
    kept = run.work / f"topics-{run.key[:12]}"
    for old in run.work.glob("topics-*"):
        if old != kept:
            shutil.rmtree(old)
    hierarchy.fit(documents, windows, progress=run.progress, checkpoint=kept)
    hierarchy.save(run.model / "topics")
    store.write_json(run.work / "curve.json", curve)
    report_ids = [reports["report_id"][int(row)].as_py() for row in usable]
    run.write("topics", _tabulate_topics(hierarchy, report_ids, identifiers))
    run.write("topic_words", _tabulate_words(hierarchy, settings.top_words))
    shutil.rmtree(kept, ignore_errors=True)
    return f"{n_document} document, {n_document} x {n_second} second-level, {n_sentence} sentence topics"


def _size(units: int, per_topic: int, most: int) -> int:
    """Choose K by the archive's size; a large one gets the paper's number."""
    return min(most, max(2, units // per_topic))


def _draw_curve(run: Context, documents: text.Corpus, patients: list[str]) -> dict[str, Any] | None:
    settings = run.config.topics
    # A report without a patient is a group of its own.
    groups = np.array([patient or f"#{row}" for row, patient in enumerate(patients)])
    if not settings.candidates or len(set(groups)) < 2:
        return None
    choice = topics.select_n_topics(
        documents,
        candidates=settings.candidates,
        seeds=settings.curve_seeds,
        groups=groups,
        n_sweeps=settings.curve_sweeps,
        alpha=settings.alpha,
        eta=settings.eta,
        backend=run.config.backend,
        threads=run.threads,
        random_state=run.config.seed,
        progress=run.progress,
    )
    return {
        "candidates": list(choice.candidates),
        "perplexity": choice.perplexity.tolist(),
        "chosen": choice.chosen,
        "rule": choice.rule,
    }


def _tabulate_topics(hierarchy: topics.TopicHierarchy, report_ids: list[str], windows: list[str]) -> pa.Table:
    rows: list[dict[str, object]] = []
    for level, units, topic, probability in (
        ("document", report_ids, hierarchy.document_topic_, hierarchy.document_probability_),
        ("second", report_ids, hierarchy.second_topic_, hierarchy.second_probability_),
        ("sentence", windows, hierarchy.sentence_topic_, hierarchy.sentence_probability_),
    ):
        rows.extend(
            {"level": level, "unit_id": unit, "topic": int(k), "probability": float(p)}
            for unit, k, p in zip(units, topic, probability, strict=True)
            if k >= 0
        )
    return make_table(TABLES["topics"], rows)


def _tabulate_words(hierarchy: topics.TopicHierarchy, n: int) -> pa.Table:
    rows: list[dict[str, object]] = [
        {"level": level, "topic": topic, "rank": rank, "word": word, "weight": float(weight)}
        for level in LEVELS
        for topic, ranked in enumerate(hierarchy.top_words(level, n))
        for rank, (word, weight) in enumerate(ranked)
    ]
    return make_table(TABLES["topic_words"], rows)


def learn_vectors(run: Context) -> str:
    """Learn word vectors from the sentences of all reports and of further texts."""
    settings = run.config.vectors
    tokenizer = text.Tokenizer(
        lowercase=run.config.text.lowercase,
        min_length=2,
        min_df=1,
        drop_top=0,
        numbers="drop",
        threads=run.threads,
    )
    texts = run.read("reports").column("text").to_pylist()
    for path in settings.extra_text:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        texts.extend(line for line in lines if line.strip())
    corpus = tokenizer.fit_transform(texts)
    vocabulary = np.asarray(corpus.vocabulary, dtype=object)
    documents = [vocabulary[tokens].tolist() for tokens in np.split(corpus.tokens, corpus.indptr[1:-1])]
    if not corpus.tokens.size:
        return "no text: nothing to learn vectors from"
    learned = vectors.train_word_vectors(
        documents, settings, seed=run.config.seed, threads=run.threads, progress=run.progress
    )
    learned.save(run.model / "vectors.safetensors")
    return f"{plural(len(learned.words), 'word')} of {settings.size} dimensions"


def find_findings(run: Context) -> str:
    """Find the ontology's concepts in the reports and how they are asserted."""
    ontology = findings.Ontology.from_obo(run.config.findings.ontology or findings.DEFAULT_ONTOLOGY)
    found = findings.label_reports(run.read("reports"), ontology, threads=run.threads, progress=run.progress)
    run.write("findings", found)
    store.write_json(run.model / "disease_names.json", sorted(set(ontology.names())))
    kinds = count_values(found, "assertion")
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no concept found"
