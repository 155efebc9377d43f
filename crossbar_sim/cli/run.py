"""The command of a whole run, and those that write and describe its configuration."""

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from crossbar_sim.cli.networks import announce_run
from crossbar_sim.system.failures import naming
from crossbar_sim.system.figures import Json
from crossbar_sim.system.terminal import TRUST, messages, progress_bars

if TYPE_CHECKING:
    from crossbar_sim.config import RunConfig


def run(
    config: Annotated[
        Path, typer.Argument(help="TOML file of the run, such as examples/runs/digits.toml.")
    ],
    results: Annotated[
        Path, typer.Option(help="Directory in which the run gets a directory of its own.")
    ] = Path("results"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Trial with little training and few images.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continuation of an interrupted run with its settings."),
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
    as_json: Json = False,
) -> None:
    """The whole path: train, prune, select resistors, write netlists, simulate, report.

    Writes RESULTS/NAME/ with report.html, report.json, selection.csv, netlists/ and the mapped
    network, and prints the path of the report; with --json, its report.json. An earlier run of
    the same name is replaced. The same seed gives the same numbers on the same kind of processor.

    Exit codes: 0 done; 1 ngspice or the machine failed, or ngspice and the engine disagree; 2 bad
    configuration; 130, 143 interrupted.

    Example: crossbar-sim run examples/runs/digits.toml --quick
    """
    from crossbar_sim.config import load_config

    settings = load_config(config, trust=trust)  # mistakes are told before torch is loaded
    settings = settings.made_quick() if quick else settings
    from crossbar_sim.jobs.run import run as run_all

    with progress_bars() as tell:
        how = {"progress": tell, "announce": announce_run}
        directory = run_all(settings, results, resume=resume, **how)
    _summarise(settings, directory)
    if as_json:
        typer.echo((directory / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(directory / "report.html")


def _summarise(config: "RunConfig", directory: Path) -> None:
    """Print the headline figures to stderr."""
    from crossbar_sim.findings.run_score import shown
    from crossbar_sim.pipeline.finished_run import read_numbers

    numbers = read_numbers(directory)
    measure = numbers["measure"]
    table = Table("network", f"test {measure['metric']}", box=None, title=config.name)
    for row in measure["scores"]:
        table.add_row(row["network"], shown(row["score"], measure["metric"]))
    messages.print(table)
    worst = numbers["verification"]["worst"]
    messages.print(
        f"engine and ngspice agree to {worst['i_error']:.1e} (currents) and "
        f"{worst['v_error']:.1e} (voltages) of the largest; worst tile {worst['tile']}",
        markup=False,
    )
    messages.print(f"energy per inference: {numbers['energy']['analog_total'] * 1e9:.3g} nJ")


def schema(
    kind: Annotated[
        Literal["run", "study", "report"],
        typer.Argument(help="Configuration of a run or of a study, or report.json of a run."),
    ] = "run",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Page of all keys of runs and studies, instead.")
    ] = False,
) -> None:
    """Print the keys of a configuration or of a report as a JSON Schema, each with its meaning.

    An editor that knows the schema completes and checks keys while you type.

    Example: crossbar-sim schema run > run.schema.json
    """
    from crossbar_sim.config.schema import json_schema, reference

    if markdown:
        typer.echo(reference(), nl=False)
    elif kind == "report":
        file = resources.files("crossbar_sim.report") / "report.schema.json"
        typer.echo(file.read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(json.dumps(json_schema(kind), indent=1))


def config(
    kind: Annotated[
        Literal["run", "study"], typer.Argument(help="Configuration of a run or of a study.")
    ] = "run",
    full: Annotated[
        bool, typer.Option("--full", help="Comments with the meaning and the values of each key.")
    ] = False,
) -> None:
    """Print a TOML file with every key and its default, to be edited.

    What has no default is commented out. The file is read back as the defaults.

    Example: crossbar-sim config --full > run.toml
    """
    from crossbar_sim.config.schema import commented_toml

    typer.echo(commented_toml(kind, full=full), nl=False)


def new(
    network: Annotated[
        str,
        typer.Option(
            help="File of a trained network or of its weights; or net.py:make, with --trust."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="File of arrays (.npz or .safetensors), folder of images by class, digits, mnist "
            "or mnist5000; or data.py:make, with --trust."
        ),
    ],
    output: Annotated[Path, typer.Option(help="TOML file to write.")] = Path("run.toml"),
    python: Annotated[
        str | None,
        typer.Option(help="Function that builds the network of a file of weights, net.py:make."),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width to which a folder's images are scaled."),
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
) -> None:
    """A commented configuration for your own network and data, ready for `crossbar-sim run`.

    Reads both files, says what is in them, and suggests the size of the tiles. Prints the path.

    Example: crossbar-sim new --network net.onnx --data images.npz --output net.toml
    """
    from crossbar_sim.jobs.new_run import new_run

    with naming(output):
        made = new_run(network, data, output, python=python, size=size, trust=trust)
    for layer in made.layers:
        messages.print(f"{layer.name}: {layer.n_in} inputs, {layer.n_out} outputs", markup=False)
    messages.print(made.described, markup=False, soft_wrap=True)
    messages.print(f"tiles of {made.side} × {made.side}")
    typer.echo(output)
