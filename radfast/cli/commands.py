"""The commands of ``radfast``; each is thin: it reads options and calls the floor below."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radfast.errors import UsageError

if TYPE_CHECKING:
    from radfast.config import Config
    from radfast.pipeline import Summary

app = typer.Typer(
    name="radfast",
    help="Labels a radiology archive from its own reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

_EXIT_REJECTED = 4

Out = Annotated[Path, typer.Option("--out", help="Folder of the results; made when absent.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting: vision.epochs=5. Repeatable.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.")]
Threads = Annotated[int | None, typer.Option(help="Threads; 0 takes all cores.")]
Ontology = Annotated[Path | None, typer.Option(help="Diseases, as an OBO file.")]
Show = Annotated[str, typer.Option("--progress", help="auto, bars, lines, json or none.")]


def _read_config(
    path: Path | None,
    settings: list[str] | None,
    seed: int | None,
    threads: int | None,
    ontology: Path | None,
) -> Config:
    from radfast.config import load_config

    overrides: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write it as section.key=value")
        overrides[key.strip()] = _parse_value(value.strip())
    if seed is not None:
        overrides["seed"] = seed
    if threads is not None:
        overrides["threads"] = threads
    if ontology is not None:
        overrides["findings.ontology"] = str(ontology)
    return load_config(path, overrides)


def _parse_value(text: str) -> Any:
    from radfast.config import parse_toml_value

    return parse_toml_value(text)


def _finish(summary: Summary) -> None:
    for line in summary.lines:
        typer.echo(line)
    if summary.rejected:
        raise typer.Exit(_EXIT_REJECTED)


@app.command()
def run(
    archive: Annotated[Path, typer.Argument(help="Folder of DICOM files, any depth, any names.")],
    out: Out,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="CSV, JSONL or Parquet file, or a folder of texts; without it, *.txt beside the studies."
        ),
    ] = None,
    config: ConfigFile = None,
    ontology: Ontology = None,
    settings: Set = None,
    seed: Seed = None,
    threads: Threads = None,
    progress: Show = "auto",
) -> None:
    """Label a whole archive: every stage, from ingest to the report."""
    from radfast.cli.progress import make_reporter
    from radfast.pipeline import label_archive

    resolved = _read_config(config, settings, seed, threads, ontology)
    _finish(label_archive(archive, reports, out, config=resolved, reporter=make_reporter(progress)))


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="Folder of the demo: archive, truth and results.")] = Path(
        "demo-out"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic archive and of the run.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads; 0 takes all cores.")] = 0,
    progress: Show = "auto",
) -> None:
    """Make a synthetic archive with known truth, label it, and hold the labels against the truth."""
    from radfast.cli.demo import run_demo
    from radfast.cli.progress import make_reporter

    _finish(run_demo(out, seed, threads, make_reporter(progress)))


def _add_stage(name: str, about: str) -> None:
    def command(
        out: Annotated[Path, typer.Argument(help="Folder of a run.")],
        config: ConfigFile = None,
        settings: Set = None,
        progress: Show = "auto",
    ) -> None:
        from radfast.cli.progress import make_reporter
        from radfast.pipeline import resume_run

        resolved = (
            None if config is None and not settings else _read_config(config, settings, None, None, None)
        )
        _finish(resume_run(out, name, config=resolved, reporter=make_reporter(progress)))

    app.command(name, help=f"{about} Runs what it needs first; skips what is unchanged.")(command)


@app.command()
def ingest(
    archive: Annotated[Path, typer.Argument(help="Folder of DICOM files.")],
    out: Out,
    reports: Annotated[Path | None, typer.Option(help="Report file or folder.")] = None,
    config: ConfigFile = None,
    settings: Set = None,
    progress: Show = "auto",
) -> None:
    """Read the archive and its reports into OUT; the other stages go on from there."""
    from radfast.cli.progress import make_reporter
    from radfast.pipeline import label_archive

    resolved = _read_config(config, settings, None, None, None)
    reporter = make_reporter(progress)
    _finish(label_archive(archive, reports, out, config=resolved, last="ingest", reporter=reporter))


_add_stage("link", "Tie image references in the reports to images.")
_add_stage("tokenize", "Turn reports and windows into token ids.")
_add_stage("topics", "Learn topics at three levels.")
_add_stage("vectors", "Learn word vectors.")
_add_stage("findings", "Find diseases and how the report asserts them.")
_add_stage("train", "Train the networks.")


@app.command()
def label(
    source: Annotated[
        Path, typer.Argument(help="Folder of a run, or with --model a folder of further images.")
    ],
    model: Annotated[Path | None, typer.Option(help="Folder of a finished run whose networks label.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the labels, with --model.")] = None,
    progress: Show = "auto",
) -> None:
    """Label images: those of a run, or with --model and --out any further folder."""
    from radfast.cli.progress import make_reporter
    from radfast.pipeline import resume_run

    reporter = make_reporter(progress)
    if model is None and out is None:
        _finish(resume_run(source, "label", reporter=reporter))
    elif model is None or out is None:
        raise UsageError("label: --model and --out go together")
    else:
        from radfast.pipeline.further import label_images

        _finish(label_images(source, model, out, reporter=reporter))


_add_stage("describe", "Describe every image by keywords.")
_add_stage("evaluate", "Measure everything.")
_add_stage("report", "Write the HTML report.")


@app.command()
def verify(out: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Prove that every input ended in exactly one state and that no output was changed."""
    from radfast.pipeline import verify_run

    _finish(verify_run(out))


@app.command()
def info() -> None:
    """Tell versions and backends, and why a backend is missing."""
    import radfast._core as _core
    from radfast.device import BACKENDS, count_threads, why_not
    from radfast.kernels.cnn import ORDER, explain_backends
    from radfast.pipeline import describe_machine

    machine = describe_machine()
    typer.echo(f"radfast {machine['radfast']} on Python {machine['python']}, {machine['platform']}")
    typer.echo(f"{machine['processor']}, {count_threads()} cores, {machine['memory_bytes'] / 2**30:.0f} GiB")
    typer.echo(f"compiled core: {_core.simd()}")
    for name in BACKENDS:
        reason = why_not(name)
        typer.echo(f"backend {name}: {'available' if reason is None else f'missing: {reason}'}")
    typer.echo(f"networks run on the first that works of: {', '.join(ORDER['auto'])}")
    for name, reason in explain_backends().items():
        typer.echo(f"network backend {name}: {'available' if reason is None else f'missing: {reason}'}")
    typer.echo("versions: " + ", ".join(f"{name} {found}" for name, found in machine["versions"].items()))


@config_app.command("show")
def show_config(config: ConfigFile = None, settings: Set = None) -> None:
    """Print the resolved configuration as TOML."""
    from radfast.config import write_toml

    typer.echo(write_toml(_read_config(config, settings, None, None, None)), nl=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from radfast.version import __version__

        typer.echo(f"radfast {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Labels a radiology archive from its own reports."""
