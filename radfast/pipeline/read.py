"""From files to numbers: ingest, link, tokenize, topics, vectors, findings."""

from __future__ import annotations

import json

import numpy as np

from radfast import archive, findings, store, text, topics, vectors
from radfast.errors import NothingFoundError
from radfast.pipeline.context import Context, count_values, plural
from radfast.types import LEDGER, TABLES, make_table


def ingest(run: Context) -> str:
    """Read DICOM files and reports; every input gets its row in the ledger."""
    found = archive.ingest(
        run.archive, run.reports, run.pixels, run.config.archive, threads=run.threads, progress=run.progress
    )
    matches = count_values(found.reports, "match")
    if found.reports.num_rows and matches.get("none", 0) == found.reports.num_rows:
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
    options = {"lowercase": settings.lowercase, "min_length": settings.min_length, "threads": run.threads}
    # A small archive keeps rare words: a threshold on documents above 1 % of them would empty it.
    documents = text.Tokenizer(
        min_df=settings.min_df, drop_top=settings.drop_top, numbers=settings.numbers, **options
    ).fit_transform(reports.column("text").combine_chunks())
    identifiers, windows = text.windows(reports, links)
    rare = min(settings.min_df, max(1, len(windows) // 100))
    about = text.Tokenizer(min_df=rare, drop_top=settings.drop_top, numbers="drop", **options).fit_transform(
        windows
    )
    documents.save(run.work / "documents")
    about.save(run.work / "windows")
    store.write_json(run.work / "windows.json", identifiers)
    return (
        f"{plural(len(documents.tokens), 'token')}, {plural(len(documents.vocabulary), 'word')}; "
        f"{plural(len(identifiers), 'window')}"
    )


def learn_topics(run: Context) -> str:
    """Learn topics at three levels, and the perplexity curve where candidates are given."""
    settings, seed = run.config.topics, run.config.seed
    reports = run.read("reports")
    documents = text.Corpus.load(run.work / "documents")
    windows = text.Corpus.load(run.work / "windows")
    identifiers = json.loads((run.work / "windows.json").read_text(encoding="utf-8"))
    lengths = np.diff(documents.indptr)
    usable = np.flatnonzero(lengths >= run.config.text.min_terms)
    if usable.size == 0:
        raise NothingFoundError(
            f"no report keeps {run.config.text.min_terms} terms: "
            "lower text.min_df, text.drop_top or text.min_terms"
        )
    n_document, curve = settings.n_document, None
    if settings.candidates:
        groups = np.asarray(reports.column("patient_id").to_pylist(), dtype=object)[usable]
        choice = topics.select_n_topics(
            documents.select(usable),
            candidates=settings.candidates,
            seeds=settings.curve_seeds,
            groups=_whole_groups(groups),
            n_sweeps=settings.curve_sweeps,
            alpha=settings.alpha,
            eta=settings.eta,
            threads=run.threads,
            random_state=seed,
        )
        curve = {
            "candidates": [int(k) for k in choice.candidates],
            "perplexity": [[float(value) for value in row] for row in choice.perplexity],
            "chosen": int(choice.chosen),
            "rule": choice.rule,
        }
        if settings.choose:
            n_document = int(choice.chosen)
    store.write_json(run.work / "curve.json", curve)
    hierarchy = topics.TopicHierarchy(
        n_document=n_document,
        n_second=settings.n_second,
        n_sentence=settings.n_sentence,
        alpha=settings.alpha,
        eta=settings.eta,
        n_sweeps=settings.n_sweeps,
        threads=run.threads,
        random_state=seed,
    )
    hierarchy.fit(documents, windows, progress=run.progress)
    hierarchy.save(run.model / "topics")
    report_ids = reports.column("report_id").to_pylist()
    rows: list[dict[str, object]] = []
    for level, units, topic, probability in (
        ("document", report_ids, hierarchy.document_topic_, hierarchy.document_probability_),
        ("second", report_ids, hierarchy.second_topic_, hierarchy.second_probability_),
        ("sentence", identifiers, hierarchy.sentence_topic_, hierarchy.sentence_probability_),
    ):
        rows.extend(
            {"level": level, "unit_id": unit, "topic": int(k), "probability": float(p)}
            for unit, k, p in zip(units, topic, probability, strict=True)
            if k >= 0
        )
    run.write("topics", make_table(TABLES["topics"], rows))
    words: list[dict[str, object]] = []
    for level in ("document", "second", "sentence"):
        for topic_id, ranked in enumerate(hierarchy.top_words(level, settings.top_words)):
            words.extend(
                {"level": level, "topic": topic_id, "rank": rank, "word": word, "weight": float(weight)}
                for rank, (word, weight) in enumerate(ranked)
            )
    run.write("topic_words", make_table(TABLES["topic_words"], words))
    n_second = n_document * settings.n_second
    return f"{n_document} document, {n_second} second-level, {settings.n_sentence} sentence topics"


def _whole_groups(groups: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Give every report without a patient a group of its own."""
    return np.asarray([group or f"#{row}" for row, group in enumerate(groups)], dtype=object)


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
    documents = [
        vocabulary[corpus.tokens[corpus.indptr[d] : corpus.indptr[d + 1]]].tolist()
        for d in range(len(corpus.indptr) - 1)
    ]
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
