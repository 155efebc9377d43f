"""The energy of a whole inference on the die, beside that of the digital arithmetic it replaces."""

from collections.abc import Mapping
from typing import Any

from crossbar_sim.energy.digital import energies
from crossbar_sim.energy.power import TileEnergy
from crossbar_sim.energy.uncounted import uncounted
from mapping.network.mapped_network import MappedNetwork
from tinynets.networks.flops import Counts, count
from tinynets.networks.layers import PrunedLayer


def network_energy(mapped: MappedNetwork, tiles: Mapping[str, TileEnergy]) -> dict[str, Any]:
    """Return power [W] while reading and energy [J] by part, per layer and per inference.

    All tiles of a layer work at once; a convolution reads them once for each output position.
    """
    layers, total = [], {}
    for layer in mapped.layers:
        own = [tiles[tile.name] for tile in layer.tiles]
        n_mvm = layer.source.n_mvm
        mvm = _sum([tile.energy for tile in own])
        inference = {part: n_mvm * joules for part, joules in mvm.items()}
        total = _sum([total, inference])
        layers.append(
            {
                "name": layer.name,
                "n_mvm": n_mvm,
                "power": _sum([tile.power for tile in own]),
                "energy_mvm": mvm,
                "energy_inference": inference,
                "total_inference": sum(inference.values()),
            }
        )
    counts = sum_counts([layer.source for layer in mapped.layers])
    analog = sum(total.values())
    return {
        "layers": layers,
        "analog": total,
        "analog_total": analog,
        "counts": vars(counts),
        "digital": compared(counts, analog),
        "free": uncounted(mapped),
    }


def sum_counts(layers: list[PrunedLayer]) -> Counts:
    """Return the counts of several layers together."""
    first, *rest = (count(layer) for layer in layers)
    return sum(rest, start=first)


def compared(counts: Counts, analog: float) -> list[dict[str, Any]]:
    """Return the digital energies, each with its ratio to the analog one (above 1: analog wins).

    analog: energy of the same arithmetic on the die [J].

    A ratio is None if the node has no figure for memory.
    """
    rows = energies(counts)
    for row in rows:
        for key in ("dense", "dense_with_fetch", "nonzero", "nonzero_with_fetch"):
            row[f"{key}_ratio"] = None if row[key] is None else row[key] / analog
    return rows


def verdict(digital: list[dict[str, Any]]) -> list[str]:
    """Return one sentence per comparison on where the analog side wins and where it loses."""
    labels = {
        "nonzero": "arithmetic on the remaining weights alone",
        "nonzero_with_fetch": "arithmetic on the remaining weights, and fetching them",
        "dense_with_fetch": "dense arithmetic, and fetching all weights",
    }
    return [f"Against {label}: {_win_or_lose(digital, key)}." for key, label in labels.items()]


def _win_or_lose(digital: list[dict[str, Any]], key: str) -> str:
    everything = {row["node"]: row[f"{key}_ratio"] for row in digital}
    ratios = {node: ratio for node, ratio in everything.items() if ratio is not None}
    loses = [f"{_times(1 / x)} as much as {node}" for node, x in ratios.items() if x <= 1]
    wins = [f"{_times(x)} less than {node}" for node, x in ratios.items() if x > 1]
    words = [f"the die loses, using {', '.join(loses)}"] if loses else []
    return "; ".join([*words, f"it wins, using {', '.join(wins)}"] if wins else words)


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:.2g} ×"


def _sum(parts: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
