"""The list of the commands of crossbar-sim; each is a function of a file beside this one.

A new command is a function there and its line in the table below; then
`python -m benchmarks.pages.readme` writes it into docs/reference/commands.md. A finished run is
read by `crossbar_sim.pipeline.finished_run.read_run`, its figures from the run's report.json, whose
keys are in `crossbar_sim/report/report.schema.json`.
"""

import inspect
from typing import Annotated

import typer

from crossbar_sim.cli.doctor import doctor
from crossbar_sim.cli.fabrication import board, export, layout, reselect
from crossbar_sim.cli.networks import map_, netlist
from crossbar_sim.cli.precision import law, precision
from crossbar_sim.cli.prune import prune
from crossbar_sim.cli.run import config, new, run, schema
from crossbar_sim.cli.study import reproduce, study
from crossbar_sim.cli.verify import golden, selftest, verify, verify_foundry
from tinynets.version import VERSION

app = typer.Typer(
    help="Run a trained neural network on banks of imprecise resistors, at circuit level.",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"crossbar-sim {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="The version, and nothing else.",
        ),
    ] = False,
) -> None:
    pass


#: In the order of `crossbar-sim --help`.
COMMANDS = {
    "run": run,
    "new": new,
    "precision": precision,
    "law": law,
    "verify": verify,
    "verify-foundry": verify_foundry,
    "golden": golden,
    "selftest": selftest,
    "map": map_,
    "prune": prune,
    "study": study,
    "reproduce": reproduce,
    "netlist": netlist,
    "export": export,
    "layout": layout,
    "board": board,
    "reselect": reselect,
    "config": config,
    "schema": schema,
    "doctor": doctor,
}


def _paragraphs(text: str) -> str:
    """Return a docstring with each paragraph in one line, for the terminal to wrap."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


for _name, _command in COMMANDS.items():
    app.command(_name, help=_paragraphs(_command.__doc__ or ""))(_command)
