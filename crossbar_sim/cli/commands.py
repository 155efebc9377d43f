"""The commands of crossbar-sim."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossbar_sim.cli import fabrication as cli_fabrication
from crossbar_sim.cli import prune as cli_prune
from crossbar_sim.cli import schema as cli_schema
from crossbar_sim.cli import study as cli_study
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.run import bank_of
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within
from mapping.bank import ResistorBank

app = typer.Typer(
    help="Run a trained neural network on banks of imprecise resistors, at circuit level.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crossbar-sim {importlib.metadata.version('crossbar-sim')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="TOML file, such as examples/runs/digits.toml")],
    results: Annotated[Path, typer.Option(help="where the run's directory goes")] = Path("results"),
    quick: Annotated[bool, typer.Option(help="little training, few images: a try-out")] = False,
    resume: Annotated[bool, typer.Option(help="go on with an interrupted run")] = False,
) -> None:
    """The main job: train, prune, select resistors, write netlists, simulate, report.

    Writes RESULTS/NAME/ with report.html, report.json, selection.csv, netlists/ and the mapped
    network, and prints the path of the report. An earlier run of that name there is replaced.
    The same seed gives the same numbers on the same kind of processor.

    Exit code 0: done; 1: ngspice or the machine failed, or ngspice disagrees; 2: bad
    configuration; 130, 143: interrupted.
    """
    from crossbar_sim.jobs.run import run as run_all

    settings = load_config(config)
    settings = settings.made_quick() if quick else settings
    with progress_bars() as tell:
        directory = run_all(settings, results, resume=resume, progress=tell)
    _summarise(settings, directory)
    typer.echo(directory / "report.html")


@app.command()
def precision(
    branches: Annotated[
        str, typer.Option("--n", help="branches per bank, FIRST:LAST or a list as 4,6,8")
    ] = "4:12",
    config: Annotated[
        Path | None, typer.Option(help="take the bank of this TOML file; else the options below")
    ] = None,
    ladder: Annotated[str, typer.Option(help="geometric, equal, binary, E6 … E192")] = "geometric",
    ratio: Annotated[float, typer.Option(help="of neighbours in a geometric ladder")] = 1.75,
    scatter: Annotated[float, typer.Option(help="relative local scatter (sigma)")] = 0.05,
    distribution: Annotated[
        str, typer.Option(help="normal, truncated, lognormal, uniform or holed")
    ] = "normal",
    meter: Annotated[float, typer.Option(help="relative error of the meter")] = 0.0,
    differential: Annotated[bool, typer.Option(help="pairs of banks, for signed weights")] = False,
    instances: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="banks drawn for each n")
    ] = 2500,
    band: Annotated[
        tuple[float, float],
        typer.Option(callback=within(0, 1), help="targets, as parts of the full scale"),
    ] = (0.25, 0.75),
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="of the banks drawn")] = 0,
    bits: Annotated[
        float | None,
        typer.Option(callback=within(0, 64), help="instead: how many branches give so many bits"),
    ] = None,
    yield_: Annotated[
        float,
        typer.Option(
            "--yield",
            callback=within(0, 1, ends=False),
            help="share of banks that must have the bits",
        ),
    ] = 0.999,
    output: Annotated[
        Path | None, typer.Option(help="write OUTPUT.csv, OUTPUT.png and OUTPUT.svg")
    ] = None,
) -> None:
    """Bits of precision against the number of resistors in a bank.

    Prints a table as CSV (pipe it where you like), with 95 % confidence bounds: the mean error over
    targets and banks, and the worst target of the median bank, of the bank at the 99.9th
    percentile and of the worst bank. With --bits, prints the number of branches instead.

    Example: crossbar-sim precision --n 8:14 --ladder equal --scatter 0.2 --output results/law
    """
    from crossbar_sim.study import precision_law as law

    bank = _bank_of(config, ladder, ratio, scatter, distribution, meter)
    if bits is not None:
        _print_branches(bank, bits, yield_, differential, band, seed)
        return
    found = law.measure_law(
        bank,
        _numbers(branches),
        differential=differential,
        n_instance=instances,
        band=band,
        seed=seed,
    )
    typer.echo(law.to_csv(found), nl=False)
    messages.print(law.describe(found), markup=False)
    if found.useful is not None:
        messages.print(f"useful under this meter: {found.useful} branches")
    for path in law.save_law(found, output) if output else []:
        messages.print(f"wrote {path}", markup=False, soft_wrap=True)


def _bank_of(
    config: Path | None,
    ladder: str,
    ratio: float,
    scatter: float,
    distribution: str,
    meter: float,
) -> ResistorBank:
    """Return the bank of a configuration, or one made from options."""
    if config is not None:
        return load_config(config).bank
    options = {"ladder": ladder, "ratio": ratio, "distribution": distribution}
    spread = {"sigma_local": scatter, "meter_error": meter, "r_on": 0.0, "r_off": 1e15}
    return bank_of(options | spread)


def _numbers(text: str) -> list[int]:
    """Parse FIRST:LAST or a comma-separated list of branch numbers."""
    try:
        if ":" in text:
            first, last = text.split(":")
            return list(range(int(first), int(last) + 1))
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--n must be FIRST:LAST or a list as 4,6,8; got {text!r}") from None


def _print_branches(
    bank: ResistorBank,
    bits: float,
    yield_: float,
    differential: bool,
    band: tuple[float, float],
    seed: int,
) -> None:
    """Print how many branches give so many bits at a yield."""
    from mapping.selection.precision import branches_for, draw_from

    draw = draw_from(lambda n: replace(bank, n=n), differential=differential)
    n_max = 10 if differential else 16
    found = branches_for(bits, yield_, draw, band=band, n_max=n_max, seed=seed)
    typer.echo(found.n)
    messages.print(
        f"{found.n} branches give every target {bits:g} bits in {found.yield_:.2%} of the banks "
        f"drawn (95 % sure of {found.yield_low:.2%})"
    )


@app.command()
def verify(
    run_directory: Annotated[Path, typer.Argument(help="a finished run, such as results/digits")],
    tile: Annotated[list[str] | None, typer.Option(help="tile to check; may be repeated")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="check so many tiles at random, not all")
    ] = None,
    vectors: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="random input vectors for each tile")
    ] = 16,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1),
            help="largest difference, of the tile's largest current or voltage",
        ),
    ] = 1e-9,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="of sample and inputs")] = 0,
) -> None:
    """Solve tiles of a run with ngspice and with the engine; compare output currents and voltages.

    Prints one CSV line per tile. Exit code 1 when a tile failed or differs by too much.
    """
    from crossbar_sim.ngspice.verification import chosen_tiles, random_inputs
    from crossbar_sim.ngspice.verification import verify as verify_tiles
    from crossbar_sim.pipeline.finished_run import read_run

    config, mapped = read_run(run_directory)
    tiles = chosen_tiles(mapped, tuple(tile or ()), n_sample=sample, seed=seed)
    v_in = random_inputs(mapped, v_read=config.periphery.v_read, n_vector=vectors, seed=seed)
    parts = config.hardware.wires, config.hardware.periphery
    found = verify_tiles(mapped, v_in, *parts, tiles=tiles, tolerance=tolerance)
    typer.echo("tile,vectors,current_error,voltage_error")
    for check in found.checks:
        typer.echo(f"{check.tile},{check.n_vector},{check.i_error:.3e},{check.v_error:.3e}")
    messages.print(f"{found.solvers[0]} against {found.solvers[1]}", markup=False)
    found.require()


for _command in (
    cli_prune.prune,
    cli_study.study,
    cli_fabrication.export,
    cli_fabrication.layout,
    cli_fabrication.board,
    cli_fabrication.reselect,
    cli_schema.schema,
):
    app.command()(_command)


@app.command()
def doctor() -> None:
    """Say what is installed, which ngspice is used and whether it has KLU.

    Exit code 1, with the remedy, when the main job cannot run.
    """
    from crossbar_sim.cli.doctor import diagnose

    table = Table("what", "found", "", box=None)
    findings = diagnose()
    for finding in findings:
        table.add_row(
            escape(finding.what), escape(finding.found), "ok" if finding.ok else "[red]to do[/red]"
        )
    Console().print(table)
    for finding in findings:
        if not finding.ok:
            messages.print(f"{finding.what}: {finding.remedy}", style="red", markup=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _summarise(config: RunConfig, directory: Path) -> None:
    """Print the headline figures to stderr."""
    from crossbar_sim.pipeline.finished_run import read_numbers

    numbers = read_numbers(directory)
    table = Table("network", "test accuracy", box=None, title=config.name)
    for row in numbers["accuracy"]:
        table.add_row(row["network"], f"{row['accuracy']:.2%}")
    messages.print(table)
    worst = numbers["verification"]["worst"]
    messages.print(
        f"engine against ngspice: currents {worst['i_error']:.1e}, "
        f"voltages {worst['v_error']:.1e} ({worst['tile']})"
    )
    messages.print(f"energy per inference: {numbers['energy']['analog_total'] * 1e9:.3g} nJ")
