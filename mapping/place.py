"""The facade: from a pruned network and a die to every switch of every cell."""

from collections.abc import Callable

import numpy as np

from mapping.bank import Die
from mapping.compact import Block, split
from mapping.design import MappedLayer, MappedNetwork
from mapping.encode import g_per_weight
from mapping.select import realise, select
from mapping.tiles import Tile, TileConfig
from tinynets.layers import PrunedLayer, PrunedNetwork

#: Called with the layer's name when it has been mapped.
Progress = Callable[[str], None]


def map_network(
    network: PrunedNetwork,
    die: Die,
    tile: TileConfig,
    *,
    scale_per: str = "layer",
    progress: Progress | None = None,
) -> MappedNetwork:
    """Choose the switches that make a die multiply by a network's weights.

    Each remaining weight becomes a differential pair of banks: the subset of branches, as
    measured, whose g_pos - g_neg comes closest to g_per_weight * weight. What the tiles hold are
    the true conductances of those subsets. A pruned weight has no device.

    scale_per: "layer" or "output", what shares one g_per_weight.
    Raises ValueError for a layer without any remaining weight.
    """
    layers = []
    for layer in network.layers:
        layers.append(map_layer(layer, die, tile, scale_per=scale_per))
        if progress:
            progress(layer.name)
    return MappedNetwork(tuple(layers), die, tile)


def map_layer(
    layer: PrunedLayer, die: Die, config: TileConfig, *, scale_per: str = "layer"
) -> MappedLayer:
    """Map one layer; see `map_network`."""
    if not layer.n_remaining:
        raise ValueError(f"layer {layer.name!r} has no weight left; there is nothing to map")
    scale = np.broadcast_to(g_per_weight(layer.weight, die, per=scale_per), layer.n_out).copy()
    # A cell is (word line, bit line) = (input, output): transposed against the weight.
    columns, rows = np.nonzero(layer.mask)
    target = (scale[:, None] * layer.weight)[columns, rows]
    selection = select(die.branches(layer.name, rows, columns, measured=True), target)
    true = die.branches(layer.name, rows, columns, measured=False)
    g_pos, g_neg = realise(true, selection.chosen_pos, selection.chosen_neg)
    cells = {
        "chosen_pos": selection.chosen_pos,
        "chosen_neg": selection.chosen_neg,
        "g_pos": g_pos,
        "g_neg": g_neg,
    }
    full = {name: _spread(values, layer, rows, columns) for name, values in cells.items()}
    predicted = _spread(selection.predicted, layer, rows, columns)
    tiles = tuple(_cut(layer, block, full) for block in split(layer.mask, config))
    return MappedLayer(layer, scale, predicted, tiles)


def _spread(
    values: np.ndarray, layer: PrunedLayer, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Put one value a cell into an (n_out, n_in) matrix."""
    matrix = np.zeros(layer.weight.shape, dtype=values.dtype)
    matrix[columns, rows] = values
    return matrix


def _cut(layer: PrunedLayer, block: Block, full: dict[str, np.ndarray]) -> Tile:
    """Cut a block's tile out of the layer's (n_out, n_in) matrices."""
    where = np.ix_(block.columns, block.rows)
    parts = {name: matrix[where].T.copy() for name, matrix in full.items()}
    present = layer.mask[where].T.copy()
    return Tile(layer.name, block.index, block.rows, block.columns, present, **parts)
