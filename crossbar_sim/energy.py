"""Joules of a whole inference on the die, beside the digital arithmetic it replaces."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.digital import energies
from crossbar_sim.nodal import solve
from crossbar_sim.power import TileEnergy, tile_energy
from crossbar_sim.uncounted import uncounted
from mapping.bank import Die
from mapping.design import MappedNetwork
from mapping.place import map_layer
from mapping.tiles import TileConfig
from netlists.build import tile_circuit
from tinynets.flops import Counts, count
from tinynets.layers import PrunedLayer

#: Size of the yardstick: one dense product of 100 × 100.
YARDSTICK = 100


def network_energy(mapped: MappedNetwork, tiles: Mapping[str, TileEnergy]) -> dict[str, Any]:
    """Return power [W] while reading and energy [J] by part, per layer and per inference.

    A layer's tiles all work at once; a convolution reads them once for each output position.
    """
    layers, total = [], {}
    for layer in mapped.layers:
        found = [tiles[tile.name] for tile in layer.tiles]
        n_mvm = layer.layer.n_mvm
        mvm = _sum([tile.energy for tile in found])
        inference = {part: n_mvm * joules for part, joules in mvm.items()}
        total = _sum([total, inference])
        layers.append(
            {
                "name": layer.name,
                "n_mvm": n_mvm,
                "power": _sum([tile.power for tile in found]),
                "energy_mvm": mvm,
                "energy_inference": inference,
                "total_inference": sum(inference.values()),
            }
        )
    counts = sum_counts([layer.layer for layer in mapped.layers])
    analog = sum(total.values())
    return {
        "layers": layers,
        "analog": total,
        "analog_total": analog,
        "counts": vars(counts),
        "digital": compared(counts, analog),
        "free": uncounted(mapped),
    }


def yardstick(config: RunConfig, t_read: float) -> dict[str, Any]:
    """Return the energy of one dense 100 × 100 product with random weights and inputs.

    The same bank, wires, amplifiers, figures and read time [s] as the run's; inputs uniform in
    0 … v_read. A dense line carries more current than a pruned one, so the feedback resistor is
    chosen anew: the largest output equals the amplifiers' supply.
    """
    rng = np.random.default_rng(config.seed)
    weight = rng.normal(size=(YARDSTICK, YARDSTICK))
    layer = PrunedLayer("yardstick", weight, np.ones(weight.shape, dtype=bool))
    die = Die(config.bank.build(), seed=config.die.seed)
    (tile,) = map_layer(layer, die, TileConfig(YARDSTICK, YARDSTICK)).tiles
    volts = rng.uniform(0, config.periphery.v_read, size=(8, YARDSTICK))
    wires, ends = config.build_wires(), config.periphery.build()
    first = solve(tile_circuit(tile, wires, ends), volts)
    r_feedback = config.energy.v_dd / float(np.abs(first.i_out).max())
    circuit = tile_circuit(tile, wires, replace(ends, r_feedback=r_feedback))
    figures = replace(config.energy.build(t_read), t_read=t_read)
    solution = solve(circuit, volts, nodes=True)
    used = tile_energy(tile, solution, config.periphery.converters(), figures)
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


def sum_counts(layers: list[PrunedLayer]) -> Counts:
    """Return the counts of several layers together."""
    first, *rest = (count(layer) for layer in layers)
    return sum(rest, start=first)


def compared(counts: Counts, analog: float) -> list[dict[str, Any]]:
    """Return the digital energies, each with its ratio to the analog one (above 1: analog wins).

    None where a node's memory is not known.
    """
    rows = energies(counts)
    for row in rows:
        for key in ("dense", "dense_with_fetch", "nonzero", "nonzero_with_fetch"):
            row[f"{key}_ratio"] = None if row[key] is None else row[key] / analog
    return rows


def verdict(digital: list[dict[str, Any]]) -> list[str]:
    """Say in words where the analog side wins and where it loses, one sentence per comparison."""
    labels = {
        "nonzero": "arithmetic on the remaining weights alone",
        "nonzero_with_fetch": "arithmetic on the remaining weights, and fetching them",
        "dense_with_fetch": "dense arithmetic, and fetching all weights",
    }
    return [f"Against {label}: {_win_or_lose(digital, key)}." for key, label in labels.items()]


def _win_or_lose(digital: list[dict[str, Any]], key: str) -> str:
    found = {row["node"]: row[f"{key}_ratio"] for row in digital}
    ratios = {node: ratio for node, ratio in found.items() if ratio is not None}
    loses = [f"{_times(1 / x)} as much as {node}" for node, x in ratios.items() if x <= 1]
    wins = [f"{_times(x)} less than {node}" for node, x in ratios.items() if x > 1]
    words = [f"the die loses, using {', '.join(loses)}"] if loses else []
    return "; ".join([*words, f"it wins, using {', '.join(wins)}"] if wins else words)


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:.2g} ×"


def _sum(parts: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
