"""One trial of a study: a configuration on one die, and what it scores."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.config.sections import WiresConfig
from crossbar_sim.energy.inference import network_energy
from crossbar_sim.energy.power import tile_energy
from crossbar_sim.ngspice.verification import chosen_tiles, verify
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.readout import Response, respond
from crossbar_sim.on_die.to_torch import circuit_inputs, to_torch
from crossbar_sim.periphery.converters import n_pass
from crossbar_sim.periphery.settling import settling
from crossbar_sim.pipeline.steps import (
    build_model,
    choose_on_die,
    lived,
    load_data,
    load_validation,
    single_thread,
    train_and_prune,
    tuned,
)
from crossbar_sim.pipeline.trained import TRAINING
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.system import machine
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.bits import effective_bits
from netlists.circuit.build import tile_circuit
from tinynets.files.drafts import new_file
from tinynets.networks.data import Data
from tinynets.networks.training import accuracy

#: Images whose currents give a trial's power.
N_POWER_IMAGE = 8
#: Stand for wires where nothing depends on them, and a bank need not be one that can be drawn.
_IDEAL_WIRES = WiresConfig(source="given", r_word=0.0, r_bit=0.0)
#: The source of training and pruning.
_TRAINING_CODE = (
    "tinynets/**/*.py",
    "crossbar_sim/pipeline/steps.py",
    "crossbar_sim/calibration/tune.py",
)
#: Metrics of test images, which report and must not choose.
OF_TESTS = ("accuracy", "loss")


@cache
def source_digest(*patterns: str) -> str:
    """Return twelve digits that change with the source files that match, below the packages.

    patterns: relative to the directory of the packages; "**" stands for any rooms.
    """
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def training_key(config: RunConfig) -> str:
    """Return the hash of what the trained and pruned network depends on: settings and code."""
    parts = [_for_training(config).as_json(), source_digest(*_TRAINING_CODE)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def trained_path(config: RunConfig, cache: Path) -> Path:
    """Return where the pruned network of a configuration is kept, training it if it is not.

    One that another kind of machine trained is not taken: its weights may differ.
    """
    path = cache / f"{training_key(config)}-{machine.key()}.pt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with single_thread():
            _, pruned = train_and_prune(config, load_data(config))
        with new_file(path) as draft:
            torch.save(pruned.state_dict(), draft)
    return path


def run_trial(config: RunConfig, network: Path) -> dict[str, float]:
    """Return the metrics of a configuration on its die.

    network: the pruned network's weights. Metrics: accuracy on the test set, of n_test images, loss
    of accuracy against the digital network; accuracy_validation, to choose settings by, where
    `validation` holds images out; mvm_error and mvm_error_p99 (rms and 99th percentile of the error
    of the tiles' matrices with wires, in parts of the largest weight), effective_bits (of that rms
    error over ± the largest weight, see `mapping.selection.bits`), weight_error (rms, without
    wires), missed (targets off by over 1 %); n_resistor, n_closed, n_changed (switches that a
    repair moved), n_tile, area [m²] of the cells as drawn, where they can be; power [W] while
    reading, energy [J] per inference, t_read [s], n_saturated; ngspice_error where
    `simulation.check_tiles` asks.
    """
    with single_thread():
        model, data, digital = _digital(_for_training(config), network)
        chosen = _chosen(_for_selection(config), network)
        mapped = lived(config, chosen)
        responses = _responses(_for_circuits(config), network)
        on_die = to_torch(
            model,
            mapped,
            config.hardware,
            calibration=torch.from_numpy(data.x_train),
            responses=responses,
        )
        on_die = tuned(config, on_die, model, data)
        score = accuracy(on_die, data.x_test, data.y_test)
        v_in = circuit_inputs(on_die, mapped, torch.from_numpy(data.x_test[:N_POWER_IMAGE]))
        return {
            "accuracy": score,
            "loss": digital - score,
            "n_test": float(len(data.y_test)),
            "n_saturated": float(_saturated(on_die)),
            **_matrix_metrics(config, mapped, responses),
            **_size_metrics(config, chosen, mapped),
            **_energy_metrics(config, mapped, on_die, v_in),
            **_checked(config, mapped, v_in),
            **_validated(config, on_die),
        }


def _validated(config: RunConfig, on_die: nn.Module) -> dict[str, float]:
    held_out = _held_out(_for_training(config))
    return {"accuracy_validation": accuracy(on_die, *held_out)} if held_out else {}


def _for_training(config: RunConfig) -> RunConfig:
    """Return a configuration with only what the trained and pruned network depends on."""
    return _only(config, {*TRAINING} | ({"tile"} if config.prune.method == "tiles" else set()))


def _for_selection(config: RunConfig) -> RunConfig:
    """Return a configuration with only what the selection on the new die depends on."""
    names = {*TRAINING} | {"bank", "die", "tile", "select", "calibrate"}
    wired = {"wires", "geometry", "periphery"} if config.calibrate.rounds else set()
    return _only(config, names | wired)


def _for_circuits(config: RunConfig) -> RunConfig:
    """Return a configuration with only what the responses of the tiles depend on."""
    names = {*TRAINING} | {"bank", "die", "tile", "select", "calibrate", "life"}
    ends = config.periphery
    if not config.calibrate.rounds:  # then the converters change nothing
        ends = ends.without_converters
    kept = _only(config, names | {"wires", "geometry", "noise"})
    return kept.model_copy(update={"periphery": ends})


def _only(config: RunConfig, names: set[str]) -> RunConfig:
    kept: dict[str, Any] = {"wires": _IDEAL_WIRES}
    kept |= {name: getattr(config, name) for name in names}
    return RunConfig(name="trial", **kept)


# Trials of a study differ in few keys: most share a network, many a selection, and some all
# circuits. Each process keeps the last ones, by the part of the configuration that they depend on.


@lru_cache(maxsize=4)
def _digital(config: RunConfig, network: Path) -> tuple[nn.Module, Data, float]:
    """Return the pruned digital network, its data and its accuracy."""
    data, model = load_data(config), build_model(config)
    model.load_state_dict(torch.load(network, weights_only=True))
    return model.eval(), data, accuracy(model, data.x_test, data.y_test)


@lru_cache(maxsize=4)
def _held_out(config: RunConfig) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the samples and labels held out for choosing settings."""
    return load_validation(config)


@lru_cache(maxsize=4)
def _chosen(config: RunConfig, network: Path) -> MappedNetwork:
    """Return the network on the new die."""
    model, data, _ = _digital(_for_training(config), network)
    return choose_on_die(config, model, data)


@lru_cache(maxsize=2)
def _responses(config: RunConfig, network: Path) -> dict[str, Response]:
    """Return the responses of all tiles by name."""
    mapped = lived(config, _chosen(_for_selection(config), network))
    return {tile.name: respond(tile, config.hardware) for tile in mapped.tiles}


def _saturated(on_die: nn.Module) -> int:
    layers = (m for m in on_die.modules() if isinstance(m, CircuitLayer))
    return sum(layer.n_saturated for layer in layers)


def _matrix_metrics(
    config: RunConfig, mapped: MappedNetwork, responses: Mapping[str, Response]
) -> dict[str, float]:
    gain = config.periphery.r_feedback
    gaps, missed = [], 0
    for layer in mapped.layers:
        unit = layer.g_per_weight * layer.largest
        missed += len(layer.missed(0.01))
        for tile in layer.tiles:
            # An amplifier inverts, so these are minus the currents per volt.
            minus_pos, minus_neg = np.split(responses[tile.name].volts / gain, 2, axis=1)
            gap = minus_neg - minus_pos - layer.target_of(tile)
            gaps.append(np.abs(gap / unit[tile.columns])[tile.present])
    gap, errors = np.concatenate(gaps), np.concatenate([layer.error for layer in mapped.layers])
    rms = float(np.sqrt(np.mean(gap**2)))
    return {
        "mvm_error": rms,
        "mvm_error_p99": float(np.quantile(gap, 0.99)),
        "effective_bits": float(effective_bits(2.0, max(rms, 1e-18))),
        "weight_error": float(np.sqrt(np.mean(errors**2))),
        "missed": float(missed),
    }


def _size_metrics(
    config: RunConfig, chosen: MappedNetwork, mapped: MappedNetwork
) -> dict[str, float]:
    n_cell = sum(layer.source.n_remaining for layer in mapped.layers)
    cell = config.cell()
    sizes = {
        "n_resistor": float(2 * config.bank.n * n_cell),
        "n_closed": float(sum(layer.n_closed for layer in mapped.layers)),
        "n_changed": float(sum(a.n_different(b) for a, b in zip(mapped.tiles, chosen.tiles))),
        "n_tile": float(len(mapped.tiles)),
    }
    return sizes | ({"area": n_cell * cell.area} if cell else {})


def _checked(
    config: RunConfig, mapped: MappedNetwork, v_in: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return how far ngspice is from the engine on some tiles drawn at random, if asked."""
    if not config.simulation.check_tiles:
        return {}
    tiles = chosen_tiles(mapped, n_sample=config.simulation.check_tiles, seed=config.die.seed)
    volts = {name: v[:N_POWER_IMAGE] for name, v in v_in.items()}
    parts = config.hardware.wires, config.hardware.periphery
    found = verify(mapped, volts, *parts, tiles=tiles, tolerance=config.simulation.tolerance)
    found.require()
    return {"ngspice_error": found.worst.error}


def _energy_metrics(
    config: RunConfig,
    mapped: MappedNetwork,
    on_die: nn.Module,
    v_in: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Return power and energy for a few real images; a read takes `t_read`, or the slowest tile's
    settling."""
    wires, ends = config.hardware.wires, config.hardware.periphery
    circuits = {tile.name: tile_circuit(tile, wires, ends) for tile in mapped.tiles}
    volts = {tile.name: v_in[tile.layer][:, tile.rows] for tile in mapped.tiles}
    slowest = 0.0
    if config.energy.t_read == "settling":
        half_step = config.periphery.half_step
        slowest = max(
            float(settling(circuits[name], v[:N_POWER_IMAGE], half_step).time.max())
            for name, v in volts.items()
        )
    converters, figures, used = config.hardware.converters, config.energy.settled(slowest), {}
    for tile in mapped.tiles:
        module = on_die.get_submodule(mapped.layer(tile.layer).source.module)
        assert isinstance(module, CircuitLayer)
        passes = n_pass(converters, signed=module.input_range.signed)
        found = solve(circuits[tile.name], volts[tile.name], nodes=True)
        used[tile.name] = tile_energy(tile, found, converters, figures, n_pass=passes)
    energy = network_energy(mapped, used)
    power = sum(layer["power"]["source"] for layer in energy["layers"])
    return {"power": power, "energy": energy["analog_total"], "t_read": figures.seconds}
