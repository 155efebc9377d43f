"""Save a network on the die in a directory: its mapping, its circuits, its trained parameters."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numba
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import nn

from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers, counting_uses
from crossbar_sim.on_die.hardware import Hardware, built_hardware
from crossbar_sim.on_die.layer_inputs import InputRange
from crossbar_sim.on_die.readout import respond_all
from crossbar_sim.solvers.nodal import MATRIX_LIMIT, matrix_error, transfer_matrix
from crossbar_sim.transfer.array_lines import is_regular
from crossbar_sim.transfer.elimination import one_blas_thread
from mapping.bank import Die
from mapping.network.header import built, check_start, first_problem
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from netlists.circuit.build import tile_circuit
from tinynets.files.drafts import new_directory
from tinynets.files.npz import read_npz
from tinynets.modules.replacing import copied, with_module
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import conv_geometry, dense_weight
from tinynets.networks.layers import PrunedLayer

FORMAT, VERSION = "crossbar-sim network on a die", 1
#: Transfer matrices, which spare a reader most of its work; nothing is lost without them.
_TRANSFERS = "transfers.npz"
_NEEDED = ("mapped.npz", "state.npz")
_FILES = (*_NEEDED, "circuits.json")
_PARTS = set(asdict(Hardware()))


def save_network(
    on_die: nn.Module, mapped: MappedNetwork, directory: str | Path, *, transfers: bool = True
) -> Path:
    """Write a network of `to_torch`, tuned or not, into a new directory.

    on_die: the network.
    mapped: the mapping that it was made from.
    directory: appears whole or not at all.
    transfers: whether the transfer matrices of arrays with wires are kept too: 16 bytes for every
        cell of every tile, and as much work as `to_torch` again, of which `load_network` is spared
        most.

    The files are mapped.npz, state.npz (all parameters and buffers, digital ones included),
    transfers.npz and circuits.json (wires, amplifiers, converters, noise, and the range of every
    layer; checksums of the others). Raises FileExistsError for an existing directory, ValueError if
    network and mapping have different layers.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists; name a new directory")
    layers = circuit_layers(on_die)
    if set(layers) != {layer.source.module for layer in mapped.layers}:
        raise ValueError(
            f"the network has circuits for {sorted(layers)}, the mapping for "
            f"{sorted(layer.source.module for layer in mapped.layers)}; save them together"
        )
    with new_directory(directory) as draft:
        if transfers:
            arrays: dict[str, Any] = _found_transfers(layers, mapped)
            np.savez(draft / _TRANSFERS, **arrays)
        _write(draft, layers, mapped, _digital_state(on_die))
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
        "sha256": {path.name: _digest(path) for path in sorted(draft.iterdir())},
        "layers": {path: _describe(layer) for path, layer in layers.items()},
    }
    (draft / "circuits.json").write_text(json.dumps(header, indent=1), encoding="utf-8")


def load_network(model: nn.Module, directory: str | Path) -> tuple[nn.Module, MappedNetwork]:
    """Return the network that `save_network` wrote, and its mapping.

    model: a module of the same architecture and precision, with any weights; it is not changed.
        The network is on its device, whatever device it was saved from.

    The noise stream and the count of saturation start again. Nothing in the files is executed.
    Raises ValueError that names a file that is missing, damaged or of another version, or a
    directory that does not fit the model.
    """
    directory = Path(directory)
    header = _checked_header(directory)
    mapped = MappedNetwork.load(directory / "mapped.npz")
    state = read_npz(directory / "state.npz")
    kept = _Transfers(directory, _TRANSFERS in header.sha256)
    paths = [layer.source.module for layer in mapped.layers]
    on_die = unpacked(copied(model), only=paths).eval()
    dtype = next(on_die.parameters()).dtype
    try:
        for layer in mapped.layers:
            path = layer.source.module
            _check_module(path, on_die.get_submodule(path), layer.source)
            device = dense_weight(on_die.get_submodule(path)).device
            replaced = _layer(header.layers[path], layer, mapped.die, dtype, device, kept)
            on_die = with_module(on_die, path, replaced)
        _restore(on_die, state)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{directory} does not fit the model: {error}") from error
    for layer in circuit_layers(on_die).values():
        layer.rezero()
    return counting_uses(on_die), mapped


class _Circuits(BaseModel):
    """The entry of a layer in circuits.json; each part is a dataclass of its own."""

    model_config = ConfigDict(strict=True, extra="forbid")

    wires: dict[str, JsonValue]
    periphery: dict[str, JsonValue]
    converters: dict[str, JsonValue]
    noise: dict[str, JsonValue] | None
    devices: dict[str, JsonValue] | None = None
    input_range: dict[str, JsonValue]
    v_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


class _Header(BaseModel):
    """The content of circuits.json."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: JsonValue = None
    version: JsonValue = None
    sha256: dict[str, str]
    layers: dict[str, _Circuits]


def _checked_header(directory: Path) -> _Header:
    """Return the content of circuits.json; ValueError unless all files are there and whole."""
    for name in _FILES:
        if not (directory / name).is_file():
            raise ValueError(f"{directory / name} is missing; expected {', '.join(_FILES)}")
    header = _header(directory / "circuits.json")
    for name in dict.fromkeys((*_NEEDED, *header.sha256)):
        if name not in (*_NEEDED, _TRANSFERS):
            raise ValueError(f"{directory / 'circuits.json'} names {name!r}, which is not read")
        path = directory / name
        if not path.is_file() or _digest(path) != header.sha256.get(name):
            raise ValueError(f"{path} is damaged: its checksum does not match")
    return header


class _Transfers:
    """The transfer matrices of a saved network, each compared with a solution before its use."""

    def __init__(self, directory: Path, there: bool) -> None:
        self.path = directory / _TRANSFERS
        self.arrays = read_npz(self.path) if there else {}

    def of(self, layer: MappedLayer, hardware: Hardware) -> list[np.ndarray] | None:
        """Return those of a layer's tiles, or None; ValueError for one of another circuit."""
        flat = self.arrays.get(layer.name)
        if flat is None:
            return None
        circuits = [tile_circuit(t, hardware.wires, hardware.periphery) for t in layer.tiles]
        sizes = [(tile.n_word, 2 * tile.n_bit) for tile in layer.tiles]
        ends = np.cumsum([n_word * n_line for n_word, n_line in sizes])
        if flat.dtype != np.float64 or flat.shape != (ends[-1],) or not is_regular(circuits[0]):
            raise ValueError(f"{self.path}: {layer.name} has other tiles; save the network again")
        found = [part.reshape(size) for part, size in zip(np.split(flat, ends[:-1]), sizes)]
        with one_blas_thread(), ThreadPoolExecutor(numba.get_num_threads()) as pool:
            worst = np.max(list(pool.map(matrix_error, circuits, found)))
        if not worst <= MATRIX_LIMIT:
            raise ValueError(
                f"{self.path}: a matrix of {layer.name} is off by {worst:.1e} of what its circuit "
                "gives; save the network again"
            )
        return found


def _found_transfers(
    layers: Mapping[str, CircuitLayer], mapped: MappedNetwork
) -> dict[str, np.ndarray]:
    """Return the transfer matrices of all layers whose arrays have wires, one after another."""
    found = {}
    for layer in mapped.layers:
        hardware = layers[layer.source.module].hardware
        circuits = [tile_circuit(t, hardware.wires, hardware.periphery) for t in layer.tiles]
        if is_regular(circuits[0]):
            with one_blas_thread(), ThreadPoolExecutor(numba.get_num_threads()) as pool:
                matrices = list(pool.map(transfer_matrix, circuits))
            found[layer.name] = np.concatenate([matrix.ravel() for matrix in matrices])
    return found


def _header(path: Path) -> _Header:
    """Return the content of circuits.json, checked."""
    text = path.read_bytes()
    try:
        check_start(text, FORMAT, VERSION)
        return _Header.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {first_problem(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def _describe(layer: CircuitLayer) -> dict[str, Any]:
    ranges = {"input_range": asdict(layer.input_range), "v_limit": layer.adc.v_limit}
    return asdict(layer.hardware) | ranges


def _layer(
    entry: _Circuits,
    mapped: MappedLayer,
    die: Die,
    dtype: torch.dtype,
    device: torch.device,
    kept: _Transfers,
) -> CircuitLayer:
    hardware = built_hardware(entry.model_dump(include=_PARTS))
    limits = built(InputRange, entry.input_range, "input_range")
    known = {"device": device, "transfers": kept.of(mapped, hardware)}
    responses = respond_all(mapped.tiles, hardware, die, **known)
    layer = CircuitLayer(mapped, hardware, limits, responses=responses, dtype=dtype)
    layer.adc.set_range(entry.v_limit)
    return layer.to(device)


def _check_module(path: str, module: Any, source: PrunedLayer) -> None:
    """Raise ValueError unless a module computes with weights of a mapped layer's shape."""
    if isinstance(module, nn.Linear):
        same = source.conv is None and source.weight.shape == module.weight.shape
    else:
        same = isinstance(module, nn.Conv1d | nn.Conv2d) and (
            conv_geometry(module) == source.conv and module.out_channels == source.n_out
        )
    if not same:
        raise ValueError(
            f"module {path!r} is {str(module).splitlines()[0]}; expected {source.n_out} outputs of "
            f"{source.n_in} inputs, {source.conv or 'dense'}"
        )


def _digital_state(on_die: nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's state without the circuits of its tiles, which the mapping determines."""
    inside = tuple(f"{path}.readouts.".lstrip(".") for path in circuit_layers(on_die))
    state = {k: v.detach() for k, v in on_die.state_dict().items() if not k.startswith(inside)}
    # The ranges stand in circuits.json.
    return {k: v for k, v in state.items() if not k.endswith("_extra_state")}


def _restore(on_die: nn.Module, state: dict[str, np.ndarray]) -> None:
    saved = {name: torch.from_numpy(value) for name, value in state.items()}
    expected = _digital_state(on_die)
    if different := sorted(set(saved) ^ set(expected)):
        raise ValueError(f"only one of them has parameters {different[:3]}")
    for name, value in saved.items():
        if value.dtype != expected[name].dtype:
            raise ValueError(f"{name!r} must be {expected[name].dtype}; got {value.dtype}")
    on_die.load_state_dict(saved, strict=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_mapping(directory: str | Path) -> tuple[MappedNetwork, Hardware]:
    """Return the mapping of a directory of `save_network` and the hardware that its layers share.

    Raises ValueError that names a file that is missing, damaged or of another version, and for
    layers of different hardware.
    """
    directory = Path(directory)
    header = _checked_header(directory)
    mapped = MappedNetwork.load(directory / "mapped.npz")
    try:
        found = [built_hardware(e.model_dump(include=_PARTS)) for e in header.layers.values()]
    except ValueError as error:
        raise ValueError(f"{directory / 'circuits.json'}: {error}") from error
    if not found or any(hardware != found[0] for hardware in found):
        raise ValueError(
            f"{directory / 'circuits.json'} must give all layers the same hardware; write their "
            "netlists one by one from Python"
        )
    return mapped, found[0]
