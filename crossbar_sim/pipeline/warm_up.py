"""Compile the kernels that numba would compile at their first use, and caches beside the source.

Run: python -m crossbar_sim.pipeline.warm_up
"""

import time

import numpy as np
import torch
from torch import nn

from crossbar_sim.calibration.switches import reselect_for_wires
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
from crossbar_sim.solvers.nodal import solve, transfer_matrix
from crossbar_sim.system.terminal import messages, progress_bars
from crossbar_sim.transfer.array_lines import lines_of
from crossbar_sim.transfer.by_columns import eliminate_columns
from crossbar_sim.transfer.by_devices import eliminate_devices
from crossbar_sim.transfer.by_rows import eliminate_rows
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import SelectionRule, map_network
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import array_circuit, tile_circuit
from tinynets.networks.extraction import extract
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.progress import Progress, silent

#: What is said to people when kernels are not compiled yet, which takes the first step this long.
ONCE, SLOW = "compiling kernels, once on a machine (about a minute)", 3.0
_BANK = ResistorBank(n=6, ratio=1.75, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
_BITS = Converters(dac_bits=8, adc_bits=8)
_RULES = (
    SelectionRule(),
    SelectionRule(objective="power"),
    SelectionRule(objective="aware", scale_per="output"),
)


def compile_kernels(tell: Progress = silent) -> None:
    """Map and solve a small network in every way that a run uses.

    Takes about a minute on a new machine, and a tenth of a second once all is compiled.
    """
    steps = [
        *(lambda rule=rule: _mapped(rule) for rule in _RULES),
        _solved,
        _eliminated,
        _read,
        _calibrated,
    ]
    start = time.monotonic()
    for done, step in enumerate(steps):
        tell("kernels", done, len(steps))
        step()
        if done == 0 and time.monotonic() - start > SLOW:
            messages.print(ONCE)
    tell("kernels", len(steps), len(steps))


def _mapped(rule: SelectionRule) -> MappedNetwork:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 12)) * (rng.random((6, 12)) < 0.5)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    moments = rng.random((40, 12))
    return map_network(
        network,
        Die(_BANK, seed=1),
        TileConfig(8, 4),
        rule=rule,
        tiling="clustered",
        second_moment=lambda name, believed: moments.T @ moments / len(moments),
    )


def _solved() -> None:
    for tile in _mapped(_RULES[0]).tiles:
        circuit = tile_circuit(tile, Wires(1.0, 1.0, r_driver=100.0), Periphery(tia_gain=1e4))
        for n_batch in (1, 12):
            solve(circuit, np.full((n_batch, tile.n_word), 0.1), nodes=True)
        transfer_matrix(circuit)


def _eliminated() -> None:
    circuit = array_circuit(np.full((2, 2), 1e-4), Wires(1.0, 1.0))
    for eliminate in (eliminate_columns, eliminate_devices, eliminate_rows):
        eliminate(lines_of(circuit))


def _read() -> None:
    network, x = nn.Sequential(nn.Linear(12, 6)), torch.rand(3, 12)
    mapped = map_network(extract(network, x), Die(_BANK, seed=1), TileConfig(8, 4))
    periphery = Periphery(tia_gain=1e4, v_swing=1.0)
    for noise in (None, Noise(bandwidth=1e6)):
        hardware = Hardware(periphery=periphery, converters=_BITS, noise=noise)
        to_torch(network, mapped, hardware, calibration=x)


def _calibrated() -> None:
    reselect_for_wires(_mapped(_RULES[0]), Wires(1.0, 1.0), Periphery(tia_gain=1e4), rounds=1)


if __name__ == "__main__":
    messages.print(ONCE)
    with progress_bars() as bars:
        compile_kernels(bars)
