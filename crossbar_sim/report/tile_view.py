"""What a page embeds of the tiles, so that a reader can ask for every cell."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile

#: Most cells that a page embeds: about 2 MB.
MAX_CELLS = 40_000


def tile_view(
    mapped: MappedNetwork, first: Iterable[str] = (), *, limit: int = MAX_CELLS
) -> dict[str, Any]:
    """Return the cells of the tiles, ready for JSON, and the names of the tiles left out.

    first: names of the tiles that matter most; the others follow by their largest weight error.
    limit: most cells in all; a tile is there whole or not at all.

    "branches" are nominal values [ohm], "layers" have tiles, and a cell is word line, bit line,
    weight, target, g_pos and g_neg [µS], and the closed switches of both banks as masks.
    """
    kept = _kept(mapped, list(first), limit)
    layers = [
        {
            "name": layer.name,
            "largest": _short(layer.largest),
            "tiles": [_tile(layer, tile) for tile in layer.tiles if tile.name in kept],
        }
        for layer in mapped.layers
    ]
    return {
        "branches": [float(ohm) for ohm in mapped.die.bank.r_nominal],
        "layers": [layer for layer in layers if layer["tiles"]],
        "left_out": [tile.name for tile in mapped.tiles if tile.name not in kept],
    }


def _kept(mapped: MappedNetwork, first: list[str], limit: int) -> set[str]:
    """Return the names of the tiles that fit, those that matter most before the others."""
    errors = {
        tile.name: float(np.abs(_realised(tile) - layer.target_of(tile)).max())
        / (float(np.abs(layer.target).max()) or 1.0)
        for layer in mapped.layers
        for tile in layer.tiles
    }
    sizes = {tile.name: int(tile.present.sum()) for tile in mapped.tiles}
    order = sorted(errors, key=lambda name: (name not in first, -errors[name]))
    kept, n_cell = set(), 0
    for name in order:
        if n_cell + sizes[name] <= limit:
            kept.add(name)
            n_cell += sizes[name]
    return kept


def _realised(tile: Tile) -> np.ndarray:
    return tile.g_pos - tile.g_neg


def _tile(layer: MappedLayer, tile: Tile) -> dict[str, Any]:
    i, j = np.nonzero(tile.present)
    target = layer.target_of(tile)[i, j]
    weight = target / layer.g_per_weight[tile.columns[j]]
    values = (weight, *(1e6 * g for g in (target, tile.g_pos[i, j], tile.g_neg[i, j])))
    columns = [i.tolist(), j.tolist(), *([_short(x) for x in value] for value in values)]
    columns += [masks.tolist() for masks in tile.chosen]
    return {
        "name": tile.name,
        "rows": tile.rows.tolist(),
        "columns": tile.columns.tolist(),
        "cells": [list(cell) for cell in zip(*columns)],
    }


def _short(value: float) -> float:
    """Return a number in five digits."""
    return float(f"{value:.5g}")
