"""The commands for bits of precision against resistors in a bank, and for the laws behind them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossbar_sim.config.problems import ConfigError
from crossbar_sim.system.figures import Json, print_json, print_rows, print_tables
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within

if TYPE_CHECKING:
    from mapping.bank import ResistorBank

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
    bool,
    typer.Option(
        "--differential", help="Pairs of banks, for signed weights, in place of single banks."
    ),
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
_Window = Annotated[
    float,
    typer.Option(
        callback=within(0, 1),
        help="With --bits and --meter: how far up and down the conductance must be settable, as a "
        "fraction of it; at least the error of the bits.",
    ),
]
_LawOutput = Annotated[
    Path | None, typer.Option(help="Path without suffix of a CSV file and of plots as PNG and SVG.")
]
_LawName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The law; without it, all are listed.")
]
_Effort = Annotated[
    float,
    typer.Option(
        callback=within(0, 1000, ends=False),
        help="Factor of the number of instances; 1 takes a few minutes at the most.",
    ),
]
_Directory = Annotated[
    Path | None, typer.Option(help="Directory for law_NAME.json and its figure, law_NAME.png.")
]


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
    window: _Window = 0.0,
    output: _LawOutput = None,
    as_json: Json = False,
) -> None:
    """Bits of precision against the number of resistors in a bank.

    Prints a table as CSV, with 95 % confidence bounds: the mean error over targets and banks, and
    the worst target of the median bank, of the bank at the 99.9th percentile and of the worst bank.
    With --bits, prints the number of branches instead; with --meter too, also how many of them to
    close, for least branches, closed switches (power) or area. Where 16 branches are too few, those
    of equal resistors are found by the law of fixed size, and confirmed by a simulation.

    Example: crossbar-sim precision --n 8:14 --ladder equal --scatter 0.2 --output results/law
    """
    bank = _bank_of(config, ladder, ratio, scatter, distribution, meter)
    drawn: dict[str, Any] = {"differential": differential, "band": band, "seed": seed}
    if bits is not None:
        _print_branches(bank, bits, yield_, window, as_json=as_json, **drawn)
        return
    numbers = _numbers(branches)
    from crossbar_sim.study import precision_law as law

    measured = law.measure_law(bank, numbers, n_instance=instances, **drawn)
    facts = {"useful": measured.useful}
    print_rows(measured.curve.rows(), as_json=as_json, form=".6g", facts=facts)
    messages.print(law.describe(measured), markup=False)
    if measured.useful is not None:
        messages.print(f"useful with this meter: {measured.useful} branches")
    for path in law.save_law(measured, output) if output else []:
        messages.print(f"wrote {path}", markup=False, soft_wrap=True)


def _bank_of(
    config: Path | None, ladder: str, ratio: float, scatter: float, distribution: str, meter: float
) -> "ResistorBank":
    """Return the bank of a configuration, or one made from options."""
    from crossbar_sim.config.run import bank_of, load_config

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
    bank: "ResistorBank", bits: float, yield_: float, window: float, *, as_json: bool, **drawn: Any
) -> None:
    """Print how many branches reach this many bits in this fraction of the banks."""
    from mapping.selection.precision import branches_for, draw_from

    differential = drawn.pop("differential")
    draw = draw_from(lambda n: replace(bank, n=n), differential=differential)
    n_max, with_meter = 10 if differential else 16, bank.meter_error > 0 and not differential
    try:
        count = branches_for(bits, yield_, draw, n_max=n_max, **drawn)
    except ValueError as error:
        if not with_meter:
            raise
        messages.print(f"For true values: {error}", markup=False)
        count = None
    else:
        if not as_json:
            typer.echo(count.n)
        messages.print(
            f"{count.n} branches reach every target with {bits:g} bits in {count.yield_:.2%} of "
            f"the banks drawn (at 95 % confidence, in at least {count.yield_low:.2%}), for true "
            "values"
        )
    found = _designs(bank, bits, window, drawn["seed"]) if with_meter else []
    if as_json:
        facts: dict[str, Any] = dict.fromkeys(("n", "yield", "yield_low"))
        if count:
            facts = {"n": count.n, "yield": count.yield_, "yield_low": count.yield_low}
        print_rows(found, as_json=True, form=".4g", facts={"bits": bits, **facts})
    elif with_meter:
        typer.echo()
        print_rows(found, form=".4g")


def _designs(bank: "ResistorBank", bits: float, window: float, seed: int) -> list[dict[str, Any]]:
    """Return n and k, the branches closed, for the bits that the meter leaves."""
    from crossbar_sim.laws.meter import ONE_BY_ONE, designs_by_law, designs_for, floor_bits
    from mapping.selection.precision import draw_from, side_by_side

    meter = bank.meter_error
    messages.print(
        f"Read with a meter of {100 * meter:g} %, and exactly k of n "
        "branches closed, 90 % of banks and targets have these bits of the conductance:"
    )
    asked = bits, meter, window
    with progress_bars() as tell:
        draw = draw_from(lambda n: replace(bank, n=n))
        found = designs_for(draw, *asked, seed=seed, progress=tell)
        if not found:
            equal = side_by_side(draw_from(lambda n: replace(bank, n=n, ladder="equal")))
            messages.print(
                f"None of this bank with up to {ONE_BY_ONE} branches (the meter leaves at most "
                f"{floor_bits(ONE_BY_ONE - 1, meter):.1f} bits with one open). With equal "
                "resistors of this scatter, n and k by the law of fixed size, an extrapolation, "
                "made safer until banks that were simulated with a near subset confirm it (banks "
                "of a run have up to 32 branches; more are several banks in parallel):"
            )
            found = designs_by_law(equal, *asked, seed=seed, progress=tell)
    return found


# ---- the laws ------------------------------------------------------------------------------------


def law(
    name: _LawName = None,
    effort: _Effort = 1.0,
    seed: _BankSeed = 0,
    output: _Directory = None,
    as_json: Json = False,
) -> None:
    """Measure a law of imprecise resistors: a theorem or conjecture, and its constants.

    Prints the tables as CSV, each with its title on stderr. Without NAME, lists the laws.

    Example: crossbar-sim law fixed-size --effort 0.2 --output results/laws
    """
    from crossbar_sim.laws.law import LAWS, Effort, law_named, save_measured

    if name is None and as_json:
        print_json({"laws": [{"name": k, "question": law_named(k).question} for k in LAWS]})
        return
    if name is None:
        for known in LAWS:
            typer.echo(f"{known}: {law_named(known).question}")
        return
    chosen = law_named(name)
    with progress_bars() as tell:
        measured = chosen.measure(Effort(effort, tell), seed)
    messages.print(f"{chosen.question} {chosen.statement}", markup=False)
    tables = {table.title: table.rows for table in chosen.tables(measured)}
    print_tables(tables, as_json=as_json, form=".6g", law=name, statement=chosen.statement)
    for path in save_measured(chosen, measured, output) if output else []:
        messages.print(f"wrote {path}", markup=False, soft_wrap=True)
