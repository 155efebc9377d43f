"""The metrics of studies: what each is, and how it is found on a die."""

from typing import NamedTuple

import numpy as np
from torch import nn

from crossbar_sim.energy.inference import network_energy
from crossbar_sim.findings.run_score import accuracy_of, fidelity, measured
from crossbar_sim.findings.selection_rules import rms_error
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.pipeline.deployment import Deployment
from crossbar_sim.pipeline.tiles import Simulated
from mapping.selection.bits import effective_bits
from tinynets.networks.training import accuracy


class Metric(NamedTuple):
    """A metric of trials.

    what: it is, with its unit.
    label: a short name of it for people.
    unit: "%" of a share or an error that is written in percent, a unit that takes prefixes, "m²",
        "bits", or "" of a plain number.
    better: "more", "less", or "" if neither is.
    of_tests: whether it says how test samples fare, so that no setting may be chosen by it.
    when: it is there, if not always.
    """

    what: str
    label: str
    unit: str
    better: str
    of_tests: bool = False
    when: str = ""


_LABELS, _READ, _LARGEST = "data have labels", "simulation.n_power > 0", "fraction of the largest"
#: Every metric of `run_trial`; docs/how_to/studies.md has the same names.
METRICS = {
    "accuracy": Metric(
        "fraction of the test images classified correctly",
        "test accuracy",
        "%",
        "more",
        True,
        _LABELS,
    ),
    "loss": Metric(
        "accuracy of the digital network minus this accuracy",
        "accuracy lost",
        "%",
        "less",
        True,
        _LABELS,
    ),
    "agreement": Metric(
        "fraction with the same largest output as the digital network",
        "agreement",
        "%",
        "more",
        True,
    ),
    "output_error": Metric(
        "rms difference from the digital outputs / their rms",
        "error of the outputs",
        "%",
        "less",
        True,
    ),
    "score": Metric("value of measure.metric", "score", "", "", True, "measure.metric is given"),
    "n_test": Metric("number of test images", "test images", "", ""),
    "n_saturated": Metric(
        "number of test values beyond a range, see `CircuitLayer`",
        "saturated values",
        "",
        "less",
        True,
    ),
    "mvm_error": Metric(
        f"rms error of the tiles' matrices with wires, {_LARGEST} weight", "MVM error", "%", "less"
    ),
    "mvm_error_p99": Metric("99th percentile of the same error", "MVM error, 99 %", "%", "less"),
    "effective_bits": Metric(
        "of mvm_error over ± the largest weight, see `effective_bits`",
        "effective bits",
        "bits",
        "more",
    ),
    "weight_error": Metric(
        f"rms error of the weights without wires, {_LARGEST}", "weight error", "%", "less"
    ),
    "missed": Metric(
        "number of targets missed by more than 1 % of the largest weight",
        "targets missed",
        "",
        "less",
    ),
    "n_resistor": Metric("number of resistors", "resistors", "", "less"),
    "n_closed": Metric("number of closed switches", "closed switches", "", ""),
    "n_changed": Metric("number of switches that a repair changed", "switches changed", "", "less"),
    "n_tile": Metric("number of tiles", "tiles", "", "less"),
    "area": Metric(
        "area of the cells as drawn [m²]",
        "area of the cells",
        "m²",
        "less",
        when="the cells can be drawn",
    ),
    "power": Metric("power while reading [W]", "power while reading", "W", "less", when=_READ),
    "energy": Metric(
        "energy of one inference [J]", "energy of an inference", "J", "less", when=_READ
    ),
    "t_read": Metric("time of one read [s]", "time of a read", "s", "less", when=_READ),
    "ngspice_error": Metric(
        "largest difference from ngspice",
        "difference from ngspice",
        "%",
        "less",
        when="simulation.check_tiles > 0",
    ),
    "accuracy_validation": Metric(
        "accuracy on the held-out images", "held-out accuracy", "%", "more", when="validation > 0"
    ),
}
#: Metrics of test samples, by which no setting may be chosen.
OF_TESTS = tuple(name for name, metric in METRICS.items() if metric.of_tests)


def found_metrics(
    way: Deployment, on_die: nn.Module, outputs: np.ndarray, simulated: Simulated | None
) -> dict[str, float]:
    """Return all metrics of METRICS that a trial has.

    outputs: of the test images, predicted just before, since n_saturated counts from then on.
    simulated: the tiles, unless `simulation.n_power` is 0.
    """
    return {
        **_test_metrics(way, outputs),
        "n_test": float(len(way.data.x_test)),
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
