"""Train what the switches of a die aim at, through its wires.

In every step the targets of all cells are selected by the meter's values, all tiles are solved with
their wires, and the network multiplies by what the tiles then give. Backwards, the derivative by
each cell comes from one adjoint solution of the same circuit (`crossbar_sim.gradients.solve_torch`)
and passes the choice of a subset unchanged (straight-through, Bengio et al., arXiv 1308.3432). So a
target makes up for the wires, for what other cells draw, and for what its own bank cannot reach.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from crossbar_sim.calibration.tile import WiredDie
from crossbar_sim.gradients.parts import TorchAmplifiers, TorchWires
from crossbar_sim.gradients.solve_torch import solve_torch
from mapping.bank import Cells
from mapping.bank.switches import realise
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.select import CellSelection, select
from mapping.tiling.tiles import Tile
from tinynets.data import Data
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.masks import make_permanent
from tinynets.networks.training import train

#: How far a cell's choice may be from its target, as a fraction of the layer's largest: within it
#: the lightest subset is taken, since subsets that conduct much on both sides load the wires, each
#: step in another way.
_TOLERANCE = 2**-9


def train_switches(
    model: nn.Module, data: Data, mapped: MappedNetwork, wired: WiredDie, **training: Any
) -> tuple[nn.Module, MappedNetwork]:
    """Return a network and its mapping, trained for one die with its wires.

    Each cell ends with the least conducting subset within 2**-9 of the layer's largest target from
    its trained one, or the nearest if none is. Biases and digital modules are trained along, and
    converters are ideal meanwhile. The weights that the network holds, and
    that its layers state, stay what they were; only the targets depart from them.

    model: the pruned digital network, which is not changed.
    mapped: where the targets start, such as the network as selected; it keeps its scales.
    wired: its die, its wires, of resistance above zero, and its amplifiers, without offsets.
    training: the fields of `tinynets.networks.training.Training`, epochs at least, and the
        arguments of `train`.

    Cost: for each step, one selection of all cells and two solutions of each tile for all of its
    word lines, tiles of one shape together. Raises ValueError for wires without resistance and a
    mapping of another die.
    """
    if mapped.die != wired.die:
        raise ValueError("the mapping is of another die than the wires; pass the die it is of")
    targets = {layer.source.module: TrainedTargets(layer, wired) for layer in mapped.layers}
    network = make_permanent(unpacked(copied(model), only=targets))
    weights = {path: _held(network, path).detach().clone() for path in targets}
    for layer in mapped.layers:
        start = layer.predicted / layer.g_per_weight[:, None]
        _write(network, layer.source.module, torch.from_numpy(start))
    for path, tiles in targets.items():
        parametrize.register_parametrization(network.get_submodule(path), "weight", tiles)
    train(network, data, **training)
    layers = []
    for layer in mapped.layers:
        path = layer.source.module
        module = network.get_submodule(path)
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        bias = getattr(module, "bias", None)
        bias = layer.source.bias if bias is None else bias.detach().double().numpy()
        trained = targets[path].selected(_held(network, path).detach())
        layers.append(replace(trained, source=replace(layer.source, bias=bias)))
        _write(network, path, weights[path])
    return network.eval(), replace(mapped, layers=tuple(layers))


class TrainedTargets(nn.Module):
    """What a layer's tiles multiply by with their wires, as a function of what its cells aim at.

    Tiles of one shape are solved together.

    layer: as mapped; its scales and cells are kept.
    wired: the die, by whose meter the cells are selected, and the circuit.
    """

    def __init__(self, layer: MappedLayer, wired: WiredDie) -> None:
        super().__init__()
        self.layer, self.wired = layer, wired
        self.wires, ends = TorchWires.of(wired.wires), wired.periphery
        self.ends = TorchAmplifiers(ends.r_feedback, ends.tia_gain, ends.r_input)
        largest = self.layer.g_per_weight.max() * layer.largest
        self.tolerance = _TOLERANCE * float(largest)
        rows, columns = zip(*(tile.cells for tile in layer.tiles))
        self.cells = Cells(layer.name, np.concatenate(rows), np.concatenate(columns))
        self.measured = self.cells.branches(wired.die, measured=True)
        self.alike = _alike(layer.tiles)
        # A weight's row holds the inputs of its own group only.
        source = layer.source
        self.n_own = source.n_in // source.groups
        self.places = self.cells.columns, self.cells.rows % self.n_own

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights that the tiles give, of the shape and type of the aimed ones."""
        source, scale = self.layer.source, torch.tensor(self.layer.g_per_weight)
        aimed = weight.double().reshape(source.n_out, self.n_own) * scale[:, None]
        g = self._conductances(aimed)
        total = torch.zeros_like(g[0])
        for rows, columns in self.alike:
            matrices = self._matrices(g[:, rows, columns].transpose(0, 1)) / scale[columns]
            total = total.index_put((rows, columns), matrices, accumulate=True)
        outputs = torch.arange(source.n_out)[:, None]
        first = outputs // (source.n_out // source.groups) * self.n_own
        given = total[first + torch.arange(self.n_own), outputs]
        return given.reshape(weight.shape).to(weight.dtype)

    def _conductances(self, target: torch.Tensor) -> torch.Tensor:
        """Return the banks of the layer's cells (2, n_in, n_out) [S] for targets of its weights."""
        aims = target[self.places]
        # Straight through the choice: half of a change is taken up by each side.
        moved = (aims - aims.detach()) / 2
        g_pos, g_neg = torch.from_numpy(self._banks(aims.detach().numpy()))
        cells = torch.tensor(self.cells.rows), torch.tensor(self.cells.columns)
        none = target.new_zeros(self.layer.source.n_in, len(target))
        sides = [none.index_put(cells, side) for side in (g_pos + moved, g_neg - moved)]
        return torch.stack(sides)

    def _matrices(self, g: torch.Tensor) -> torch.Tensor:
        """Return what tiles multiply by (n_tile, n_word, n_bit) [S], for banks (n_tile, 2, …)."""
        n_word, n_bit = g.shape[-2:]
        each_word_line = torch.eye(n_word, dtype=torch.float64)
        i_out = solve_torch(g, each_word_line, self.wires, self.ends).i_out
        return self.ends.share * (i_out[..., :n_bit] - i_out[..., n_bit:])

    def _select(self, target: np.ndarray) -> CellSelection:
        """Return the lightest subsets near the targets (n_cell,) [S], by the meter's values."""
        rule = {"objective": "power", "tolerance": self.tolerance}
        return select(self.measured, target, **rule)

    def _banks(self, target: np.ndarray) -> np.ndarray:
        """Return what the selected banks conduct (2, n_cell) [S], by the meter's values."""
        chosen = self._select(target)
        return np.stack(realise(self.measured, chosen.chosen_pos, chosen.chosen_neg))

    def selected(self, weight: torch.Tensor) -> MappedLayer:
        """Return the layer with the switches for aimed weights, and its true conductances."""
        cells, aimed = self.cells, weight.double().reshape(-1, self.n_own).numpy()
        target = (aimed * self.layer.g_per_weight[:, None])[self.places]
        chosen, tiles, start = self._select(target), [], 0
        for tile in self.layer.tiles:
            part = slice(start, start := start + int(tile.present.sum()))
            true = cells[part].branches(self.wired.die, measured=False)
            tiles.append(tile.with_switches(chosen.chosen_pos[part], chosen.chosen_neg[part], true))
        g_pos, g_neg = realise(self.measured, chosen.chosen_pos, chosen.chosen_neg)
        predicted = np.zeros(self.layer.source.weight.shape)
        predicted[self.places] = g_pos - g_neg
        return replace(self.layer, predicted=predicted, tiles=tuple(tiles))


def _alike(tiles: Sequence[Tile]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the lines of the tiles of each shape: (n_tile, n_word, 1) and (n_tile, 1, n_bit)."""
    shapes: dict[tuple[int, int], list[Tile]] = {}
    for tile in tiles:
        shapes.setdefault((tile.n_word, tile.n_bit), []).append(tile)
    return [
        (
            torch.tensor(np.stack([tile.rows for tile in same]))[:, :, None],
            torch.tensor(np.stack([tile.columns for tile in same]))[:, None, :],
        )
        for same in shapes.values()
    ]


def _held(network: nn.Module, path: str) -> torch.Tensor:
    weight = network.get_submodule(path).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _write(network: nn.Module, path: str, weight: torch.Tensor) -> None:
    """Write a weight (n_out, n_in) or of the module's own shape into a module."""
    held = _held(network, path)
    with torch.no_grad():
        held.copy_(weight.reshape(held.shape))
