"""The order of the stages: what each needs, writes and depends on. Nothing else knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from radfast.pipeline import learn, read, show
from radfast.pipeline.context import Context


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    name : str
        Name on the command line.
    work : callable
        ``work(run) -> note``: does the stage and says in a few words what came out.
    after : tuple of str
        Stages whose outputs it reads.
    outputs : tuple of str
        Files and folders it may write, relative to the output folder: tables always, models where there is
        something to learn from.
    settings : tuple of str
        Sections of the configuration that change its result.
    code : tuple of str
        Modules below radfast that change its result, beside the kernels.
    reads_inputs : bool
        It reads the archive and the reports themselves.
    """

    name: str
    work: Callable[[Context], str]
    after: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: tuple[str, ...]
    code: tuple[str, ...]
    reads_inputs: bool = False


STAGES = (
    Stage(
        "ingest",
        read.ingest,
        (),
        ("images.parquet", "reports.parquet", "evidence.parquet", "work/ingested.parquet", "work/pixels.npy"),
        ("archive",),
        ("archive",),
        reads_inputs=True,
    ),
    Stage("link", read.link, ("ingest",), ("links.parquet",), ("text",), ("text",)),
    Stage(
        "tokenize",
        read.tokenize,
        ("ingest", "link"),
        ("work/documents", "work/windows", "work/windows.json"),
        ("text",),
        ("text",),
    ),
    Stage(
        "topics",
        read.learn_topics,
        ("ingest", "tokenize"),
        ("topics.parquet", "topic_words.parquet", "model/topics", "work/curve.json"),
        ("text", "topics"),
        ("topics", "text"),
    ),
    Stage(
        "vectors",
        read.learn_vectors,
        ("ingest",),
        ("model/vectors.safetensors",),
        ("text", "vectors"),
        ("vectors", "text"),
    ),
    Stage(
        "findings",
        read.find_findings,
        ("ingest",),
        ("findings.parquet", "model/disease_names.json"),
        ("findings",),
        ("findings", "text"),
    ),
    Stage(
        "train",
        learn.train,
        ("ingest", "link", "topics", "vectors", "findings"),
        learn.TRAIN_OUTPUTS,
        ("vision", "findings", "vectors"),
        ("vision", "vectors"),
    ),
    Stage(
        "label",
        learn.label,
        ("ingest", "link", "train"),
        ("labels.parquet", "ledger.parquet", "work/predictions"),
        ("vision",),
        ("vision",),
    ),
    Stage(
        "describe",
        learn.describe_images,
        ("ingest", "link", "topics", "vectors", "findings", "label"),
        ("descriptions.parquet",),
        ("describe",),
        ("describe", "vectors"),
    ),
    Stage(
        "evaluate",
        show.evaluate,
        ("ingest", "link", "tokenize", "topics", "vectors", "findings", "train", "label", "describe"),
        ("metrics.json",),
        ("describe", "vision"),
        ("evaluate", "describe"),
    ),
    Stage(
        "report",
        show.write_report,
        ("link", "topics", "findings", "label", "describe", "evaluate"),
        ("report.html",),
        (),
        ("report",),
    ),
)

NAMES = tuple(stage.name for stage in STAGES)
