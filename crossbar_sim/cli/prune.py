"""The command that prunes the user's own network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from crossbar_sim.config.problems import ConfigError
from crossbar_sim.jobs.prune_options import TILE, Options
from crossbar_sim.system.figures import Json, for_people, print_json, print_rows
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within
from tinynets.files.suffixes import FORMATS, GRAPHS, WEIGHTS, listed
from tinynets.pruning.methods import methods_help

if TYPE_CHECKING:
    from torch import nn

_Source = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG|MODEL",
        help=f"Run's .toml, which is trained first; or a trained network as {listed(GRAPHS)}, or "
        f"its weights as {listed(WEIGHTS)} (a state dict; nothing in it is executed).",
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        help="Run's .toml whose \\[network] describes a file of weights; without it, the weights "
        "must be those of Linear layers."
    ),
]
_Data = Annotated[
    str | None,
    typer.Option(
        help="Data set: digits, mnist, mnist5000, an .npz (x_train, y_train, x_test, y_test, or "
        "x and y), or a folder with one folder of images per class.  "
        "\\[default: the configuration's]"
    ),
]
_Size = Annotated[
    tuple[int, int] | None,
    typer.Option(
        callback=within(1, 10_000), help="Height and width to which a folder's images are scaled."
    ),
]
_Method = Annotated[
    str | None,
    typer.Option(
        help=f"Rule for what is removed first. {methods_help()}.  \\[default: {Options.method}]"
    ),
]
_Sparsity = Annotated[
    float | None,
    typer.Option(
        help="Fraction of the weights (filters: of the channels) to remove, in \\[0, 1).  "
        f"\\[default: {Options.sparsity}]"
    ),
]
_Scope = Annotated[
    str | None,
    typer.Option(
        help="Weights that compete with each other: global, layer, output, or N:M such as 2:4 "
        "(one_shot only)."
    ),
]
_Schedule = Annotated[
    str | None,
    typer.Option(
        help="Path to the sparsity: one_shot, iterative or cubic.  \\[default: iterative for "
        "iterative_magnitude, one_shot for the others]"
    ),
]
_Rounds = Annotated[
    int | None, typer.Option(help=f"Rounds of pruning and training.  \\[default: {Options.rounds}]")
]
_Epochs = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_COUNT,
        help=f"Epochs of training after each round.  \\[default: {Options.epochs}]",
    ),
]
_LearningRate = Annotated[
    float | None,
    typer.Option(
        callback=within(1e-30, 10),
        help=f"Learning rate of these epochs.  \\[default: {Options.learning_rate}]",
    ),
]
_Exclude = Annotated[
    list[str] | None, typer.Option(help="Path of a module that is not pruned; may be repeated.")
]
_Tile = Annotated[
    tuple[int, int] | None,
    typer.Option(
        help="Number of word lines and of bit lines of a crossbar tile.  "
        f"\\[default: {TILE[0]} {TILE[1]}]"
    ),
]
_RoundTo = Annotated[
    int,
    typer.Option(
        min=1,
        max=MAX_COUNT,
        help="For filters: number, such as a tile's side, of which the channels left are a "
        "multiple.",
    ),
]
_ByReads = Annotated[
    float,
    typer.Option(
        callback=within(0, 100),
        help="For tiles: strength with which lines that are read more often, as in convolutions, "
        "are pruned more; try 0.25.",
    ),
]
_Bits = Annotated[
    int | None,
    typer.Option(
        help="Bits of each weight after pruning, quantised per output; 0 for no quantisation."
    ),
]
_Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_SEED,
        help="Random seed of the data split and of training; the network's own, since with another "
        "one it may have seen the test samples.  \\[default: the configuration's, or "
        f"{Options.seed}]",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        help="File of the sparse weights, .safetensors or .pt, or .onnx for a network from .onnx; "
        "figures go beside it as .json and .png.  \\[default: results/NAME-sparse.safetensors]"
    ),
]


def prune(
    source: _Source,
    config: _Config = None,
    data: _Data = None,
    size: _Size = None,
    method: _Method = None,
    sparsity: _Sparsity = None,
    scope: _Scope = None,
    schedule: _Schedule = None,
    rounds: _Rounds = None,
    epochs: _Epochs = None,
    learning_rate: _LearningRate = None,
    exclude: _Exclude = None,
    tile: _Tile = None,
    round_to: _RoundTo = Options.round_to,
    by_reads: _ByReads = Options.by_reads,
    bits: _Bits = None,
    seed: _Seed = None,
    output: _Output = None,
    as_json: Json = False,
) -> None:
    r"""A network pruned and fine-tuned, with what that saves; no crossbar is simulated.

    Shows a table of all layers: weights, multiplications (MACs) and operations (FLOPs), and the
    tiles, cells and ADC conversions of a crossbar, before → after. Prints the same as CSV.
    The defaults of the options are a configuration's \[prune], \[tile] and seed, where there is
    one.

    Examples:

    crossbar-sim prune examples/runs/digits.toml --sparsity 0.8

    crossbar-sim prune net.onnx --data mine.npz --method activation --scope output --epochs 5

    crossbar-sim prune weights.pt --data mnist5000 --method tiles --tile 64 64 > figures.csv
    """
    from crossbar_sim.jobs.prune import figures, pruned, read_settings, read_task
    from crossbar_sim.pipeline.steps import single_thread
    from crossbar_sim.pipeline.workspace import write_json
    from mapping import TileConfig

    path = output or Path("results") / f"{source.stem}-sparse.safetensors"
    settings = read_settings(source, config)
    given = {"method": method, "sparsity": sparsity, "scope": scope, "schedule": schedule}
    given |= {"rounds": rounds, "epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    given |= {"exclude": tuple(exclude or ()), "round_to": round_to, "by_reads": by_reads}
    given |= {"bits": bits, "tile": TileConfig(*tile) if tile else None}
    options = Options.from_config(settings, given)
    write = _writer(path, source)
    with single_thread(), progress_bars() as tell:
        task = read_task(source, settings, options, tell, data=data, size=size)
        small = pruned(task, options, tell)
        saved = figures(task, small, options)
    _tell(saved, f"{source.name}, {task.data.name}, {options.method}")
    if not as_json and not for_people():
        scores = {key: saved[key] for key in ("top1_before", "top1_after")}
        print_rows([*saved["rows"], saved["total"] | scores])
    path.parent.mkdir(parents=True, exist_ok=True)
    write(small)
    about = {"source": str(source), "data": task.data.name, "options": asdict(options)}
    write_json(path.with_suffix(".json"), about | saved)
    _draw(path.with_suffix(".png"), saved)
    if as_json:
        print_json(about | saved)
    for suffix in (path.suffix, ".json", ".png"):
        messages.print(f"wrote {path.with_suffix(suffix)}", markup=False, soft_wrap=True)


def _tell(saved: dict[str, Any], title: str) -> None:
    """Show the tables and the accuracy to people."""
    for table in _tables(saved, title):
        messages.print(table)
    messages.print(_accuracy(saved))
    if saved["digital"]:
        messages.print(f"not on tiles: {', '.join(saved['digital'])}", markup=False)


def _writer(path: Path, source: Path) -> Callable[["nn.Module"], object]:
    """Return a function that writes the pruned network; refuse an impossible path right away."""
    from tinynets.files.extras import optional
    from tinynets.formats.onnx.export import save_onnx
    from tinynets.formats.weights import check_suffix, save_weights

    if source.suffix in FORMATS and (extra := FORMATS[source.suffix].extra):
        optional(extra, extra=extra)  # before the packages that the output needs
    if path.suffix != ".onnx":
        check_suffix(path)
        return lambda small: save_weights(small, path)
    if source.suffix != ".onnx":
        raise ConfigError(f"--output {path}: only a network read from .onnx can be written as one")
    return lambda small: save_onnx(small, source, path)


def _tables(saved: dict[str, Any], title: str) -> Iterator[Table]:
    """Yield tables of each layer's figures, before → after."""
    rows = (*saved["rows"], saved["total"])
    ratios = {"compression_ratio": "smaller", "speedup": "less work"}
    yield _table(title, rows, {"weights": "weights", "macs": "MACs", "flops": "FLOPs"}, ratios)
    of_tiles = {"tiles": "tiles", "cells": "cells", "conversions": "ADC conversions"}
    yield _table("on crossbar tiles", rows, of_tiles, {})


def _table(
    title: str, rows: Sequence[dict[str, Any]], pairs: dict[str, str], ratios: dict[str, str]
) -> Table:
    """Return a table with a column for each pair (before → after) and each ratio.

    pairs, ratios: headings by key.
    """
    table = Table("layer", title=title, box=None)
    for heading in (*pairs.values(), *ratios.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row[f'{key}_before']:,} → {row[f'{key}_after']:,}" for key in pairs]
        table.add_row(escape(row["layer"]), *cells, *(f"{row[key]:.1f} ×" for key in ratios))
    return table


def _accuracy(saved: dict[str, Any]) -> str:
    """Return one line on the accuracy and the number of all parameters."""
    return (
        f"top-1 {saved['top1_before']:.2%} → {saved['top1_after']:.2%}; with biases and other "
        f"parameters {saved['size']:,} → {saved['size_nonzero']:,}, "
        f"{saved['compression_ratio']:.1f} × smaller"
    )


def _draw(path: Path, saved: dict[str, Any]) -> None:
    """Draw what is left of each layer as bars."""
    from crossbar_sim.report.run_plots import canvas, png
    from tinynets.files.drafts import new_file

    shown = {"weights": "weights", "macs": "MACs", "tiles": "tiles"}
    shown["conversions"] = "ADC conversions"
    rows = [*saved["rows"], saved["total"]]
    figure, axes = canvas(3 + 1.1 * len(rows), 4.2)
    width = 0.8 / len(shown)
    for k, (key, label) in enumerate(shown.items()):
        shares = [100 * row[f"{key}_after"] / row[f"{key}_before"] for row in rows]
        places = [place + (k - 1.5) * width for place in range(len(rows))]
        bars = axes.bar(places, shares, width, label=label)
        axes.bar_label(
            bars, [f"{row[f'{key}_after']:,}" for row in rows], fontsize=6, rotation=90, padding=2
        )
    axes.set_xticks(range(len(rows)), [row["layer"] for row in rows], rotation=30, ha="right")
    axes.set(ylabel="left after pruning [%]", ylim=(0, 118))
    axes.legend(
        frameon=False, ncols=len(shown), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1)
    )
    figure.suptitle(_accuracy(saved), fontsize=8)
    with new_file(path) as draft:
        draft.write_bytes(png(figure))
