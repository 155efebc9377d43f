"""Keep a network on the die in a directory: its mapping, its circuits, what was trained since."""

import copy
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.analog import CircuitLayer, InputRange, circuit_layers
from crossbar_sim.converters import Converters
from crossbar_sim.noise import Noise
from mapping.design import MappedNetwork
from netlists.circuit import Periphery, Wires

FORMAT, VERSION = "crossbar-sim network on a die", 1
_FILES = ("mapped.npz", "circuits.json", "state.npz")


def save_network(on_die: nn.Module, mapped: MappedNetwork, directory: str | Path) -> Path:
    """Write a network of `to_torch`, or of `crossbar_sim.tune`, into a directory of its own.

    mapped: the mapping that it was made from. Written are mapped.npz, circuits.json (wires,
    amplifiers, converters, noise, and the range of every layer) and state.npz (all parameters,
    digital ones included). The directory appears whole or not at all.
    Raises FileExistsError for a directory that exists, ValueError for a network that holds other
    layers than the mapping.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists; name a new directory")
    layers = circuit_layers(on_die)
    if set(layers) != {layer.layer.module for layer in mapped.layers}:
        raise ValueError(
            f"the network has circuits for {sorted(layers)}, the mapping for "
            f"{sorted(layer.layer.module for layer in mapped.layers)}; save them together"
        )
    draft = directory.with_name(f"{directory.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    mapped.save(draft / "mapped.npz")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "layers": {path: _describe(layer) for path, layer in layers.items()},
    }
    (draft / "circuits.json").write_text(json.dumps(header, indent=1))
    # Circuits follow from the mapping; what is digital does not.
    state: dict[str, Any] = {name: value.numpy() for name, value in _digital_state(on_die).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **state)
    (draft / "state.npz").write_bytes(buffer.getvalue())
    draft.replace(directory)
    return directory


def load_network(model: nn.Module, directory: str | Path) -> tuple[nn.Module, MappedNetwork]:
    """Return the network that `save_network` wrote, and its mapping.

    model: a module of the same architecture, whatever its weights; it is not changed. Noise starts
    its stream anew. Nothing in the files is executed. Raises ValueError naming the file that is
    missing, damaged, of another version, or does not fit the model.
    """
    directory = Path(directory)
    for name in _FILES:
        if not (directory / name).is_file():
            raise ValueError(f"{directory / name} is missing; expected {', '.join(_FILES)}")
    mapped = MappedNetwork.load(directory / "mapped.npz")
    header = _read(directory / "circuits.json", lambda path: json.loads(path.read_text()))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{directory / 'circuits.json'} is not of a network on a die")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{directory} has version {header.get('version')}; this program reads {VERSION}"
        )
    state = _read(directory / "state.npz", _arrays)
    on_die = copy.deepcopy(model).eval()
    try:
        for layer in mapped.layers:
            path = layer.layer.module
            replaced = _layer(header["layers"][path], layer, next(model.parameters()).dtype)
            on_die.set_submodule(path, replaced)
        _restore(on_die, state)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{directory} does not fit the model: {error}") from error
    for layer in circuit_layers(on_die).values():
        if layer.converters.auto_zero:
            layer.trim()
    return on_die, mapped


def _describe(layer: CircuitLayer) -> dict[str, Any]:
    return {
        "wires": asdict(layer.wires),
        "periphery": asdict(layer.periphery),
        "converters": asdict(layer.converters),
        "noise": asdict(layer.noise) if layer.noise else None,
        "input_range": asdict(layer.input_range),
        "v_limit": layer.v_limit,
    }


def _layer(entry: dict[str, Any], mapped: Any, dtype: torch.dtype) -> CircuitLayer:
    parts = Wires(**entry["wires"]), Periphery(**entry["periphery"])
    noise = Noise(**entry["noise"]) if entry["noise"] else None
    rest = Converters(**entry["converters"]), InputRange(**entry["input_range"]), noise
    layer = CircuitLayer(mapped, *parts, *rest, dtype=dtype)
    layer.set_range(entry["v_limit"])
    return layer


def _digital_state(on_die: nn.Module) -> dict[str, torch.Tensor]:
    """Return all of a network's state but the circuits of its tiles."""
    inside = tuple(f"{path}.readouts." for path in circuit_layers(on_die))
    return {k: v.detach() for k, v in on_die.state_dict().items() if not k.startswith(inside)}


def _restore(on_die: nn.Module, state: dict[str, np.ndarray]) -> None:
    found = {name: torch.from_numpy(value) for name, value in state.items()}
    if set(found) != set(_digital_state(on_die)):
        raise ValueError(f"parameters {sorted(set(found) ^ set(_digital_state(on_die)))[:3]}")
    on_die.load_state_dict(found, strict=False)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
