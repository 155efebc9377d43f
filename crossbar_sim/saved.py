"""Keep a network on the die in a directory: its mapping, its circuits, what was trained since."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.analog import CircuitLayer, InputRange, circuit_layers, with_module
from crossbar_sim.converters import Converters
from crossbar_sim.noise import Noise
from mapping.design import MappedNetwork
from netlists.circuit import Periphery, Wires
from tinynets.masks import copied

FORMAT, VERSION = "crossbar-sim network on a die", 1
_SUMMED = ("mapped.npz", "state.npz")
_FILES = (*_SUMMED, "circuits.json")


def save_network(on_die: nn.Module, mapped: MappedNetwork, directory: str | Path) -> Path:
    """Write a network of `to_torch`, or of `crossbar_sim.tune`, into a directory of its own.

    mapped: the mapping that it was made from. Written are mapped.npz, state.npz (all parameters and
    buffers, digital ones included) and circuits.json (wires, amplifiers, converters, noise, and the
    range of every layer; checksums of the other two). The directory appears whole or not at all.
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
    try:
        _write(draft, layers, mapped, _digital_state(on_die))
        draft.replace(directory)
    except BaseException:
        shutil.rmtree(draft)
        raise
    return directory


def _write(
    draft: Path,
    layers: Mapping[str, CircuitLayer],
    mapped: MappedNetwork,
    state: Mapping[str, torch.Tensor],
) -> None:
    mapped.save(draft / "mapped.npz")
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in state.items()}
    np.savez_compressed(draft / "state.npz", **arrays)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": {name: _digest(draft / name) for name in _SUMMED},
        "layers": {path: _describe(layer) for path, layer in layers.items()},
    }
    (draft / "circuits.json").write_text(json.dumps(header, indent=1), encoding="utf-8")


def load_network(model: nn.Module, directory: str | Path) -> tuple[nn.Module, MappedNetwork]:
    """Return the network that `save_network` wrote, and its mapping.

    model: a module of the same architecture and precision, whatever its weights; it is not changed.
    Noise starts its stream anew, and nothing has saturated. Nothing in the files is executed.
    Raises ValueError naming the file that is missing, damaged, of another version, or the directory
    that does not fit the model.
    """
    directory = Path(directory)
    for name in _FILES:
        if not (directory / name).is_file():
            raise ValueError(f"{directory / name} is missing; expected {', '.join(_FILES)}")
    header = _header(directory / "circuits.json")
    for name in _SUMMED:
        if _digest(directory / name) != header["sha256"].get(name):
            raise ValueError(f"{directory / name} is damaged: its checksum does not match")
    mapped = MappedNetwork.load(directory / "mapped.npz")
    state = _arrays(directory / "state.npz")
    on_die = copied(model).eval()
    try:
        for layer in mapped.layers:
            path = layer.layer.module
            replaced = _layer(header["layers"][path], layer, next(model.parameters()).dtype)
            on_die = with_module(on_die, path, replaced)
        _restore(on_die, state)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{directory} does not fit the model: {error}") from error
    for layer in circuit_layers(on_die).values():
        if layer.converters.auto_zero:
            layer.trim()
    return on_die, mapped


def _header(path: Path) -> dict[str, Any]:
    """Return the content of circuits.json, having checked format and version."""
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is not of a network on a die")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path} has version {header.get('version')}; this program reads {VERSION}; "
            "use the program that wrote it or a newer one"
        )
    if not all(isinstance(header.get(name), dict) for name in ("sha256", "layers")):
        raise ValueError(f"{path} is damaged: it has no checksums or no layers")
    return header


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
    """Return all of a network's state but the circuits of its tiles, which the mapping tells."""
    inside = tuple(f"{path}.readouts.".lstrip(".") for path in circuit_layers(on_die))
    return {k: v.detach() for k, v in on_die.state_dict().items() if not k.startswith(inside)}


def _restore(on_die: nn.Module, state: dict[str, np.ndarray]) -> None:
    found = {name: torch.from_numpy(value) for name, value in state.items()}
    held = _digital_state(on_die)
    if set(found) != set(held):
        raise ValueError(f"only one of them has parameters {sorted(set(found) ^ set(held))[:3]}")
    kinds = [name for name, value in found.items() if value.dtype != held[name].dtype]
    if kinds:
        name = kinds[0]
        raise ValueError(f"{name!r} is {found[name].dtype}, the model's is {held[name].dtype}")
    on_die.load_state_dict(found, strict=False)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds other things than plain arrays: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
