"""The command that prunes a network of the user's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from crossbar_sim.config import ConfigError
from crossbar_sim.jobs.prune_options import Options
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within
from mapping import TileConfig
from tinynets.pruning.options import methods_help

if TYPE_CHECKING:
    from torch import nn

_Source = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG|MODEL",
        help="a run's .toml, trained first; or a trained network: .onnx, or its weights in "
        ".safetensors or .pt (a state dict; nothing in it is executed)",
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(help=".toml with the \\[model] of a file of weights; else Linear layers only"),
]
_Data = Annotated[
    str | None,
    typer.Option(
        help="digits, mnist5000, an .npz (x_train, y_train, x_test, y_test, or x and y), or a "
        "folder with a folder of images for each class  \\[default: the configuration's]"
    ),
]
_Size = Annotated[
    tuple[int, int] | None,
    typer.Option(callback=within(1, 10_000), help="height and width, for a folder of images"),
]
_Method = Annotated[
    str | None,
    typer.Option(help=f"what goes first. {methods_help()}  \\[default: {Options.method}]"),
]
_Sparsity = Annotated[
    float | None,
    typer.Option(
        help="fraction of weights (filters: of channels) to remove, in \\[0, 1)  "
        f"\\[default: {Options.sparsity}]",
    ),
]
_Scope = Annotated[
    str | None,
    typer.Option(help="which weights compete: global, layer, output, or N:M as in 2:4 (one_shot)"),
]
_Schedule = Annotated[
    str | None,
    typer.Option(
        help="one_shot, iterative or cubic  \\[default: iterative for iterative_magnitude, "
        "one_shot for the others]"
    ),
]
_Rounds = Annotated[
    int | None,
    typer.Option(help=f"rounds of pruning and training  \\[default: {Options.rounds}]"),
]
_Epochs = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_COUNT,
        help=f"epochs of training after each round  \\[default: {Options.epochs}]",
    ),
]
_LearningRate = Annotated[
    float | None,
    typer.Option(
        callback=within(1e-30, 10),
        help=f"learning rate of that training  \\[default: {Options.learning_rate}]",
    ),
]
_Exclude = Annotated[
    list[str] | None, typer.Option(help="path of a module to leave whole; may be repeated")
]
_Tile = Annotated[
    tuple[int, int] | None,
    typer.Option(
        help="word lines and bit lines of a crossbar tile  "
        f"\\[default: {Options.tile.n_word} {Options.tile.n_bit}]",
    ),
]
_RoundTo = Annotated[
    int,
    typer.Option(
        min=1, max=MAX_COUNT, help="filters: channels left are a multiple of this (a tile's side)"
    ),
]
_ByReads = Annotated[
    float,
    typer.Option(
        callback=within(0, 100),
        help="tiles: prune more where lines are read more often, as in convolutions; try 0.25",
    ),
]
_Bits = Annotated[
    int | None,
    typer.Option(help="bits of each weight in the end, quantised per output; 0 for all it has"),
]
_Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_SEED,
        help="seed of data split and training; give the one that the network was trained with, "
        "else it may have seen the test samples  \\[default: the configuration's, or "
        f"{Options.seed}]",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        help="sparse weights, .safetensors or .pt; from ONNX also .onnx; figures go beside it, "
        "as .json and .png  \\[default: results/NAME-sparse.safetensors]"
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
) -> None:
    r"""Prune a network, fine-tune it, and say what that saves; no crossbar is simulated.

    Shows a table of every layer: weights, multiplications (MACs) and additions, and the tiles,
    cells and ADC conversions of a crossbar, before -> after. Prints the same as CSV, to be piped.
    A configuration's \[prune], \[tile] and seed are the defaults of the options.

    Examples:

    crossbar-sim prune examples/runs/digits.toml --sparsity 0.8

    crossbar-sim prune net.onnx --data mine.npz --method activation --scope output --epochs 5

    crossbar-sim prune weights.pt --data mnist5000 --method tiles --tile 64 64 > figures.csv
    """
    from crossbar_sim.jobs.prune import figures, pruned, read_settings, read_task
    from crossbar_sim.pipeline.steps import single_thread
    from crossbar_sim.pipeline.workspace import write_json

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
    path.parent.mkdir(parents=True, exist_ok=True)
    write(small)
    about = {"source": str(source), "data": task.data.name, "options": asdict(options)}
    write_json(path.with_suffix(".json"), about | saved)
    _draw(path.with_suffix(".png"), saved)
    for suffix in (path.suffix, ".json", ".png"):
        messages.print(f"wrote {path.with_suffix(suffix)}", markup=False, soft_wrap=True)


def _tell(saved: dict[str, Any], title: str) -> None:
    """Show the tables and the accuracy to people, and print the figures as CSV."""
    for table in _tables(saved, title):
        messages.print(table)
    messages.print(_accuracy(saved))
    if saved["digital"]:
        messages.print(f"not on tiles: {', '.join(saved['digital'])}", markup=False)
    typer.echo(_csv(saved), nl=False)


def _writer(path: Path, source: Path) -> Callable[["nn.Module"], object]:
    """Return what writes the pruned network to a path; refuse what cannot be before it is made."""
    from tinynets.files.extras import optional
    from tinynets.formats.onnx_export import save_onnx
    from tinynets.formats.weights import check_suffix, save_weights

    if source.suffix == ".onnx":
        optional("onnx", extra="onnx")  # asked for before what the output needs
    if path.suffix != ".onnx":
        check_suffix(path)
        return lambda small: save_weights(small, path)
    if source.suffix != ".onnx":
        raise ConfigError(f"--output {path}: only a network from .onnx goes back there")
    return lambda small: save_onnx(small, source, path)


def _tables(saved: dict[str, Any], title: str) -> Iterator[Table]:
    """Yield the figures of each layer, before → after, for people."""
    rows = (*saved["rows"], saved["total"])
    ratios = {"compression_ratio": "smaller", "speedup": "less work"}
    yield _table(title, rows, {"weights": "weights", "macs": "MACs", "flops": "FLOPs"}, ratios)
    yield _table(
        "on crossbar tiles",
        rows,
        {name: name for name in ("tiles", "cells")} | {"conversions": "ADC conversions"},
        {},
    )


def _table(
    title: str, rows: Sequence[dict[str, Any]], pairs: dict[str, str], ratios: dict[str, str]
) -> Table:
    """Return a table with before → after of each pair and each ratio, by key and heading."""
    table = Table("layer", title=title, box=None)
    for heading in (*pairs.values(), *ratios.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row[f'{key}_before']:,} → {row[f'{key}_after']:,}" for key in pairs]
        table.add_row(escape(row["layer"]), *cells, *(f"{row[key]:.1f} ×" for key in ratios))
    return table


def _accuracy(saved: dict[str, Any]) -> str:
    """Say what became of the accuracy and of all parameters."""
    return (
        f"top-1 {saved['top1_before']:.2%} → {saved['top1_after']:.2%}; with biases and other "
        f"parameters {saved['size']:,} → {saved['size_nonzero']:,}, "
        f"{saved['compression_ratio']:.1f} × smaller"
    )


def _csv(saved: dict[str, Any]) -> str:
    """Return the rows as CSV, accuracies with the total."""
    ends = [("", "")] * len(saved["rows"]) + [(saved["top1_before"], saved["top1_after"])]
    lines = [",".join([*saved["total"], "top1_before", "top1_after"])]
    for row, end in zip((*saved["rows"], saved["total"]), ends):
        lines.append(",".join(map(str, (*row.values(), *end))))
    return "\n".join(lines) + "\n"


def _draw(path: Path, saved: dict[str, Any]) -> None:
    """Draw what is left of each layer, as bars, to a temporary name first."""
    from matplotlib.figure import Figure

    from tinynets.files.drafts import new_file

    shown = {
        "weights": "weights",
        "macs": "MACs",
        "tiles": "tiles",
        "conversions": "ADC conversions",
    }
    rows = [*saved["rows"], saved["total"]]
    figure = Figure(figsize=(3 + 1.1 * len(rows), 4.2), layout="constrained")
    axes, width = figure.add_subplot(), 0.8 / len(shown)
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
        figure.savefig(draft, format="png", dpi=140, metadata={"Software": None})
