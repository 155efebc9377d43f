"""Train what the switches of a die aim at, through its wires.

In every step the targets of all cells are selected by the meter's values, every tile is solved with
its wires, and the network multiplies by what the tiles then give. Backwards, the derivative by each
cell comes from one adjoint solution of the same circuit (`crossbar_sim.gradients.solve_torch`) and
passes the choice of a subset unchanged (straight-through, Bengio et al., arXiv 1308.3432). So a
target makes up for the wires, for what other cells draw, and for what its own bank cannot reach.
"""

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
    word lines. Raises ValueError for wires without resistance, grouped convolutions, since their
    groups leak into each other, and a mapping of another die.
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

    layer: as mapped; its scales and cells are kept.
    wired: the die, by whose meter the cells are selected, and the circuit.
    """

    def __init__(self, layer: MappedLayer, wired: WiredDie) -> None:
        super().__init__()
        if layer.source.groups > 1:
            raise ValueError(
                f"layer {layer.name!r} is a grouped convolution, whose groups leak into each other "
                "through wires; map the network without it"
            )
        self.layer, self.wired = layer, wired
        self.wires, ends = TorchWires.of(wired.wires), wired.periphery
        self.ends = TorchAmplifiers(ends.r_feedback, ends.tia_gain, ends.r_input)
        largest = self.layer.g_per_weight.max() * layer.largest
        self.tolerance = _TOLERANCE * float(largest)
        self.cells = [Cells(tile.layer, *tile.cells) for tile in layer.tiles]
        self.measured = [cells.branches(wired.die, measured=True) for cells in self.cells]

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights that the tiles give, of the shape and type of the aimed ones."""
        source = self.layer.source
        aimed = weight.double().reshape(source.n_out, source.n_in).T
        scale = torch.tensor(self.layer.g_per_weight)
        total = torch.zeros_like(aimed)
        for k, tile in enumerate(self.layer.tiles):
            rows, columns = torch.tensor(tile.rows), torch.tensor(tile.columns)
            target = aimed[rows[:, None], columns] * scale[columns]
            matrix = self._matrix(k, target) / scale[columns]
            total = total.index_put((rows[:, None], columns), matrix, accumulate=True)
        return total.T.reshape(weight.shape).to(weight.dtype)

    def _matrix(self, k: int, target: torch.Tensor) -> torch.Tensor:
        """Return what a tile multiplies by (n_word, n_bit) [S], for targets of the same shape."""
        tile = self._with(k, target.detach().numpy())[0]
        # Straight through the choice: half of a change is taken up by each side.
        moved = (target - target.detach()) * torch.tensor(tile.present) / 2
        chosen = torch.tensor(np.stack([tile.g_pos, tile.g_neg]))
        g = chosen + torch.stack([moved, -moved])
        each_word_line = torch.eye(tile.n_word, dtype=torch.float64)
        i_out = solve_torch(g, each_word_line, self.wires, self.ends).i_out
        return self.ends.share * (i_out[:, : tile.n_bit] - i_out[:, tile.n_bit :])

    def _with(self, k: int, target: np.ndarray) -> tuple[Tile, CellSelection]:
        """Return a tile with the lightest subsets near the targets [S], by the meter's values."""
        tile = self.layer.tiles[k]
        rule = {"objective": "power", "tolerance": self.tolerance}
        chosen = select(self.measured[k], target[tile.present], **rule)
        switches = chosen.chosen_pos, chosen.chosen_neg
        return tile.with_switches(*switches, self.measured[k]), chosen

    def selected(self, weight: torch.Tensor) -> MappedLayer:
        """Return the layer with the switches for aimed weights, and its true conductances."""
        source, scale = self.layer.source, self.layer.g_per_weight
        aimed = weight.double().reshape(source.n_out, source.n_in).numpy() * scale[:, None]
        tiles, believed = [], []
        for k, tile in enumerate(self.layer.tiles):
            found, chosen = self._with(k, aimed[np.ix_(tile.columns, tile.rows)].T)
            true = self.cells[k].branches(self.wired.die, measured=False)
            tiles.append(found.with_switches(chosen.chosen_pos, chosen.chosen_neg, true))
            believed.append(found.g_pos - found.g_neg)
        predicted = self.layer.assemble(believed)
        return replace(self.layer, predicted=predicted, tiles=tuple(tiles))


def _held(network: nn.Module, path: str) -> torch.Tensor:
    weight = network.get_submodule(path).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _write(network: nn.Module, path: str, weight: torch.Tensor) -> None:
    """Write a weight (n_out, n_in) or of the module's own shape into a module."""
    held = _held(network, path)
    with torch.no_grad():
        held.copy_(weight.reshape(held.shape))
