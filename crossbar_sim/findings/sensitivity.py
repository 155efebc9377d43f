"""Which wires, drivers, amplifiers and cells cost a network most of its loss."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.gradients.part_costs import PartCosts, part_costs
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.pipeline.deployment import Deployment, layers_on_die
from crossbar_sim.transfer.array_lines import is_regular
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit
from tinynets.networks.passes import call, watching

#: Largest number of images, of vectors of a layer, and of tiles that are followed; the latter two
#: are drawn by this seed.
N_IMAGE, N_VECTOR, N_TILE, SEED = 64, 32, 100, 0


@dataclass(frozen=True)
class Sensitivity:
    """What the parts of a network's tiles cost of its cross-entropy.

    layers: a row of totals for each layer: name, tiles followed, and the cost of each kind of part.
    tile: name of the tile whose wires, drivers and amplifiers cost most.
    costs: of its parts.
    """

    layers: list[dict[str, Any]]
    tile: str
    costs: PartCosts


def sensitivity(way: Deployment, on_die: nn.Module) -> Sensitivity | None:
    """Return the costs on training images; None without classes or without wires of resistance.

    on_die: the network on its die, of the configuration's hardware.
    """
    data = way.data
    x, y = data.x_train[:N_IMAGE], data.y_train[:N_IMAGE]
    if not data.has_labels or x.dtype.names or y.ndim != 1 or way.digital_outputs.ndim != 2:
        return None
    rng, tiles = np.random.default_rng(SEED), way.mapped.tiles
    drawn = np.sort(rng.permutation(len(tiles))[:N_TILE])
    followed = [tiles[k] for k in drawn]
    given = torch.from_numpy(x), torch.from_numpy(y)
    costs = tile_costs(on_die, way.mapped, way.config.hardware, *given, tiles=followed)
    if not costs:
        return None
    worst = max(costs, key=lambda name: abs(costs[name].around))
    return Sensitivity(summed(costs, way.mapped), worst, costs[worst])


def tile_costs(
    on_die: nn.Module,
    mapped: MappedNetwork,
    hardware: Hardware,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    tiles: Iterable[Tile] | None = None,
) -> dict[str, PartCosts]:
    """Return what the parts of tiles cost of the cross-entropy, by name of the tile.

    on_die: the network, of `to_torch` with this hardware.
    images, labels: of training, (n_image, ...) and (n_image,).
    tiles: those that are followed; all by default.

    Rounding is passed straight through, as in training. A tile whose wires have no resistance is
    left out.
    """
    found = {}
    reads = _reads(on_die, mapped, images, labels)
    for tile in mapped.tiles if tiles is None else tiles:
        circuit = tile_circuit(tile, hardware.wires, hardware.periphery)
        if not is_regular(circuit):
            continue
        volts, of_outputs = reads[tile.layer]
        ends = circuit.periphery
        of_pairs = ends.share * ends.r_feedback * of_outputs[:, tile.columns]
        of_currents = np.concatenate([of_pairs, -of_pairs], axis=1)
        found[tile.name] = part_costs(circuit, volts[:, tile.rows], of_currents)
    return found


def summed(costs: Mapping[str, PartCosts], mapped: MappedNetwork) -> list[dict[str, Any]]:
    """Return a row for each layer: tiles followed, and totals, scaled up to all of its tiles."""
    rows = []
    for layer in mapped.layers:
        tiles = [costs[tile.name].totals for tile in layer.tiles if tile.name in costs]
        if tiles:
            share = len(tiles) / len(layer.tiles)
            sums = {part: sum(each[part] for each in tiles) / share for part in tiles[0]}
            rows.append({"layer": layer.name, "n_tile": len(tiles)} | sums)
    return rows


def _reads(
    on_die: nn.Module, mapped: MappedNetwork, images: torch.Tensor, labels: torch.Tensor
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return word-line voltages and derivatives by the volts of each output, by layer.

    Both (n_vector, …), of some of the layer's vectors, which stand for all.
    """
    layers = layers_on_die(on_die, mapped)
    passes: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in layers}

    def see(name: str, _module: nn.Module, x: torch.Tensor, output: torch.Tensor) -> None:
        # An output that does not reach the loss has no effect on it. A hook also sees the output
        # as it was before any step in place, such as a ReLU; `retain_grad` would not.
        slope = torch.zeros_like(output)
        passes[name].append((x.detach().clone(), slope))

        def keep(found: torch.Tensor) -> None:
            slope.copy_(found)

        if output.requires_grad:
            output.register_hook(keep)

    given = images.clone().requires_grad_(images.is_floating_point())
    with watching(dict(layers), see), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        loss = nn.functional.cross_entropy(call(on_die, given), labels)
        if loss.requires_grad:
            loss.backward()
    rng = np.random.default_rng(SEED)
    return {name: _sample(layers[name], seen, rng) for name, seen in passes.items()}


def _sample(
    layer: CircuitLayer,
    seen: list[tuple[torch.Tensor, torch.Tensor]],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return voltages and derivatives of some vectors of a layer, the latter scaled up to all."""
    volts, slopes = [], []
    scale = (layer.units_per_volt * layer.gain).detach()
    with torch.no_grad():
        for x, slope in seen:
            volts.append(layer.voltages(x))
            rows = _rows(layer, slope) * scale
            slopes += [weight * rows for weight, _ in layer.passes(x)]
    each, of_outputs = (torch.cat(parts).double().cpu().numpy() for parts in (volts, slopes))
    n = min(N_VECTOR, len(each))
    kept = np.sort(rng.choice(len(each), n, replace=False))
    return each[kept], of_outputs[kept] * (len(each) / n)


def _rows(layer: CircuitLayer, output: torch.Tensor) -> torch.Tensor:
    """Return outputs (n_vector, n_out) in the order of the vectors of `layer.voltages`."""
    if layer.conv is None:
        return output.flatten(0, -2)
    return output.flatten(2).permute(0, 2, 1).flatten(0, 1)
