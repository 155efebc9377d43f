"""The commands that map a network and write its netlists, and options shared with `export`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from crossbar_sim.system.failures import naming
from crossbar_sim.system.figures import Json, for_people, print_rows
from crossbar_sim.system.terminal import MAX_SEED, TRUST, messages, progress_bars
from tinynets.files.suffixes import GRAPHS, WEIGHTS, listed

Mapped = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Directory of a finished run, of save_network or of `crossbar-sim map`, or a pack.",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(help="Names of layers whose tiles are taken, such as conv1,fc; all by default."),
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
    layers: str | None, tiles: str | list[str] | None, sample: int | None = None, seed: int = 0
) -> dict[str, Any] | None:
    """Return the arguments of `chosen_tiles` that options stand for, or None for all tiles."""
    if layers is tiles is sample is None:
        return None
    names = tiles if isinstance(tiles, list) else _names(tiles)
    return {"names": names, "layers": _names(layers), "n_sample": sample, "seed": seed}


def announce(amount: object) -> None:
    """Tell people what is going to be written."""
    messages.print(f"writing {amount} (an estimate)", markup=False)


def announce_run(amount: object) -> None:
    """Tell people what a run takes after training."""
    messages.print(f"{amount} (an estimate)", markup=False, soft_wrap=True)


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

    Example: crossbar-sim netlist results/digits --output decks --sample 4
    """
    from crossbar_sim.jobs.wafer_loop import write_decks

    chosen = choice(layers, tiles, sample, seed)
    with naming(output), progress_bars() as tell:
        how = {"each_input": each_input, "progress": tell, "announce": announce}
        write_decks(source, output, chosen=chosen, **how)
    typer.echo(output)


_Shape = Annotated[
    str | None,
    typer.Option(
        help="Shape of one input without the batch, such as 784 or 3,32,32.  "
        "\\[default: what the file says]"
    ),
]
_Digital = Annotated[
    str | None, typer.Option(help="Paths of modules that stay digital, such as head,encoder.rnn.")
]
_MapConfig = Annotated[
    Path | None,
    typer.Option(
        help="Run's .toml with the \\[bank], \\[die], \\[tile], \\[select], \\[wires] and "
        "\\[periphery] to use; its \\[network] describes a file of weights, which otherwise must "
        "be those of Linear layers.  \\[default: a run's defaults]"
    ),
]


def map_(
    network: Annotated[
        Path,
        typer.Argument(
            help=f"Trained network as {listed(GRAPHS)}, or its weights as {listed(WEIGHTS)} (a "
            "state dict; nothing in it is executed)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory of the mapping; must not exist yet.")],
    config: _MapConfig = None,
    shape: _Shape = None,
    leave_digital: _Digital = None,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
    as_json: Json = False,
) -> None:
    """Your own network on a die: the switches of every weight, for the commands that follow.

    Writes OUTPUT, which `verify`, `netlist`, `export`, `layout`, `board` and `reselect` take.
    Shows a table of the layers and what stays digital, and prints it as CSV.

    Example: crossbar-sim map net.onnx --shape 3,32,32 --output results/net
    """
    from crossbar_sim.jobs.own_network import read_own, rows
    from crossbar_sim.jobs.source import save_mapping
    from crossbar_sim.pipeline.steps import single_thread

    if output.exists():
        raise FileExistsError(f"{output} exists; choose another directory")
    options: dict[str, Any] = {
        "shape": _sizes(shape),
        "leave_digital": tuple(_names(leave_digital)),
    }
    with naming(output), single_thread(), progress_bars() as tell:
        own = read_own(network, config, trust=trust, **options)
        mapped = own.mapped(tell)
        save_mapping(mapped, own.config.hardware, output)
    found = rows(own.network, mapped)
    table = Table(*found[0], box=None, title=network.name)
    for row in found:
        table.add_row(*(escape(str(value)) for value in row.values()))
    messages.print(table)
    if not own.network.left:
        messages.print("stays digital: no layer with weights")
    for path, (weights, products) in own.network.digital_fractions.items():
        messages.print(
            f"stays digital: {path or 'the network itself'}, {weights:.2%} of the weights and "
            f"{products:.2%} of the multiplications",
            markup=False,
        )
    messages.print(f"wrote {output}", markup=False, soft_wrap=True)
    if as_json or not for_people():
        digital = [
            {"module": path, "weights": weights, "products": products}
            for path, (weights, products) in own.network.digital_fractions.items()
        ]
        print_rows(found, as_json=as_json, facts={"digital": digital, "output": str(output)})


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) for size in sizes):
        raise typer.BadParameter(f"--shape must be sizes such as 3,32,32; got {text!r}")
    return tuple(int(size) for size in sizes)
