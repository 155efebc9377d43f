"""The command that prunes a network of the user's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from crossbar_sim.config import ConfigError
from crossbar_sim.system.terminal import MAX_COUNT, MAX_SEED, messages, progress_bars, within

if TYPE_CHECKING:
    from torch import nn

    from crossbar_sim.config import RunConfig
    from crossbar_sim.jobs.prune import Options

#: Without a configuration that says otherwise.
_SPARSITY, _ROUNDS, _EPOCHS, _RATE = 0.9, 5, 10, 1e-3


def prune(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|MODEL",
            help="a run's .toml, trained first; or a trained network: .onnx, or its weights in "
            ".safetensors or .pt (a state dict; nothing in it is executed)",
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(help=".toml with the \\[model] of a file of weights; else Linear layers only"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist5000, an .npz (x_train, y_train, x_test, y_test, or x and y), or a "
            "folder with a folder of images for each class  \\[default: the configuration's]"
        ),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(callback=within(1, 10_000), help="height and width, for a folder of images"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="what goes first. Single weights: iterative_magnitude, magnitude, gradient, "
            "activation (Wanda), second_order (SparseGPT), random. tiles: weights that share a bit "
            "line of a tile. filters: whole channels, so that tensors become smaller  "
            "\\[default: iterative_magnitude]"
        ),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="share of weights (filters: of channels) to remove, in \\[0, 1)  "
            f"\\[default: {_SPARSITY}]",
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="who competes: global, layer, output, or N:M as in 2:4 (one_shot)"),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="one_shot, iterative or cubic  \\[default: iterative for iterative_magnitude, "
            "one_shot for the others]"
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help=f"of pruning and training  \\[default: {_ROUNDS}]"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0, max=MAX_COUNT, help=f"of training after each round  \\[default: {_EPOCHS}]"
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(callback=within(1e-30, 10), help=f"of that training  \\[default: {_RATE}]"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="path of a module to leave whole; may be repeated")
    ] = None,
    tile: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="word lines and bit lines of a crossbar tile  \\[default: 32 32]",
        ),
    ] = None,
    round_to: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_COUNT,
            help="filters: channels left are a multiple of this (a tile's side)",
        ),
    ] = 1,
    by_reads: Annotated[
        float,
        typer.Option(
            callback=within(0, 100),
            help="tiles: prune more where lines are read more often, as in convolutions; try 0.25",
        ),
    ] = 0.0,
    bits: Annotated[
        int | None,
        typer.Option(help="of each weight in the end, quantised per output; 0 for all it has"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_SEED,
            help="of data split and training; give the one that the network was trained with, else "
            "it may have seen the test samples  \\[default: the configuration's, or 0]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="sparse weights, .safetensors or .pt; from ONNX also .onnx; figures go beside it, "
            "as .json and .png  \\[default: results/NAME-sparse.safetensors]"
        ),
    ] = None,
) -> None:
    r"""Prune a network, fine-tune it, and say what that saves; no crossbar is simulated.

    Shows a table of every layer: weights, multiplications (MACs) and additions, and the tiles,
    cells and ADC conversions of a crossbar, before -> after. Prints the same as CSV, to be piped.
    A configuration's \[prune], \[tile] and seed are the defaults of the options.

    Examples:

    crossbar-sim prune examples/digits.toml --sparsity 0.8

    crossbar-sim prune net.onnx --data mine.npz --method activation --scope output --epochs 5

    crossbar-sim prune weights.pt --data mnist5000 --method tiles --tile 64 64 > figures.csv
    """
    from crossbar_sim.jobs.prune import figures, pruned, read_settings, read_task
    from crossbar_sim.pipeline.steps import single_thread
    from crossbar_sim.pipeline.workspace import write_json

    given = {"rounds": rounds, "epochs": epochs, "learning_rate": learning_rate, "tile": tile}
    given |= {"sparsity": sparsity, "method": method, "scope": scope, "schedule": schedule}
    given |= {"exclude": tuple(exclude or ()), "round_to": round_to, "seed": seed}
    given |= {"bits": bits, "by_reads": by_reads}
    path = output or Path("results") / f"{source.stem}-sparse.safetensors"
    settings = read_settings(source, config)
    options, write = _options(settings, given), _writer(path, source)
    with single_thread(), progress_bars() as tell:
        task = read_task(source, settings, options, tell, data=data, size=size)
        small = pruned(task, options, tell)
        found = figures(task, small, options)
    for table in _tables(found, f"{source.name}, {task.data.name}, {options.method}"):
        messages.print(table)
    messages.print(_accuracy(found))
    if found["digital"]:
        messages.print(f"not on tiles: {', '.join(found['digital'])}", markup=False)
    typer.echo(_csv(found), nl=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(small)
    about = {"source": str(source), "data": task.data.name, "options": asdict(options)}
    write_json(path.with_suffix(".json"), about | found)
    _draw(path.with_suffix(".png"), found)
    for suffix in (path.suffix, ".json", ".png"):
        messages.print(f"wrote {path.with_suffix(suffix)}", markup=False, soft_wrap=True)


def _options(settings: "RunConfig | None", given: dict[str, Any]) -> "Options":
    """Return the options given, the others from the configuration or else the defaults."""
    from crossbar_sim.jobs.prune import Options
    from mapping.tiling.tiles import TileConfig

    values: dict[str, Any] = {
        "rounds": _ROUNDS,
        "epochs": _EPOCHS,
        "learning_rate": _RATE,
        "sparsity": _SPARSITY,
    }
    values |= {"tile": (32, 32), "seed": 0, "bits": 0, "method": "iterative_magnitude"}
    if settings:
        theirs = settings.prune
        values |= {"rounds": theirs.rounds, "epochs": theirs.epochs_per_round}
        values |= {"learning_rate": theirs.learning_rate, "sparsity": theirs.sparsity}
        values |= {"method": theirs.method, "bits": theirs.bits}
        values |= {"tile": (settings.tile.n_word, settings.tile.n_bit), "seed": settings.seed}
    if ":" in (given["scope"] or ""):
        values["sparsity"] = None  # an N:M scope has its own
    values |= {name: value for name, value in given.items() if value is not None}
    values["tile"] = TileConfig(*values["tile"])
    return Options(**values)


def _writer(path: Path, source: Path) -> Callable[["nn.Module"], object]:
    """Return what writes the pruned network to a path; refuse what cannot be before it is made."""
    from tinynets.files.extras import optional
    from tinynets.formats.onnx_export import save_onnx
    from tinynets.formats.weights import check_target, save_weights

    if source.suffix == ".onnx":
        optional("onnx", extra="onnx")  # asked for before what the output needs
    if path.suffix != ".onnx":
        check_target(path)
        return lambda small: save_weights(small, path)
    if source.suffix != ".onnx":
        raise ConfigError(f"--output {path}: only a network from .onnx goes back there")
    return lambda small: save_onnx(small, source, path)


def _tables(found: dict[str, Any], title: str) -> Iterator[Table]:
    """Yield the figures of each layer, before → after, and the accuracies, for people."""
    rows = (*found["rows"], found["total"])
    saved = {"compression_ratio": "smaller", "speedup": "less work"}
    yield _table(title, rows, {"weights": "weights", "macs": "MACs", "flops": "FLOPs"}, saved)
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


def _accuracy(found: dict[str, Any]) -> str:
    """Say what became of the accuracy and of all parameters."""
    return (
        f"top-1 {found['top1_before']:.2%} → {found['top1_after']:.2%}; with biases and other "
        f"parameters {found['size']:,} → {found['size_nonzero']:,}, "
        f"{found['compression_ratio']:.1f} × smaller"
    )


def _csv(found: dict[str, Any]) -> str:
    """Return the rows as CSV, accuracies with the total."""
    ends = [("", "")] * len(found["rows"]) + [(found["top1_before"], found["top1_after"])]
    lines = [",".join([*found["total"], "top1_before", "top1_after"])]
    for row, end in zip((*found["rows"], found["total"]), ends):
        lines.append(",".join(map(str, (*row.values(), *end))))
    return "\n".join(lines) + "\n"


def _draw(path: Path, found: dict[str, Any]) -> None:
    """Draw what is left of each layer, as bars, to a temporary name first."""
    from matplotlib.figure import Figure

    from tinynets.files.drafts import new_file

    shown = {
        "weights": "weights",
        "macs": "MACs",
        "tiles": "tiles",
        "conversions": "ADC conversions",
    }
    rows = [*found["rows"], found["total"]]
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
    figure.suptitle(_accuracy(found), fontsize=8)
    with new_file(path) as draft:
        figure.savefig(draft, format="png", dpi=140, metadata={"Software": None})
