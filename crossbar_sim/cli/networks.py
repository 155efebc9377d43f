"""The command that writes the netlists of a mapped network, and what it shares with `export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crossbar_sim.system.failures import naming
from crossbar_sim.system.terminal import MAX_SEED, progress_bars

Mapped = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Directory of a finished run, of save_network or of `crossbar-sim map`, or a pack.",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(help="Names of layers whose tiles are written, such as conv1,fc; all by default."),
]
Tiles = Annotated[
    str | None,
    typer.Option(help="Names of tiles that are written, such as fc_0_0,fc_0_1; all by default."),
]
Sample = Annotated[
    int | None, typer.Option(min=1, help="Number of these tiles, drawn at random; all by default.")
]
SampleSeed = Annotated[
    int, typer.Option("--seed", min=0, max=MAX_SEED, help="Random seed of the sample.")
]
EachInput = Annotated[
    bool,
    typer.Option(
        "--each-input",
        help="A layer's deck sweeps over each input alone, in place of 64 random vectors; its size "
        "grows with the square of their number.",
    ),
]


def choice(
    layers: str | None, tiles: str | None, sample: int | None, seed: int
) -> dict[str, Any] | None:
    """Return the arguments of `chosen_tiles` that options stand for, or None for all tiles."""
    if layers is tiles is sample is None:
        return None
    return {"names": _names(tiles), "layers": _names(layers), "n_sample": sample, "seed": seed}


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def netlist(
    source: Mapped,
    output: Annotated[Path, typer.Option(help="Directory of the decks; must not exist yet.")],
    layers: Layers = None,
    tiles: Tiles = None,
    sample: Sample = None,
    seed: SampleSeed = 0,
    each_input: EachInput = False,
) -> None:
    """SPICE decks of a mapped network, which stock `ngspice -b` runs as they are.

    OUTPUT/LAYER/run.cir is a whole layer, OUTPUT/LAYER/TILE.cir a tile; OUTPUT/README.md says what
    they sweep over, what they write, and how long ngspice takes. Prints the directory.
    """
    from crossbar_sim.jobs.wafer_loop import write_decks

    chosen = choice(layers, tiles, sample, seed)
    with naming(output), progress_bars() as tell:
        write_decks(source, output, chosen=chosen, each_input=each_input, progress=tell)
    typer.echo(output)
