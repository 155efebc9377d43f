"""One trial of a study: the metrics of a configuration on one die."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.inference import network_energy
from crossbar_sim.findings.measures import accuracy_of, fidelity, measured
from crossbar_sim.findings.selection_rules import rms_error
from crossbar_sim.ngspice.verification import chosen_tiles
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.pipeline.deployment import Deployment, reads_of, training_text
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.own import look_in
from crossbar_sim.pipeline.steps import load_data, single_thread, train_and_prune
from crossbar_sim.pipeline.tiles import Questions, Simulated, simulate
from crossbar_sim.system import machine
from mapping.selection.bits import effective_bits
from tinynets.files.drafts import new_file
from tinynets.networks.training import accuracy, predict

#: Number of vectors that ngspice solves on a tile.
N_CHECKED = 8
#: Source files that training and pruning depend on.
_TRAINING_CODE = (
    "tinynets/**/*.py",
    "crossbar_sim/pipeline/steps.py",
    "crossbar_sim/pipeline/own.py",
    "crossbar_sim/calibration/tune.py",
)
#: Metrics of test images, by which no setting may be chosen.
OF_TESTS = ("accuracy", "loss", "agreement", "output_error", "score")
#: Results that the trials of this process share.
KEPT = Kept()
#: Number of weights of a network above which only the last die stays in memory.
LARGE = 3_000_000


@cache
def source_digest(*patterns: str) -> str:
    """Return twelve hexadecimal digits that change with the matching source files.

    patterns: relative to the directory of the packages; "**" stands for any folders.
    """
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def training_key(config: RunConfig) -> str:
    """Return the hash of the settings and the code that the pruned network depends on."""
    parts = json.dumps([training_text(config), source_digest(*_TRAINING_CODE)])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def trained_path(config: RunConfig, cache: Path) -> Path:
    """Return the file of a configuration's pruned network, trained now if there is none.

    A network that another kind of machine trained is not used, since its weights may differ.
    """
    look_in(cache)
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

    The metrics:
    accuracy: fraction of the test images that are classified correctly, if they have labels.
    n_test: number of test images.
    loss: accuracy of the digital network minus this accuracy.
    agreement: fraction of the test images with the same largest output as in the digital network.
    output_error: rms difference from the digital outputs, as a fraction of their rms.
    score: value of `measure.metric`, if one is given.
    accuracy_validation: accuracy on images that `validation` holds out for choosing settings.
    mvm_error, mvm_error_p99: rms and 99th percentile of the error of the tiles' matrices with
        wires, as a fraction of the largest weight.
    effective_bits: of that rms error over ± the largest weight, see `mapping.selection.bits`.
    weight_error: rms error of the weights without wires, as a fraction of the largest.
    missed: number of targets missed by more than 1 % of the largest weight.
    n_resistor, n_closed, n_tile: number of resistors, of closed switches, and of tiles.
    n_changed: number of switches that a repair changed.
    area: of the cells as drawn [m²]; left out if they cannot be drawn.
    power: while reading [W].
    energy: of one inference [J].
    t_read: time of one read [s]; it, power and energy only if `simulation.n_power` is above 0.
    n_saturated: see `CircuitLayer`.
    ngspice_error: largest difference from ngspice, if `simulation.check_tiles` asks for it.
    """
    look_in(network.parent)
    with single_thread():
        way = Deployment(config, KEPT, weights=network)
        on_die, data = way.on_die(config.hardware), way.data
        outputs = predict(on_die, data.x_test)
        if sum(layer.source.n_remaining for layer in way.mapped.layers) > LARGE:
            KEPT.trim(1)
        simulated = _simulated(way, on_die) if config.simulation.n_power else None
        return {
            **_test_metrics(way, outputs),
            "n_test": float(len(data.x_test)),
            "n_saturated": float(sum(x.n_saturated for x in circuit_layers(on_die).values())),
            **_matrix_metrics(way),
            **_size_metrics(way),
            **(_energy_metrics(way, simulated) | _checked(simulated) if simulated else {}),
            **_validated(way, on_die),
        }


def _test_metrics(way: Deployment, outputs: np.ndarray) -> dict[str, float]:
    data, digital = way.data, way.digital_outputs
    near = fidelity(outputs, digital)
    found = {"agreement": near["agreement"], "output_error": near["relative_error"]}
    share, before = accuracy_of(outputs, data), accuracy_of(digital, data)
    if share is not None and before is not None:
        found = {"accuracy": share, "loss": before - share} | found
    if way.config.measure.metric:
        found["score"] = measured(way.config, data, outputs, digital)
    return found


def _simulated(way: Deployment, on_die: nn.Module) -> Simulated:
    """Solve the tiles for a few real images, some of them with ngspice too."""
    config, simulation = way.config, way.config.simulation
    images = way.data.x_test[: simulation.n_power]
    reads = reads_of(on_die, way.mapped, images, config.hardware.converters)
    if not simulation.check_tiles:
        return simulate(way, reads, Questions())
    tiles = chosen_tiles(way.mapped, n_sample=simulation.check_tiles, seed=config.die.seed)
    names = [tile.name for tile in tiles]
    with NgspiceWorker(time_limit=simulation.time_limit) as worker:
        simulated = simulate(way, reads, Questions(worker, names, N_CHECKED))
    simulated.verification.require()
    return simulated


def _validated(way: Deployment, on_die: nn.Module) -> dict[str, float]:
    held_out = way.validation if way.data.has_labels else None
    return {"accuracy_validation": accuracy(on_die, *held_out)} if held_out else {}


def _matrix_metrics(way: Deployment) -> dict[str, float]:
    config, mapped = way.config, way.mapped
    gain, responses = config.periphery.r_feedback, way.responses(config.hardware)
    tile_errors, missed = [], 0
    for layer in mapped.layers:
        unit = layer.g_per_weight * layer.largest
        missed += len(layer.missed(0.01))
        for tile in layer.tiles:
            # An amplifier inverts, so these are minus the currents per volt.
            minus_pos, minus_neg = np.split(responses[tile.name].volts / gain, 2, axis=1)
            error = minus_neg - minus_pos - layer.target_of(tile)
            tile_errors.append(np.abs(error / unit[tile.columns])[tile.present])
    wired = np.concatenate(tile_errors)
    rms = float(np.sqrt(np.mean(wired**2)))
    return {
        "mvm_error": rms,
        "mvm_error_p99": float(np.quantile(wired, 0.99)),
        "effective_bits": float(effective_bits(2.0, max(rms, 1e-18))),
        "weight_error": rms_error(mapped),
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
    """Return the largest difference between ngspice and the engine, if any tile was checked."""
    checks = simulated.verification.checks
    return {"ngspice_error": simulated.verification.worst.error} if checks else {}
