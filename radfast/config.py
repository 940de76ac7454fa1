"""Settings of a run: TOML, checked by pydantic; an unknown key is an error.

Defaults are what a CPU can bear on an archive of any size; configs/paper.toml holds the paper's sizes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from radfast.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnsConfig(_Section):
    """Names of the columns of the report file; an absent optional column is fine."""

    report_id: str = "report_id"
    patient_id: str = "patient_id"
    study_uid: str = "study_uid"
    accession_number: str = "accession_number"
    study_date: str = "study_date"
    text: str = "text"


class ArchiveConfig(_Section):
    """Reading of DICOM and reports."""

    picture_size: int = Field(256, ge=16, le=2048, description="side of the 8-bit pictures, pixels")
    report_glob: str = Field("*.txt", description="report files beside the studies, used without --reports")
    columns: ColumnsConfig = ColumnsConfig()
    decode_timeout: float = Field(60.0, gt=0, description="seconds for one file before it is rejected")


class TextConfig(_Section):
    """Tokenizer and windows."""

    lowercase: bool = True
    min_length: int = Field(3, ge=1, description="characters; 2 keeps 'ct'")
    min_df: int = Field(3, ge=1)
    drop_top: int = Field(10, ge=0)
    numbers: Literal["keep", "drop", "mask"] = "keep"
    min_terms: int = Field(5, ge=0, description="documents with fewer terms take no part in the topics")
    window_before: int = Field(1, ge=0, description="sentences before the citing one")
    window_after: int = Field(1, ge=0)


class TopicsConfig(_Section):
    """Three levels of LDA."""

    n_document: int = Field(0, ge=0, description="topics; 0: one per 50 reports, 2 to 80")
    n_second: int = Field(
        0, ge=0, description="topics in each document topic; 0: one per 20 of its reports, 2 to 10"
    )
    n_sentence: int = Field(0, ge=0, description="topics of windows; 0: one per 20 windows, 2 to 1000")
    alpha: float | None = Field(0.1, gt=0)
    eta: float = Field(0.01, gt=0)
    n_sweeps: int = Field(200, ge=1)
    top_words: int = Field(50, ge=1)
    candidates: tuple[int, ...] = Field((), description="K values of the perplexity curve")
    curve_seeds: int = Field(3, ge=1)
    curve_sweeps: int = Field(100, ge=1)
    choose: bool = Field(False, description="take n_document from the curve's minimum")


class VectorsConfig(_Section):
    """Skip-gram with hierarchical softmax."""

    size: int = Field(256, ge=2)
    window: int = Field(10, ge=1)
    sample: float = Field(1e-4, ge=0)
    min_count: int = Field(3, ge=1)
    epochs: int = Field(5, ge=1)
    isolated: bool = Field(
        True, description="disease words outside bi-grams are targets, too; the paper: false"
    )
    extra_text: tuple[Path, ...] = Field((), description="further text files, one document per line")


class FindingsConfig(_Section):
    """Ontology and assertion."""

    ontology: Path | None = Field(None, description="OBO file; the small one of the project when absent")
    min_images: int = Field(10, ge=1, description="images a class 'X present' or 'X absent' needs")


class VisionConfig(_Section):
    """Networks and their training."""

    network: Literal["alexnet", "vgg16", "vgg19"] = "alexnet"
    width: float = Field(1.0, gt=0, le=1.0, description="share of the channels; below 1 takes no weights")
    weights: Path | None = Field(None, description=".safetensors or .pth with torchvision's keys")
    freeze_trunk: bool = False
    crop: int = Field(112, ge=32, description="side of the random crop, pixels")
    picture_size: int = Field(128, ge=32, description="side the pictures are resized to before the crop")
    recipe: Literal["paper", "modern"] = Field(
        "modern", description="what the settings below that say 'recipe' or are not set stand for"
    )
    optimizer: Literal["recipe", "sgd", "adamw"] = Field("recipe", description="paper: sgd; modern: adamw")
    schedule: Literal["recipe", "constant", "cosine"] = Field(
        "recipe", description="of the learning rate; modern: cosine, after a warm-up"
    )
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of a phase's steps, with cosine")
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="paper: 0; modern: 0.1")
    balance: Literal["recipe", "none", "loss", "sampling"] = Field(
        "recipe", description="rare classes weigh more (modern: loss) or are drawn more often"
    )
    augmentation: Literal["recipe", "crop", "radiology"] = Field(
        "recipe", description="paper: a random crop; modern: turned, scaled, contrast varied; never mirrored"
    )
    ema: float | None = Field(
        None, ge=0, lt=1, description="decay of the averaged weights that are kept; paper: 0; modern: 0.99"
    )
    clip: float | None = Field(None, ge=0, description="norm of the gradient; paper: 0 (none); modern: 1")
    mixed_precision: Literal["auto", "off", "bfloat16"] = Field("auto", description="auto: on a GPU only")
    channels_last: bool | None = Field(None, description="memory order of the trunk; not set: on a GPU only")
    tensorboard: Path | None = Field(None, description="folder for TensorBoard's event files")
    epochs: int = Field(10, ge=1)
    batch: int = Field(50, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    head_learning_rate: float = Field(0.001, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    checkpoint_seconds: float = Field(30.0, ge=0, description="least time between two checkpoints")
    patience: int = Field(10, ge=1, description="epochs without a better validation loss before the stop")
    chain: bool = Field(True, description="document -> second -> sentence; false trains all heads at once")
    vector_loss: Literal["cosine", "sigmoid"] = Field(
        "cosine", description="sigmoid: the paper's cross-entropy"
    )
    min_images: int = Field(20, ge=1, description="topics with fewer images are dropped from the label set")
    split: tuple[float, float, float] = Field((0.85, 0.05, 0.10), description="patients per split")


class DescribeConfig(_Section):
    """Keywords."""

    top_words: int = Field(50, ge=1, description="candidates per predicted topic")
    diversity: float = Field(
        0.5, ge=0, description="how much nearness to keywords already given counts against a word; 0: not"
    )
    ranks: tuple[int, ...] = (1, 5, 10, 20)


class EvaluateConfig(_Section):
    """Measuring."""

    truth: Path | None = Field(
        None, description="folder with links.parquet, findings.parquet or topics.parquet annotated by hand"
    )
    draws: int = Field(1000, ge=10, description="bootstrap draws of the confidence intervals, by patient")


class Config(_Section):
    """Everything a run depends on beside its inputs."""

    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0, description="0 takes all cores")
    backend: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where topics and networks are trained and images labeled; auto: on a GPU that is there",
    )
    archive: ArchiveConfig = ArchiveConfig()
    text: TextConfig = TextConfig()
    topics: TopicsConfig = TopicsConfig()
    vectors: VectorsConfig = VectorsConfig()
    findings: FindingsConfig = FindingsConfig()
    vision: VisionConfig = VisionConfig()
    describe: DescribeConfig = DescribeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


def load_config(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a TOML file and lay `overrides` (dotted keys, e.g. ``vision.epochs``) over it.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML, or holds an unknown key or a value out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not TOML: {error}") from error
    for key, value in (overrides or {}).items():
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f" in {path}" if path is not None else ""
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(f"configuration key '{key}'{where}: {what}") from error


def resolve_paths(config: Config) -> Config:
    """Return `config` with absolute paths, so that it holds from any working folder."""
    values = config.model_dump()
    for section in values.values():
        for key, value in section.items() if isinstance(section, dict) else ():
            if isinstance(value, Path):
                section[key] = value.resolve()
    values["vectors"]["extra_text"] = [path.resolve() for path in config.vectors.extra_text]
    return Config.model_validate(values)


def parse_toml_value(text: str) -> Any:
    """Read one TOML value; what is not TOML is taken as a string, so that paths need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def write_toml(config: Config) -> str:
    """Return `config` as TOML that `load_config` reads back to the same settings."""
    lines: list[str] = []
    _write_section(config.model_dump(mode="json"), (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_section(values: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    if path:
        lines.extend(["", f"[{'.'.join(path)}]"])
    for key, value in plain.items():
        # JSON text of strings, numbers, booleans and lists is TOML; TOML has no null.
        lines.append(f"# {key} is not set" if value is None else f"{key} = {json.dumps(value)}")
    for key, value in values.items():
        if isinstance(value, dict):
            _write_section(value, (*path, key), lines)
