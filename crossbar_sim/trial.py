"""One trial of a study: a configuration on one die, and what it scores."""

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossbar_sim.analog import CircuitLayer, circuit_inputs, to_torch
from crossbar_sim.calibrate import pair_matrix, wanted
from crossbar_sim.config import RunConfig
from crossbar_sim.converters import n_pass
from crossbar_sim.energy import network_energy
from crossbar_sim.network import (
    build_model,
    load_data,
    map_on_die,
    single_thread,
    train_and_prune,
)
from crossbar_sim.nodal import solve
from crossbar_sim.power import tile_energy
from crossbar_sim.timing import settling
from mapping.design import MappedNetwork
from netlists.build import tile_circuit
from tinynets.data import Data
from tinynets.train import accuracy

#: Images whose currents give a trial's power.
N_POWER_IMAGE = 8


def training_key(config: RunConfig) -> str:
    """Return the hash of what the trained and pruned network depends on."""
    return hashlib.sha256(_training(config).encode()).hexdigest()[:16]


def trained_path(config: RunConfig, cache: Path) -> Path:
    """Return where the pruned network of a configuration is kept, training it if it is not."""
    path = cache / f"{training_key(config)}.pt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with single_thread():
            _, pruned = train_and_prune(config, load_data(config))
        draft = path.with_suffix(f".{time.time_ns()}.tmp")
        torch.save(pruned.state_dict(), draft)
        draft.replace(path)
    return path


def run_trial(config: RunConfig, network: Path) -> dict[str, float]:
    """Return the metrics of a configuration on its die.

    network: the pruned network's weights. Metrics: accuracy on the test set, loss of accuracy
    against the digital network, mvm_error (rms error of the tiles' matrices with wires, in parts
    of the largest weight), weight_error (rms, without wires), missed (targets off by over 1 %),
    n_closed, power [W] while reading, energy [J] per inference, t_read [s], n_saturated.
    """
    with single_thread():
        model, data, digital = _digital(_training(config), str(network))
        mapped = map_on_die(config, model, data)
        calibration = torch.from_numpy(data.x_train)
        wires, ends = config.build_wires(), config.periphery.build()
        converters = config.periphery.converters()
        noise = config.noise.build()
        on_die = to_torch(
            model, mapped, wires, ends, converters, calibration=calibration, noise=noise
        )
        score = accuracy(on_die, data.x_test, data.y_test)
        return {
            "accuracy": score,
            "loss": digital - score,
            "n_saturated": float(_saturated(on_die)),
            **_matrix_metrics(config, mapped),
            **_energy_metrics(config, mapped, on_die, data),
        }


def _training(config: RunConfig) -> str:
    """Return what the trained and pruned network depends on, as JSON."""
    names = {"seed", "data", "model", "train", "prune"}
    if config.prune.method == "tiles":
        names.add("tile")
    return json.dumps(config.as_json(include=names), sort_keys=True)


@lru_cache(maxsize=4)
def _digital(training: str, network: str) -> tuple[nn.Module, Data, float]:
    """Return the pruned digital network, its data and its accuracy; kept for the next trial."""
    config = RunConfig.model_validate({"name": "trial", **json.loads(training)})
    data, model = load_data(config), build_model(config)
    model.load_state_dict(torch.load(network, weights_only=True))
    return model.eval(), data, accuracy(model, data.x_test, data.y_test)


def _saturated(on_die: nn.Module) -> int:
    layers = (m for m in on_die.modules() if isinstance(m, CircuitLayer))
    return sum(layer.n_saturated for layer in layers)


def _matrix_metrics(config: RunConfig, mapped: MappedNetwork) -> dict[str, float]:
    wires, ends = config.build_wires(), config.periphery.build()
    gaps, missed = [], 0
    for layer in mapped.layers:
        unit = layer.g_per_weight * np.abs(layer.layer.weight).max()
        missed += len(layer.missed(0.01))
        for tile in layer.tiles:
            gap = pair_matrix(tile, wires, ends) - wanted(layer, tile)
            gaps.append((gap / unit[tile.columns])[tile.present])
    errors = np.concatenate([layer.error for layer in mapped.layers])
    return {
        "mvm_error": float(np.sqrt(np.mean(np.concatenate(gaps) ** 2))),
        "weight_error": float(np.sqrt(np.mean(errors**2))),
        "missed": float(missed),
        "n_closed": float(sum(layer.n_closed for layer in mapped.layers)),
    }


def _energy_metrics(
    config: RunConfig, mapped: MappedNetwork, on_die: nn.Module, data: Data
) -> dict[str, float]:
    """Return power and energy for a few real images; a read takes `t_read`, or the slowest tile's
    settling."""
    v_in = circuit_inputs(on_die, mapped, torch.from_numpy(data.x_test[:N_POWER_IMAGE]))
    wires, ends = config.build_wires(), config.periphery.build()
    circuits = {tile.name: tile_circuit(tile, wires, ends) for tile in mapped.tiles}
    volts = {tile.name: v_in[tile.layer][:, tile.rows] for tile in mapped.tiles}
    slowest = 0.0
    if config.energy.t_read == "settling":
        half_step = 2.0 ** -(config.periphery.adc_bits + 1)
        slowest = max(
            float(settling(circuits[name], v[:N_POWER_IMAGE], half_step).time.max())
            for name, v in volts.items()
        )
    converters, figures, used = config.periphery.converters(), config.energy.build(slowest), {}
    for tile in mapped.tiles:
        module = on_die.get_submodule(mapped.layer(tile.layer).layer.module)
        assert isinstance(module, CircuitLayer)
        passes = n_pass(converters, signed=module.input_range.signed)
        found = solve(circuits[tile.name], volts[tile.name], nodes=True)
        used[tile.name] = tile_energy(tile, found, converters, figures, n_pass=passes)
    energy = network_energy(mapped, used)
    power = sum(layer["power"]["source"] for layer in energy["layers"])
    return {"power": power, "energy": energy["analog_total"], "t_read": figures.t_read}
