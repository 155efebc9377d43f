"""The commands that make something to build: masks, a board, a pack, and its repair."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from crossbar_sim.cli.networks import (
    EachInput,
    Layers,
    Mapped,
    Sample,
    SampleSeed,
    Tiles,
    announce,
    choice,
)
from crossbar_sim.system.failures import naming
from crossbar_sim.system.figures import Json, print_json
from crossbar_sim.system.terminal import messages, progress_bars, within

_Relative = Annotated[
    float | None,
    typer.Option(
        callback=within(0, 1),
        help="Standard error of the meter, as a fraction of the reading.",
        show_default=False,
    ),
]
_Siemens = Annotated[
    float | None,
    typer.Option(
        callback=within(0, 1),
        help="Standard error of the meter that does not depend on the reading, in siemens.",
        show_default=False,
    ),
]
_Pictures = Annotated[
    bool | None,
    typer.Option(
        "--pictures/--no-pictures",
        help="Whether to draw a picture of each tile; by default of up to 50 tiles.",
        show_default=False,
    ),
]
_Netlists = Annotated[
    bool, typer.Option("--netlists/--no-netlists", help="Whether to write netlists of the tiles.")
]
_Tables = Annotated[
    bool,
    typer.Option("--tables/--no-tables", help="Whether to write tables of all branches and cells."),
]
_Certificate = Annotated[
    bool,
    typer.Option(
        "--certificate/--no-certificate",
        help="Whether to write a proof of how near each selection is to its target.",
    ),
]
_Measured = Annotated[
    Path,
    typer.Argument(
        help="CSV or Parquet table with the columns layer, input, output, side, branch or reading, "
        "and ohm or siemens."
    ),
]
_Tolerance = Annotated[
    float,
    typer.Option(
        callback=within(0, 1),
        help="Largest error, as a fraction of the largest weight, at which a cell keeps its "
        "switches.",
    ),
]
_Plan = Annotated[
    Path | None, typer.Option(help="File plan.csv of the pack, for a table with a column reading.")
]
_Extra = Annotated[
    int,
    typer.Option(
        min=0,
        max=64,
        help="Number of switch changes, beyond those it needs, that a cell may have to come "
        "nearer to its target.",
    ),
]


def layout(
    source: Mapped,
    output: Annotated[Path, typer.Option(help="Directory for GDSII, OASIS and pictures.")],
    tile: Annotated[
        list[str] | None, typer.Option(help="Name of a tile; may be repeated; all by default.")
    ] = None,
    layers: Layers = None,
    programming: Annotated[
        Literal["switch", "via"],
        typer.Option(
            help="Way to close a branch: a switch that a memory bit controls, or a via in the mask."
        ),
    ] = "switch",
    technology: Annotated[
        str | None,
        typer.Option(
            help="Resistor film: sky130_high_po or sky130_xhigh_po; by default that of the run's "
            "[geometry], or sky130_xhigh_po. A run with [foundry] has its own.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Masks of tiles in GDSII and OASIS, after design-rule and layout-against-schematic checks.

    Nothing is written when a tile fails a check. Prints the paths. Needs the extra `layout`.

    Example: crossbar-sim layout results/digits --tile fc1_0_0 --output masks
    """
    from crossbar_sim.jobs.source import mask_technology, read_source
    from crossbar_sim.ngspice.verification import chosen_tiles
    from netlists.layout.mask_set import UNDRAWN, write_masks

    start = read_source(source)
    film, bank = mask_technology(start, technology), start.mapped.die.bank
    tiles = chosen_tiles(start.mapped, **choice(layers, tile) or {})
    with naming(output), progress_bars() as tell:
        paths = write_masks(tiles, bank, output, film, programming=programming, progress=tell)
    for path in paths:
        typer.echo(path)
    messages.print(f"{film.name}; not drawn: {UNDRAWN}", markup=False, soft_wrap=True)


def board(
    source: Mapped,
    tile: Annotated[str, typer.Option(help="Name of the tile to build.")],
    output: Annotated[Path, typer.Option(help="Directory for the KiCad netlist and parts list.")],
) -> None:
    """A tile as a board of discrete resistors and analog switches: KiCad netlist and parts list.

    The bank must be one of discrete resistors. Prints the paths.

    Example: crossbar-sim board results/parts --tile fc1_0_0 --output board
    """
    from crossbar_sim.jobs.source import read_source
    from crossbar_sim.ngspice.verification import chosen_tiles
    from netlists.fabrication.board import tile_board, write_board

    mapped = read_source(source).mapped
    (chosen,) = chosen_tiles(mapped, [tile])
    with naming(output):
        paths = write_board(tile_board(chosen, mapped.die.bank), output)
    for path in paths:
        typer.echo(path)


def export(
    source: Mapped,
    output: Annotated[Path, typer.Option(help="Directory of the pack; must not exist yet.")],
    meter_relative: _Relative = None,
    meter_siemens: _Siemens = None,
    layers: Layers = None,
    tiles: Tiles = None,
    sample: Sample = None,
    seed: SampleSeed = 0,
    each_input: EachInput = False,
    pictures: _Pictures = None,
    netlists: _Netlists = True,
    tables: _Tables = True,
    certificate: _Certificate = True,
) -> None:
    """The fabrication pack of a network: bitstreams, tables, parts, pins, netlists, checksums.

    Its plan.csv is the best way to read a bank with the meter. By default the meter has the
    relative error `meter_error` of the bank and no error in siemens.
    Of tiles that are not asked for, the pack holds only network.npz, which is always whole.
    The pack is read back and compared before the command ends. Needs the extra `fab`.

    Example: crossbar-sim export results/digits --output pack
    """
    from crossbar_sim.jobs.wafer_loop import export_run

    errors = {"relative": meter_relative, "absolute": meter_siemens}
    contents: dict[str, Any] = {"pictures": pictures, "tables": tables, "each_input": each_input}
    contents |= {"certificate": certificate, "netlists": netlists}
    contents["chosen"] = choice(layers, tiles, sample, seed)
    with naming(output), progress_bars() as tell:
        export_run(source, output, **errors, **contents, progress=tell, announce=announce)
    typer.echo(output)


def reselect(
    source: Mapped,
    measured: _Measured,
    output: Annotated[Path, typer.Option(help="Directory for the pack, changes and report.")],
    tolerance: _Tolerance = 0.005,
    plan: _Plan = None,
    meter_relative: _Relative = None,
    meter_siemens: _Siemens = None,
    extra: _Extra = 0,
    as_json: Json = False,
) -> None:
    """A mapped network adapted to a measured wafer, with as few switch changes as possible.

    A table with a column `branch` has one reading per branch. A table with a column `reading` has
    readings of several branches together, which --plan describes. Where the meter's error is not
    given, it is that of the plan, or else `meter_error` of the bank.
    Prints accuracy before and after, but only for a run, which has test data. Writes
    OUTPUT/report.html, OUTPUT/pack and OUTPUT/changes.csv. Needs the extra `fab`.

    Example: crossbar-sim reselect pack measured.csv --output repaired
    """
    from crossbar_sim.jobs.wafer_loop import Readings, reselect_run
    from crossbar_sim.report.wafer_report import NO_DATA

    readings = Readings(measured, plan, relative=meter_relative, absolute=meter_siemens)
    how = {"tolerance": tolerance, "extra": extra}
    with naming(output), progress_bars() as tell:
        summary = reselect_run(source, readings, output, **how, progress=tell)
    summary |= {"report": str(output / "report.html")}
    if as_json:
        print_json(summary)
    for key, value in () if as_json else summary.items():
        typer.echo(f"{key},{value}")
    if "accuracy_after" not in summary:
        messages.print(f"accuracy is left out: {source} {NO_DATA}", markup=False, soft_wrap=True)
