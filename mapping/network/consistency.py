"""Check that the parts of a mapped network agree: tiles, masks, scales, conductances."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numba
import numpy as np

from mapping.bank import Cells, Die
from mapping.bank.switches import realise
from mapping.network.mapped_layer import MappedLayer
from mapping.tiling.tiles import Tile, TileConfig

#: Largest relative difference of conductances; rounding on another processor stays below it.
_ROUNDING = 1e-9
#: Cells whose conductances are checked at once.
_MANY = 2**14


def check_parts(layers: Sequence[MappedLayer], die: Die, size: TileConfig) -> None:
    """Raise ValueError unless a network is whole and conducts what its die and switches say.

    size: the largest tile.

    Each layer is checked for its scales and predictions; its tiles, which must fit the tile size
    and together hold every remaining weight once; its tables of the die; and the conductance of
    every bank.
    """
    names = [layer.name.lower() for layer in layers]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"layer names must differ (ignoring case), and there must be at least one; got {names}"
        )
    # Absurd numbers may overflow; the result is compared, and refused, all the same.
    with np.errstate(all="ignore"):
        for layer in layers:
            _check_scales(layer)
            _check_tiles(layer, size)
            _check_die(layer, die)
    n = numba.get_num_threads()
    with ThreadPoolExecutor(n) as pool:
        batches = [batch for layer in layers for batch in _batches(layer.tiles)]
        list(pool.map(lambda batch: _check_conductances(batch, die), batches))


def _check_scales(layer: MappedLayer) -> None:
    scale, predicted, shape = layer.g_per_weight, layer.predicted, layer.source.weight.shape
    if scale.shape != shape[:1] or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(
            f"layer {layer.name!r}: g_per_weight must be {shape[0]} finite values above zero [S]"
        )
    if predicted.shape != shape or not np.isfinite(predicted).all():
        raise ValueError(f"layer {layer.name!r}: predicted must be {shape} finite values [S]")
    if np.any(predicted[~layer.source.mask]):
        raise ValueError(f"layer {layer.name!r}: predicted is not zero where no weight remains")


def _check_tiles(layer: MappedLayer, size: TileConfig) -> None:
    mask = layer.source.pattern
    held, (n_out, n_in) = replace(mask, values=np.zeros(mask.values.shape, np.int64)), mask.shape
    for tile in layer.tiles:
        if tile.layer != layer.name:
            raise ValueError(f"layer {layer.name!r} has a tile of layer {tile.layer!r}")
        if tile.rows[-1] >= n_in or tile.columns[-1] >= n_out:
            raise ValueError(
                f"tile {tile.name}: its lines go to input {tile.rows[-1]} and output "
                f"{tile.columns[-1]}; the layer has {n_in} inputs and {n_out} outputs"
            )
        if tile.n_word > size.n_word or tile.n_bit > size.n_bit:
            raise ValueError(
                f"tile {tile.name} is {tile.n_word} × {tile.n_bit}; the largest of this network "
                f"is {size.n_word} × {size.n_bit}"
            )
        needless = tile.present & ~mask.part(tile.columns, tile.rows).T
        if needless.any():
            i, j = np.argwhere(needless)[0].tolist()
            raise ValueError(
                f"tile {tile.name} has devices for output {tile.columns[j]} and input "
                f"{tile.rows[i]}, where the layer has no weight"
            )
        held.add(tile.columns, tile.rows, tile.present.T)
    if len({tile.index for tile in layer.tiles}) != len(layer.tiles):
        raise ValueError(f"layer {layer.name!r}: two of its tiles have the same index")
    wrong = replace(mask, values=held.values != mask.values)
    if wrong.values.any():
        inputs, outputs = wrong.cells
        raise ValueError(
            f"layer {layer.name!r}: its tiles hold the weight of output {outputs[0]} and input "
            f"{inputs[0]} {held.values[wrong.values][0]} times; expected "
            f"{int(mask.values[wrong.values][0])}"
        )


def _check_die(layer: MappedLayer, die: Die) -> None:
    shape = (layer.source.n_in, layer.source.n_out, 2, die.bank.n)
    for what, table in (("table", die.table), ("stuck", die.stuck)):
        if table is None:
            continue
        given = table[layer.name].shape if layer.name in table else None
        if given != shape:
            raise ValueError(
                f"the die's {what} of layer {layer.name!r} has shape {given}; expected {shape}"
            )


def _batches(tiles: Sequence[Tile]) -> Iterator[list[Tile]]:
    """Yield tiles, many small ones at once."""
    batch, n_cell = [], 0
    for tile in tiles:
        batch.append(tile)
        n_cell += tile.present.size
        if n_cell >= _MANY:
            yield batch
            batch, n_cell = [], 0
    if batch:
        yield batch


def _check_conductances(tiles: Sequence[Tile], die: Die) -> None:
    """Raise ValueError naming the first of a layer's tiles that does not conduct as it should."""
    for tile in tiles:
        tile.check_switches(die.bank.n)
    with np.errstate(all="ignore"):  # of this thread
        if not _conduct(tiles, die):
            for tile in tiles:
                _check_tile(tile, die)


def _conduct(tiles: Sequence[Tile], die: Die) -> bool:
    """Return whether every bank of a layer's tiles conducts what its die and switches say."""
    rows, columns, pos, neg, g_pos, g_neg = (
        np.concatenate(parts)
        for parts in zip(
            *(
                (*tile.cells, *tile.chosen, tile.g_pos[tile.present], tile.g_neg[tile.present])
                for tile in tiles
            )
        )
    )
    true = Cells(tiles[0].layer, rows, columns).branches(die, measured=False)
    pairs = zip((g_pos, g_neg), realise(true, pos, neg))
    return all(bool((np.abs(held - g) <= _ROUNDING * g).all()) for held, g in pairs)


def _check_tile(tile: Tile, die: Die) -> None:
    true = die.branches(tile.layer, *tile.cells, measured=False)
    for name, values in zip(("g_pos", "g_neg"), realise(true, *tile.chosen)):
        g = tile.matrix(values)
        far = ~(np.abs(getattr(tile, name) - g) <= _ROUNDING * g)
        if far.any():
            i, j = np.argwhere(far)[0].tolist()
            raise ValueError(
                f"tile {tile.name}: {name} of word line {i} and bit line {j} is "
                f"{getattr(tile, name)[i, j]:.6g} S; its die and switches give {g[i, j]:.6g} S"
            )
