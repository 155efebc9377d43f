"""The same network on the same die by several selection rules, side by side."""

from typing import Any

import numpy as np

from crossbar_sim.findings.run_score import accuracy_row
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.input_moments import second_moments
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.deployment import Deployment
from mapping.network.map_network import SelectionRule, map_network
from mapping.network.mapped_network import MappedNetwork
from tinynets.data import inputs
from tinynets.networks.training import predict

#: The rules that the report compares. The lightest subset may err by half a step of 8 bits.
RULES = {
    "nearest subset": SelectionRule(),
    "lightest within half an LSB of 8 bits": SelectionRule(objective="power"),
    "best of 8, read as a whole": SelectionRule(n_candidate=8),
    "aware of its inputs": SelectionRule(objective="aware"),
}


def compare_rules(way: Deployment, v_rms: float) -> list[dict[str, Any]]:
    """Return a row for each rule of RULES: closed switches, power, weight error, accuracy.

    The accuracy has its interval, and is compared with that of the digital network.

    v_rms: root mean square of all word-line voltages [V].

    The power is the heat of the branches with ideal wires [W]. The accuracy is on the test set with
    ideal hardware.
    """
    data, die, tile = way.data, way.mapped.die, way.mapped.tile
    images = inputs(data.x_train[: way.config.select.n_calibration])
    moments = second_moments(way.pruned, way.network, images)
    rows = []
    for label, rule in RULES.items():
        mapped = map_network(way.network, die, tile, rule=rule, second_moment=moments)
        on_die = to_torch(way.pruned, mapped, Hardware(), calibration=images)
        g_total = sum(float((t.g_pos + t.g_neg).sum()) for t in mapped.tiles)
        rows.append(
            {
                "rule": label,
                "n_closed": sum(layer.n_closed for layer in mapped.layers),
                "power": v_rms**2 * g_total,
                "rms_error": rms_error(mapped),
            }
            | accuracy_row(predict(on_die, data.x_test), way.digital_outputs, data)
        )
    return rows


def rms_error(mapped: MappedNetwork) -> float:
    """Return the rms error of all remaining weights, each as a fraction of its layer's largest."""
    return float(np.sqrt(np.mean(np.concatenate([layer.error for layer in mapped.layers]) ** 2)))
