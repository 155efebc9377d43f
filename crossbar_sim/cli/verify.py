"""The commands that compare: solvers on tiles, a simulator on known arrays, all on random cases."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossbar_sim.cli.networks import Layers, Mapped, choice
from crossbar_sim.solvers.registry import FAST, NGSPICE, SOLVERS
from crossbar_sim.system.figures import Json, print_json, print_rows
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within

if TYPE_CHECKING:
    from crossbar_sim.ngspice.verification import TileCheck


def _two(text: str) -> str:
    """Return the names of two solvers, checked."""
    names = text.split(",")
    if len(names) != 2 or not set(names) <= set(SOLVERS):
        known = ", ".join(SOLVERS)
        raise typer.BadParameter(f"must be two of {known}, as {NGSPICE},{FAST}; got {text}")
    return text


Certificates = Annotated[
    Path | None,
    typer.Option(
        help="Folder for a certificate of each tile: intervals that provably hold the exact "
        "currents, which `python -m crossbar_sim.certificates.checker` accepts or refuses; and "
        "for selections.npz: how near any choice of switches could come to each weight, for "
        "`crossbar_sim.certificates.selection_checker`."
    ),
]

Vectors = Annotated[
    int, typer.Option(min=1, max=MAX_COUNT, help="Number of random input vectors per tile.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=MAX_SEED, help="Random seed of the sample and the inputs.")
]


def verify(
    source: Mapped,
    tile: Annotated[
        list[str] | None,
        typer.Option(help="Name of a tile to check; may be repeated; all by default."),
    ] = None,
    layers: Layers = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Number of tiles to check, drawn at random; all by default."),
    ] = None,
    vectors: Vectors = 16,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1),
            help="Largest difference allowed, as a fraction of the tile's largest current or "
            "voltage.",
        ),
    ] = 1e-9,
    seed: Seed = 0,
    solvers: Annotated[
        str,
        typer.Option(
            callback=_two,
            help=f"Two of {', '.join(SOLVERS)}; differences are relative to the second.",
        ),
    ] = f"{NGSPICE},{FAST}",
    certify: Certificates = None,
    as_json: Json = False,
) -> None:
    """Output currents and voltages of tiles, by ngspice and by the engine, compared.

    Prints one CSV line per tile. For each solver: the largest current that is missing at a node, as
    a fraction of the largest one (Kirchhoff), and the difference of power delivered and taken, as a
    fraction of it (Tellegen); empty without node voltages. With --certify also the width of the
    widest certified interval, and how far the first solver is outside, as fractions of the largest
    current. Exit code 1 when a tile fails, differs too much, or has currents or power that do not
    add up to 1e-9 and rounding.

    Example: crossbar-sim verify results/digits --sample 4 --vectors 8
    """
    from crossbar_sim.jobs.source import read_source
    from crossbar_sim.ngspice.verification import chosen_tiles, random_inputs, verify_selections
    from crossbar_sim.ngspice.verification import verify as verify_tiles

    known = read_source(source)
    tiles = chosen_tiles(known.mapped, **choice(layers, tile, sample, seed) or {})
    v_in = random_inputs(known.mapped, v_read=known.v_read, n_vector=vectors, seed=seed)
    how = {"tolerance": tolerance, "solvers": solvers.split(","), "certificates": certify}
    checks = verify_tiles(known.mapped, v_in, **known.parts, tiles=tiles, **how)
    rows = [
        _row(check, solvers.split(","), with_intervals=certify is not None)
        for check in checks.checks
    ]
    facts: dict[str, Any] = {"solvers": list(checks.solvers), "tolerance": tolerance}
    if certify is not None:
        proof = verify_selections(known.mapped.part(tiles), certify)
        n_optimal, n = int(proof.optimal.sum()), len(proof.optimal)
        facts["selections"] = {"proved_nearest": n_optimal, "all": n}
        messages.print(f"selections: {n_optimal:,} of {n:,} proved nearest to their target")
    if not as_json:
        messages.print(f"{checks.solvers[0]} against {checks.solvers[1]}", markup=False)
    print_rows(rows, as_json=as_json, form=_digits_of, facts=facts)
    checks.require()


def _row(check: "TileCheck", solvers: Sequence[str], *, with_intervals: bool) -> dict[str, Any]:
    """Return what is printed of a tile."""
    row: dict[str, Any] = {"tile": check.tile, "vectors": check.n_vector}
    row |= {"current_error": check.i_error, "voltage_error": check.v_error}
    for name, balance in zip(solvers, check.balances, strict=True):
        row[f"{name}_kirchhoff"] = balance.current if balance else None
        row[f"{name}_tellegen"] = balance.power if balance else None
    if with_intervals:
        row |= {"certified_width": check.width, "outside": check.outside}
    return row


def _digits_of(column: str) -> str:
    return ".3e" if column in ("current_error", "voltage_error") else ".1e"


def verify_foundry(
    source: Mapped,
    sample: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="Number of tiles, drawn at random.")
    ] = 1,
    vectors: Vectors = 8,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1),
            help="Largest difference allowed, as a fraction of the tile's largest current.",
        ),
    ] = 1e-5,
    seed: Seed = 0,
    decks: Annotated[
        Path | None,
        typer.Option(help="New directory for the tiles' decks, which `ngspice -b` runs as well."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Output currents of tiles of a foundry's devices, by its models in ngspice and in the engine.

    Takes a run of a foundry's devices (docs/how_to/foundry.md). Prints one CSV line per tile: how
    far the nonlinear engine is from ngspice with the foundry's own models, and how far straight
    lines are, both as fractions of the largest current; and the seconds of either.
    Exit code 1 when a tile differs by more than the tolerance. Needs the models, which
    scripts/foundry.sh fetches; ngspice takes a minute or so to read those of a large tile.

    Example: crossbar-sim verify-foundry results/digits_sky130 --sample 1
    """
    from crossbar_sim.jobs.foundry_check import foundry_checks, write_foundry_decks
    from crossbar_sim.jobs.source import read_source
    from crossbar_sim.ngspice.verification import VerificationError, chosen_tiles, random_inputs

    known = read_source(source)
    tiles = chosen_tiles(known.mapped, n_sample=sample, seed=seed)
    v_in = random_inputs(known.mapped, v_read=known.v_read, n_vector=vectors, seed=seed)
    if decks is not None:
        write_foundry_decks(known, tiles, v_in, decks)
    with progress_bars() as tell:
        checks = list(foundry_checks(known, tiles, v_in, progress=tell))
    form = {"engine_s": ".3f", "ngspice_s": ".1f"}
    rows = [asdict(check) for check in checks]
    rows = [{"vectors" if k == "n_vector" else k: v for k, v in row.items()} for row in rows]
    facts = {"tolerance": tolerance}
    print_rows(rows, as_json=as_json, form=lambda name: form.get(name, ".1e"), facts=facts)
    far = [check.tile for check in checks if not check.error <= tolerance]  # NaN is far too
    if far:
        raise VerificationError(f"{', '.join(far)}: off by more than {tolerance:g}")


def golden(
    solver: Annotated[
        str,
        typer.Option(
            help=f"Simulator under test: {' or '.join(SOLVERS)}; or, with --trust, a function from "
            "an array to its output currents, as MODULE:FUNCTION or FILE.py:FUNCTION."
        ),
    ] = FAST,
    only: Annotated[str | None, typer.Option(help="Kind of arrays; all by default.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the Python of --solver; without this, none is run.")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1e300),
            help="Largest error allowed, as a fraction of an array's largest current.",
        ),
    ] = 1e-6,
    seconds: Annotated[
        float, typer.Option(callback=within(1e-3, 1e6), help="Most time for an array [s].")
    ] = 300.0,
    output: Annotated[
        Path | None, typer.Option(help="File for what --json prints.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """The score of a simulator on 1,000 arrays whose exact currents are proved.

    Prints one line per kind of arrays: how many were answered, how many currents are inside their
    certified intervals, and errors as fractions of each array's largest current. Exit code 1 when
    an array failed, none was answered, or the largest error is above the tolerance. --json also
    says what became of each array.

    Example: crossbar-sim golden --solver mine.py:currents --trust
    """
    from crossbar_sim.golden.arrays import SHA256, golden_arrays
    from crossbar_sim.golden.scoring import golden_score
    from crossbar_sim.golden.simulators import simulator
    from crossbar_sim.golden.table import failures, table
    from crossbar_sim.system.failures import naming

    arrays = golden_arrays(only)
    tested = simulator(solver, trust=trust)
    with progress_bars() as tell:
        found = golden_score(tested, arrays, seconds=seconds, progress=tell)
    kept = {"solver": solver, "set": SHA256, **found.report()}
    if as_json:
        print_json(kept)
    else:
        typer.echo(table(found))
    if found.failures:
        messages.print(failures(found), markup=False, soft_wrap=True)
    if output:
        from crossbar_sim.pipeline.workspace import write_json

        with naming(output):
            write_json(output, kept)
    raise typer.Exit(0 if found.worst <= tolerance and not found.failures else 1)


def selftest(
    minutes: Annotated[
        float, typer.Option(callback=within(0.001, 1e5), help="Time after which no case starts.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Number of the first case.")] = 0,
    cases: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_COUNT, help="Number of cases, in place of a time."),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Directory for a test of each failure, which pytest runs.")
    ] = Path("selftest"),
    as_json: Json = False,
) -> None:
    """A self-test on this machine: small random networks through everything that must agree.

    Each case is a network, a die, wires and amplifiers, drawn from one whole number. The engine is
    compared with ngspice and with the netlists that stock `ngspice -b` runs, proofs of currents and
    of selections are made and checked, and a pack is written and read back. A case that fails is
    made as small as it can be, and written to OUTPUT as a test. Prints one CSV line per check.
    Exit code 1 when a case failed. Needs the extra `fab`.

    Example: crossbar-sim selftest --minutes 5
    """
    from crossbar_sim.selftest.session import run_session, tools, write_test
    from tinynets.files.extras import require

    for package in ("jsonschema", "pyarrow"):
        require(package, extra="fab")
    with tools() as used, progress_bars() as tell:
        found = run_session(used, seed=seed, seconds=60 * minutes, cases=cases, progress=tell)
    print_rows(found.rows(), as_json=as_json, facts={"cases": found.cases, "seed": seed})
    for number, failed in found.failures.items():
        path = write_test(failed, number, output)
        messages.print(
            f"case {number} failed: {failed.check}: {failed.message}; the smallest such case is in "
            f"{path}; all of it: crossbar-sim selftest --seed {number} --cases 1",
            markup=False,
            soft_wrap=True,
        )
    messages.print(f"{found.cases} cases, {len(found.failures)} failed", markup=False)
    raise typer.Exit(1 if found.failures else 0)
