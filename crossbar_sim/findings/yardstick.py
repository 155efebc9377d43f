"""The energy of one dense product, which every run states beside that of its own network."""

from dataclasses import replace
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.inference import compared
from crossbar_sim.energy.power import drawn, tile_energy
from crossbar_sim.solvers.nodal import solve
from mapping.network.map_network import map_layer
from mapping.tiling.tiles import TileConfig
from netlists.circuit.build import tile_circuit
from tinynets.networks.flops import count
from tinynets.networks.layers import PrunedLayer

#: Number of inputs and of outputs of the product.
YARDSTICK = 100


def yardstick(config: RunConfig, t_read: float) -> dict[str, Any]:
    """Return the energy of one dense 100 × 100 product with random weights and inputs.

    config: of the run, whose bank, wires, amplifiers and figures are used.
    t_read: time of one read [s].

    The inputs are uniform in 0 … v_read. A dense line carries more current than a pruned one, so
    the feedback resistor is chosen to make the largest output equal to the amplifiers' supply.
    """
    rng = np.random.default_rng(config.seed)
    weight = rng.normal(size=(YARDSTICK, YARDSTICK))
    layer = PrunedLayer("yardstick", weight, np.ones(weight.shape, dtype=bool))
    die = config.chip
    (tile,) = map_layer(layer, die, TileConfig(YARDSTICK, YARDSTICK)).tiles
    volts = rng.uniform(0, config.periphery.v_read, size=(8, YARDSTICK))
    hardware = config.hardware
    first = solve(tile_circuit(tile, hardware.wires, hardware.periphery), volts)
    r_feedback = config.energy.v_dd / float(np.abs(first.i_out).max())
    ends = replace(hardware.periphery, r_feedback=r_feedback)
    solution = solve(tile_circuit(tile, hardware.wires, ends), volts, nodes=True)
    figures = replace(config.energy, t_read=t_read)
    draw = drawn(solution, figures.v_dd)
    used = tile_energy(tile, draw, replace(hardware, periphery=ends), figures)
    counts, analog = count(layer), sum(used.energy.values())
    return {
        "n_mac": counts.n_mac,
        "n_flop": counts.n_flop,
        "r_feedback": r_feedback,
        "power": used.power,
        "analog": used.energy,
        "analog_total": analog,
        "digital": compared(counts, analog),
    }
