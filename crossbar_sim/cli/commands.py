"""The commands of crossbar-sim."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossbar_sim.cli import fabrication as cli_fabrication
from crossbar_sim.cli import networks as cli_networks
from crossbar_sim.cli import prune as cli_prune
from crossbar_sim.cli import schema as cli_schema
from crossbar_sim.cli import study as cli_study
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.run import bank_of
from crossbar_sim.system.terminal import (
    MAX_COUNT,
    MAX_SEED,
    TRUST,
    messages,
    progress_bars,
    within,
)
from mapping.bank import ResistorBank

app = typer.Typer(
    help="Run a trained neural network on banks of imprecise resistors, at circuit level.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"crossbar-sim {importlib.metadata.version('crossbar-sim')}")
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


@app.command()
def run(
    config: Annotated[
        Path, typer.Argument(help="TOML file of the run, such as examples/runs/digits.toml.")
    ],
    results: Annotated[
        Path, typer.Option(help="Directory in which the run gets a directory of its own.")
    ] = Path("results"),
    quick: Annotated[
        bool, typer.Option(help="Try-out with little training and few images.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Continuation of an interrupted run of the same settings.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
) -> None:
    """The whole path: train, prune, select resistors, write netlists, simulate, report.

    Writes RESULTS/NAME/ with report.html, report.json, selection.csv, netlists/ and the mapped
    network, and prints the path of the report. An earlier run of the same name is replaced.
    The same seed gives the same numbers on the same kind of processor.

    Exit codes: 0 done; 1 ngspice or the machine failed, or ngspice and the engine disagree; 2 bad
    configuration; 130, 143 interrupted.
    """
    settings = load_config(config, trust=trust)  # mistakes are told before torch is loaded
    settings = settings.made_quick() if quick else settings
    from crossbar_sim.jobs.run import run as run_all

    with progress_bars() as tell:
        how = {"progress": tell, "announce": cli_networks.announce_run}
        directory = run_all(settings, results, resume=resume, **how)
    _summarise(settings, directory)
    typer.echo(directory / "report.html")


_Branches = Annotated[
    str,
    typer.Option("--n", help="Numbers of branches per bank: FIRST:LAST, or a list such as 4,6,8."),
]
_Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of a run whose bank is used, in place of the five options below."),
]
_Ladder = Annotated[str, typer.Option(help="Nominal values: geometric, equal, binary, E6 … E192.")]
_Ratio = Annotated[float, typer.Option(help="Ratio of neighbours in a geometric ladder.")]
_Scatter = Annotated[
    float, typer.Option(help="Local scatter of the resistors (sigma), as a fraction of the value.")
]
_Distribution = Annotated[
    str, typer.Option(help="Shape of the scatter: normal, truncated, lognormal, uniform or holed.")
]
_MeterError = Annotated[
    float, typer.Option(help="Error of the meter, as a fraction of the reading.")
]
_Differential = Annotated[
    bool, typer.Option(help="Pairs of banks, for signed weights, in place of single banks.")
]
_Instances = Annotated[
    int, typer.Option(min=1, max=MAX_COUNT, help="Number of banks drawn for each n.")
]
_Band = Annotated[
    tuple[float, float],
    typer.Option(
        callback=within(0, 1), help="Least and largest target, as fractions of the full scale."
    ),
]
_BankSeed = Annotated[
    int, typer.Option(min=0, max=MAX_SEED, help="Random seed of the banks drawn.")
]
_Bits = Annotated[
    float | None,
    typer.Option(
        callback=within(0, 64),
        help="Required bits of precision; the number of branches that reach them is printed "
        "in place of the table.",
    ),
]
_Yield = Annotated[
    float,
    typer.Option(
        "--yield",
        callback=within(0, 1, ends=False),
        help="Fraction of the banks that must reach --bits.",
    ),
]
_LawOutput = Annotated[
    Path | None, typer.Option(help="Path without suffix of a CSV file and of plots as PNG and SVG.")
]


@app.command()
def precision(
    branches: _Branches = "4:12",
    config: _Config = None,
    ladder: _Ladder = "geometric",
    ratio: _Ratio = 1.75,
    scatter: _Scatter = 0.05,
    distribution: _Distribution = "normal",
    meter: _MeterError = 0.0,
    differential: _Differential = False,
    instances: _Instances = 2500,
    band: _Band = (0.25, 0.75),
    seed: _BankSeed = 0,
    bits: _Bits = None,
    yield_: _Yield = 0.999,
    output: _LawOutput = None,
) -> None:
    """Bits of precision against the number of resistors in a bank.

    Prints a table as CSV, with 95 % confidence bounds: the mean error over targets and banks, and
    the worst target of the median bank, of the bank at the 99.9th percentile and of the worst bank.
    With --bits, prints the number of branches instead.

    Example: crossbar-sim precision --n 8:14 --ladder equal --scatter 0.2 --output results/law
    """
    bank = _bank_of(config, ladder, ratio, scatter, distribution, meter)
    drawn: dict[str, Any] = {"differential": differential, "band": band, "seed": seed}
    if bits is not None:
        _print_branches(bank, bits, yield_, **drawn)
        return
    numbers = _numbers(branches)
    from crossbar_sim.study import precision_law as law

    measured = law.measure_law(bank, numbers, n_instance=instances, **drawn)
    typer.echo(law.to_csv(measured), nl=False)
    messages.print(law.describe(measured), markup=False)
    if measured.useful is not None:
        messages.print(f"useful with this meter: {measured.useful} branches")
    for path in law.save_law(measured, output) if output else []:
        messages.print(f"wrote {path}", markup=False, soft_wrap=True)


def _bank_of(
    config: Path | None, ladder: str, ratio: float, scatter: float, distribution: str, meter: float
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
        raise ConfigError(f"--n must be FIRST:LAST or a list such as 4,6,8; got {text!r}") from None


def _print_branches(
    bank: ResistorBank, bits: float, yield_: float, *, differential: bool, **drawn: Any
) -> None:
    """Print how many branches reach this many bits in this fraction of the banks."""
    from mapping.selection.precision import branches_for, draw_from

    draw = draw_from(lambda n: replace(bank, n=n), differential=differential)
    n_max = 10 if differential else 16
    count = branches_for(bits, yield_, draw, n_max=n_max, **drawn)
    typer.echo(count.n)
    messages.print(
        f"{count.n} branches reach every target with {bits:g} bits in {count.yield_:.2%} of the "
        f"banks drawn (at 95 % confidence, in at least {count.yield_low:.2%})"
    )


@app.command()
def verify(
    source: cli_fabrication.Mapped,
    tile: Annotated[
        list[str] | None,
        typer.Option(help="Name of a tile to check; may be repeated; all by default."),
    ] = None,
    layers: cli_networks.Layers = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Number of tiles to check, drawn at random; all by default."),
    ] = None,
    vectors: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="Number of random input vectors per tile.")
    ] = 16,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1),
            help="Largest difference allowed, as a fraction of the tile's largest current or "
            "voltage.",
        ),
    ] = 1e-9,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Random seed of the sample and the inputs.")
    ] = 0,
) -> None:
    """Output currents and voltages of tiles, by ngspice and by the engine, compared.

    Prints one CSV line per tile. Exit code 1 when a tile fails or the difference is too large.
    """
    from crossbar_sim.jobs.source import read_source
    from crossbar_sim.ngspice.verification import chosen_tiles, random_inputs
    from crossbar_sim.ngspice.verification import verify as verify_tiles

    known = read_source(source)
    tiles = chosen_tiles(known.mapped, **cli_networks.choice(layers, tile, sample, seed) or {})
    v_in = random_inputs(known.mapped, v_read=known.v_read, n_vector=vectors, seed=seed)
    checks = verify_tiles(known.mapped, v_in, **known.parts, tiles=tiles, tolerance=tolerance)
    typer.echo("tile,vectors,current_error,voltage_error")
    for check in checks.checks:
        typer.echo(f"{check.tile},{check.n_vector},{check.i_error:.3e},{check.v_error:.3e}")
    messages.print(f"{checks.solvers[0]} against {checks.solvers[1]}", markup=False)
    checks.require()


app.command("map")(cli_networks.map_)
for _command in (
    cli_prune.prune,
    cli_study.study,
    cli_networks.netlist,
    cli_fabrication.export,
    cli_fabrication.layout,
    cli_fabrication.board,
    cli_fabrication.reselect,
    cli_schema.schema,
):
    app.command()(_command)


@app.command()
def doctor() -> None:
    """What is installed, which ngspice is used, and whether it has the KLU solver.

    Exit code 1, with the remedy, when `crossbar-sim run` cannot work.
    """
    from crossbar_sim.cli.doctor import diagnose

    table = Table("part", "status", "", box=None)
    findings = diagnose()
    for finding in findings:
        table.add_row(
            escape(finding.what), escape(finding.status), "ok" if finding.ok else "[red]to do[/red]"
        )
    Console().print(table)
    for finding in findings:
        if not finding.ok:
            messages.print(f"{finding.what}: {finding.remedy}", style="red", markup=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _summarise(config: RunConfig, directory: Path) -> None:
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
        f"engine against ngspice: currents {worst['i_error']:.1e}, "
        f"voltages {worst['v_error']:.1e} ({worst['tile']})"
    )
    messages.print(f"energy per inference: {numbers['energy']['analog_total'] * 1e9:.3g} nJ")
