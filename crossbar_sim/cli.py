"""The command line: crossbar-sim."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from crossbar_sim.config import ConfigError, RunConfig, load_config

app = typer.Typer(
    help="Run a trained neural network on banks of imprecise resistors, at circuit level.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
#: Progress and messages go to stderr, so that stdout holds only what a pipe wants.
_errors = Console(stderr=True)


@app.callback()
def _root() -> None:
    pass


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="TOML file, such as examples/digits.toml")],
    results: Annotated[Path, typer.Option(help="where the run's directory goes")] = Path("results"),
    quick: Annotated[bool, typer.Option(help="little training, few images: a try-out")] = False,
    resume: Annotated[bool, typer.Option(help="go on with an interrupted run")] = False,
) -> None:
    """The main job: train, prune, select resistors, write netlists, simulate, report.

    Writes RESULTS/NAME/ with report.html, report.json, selection.csv, netlists/ and the mapped
    network, and prints the path of the report. The same seed gives the same numbers.

    Exit code 0: done; 1: ngspice failed or disagrees; 2: bad configuration.
    """
    from crossbar_sim.run import run as run_all

    settings = load_config(config)
    settings = settings.made_quick() if quick else settings
    with _progress_bars() as tell:
        directory = run_all(settings, results, resume=resume, progress=tell)
    _summarise(settings, directory)
    typer.echo(directory / "report.html")


@app.command()
def doctor() -> None:
    """Say what is installed, which ngspice is used and whether it has KLU.

    Exit code 1, with the remedy, when the main job cannot run.
    """
    from crossbar_sim.doctor import diagnose

    table = Table("what", "found", "", box=None)
    findings = diagnose()
    for finding in findings:
        table.add_row(
            escape(finding.what), escape(finding.found), "ok" if finding.ok else "[red]to do[/red]"
        )
    Console().print(table)
    for finding in findings:
        if not finding.ok:
            _errors.print(f"{finding.what}: {finding.remedy}", style="red", markup=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def main() -> None:
    """Entry point: known errors become one line and an exit code, never a traceback."""
    from crossbar_sim.ngspice_process import NgspiceError

    try:
        app()
    except ConfigError as error:
        _fail(str(error), 2)
    except NgspiceError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; the same command with --resume goes on from here", 130)


def _fail(message: str, code: int) -> None:
    _errors.print(f"crossbar-sim: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def _progress_bars() -> Iterator:
    """Yield a function that shows the progress of each step as a bar."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_errors) as bars:
        tasks = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield tell


def _summarise(config: RunConfig, directory: Path) -> None:
    """Print the headline figures to stderr."""
    import json

    numbers = json.loads((directory / "report.json").read_text())
    table = Table("network", "test accuracy", box=None, title=config.name)
    for row in numbers["accuracy"]:
        table.add_row(row["network"], f"{row['accuracy']:.2%}")
    _errors.print(table)
    worst = numbers["verification"]["worst"]
    _errors.print(f"engine against ngspice: {worst['error']:.1e} ({worst['tile']})")
    _errors.print(f"energy per inference: {numbers['energy']['analog_total'] * 1e9:.3g} nJ")
