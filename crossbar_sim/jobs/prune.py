"""Prune the user's own network: read it, prune it, count what that saves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.inputs import DATA_SETS, DataConfig
from crossbar_sim.jobs.prune_options import Options
from crossbar_sim.pipeline.own import fitted
from crossbar_sim.pipeline.steps import build_model, load_data
from mapping.tiling.compact import count_lines, split, split_dense
from mapping.tiling.tiles import TileConfig
from tinynets import data as tasks
from tinynets.data import Data, inputs
from tinynets.files.suffixes import FORMATS, WEIGHTS, listed
from tinynets.formats.readers import read_network
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import extract
from tinynets.networks.flops import Counts, count
from tinynets.networks.layers import PrunedLayer
from tinynets.networks.masks import weight_layers
from tinynets.networks.passes import Inputs
from tinynets.networks.training import train
from tinynets.progress import Progress
from tinynets.pruning import prune
from tinynets.pruning.compression import quantise
from tinynets.pruning.filters import prune_filters
from tinynets.pruning.for_tiles import prune_for_tiles
from tinynets.pruning.metrics import FULL_BITS, compare, measure


@dataclass(frozen=True)
class Task:
    """A trained network and the data to prune it on."""

    model: nn.Module
    data: Data

    @property
    def example(self) -> Inputs:
        """One input."""
        return inputs(self.data.x_test[:1])


def read_settings(source: Path, config: Path | None) -> RunConfig | None:
    """Return the configuration of a source, or None for a network without one.

    source: a configuration itself, or a network.
    config: configuration with the architecture of a file of weights.

    Raises ConfigError for a source of another suffix, or a configuration that it does not need.
    """
    if source.suffix not in (".toml", *FORMATS):
        known = listed([".toml", *FORMATS])
        raise ConfigError(f"expected a {known} file; got {str(source)!r}")
    if config and source.suffix not in WEIGHTS:
        raise ConfigError(
            f"--config describes the network of a file of weights ({listed(WEIGHTS)}); got "
            f"{str(source)!r}; leave --config out"
        )
    path = source if source.suffix == ".toml" else config
    return load_config(path) if path else None


def read_task(
    source: Path,
    settings: RunConfig | None,
    options: Options,
    tell: Progress,
    *,
    data: str | None = None,
    size: tuple[int, int] | None = None,
) -> Task:
    """Return the network of a TOML, ONNX or weights file, and its data.

    source: the file; the network of a TOML configuration is trained first.
    settings: see `read_settings`; weights without settings must be those of a stack of Linear
        layers.
    data, size: see `read_data`; None for the data of the settings.

    Raises ConfigError for a missing file, missing data, or data that do not fit the network;
    ValueError as the readers do.
    """
    if not source.is_file():
        raise ConfigError(f"{source} does not exist; give a file")
    if settings:
        known = {"data": DataConfig(source=data)} if data in DATA_SETS else {}
        settings = settings.model_copy(update={"seed": options.seed} | known)
    model = read_model(source, settings)
    # An unknown name must fail before the training.
    weight_layers(unpacked(model, leave=options.exclude), options.exclude)
    if data is not None:
        samples = read_data(data, size=size, seed=options.seed)
    elif settings:
        samples = load_data(settings)
    else:
        raise ConfigError(f"{source} comes without data; pass --data")
    samples = fitted(model, samples)
    if source.suffix == ".toml" and settings:
        train(
            model,
            samples,
            **settings.train.model_dump(),
            seed=settings.seed,
            progress=tell,
        )
    return Task(model, samples)


def read_model(source: Path, settings: RunConfig | None) -> nn.Module:
    """Return the network of a file, or an untrained one if the source is a configuration.

    settings: of the configuration with the architecture of a file of weights; None without one.
    Raises ConfigError for weights that need one, ValueError as the readers do.
    """
    model = None
    if settings:
        torch.manual_seed(settings.seed)
        model = build_model(settings)
        if source.suffix == ".toml":
            return model
    try:
        return read_network(source, model)
    except ValueError as error:
        if settings or source.suffix not in WEIGHTS:
            raise
        raise ConfigError(f"{source}: {error}; here, pass --config") from error


def read_data(name: str, *, size: tuple[int, int] | None, seed: int) -> Data:
    """Return "digits", "mnist", "mnist5000", the arrays of an .npz, or the images of a folder.

    size: (height, width) of a folder's images. Raises ConfigError for anything else.
    """
    if name in DATA_SETS:
        return getattr(tasks, name)(seed=seed, flat=False)
    if name.endswith(".npz") and Path(name).is_file():
        return tasks.from_npz(name, seed=seed)
    if not Path(name).is_dir():
        raise ConfigError(
            f"--data must be digits, mnist, mnist5000, an .npz or a folder; got {name!r}"
        )
    if size is None:
        raise ConfigError(f"--data {name} is a folder of images; pass --size HEIGHT WIDTH")
    return tasks.from_folder(name, size=size, seed=seed)


def pruned(task: Task, options: Options, tell: Progress) -> nn.Module:
    """Return a copy of a task's network, pruned, fine-tuned and, if asked for, quantised.

    Raises ValueError as `prune` does.
    """
    small = _pruned(task, options, tell)
    return quantise(small, options.bits, exclude=options.exclude) if options.bits else small


def _pruned(task: Task, options: Options, tell: Progress) -> nn.Module:
    common = options.given("sparsity", "scope", "exclude")
    training = options.given("epochs", "learning_rate", "seed")
    if options.method == "filters":
        small = prune_filters(task.model, task.example, **common, round_to=options.round_to)
        training["progress"] = lambda _step, *done: tell("fine-tune", *done)
        return train(small, task.data, **training)
    rule = common | training | options.given("rounds")
    rule["progress"] = tell
    if options.method == "tiles":
        size = vars(options.tile)
        return prune_for_tiles(task.model, task.data, **size, by_reads=options.by_reads, **rule)
    return prune(task.model, task.data, **options.given("method", "schedule"), **rule)


def figures(task: Task, small: nn.Module, options: Options) -> dict[str, Any]:
    """Return the numbers of `metrics.compare`, with a row of figures for each layer and in total.

    The rows count weights, arithmetic, and tiles before and after. The tiles hold every row and
    column of the network before pruning, and of the pruned network those with a weight, in order.
    "digital" lists modules with parameters but without a place on a tile, such as a batch norm.
    """
    before, after = (extract(model, task.example) for model in (task.model, small))
    rows = [_row(*pair, options.tile) for pair in zip(before.layers, after.layers, strict=True)]
    changes = compare(
        measure(task.model, task.example, task.data),
        measure(small, task.example, task.data, bits=options.bits or FULL_BITS),
    )
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key not in _RATIOS}
    digital = {"digital": list(after.digital)}
    return changes | {"rows": rows, "total": _with_ratios("total", total)} | digital


_RATIOS = ("layer", "compression_ratio", "speedup")


def _row(before: PrunedLayer, after: PrunedLayer, tile: TileConfig) -> dict[str, Any]:
    naive = split_dense((before.n_out, before.n_in), tile)
    blocks = {"before": naive, "after": split(after.pattern, tile)}
    lines = {when: count_lines(each) for when, each in blocks.items()}
    row = _arithmetic(count(before), count(after))
    for what in ("n_tile", "n_cell"):
        row |= {f"{what[2:]}s_{when}": getattr(n, what) for when, n in lines.items()}
    row |= {f"conversions_{w}": n.n_conversion * before.n_mvm for w, n in lines.items()}
    return _with_ratios(before.name, row)


def _arithmetic(before: Counts, after: Counts) -> dict[str, int]:
    return {
        "weights_before": before.n_weight,
        "weights_after": after.n_remaining,
        "macs_before": before.n_mac,
        "macs_after": after.n_mac_nonzero,
        "flops_before": before.n_flop,
        "flops_after": after.n_flop_nonzero,
    }


def _with_ratios(name: str, row: dict[str, int]) -> dict[str, Any]:
    return {
        "layer": name,
        **row,
        "compression_ratio": row["weights_before"] / row["weights_after"],
        "speedup": row["macs_before"] / row["macs_after"],
    }
