"""One trial of a study: a configuration on one die, and what it scores."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.inference import network_energy
from crossbar_sim.ngspice.verification import chosen_tiles
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.pipeline.deployment import Deployment, reads_of, training_text
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.steps import load_data, single_thread, train_and_prune
from crossbar_sim.pipeline.tiles import Questions, Simulated, simulate
from crossbar_sim.system import machine
from mapping.selection.bits import effective_bits
from tinynets.files.drafts import new_file
from tinynets.networks.training import accuracy

#: Images whose currents give a trial's power.
N_POWER_IMAGE = 8
#: The source of training and pruning.
_TRAINING_CODE = (
    "tinynets/**/*.py",
    "crossbar_sim/pipeline/steps.py",
    "crossbar_sim/calibration/tune.py",
)
#: Metrics of test images, which report and must not choose.
OF_TESTS = ("accuracy", "loss")
#: What the trials of this process have in common.
KEPT = Kept()


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
    parts = json.dumps([training_text(config), source_digest(*_TRAINING_CODE)])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


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

    network: file of the pruned network's weights.

    accuracy, n_test: share of the n_test test images that are classified correctly.
    loss: of accuracy against the digital network.
    accuracy_validation: to choose settings by, where `validation` holds images out.
    mvm_error, mvm_error_p99: rms and 99th percentile of the error of the tiles' matrices with
        wires, as a fraction of the largest weight.
    effective_bits: of that rms error over ± the largest weight, see `mapping.selection.bits`.
    weight_error: rms, without wires.
    missed: number of targets off by over 1 %.
    n_resistor, n_closed, n_tile: counts.
    n_changed: switches that a repair moved.
    area: of the cells as drawn, where they can be [m²].
    power: while reading [W].
    energy: of one inference [J].
    t_read: time of one read [s].
    n_saturated: see `CircuitLayer`.
    ngspice_error: where `simulation.check_tiles` asks.
    """
    with single_thread():
        way = Deployment(config, KEPT, weights=network)
        on_die, data = way.on_die(config.hardware), way.data
        share = accuracy(on_die, data.x_test, data.y_test)
        simulated = _simulated(way, on_die)
        return {
            "accuracy": share,
            "loss": way.digital_accuracy - share,
            "n_test": float(len(data.y_test)),
            "n_saturated": float(_saturated(on_die)),
            **_matrix_metrics(way),
            **_size_metrics(way),
            **_energy_metrics(way, simulated),
            **_checked(simulated),
            **_validated(way, on_die),
        }


def _simulated(way: Deployment, on_die: nn.Module) -> Simulated:
    """Solve the tiles for a few real images, some with ngspice too."""
    config, images = way.config, way.data.x_test[:N_POWER_IMAGE]
    reads = reads_of(on_die, way.mapped, images, config.hardware.converters)
    simulation = config.simulation
    if not simulation.check_tiles:
        return simulate(way, reads, Questions())
    tiles = chosen_tiles(way.mapped, n_sample=simulation.check_tiles, seed=config.die.seed)
    names = [tile.name for tile in tiles]
    with NgspiceWorker(time_limit=simulation.time_limit) as worker:
        found = simulate(way, reads, Questions(worker, names, N_POWER_IMAGE))
    found.verification.require()
    return found


def _validated(way: Deployment, on_die: nn.Module) -> dict[str, float]:
    held_out = way.validation
    return {"accuracy_validation": accuracy(on_die, *held_out)} if held_out else {}


def _saturated(on_die: nn.Module) -> int:
    layers = (m for m in on_die.modules() if isinstance(m, CircuitLayer))
    return sum(layer.n_saturated for layer in layers)


def _matrix_metrics(way: Deployment) -> dict[str, float]:
    config, mapped = way.config, way.mapped
    gain, responses = config.periphery.r_feedback, way.responses(config.hardware)
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


def _size_metrics(way: Deployment) -> dict[str, float]:
    mapped, new = way.mapped, way.selection.mapped
    n_cell = sum(layer.source.n_remaining for layer in mapped.layers)
    cell = way.config.cell()
    sizes = {
        "n_resistor": float(2 * way.config.bank.n * n_cell),
        "n_closed": float(sum(layer.n_closed for layer in mapped.layers)),
        "n_changed": float(sum(a.n_different(b) for a, b in zip(mapped.tiles, new.tiles))),
        "n_tile": float(len(mapped.tiles)),
    }
    return sizes | ({"area": n_cell * cell.area} if cell else {})


def _energy_metrics(way: Deployment, simulated: Simulated) -> dict[str, float]:
    energy = network_energy(way.mapped, simulated.energies)
    power = sum(layer["power"]["source"] for layer in energy["layers"])
    return {"power": power, "energy": energy["analog_total"], "t_read": simulated.t_read}


def _checked(simulated: Simulated) -> dict[str, float]:
    """Return how far ngspice is from the engine, where it was asked."""
    checks = simulated.verification.checks
    return {"ngspice_error": simulated.verification.worst.error} if checks else {}
