"""A trained network and its pruned copy in one safetensors file, with the settings of training.

Training on another processor differs in the last bits, so only an example that ships its network
gives the same figures everywhere.
"""

import io
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import OBJECT
from crossbar_sim.config.run import checked
from tinynets.files.drafts import new_file
from tinynets.formats.weights import load_weights

_PARTS = ("dense", "pruned")


def training_part(config: RunConfig) -> dict[str, Any]:
    """Return the settings that training and pruning depend on, and the file of weights, as JSON.

    If whole lines are pruned, the size of the tiles is one of them.
    """
    names = {"seed", "data", "validation", "network", "train", "prune"}
    of_tiles = config.prune is not None and config.prune.method == "tiles"
    return config.as_json(include=names | ({"tile"} if of_tiles else set()))


def training_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that the trained and the pruned network depend on, as JSON values."""
    kept = training_part(config)
    kept["network"] = {k: v for k, v in kept["network"].items() if not k.startswith("weights")}
    return kept


def save_trained(
    path: Path, config: RunConfig, dense: nn.Module, pruned: nn.Module, *, made_on: str
) -> None:
    """Write both networks in half precision, with the settings and the machine that made them.

    made_on: processor, threads and library, in words.

    Half precision keeps the file small, but changes the networks; score them after reading them
    back.
    """
    tensors = {
        f"{part}.{name}": value.half().contiguous()
        for part, model in zip(_PARTS, (dense, pruned))
        for name, value in model.state_dict().items()
    }
    settings = json.dumps(training_settings(config), sort_keys=True)
    with new_file(path) as draft:
        safetensors.torch.save_file(tensors, draft, {"settings": settings, "made_on": made_on})


def write_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights for torch, whose own files tell of a full disk in words of C++."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    path.write_bytes(buffer.getvalue())


def load_trained(config: RunConfig, dense: nn.Module, pruned: nn.Module) -> str:
    """Load the weights of `config.network.weights` into both networks; return what made them.

    Raises ConfigError for a file that cannot be read, that was made with other training settings,
    or whose tensors do not fit.
    """
    path = Path(config.network.weights or "")
    tensors, about = _read(path)
    made = {"name": "trained"} | json.loads(about["settings"])
    theirs, mine = (training_settings(x) for x in (checked(made, RunConfig, f"{path}"), config))
    if different := _differences(theirs, mine):
        raise ConfigError(
            f"{path} holds a network trained with {different}; give the configuration those "
            "settings, or remove network.weights from it to train a network"
        )
    for part, model in zip(_PARTS, (dense, pruned)):
        prefix = f"{part}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        try:
            load_weights(model, {name: value.float() for name, value in own.items()})
        except ValueError as error:
            raise ConfigError(f"{path}, {part} network: {error}") from error
    return about["made_on"]


def origin(config: RunConfig) -> str:
    """Return the origin of a run's network, in words for its report."""
    network = config.network
    if not network.is_built_in:
        steps = {"trained": network.is_trained, "pruned": config.prune is not None}
        done = " and ".join(step for step, is_done in steps.items() if is_done)
        name = (
            network.source if network.source == OBJECT else f"read from {Path(network.source).name}"
        )
        return f"{name}, " + (f"{done} in this run" if done else "and taken as it is")
    if network.weights is None:
        return "trained and pruned in this run"
    path = Path(network.weights)
    return f"read from {path.name}, trained and pruned on {_read(path)[1]['made_on']}"


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read as a safetensors file ({error})") from error
    if not {"settings", "made_on"} <= about.keys() or not _is_json(about["settings"]):
        raise ConfigError(
            f"expected a file of scripts/train_networks.py; got {path}, which does not say how its "
            "network was trained"
        )
    return tensors, about


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _differences(theirs: dict[str, Any], mine: dict[str, Any]) -> str:
    """Return the settings that differ, in words, theirs first."""
    mine, theirs = _flat(mine), _flat(theirs)
    rows = [
        f"{key} = {theirs.get(key)!r} instead of {mine.get(key)!r}"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    ]
    return "; ".join(rows)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    flat = {}
    for table, content in settings.items():
        keys = content.items() if isinstance(content, dict) else [("", content)]
        flat |= {f"{table}.{key}".rstrip("."): value for key, value in keys}
    return flat
