"""The commands that make something which can be built: masks, a board, a pack, and its repair."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from crossbar_sim.config import ConfigError
from crossbar_sim.system.failures import naming
from crossbar_sim.system.terminal import within

_Relative = Annotated[
    float | None,
    typer.Option(
        callback=within(0, 1),
        help="meter's standard error, a part of each reading",
        show_default=False,
    ),
]
_Siemens = Annotated[
    float | None,
    typer.Option(callback=within(0, 1), help="and on top of it, siemens", show_default=False),
]


def layout(
    run_directory: Annotated[Path, typer.Argument(help="a finished run, such as results/digits")],
    output: Annotated[Path, typer.Option(help="directory for GDSII, OASIS and pictures")],
    tile: Annotated[list[str] | None, typer.Option(help="tile; may be repeated; else all")] = None,
    programming: Annotated[
        Literal["switch", "via"],
        typer.Option(help="switch: bits choose; via: the selection is in the mask"),
    ] = "switch",
    technology: Annotated[
        str, typer.Option(help="sky130_high_po or sky130_xhigh_po")
    ] = "sky130_xhigh_po",
) -> None:
    """Draw tiles, check them (design rules, layout against schematic), and write the masks.

    Nothing is written when a tile fails a check. Prints the paths. Needs the extra `layout`.
    """
    from crossbar_sim.ngspice.verification import chosen_tiles
    from crossbar_sim.pipeline.finished_run import read_run
    from netlists.layout.mask_set import write_masks
    from netlists.layout.technology import TECHNOLOGIES

    _, mapped = read_run(run_directory)
    _one_of("technology", technology, TECHNOLOGIES)
    tiles, bank, film = chosen_tiles(mapped, tile or ()), mapped.die.bank, TECHNOLOGIES[technology]
    with naming(output):
        paths = write_masks(tiles, bank, output, film, programming=programming)
    for path in paths:
        typer.echo(path)


def board(
    run_directory: Annotated[Path, typer.Argument(help="a finished run of discrete resistors")],
    tile: Annotated[str, typer.Option(help="the tile to build")],
    output: Annotated[Path, typer.Option(help="directory for the KiCad netlist and the parts")],
) -> None:
    """Write a board of discrete resistors and analog switches for a tile: KiCad netlist, parts."""
    from crossbar_sim.ngspice.verification import chosen_tiles
    from crossbar_sim.pipeline.finished_run import read_run
    from netlists.fabrication.board import tile_board, write_board

    _, mapped = read_run(run_directory)
    (found,) = chosen_tiles(mapped, [tile])
    with naming(output):
        paths = write_board(tile_board(found, mapped.die.bank), output)
    for path in paths:
        typer.echo(path)


def _one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"--{name} must be one of {', '.join(known)}; got {value!r}")


def export(
    run_directory: Annotated[Path, typer.Argument(help="a finished run, such as results/digits")],
    output: Annotated[Path, typer.Option(help="directory of the pack, which must not exist")],
    meter_relative: _Relative = None,
    meter_siemens: _Siemens = None,
) -> None:
    """Write the fabrication pack of a run: bitstreams, tables, parts, pins, netlists, checksums.

    Its plan.csv is the best way to read a bank with the meter; by default one with the relative
    error `meter_error` of the run's bank, and nothing on top of it.
    The pack is read back and compared before this ends. Needs the extra `fab`.
    """
    from crossbar_sim.jobs.wafer_loop import export_run

    found = {"relative": meter_relative, "absolute": meter_siemens}
    with naming(output):
        typer.echo(export_run(run_directory, output, **found))


def reselect(
    run_directory: Annotated[Path, typer.Argument(help="a finished run, such as results/digits")],
    measured: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet: layer, input, output, side, branch or reading, ohm"),
    ],
    output: Annotated[Path, typer.Option(help="directory for pack, changes and report")],
    tolerance: Annotated[
        float,
        typer.Option(
            callback=within(0, 1),
            help="a cell within this part of the largest weight stays as it is",
        ),
    ] = 0.005,
    plan: Annotated[
        Path | None,
        typer.Option(help="plan.csv of the pack, for a table with a column reading"),
    ] = None,
    meter_relative: _Relative = None,
    meter_siemens: _Siemens = None,
    extra: Annotated[
        int,
        typer.Option(
            min=0, max=64, help="changes a cell may have beyond what it needs, to come nearer"
        ),
    ] = 0,
) -> None:
    """Adapt a run's selection to a measured wafer with as few switch changes as possible.

    A table with a column `branch` has one reading a branch; one with a column `reading` has
    readings of several branches together, and --plan says which. The meter's error is that of the
    plan, or without one `meter_error` of the run's bank, where it is not given here.
    Prints accuracy before and after; writes OUTPUT/report.html, OUTPUT/pack and OUTPUT/changes.csv.
    Needs the extra `fab`.
    """
    from crossbar_sim.jobs.wafer_loop import reselect_run

    with naming(output):
        found = reselect_run(
            run_directory,
            measured,
            output,
            tolerance=tolerance,
            plan=plan,
            relative=meter_relative,
            absolute=meter_siemens,
            extra=extra,
        )
    for key, value in found.items():
        typer.echo(f"{key},{value}")
    typer.echo(f"report,{output / 'report.html'}")
