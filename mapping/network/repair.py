"""Mend a selection after the die has changed, with as few switch changes as will do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mapping.bank import Die
from mapping.bank.switches import closed_switches, joined_mask, split_mask
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.select import subset_problem
from mapping.tiling.tiles import Tile
from tinynets import subset_sum

#: (layer, rows, columns) -> covariance (n_cell, 2, n, n) [S^2] of the branches of cells.
Doubt = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
_AIMS = np.linspace(-1, 1, 5)  # parts of the limit about the target, where choices are looked for


@dataclass(frozen=True)
class Change:
    """One switch that is set anew: where it is, and whether it is now closed."""

    layer: str
    tile: str
    word_line: int
    bit_line: int
    side: str
    branch: int
    closed: bool


@dataclass(frozen=True)
class Repair:
    """A network selected anew on a changed die.

    changes: every switch set anew. n_cell: cells that were off by more than the tolerance;
    n_unmended: those that still are, at their least error.
    """

    mapped: MappedNetwork
    changes: tuple[Change, ...]
    n_cell: int
    n_unmended: int


def reselect(
    mapped: MappedNetwork,
    die: Die,
    *,
    tolerance: float = 0.005,
    unknown: Mapping[str, np.ndarray] | None = None,
    doubt: Doubt | None = None,
    extra: int = 0,
) -> Repair:
    """Adapt a network to what its die now measures, changing as few switches as it can.

    die: the changed chip, of banks with as many branches. tolerance: a cell within this part of
    its layer's largest weight keeps its switches; another gets the smallest set of changes that
    brings it there, and where none does, its nearest choice. unknown: layer -> (n_in, n_out, 2, n)
    bool, branches of which nobody knows what they conduct; their switches are opened, and stay so
    if the die says that they conduct nothing. doubt: how uncertain branches are; of the choices of
    a cell that need no more changes and are within the tolerance, the one of least expected
    squared error is then taken, (predicted - target)^2 plus the variance of its sum. extra: so many
    more changes may each such cell have for that.
    Raises ValueError for banks of another size, a tolerance that is not positive, or extra below 0.
    """
    if die.bank.n != mapped.die.bank.n:
        raise ValueError(
            f"the die has banks of {die.bank.n} branches, the network is mapped onto "
            f"{mapped.die.bank.n}; use a die of the same banks"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be > 0, a part of the largest weight; got {tolerance}")
    if extra < 0:
        raise ValueError(f"extra must be >= 0, a number of changes; got {extra}")
    layers, changes, n_cell, n_unmended = [], [], 0, 0
    for layer in mapped.layers:
        doubtful = None if unknown is None else unknown[layer.name]
        found, changed, off, unmended = _mend_layer(layer, die, tolerance, doubtful, doubt, extra)
        layers.append(found)
        changes += changed
        n_cell += off
        n_unmended += unmended
    mended = replace(mapped, layers=tuple(layers), die=die)
    return Repair(mended, tuple(changes), n_cell, n_unmended)


def on_die(mapped: MappedNetwork, die: Die) -> MappedNetwork:
    """Return a network with the switches it has, on a die that conducts otherwise."""
    layers = []
    for layer in mapped.layers:
        tiles = []
        for tile in layer.tiles:
            true = die.branches(tile.layer, *tile.cells, measured=False)
            chosen = tile.chosen_pos[tile.present], tile.chosen_neg[tile.present]
            tiles.append(tile.with_switches(*chosen, true))
        layers.append(replace(layer, tiles=tuple(tiles)))
    return replace(mapped, layers=tuple(layers), die=die)


def _mend_layer(
    layer: MappedLayer,
    die: Die,
    tolerance: float,
    unknown: np.ndarray | None,
    doubt: Doubt | None,
    extra: int,
) -> tuple[MappedLayer, list[Change], int, int]:
    predicted = np.zeros(layer.predicted.shape)
    tiles, changes, n_cell, n_unmended = [], [], 0, 0
    for tile in layer.tiles:
        i, j = np.nonzero(tile.present)
        rows, columns = tile.cells
        values, base = subset_problem(die.branches(tile.layer, rows, columns, measured=True))
        target = layer.target[columns, rows]
        limit = tolerance * layer.largest * layer.g_per_weight[columns]
        old = joined_mask(tile.chosen_pos[i, j], tile.chosen_neg[i, j], die.bank.n)
        kept = old if unknown is None else old & ~_mask(unknown[rows, columns])
        new, error = _fewest_flips(values, target - base, limit, kept)
        if doubt is not None or extra:
            off = np.flatnonzero(new != kept)
            covariance = np.zeros((len(off), 2, die.bank.n, die.bank.n))
            if doubt is not None:
                covariance = doubt(tile.layer, rows[off], columns[off])
            aim = target[off] - base[off]
            cells = values[off], aim, limit[off], kept[off], new[off]
            new[off], error[off] = _least_expected(*cells, covariance, extra)
        before = np.abs(_sums(values, old) - (target - base))
        n_cell += int((before > limit).sum())
        n_unmended += int((error > limit).sum())
        changes += _changes(tile, i, j, old, new, die.bank.n)
        true = die.branches(tile.layer, rows, columns, measured=False)
        tiles.append(tile.with_switches(*split_mask(new, die.bank.n), true))
        predicted[columns, rows] = base + _sums(values, new)
    return replace(layer, tiles=tuple(tiles), predicted=predicted), changes, n_cell, n_unmended


def _fewest_flips(
    values: np.ndarray, target: np.ndarray, limit: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n_cell,) within the limit with the fewest changes, and their errors [S].

    Flipping switch k adds its value or takes it away, so the fewest flips that close the gap are
    a subset-sum problem with a bound on the size of the subset.
    """
    mask, n = mask.copy(), values.shape[1]
    error = np.abs(_sums(values, mask) - target)
    original = mask.copy()
    for n_flip in range(1, n + 1):
        off = np.flatnonzero(error > limit)
        if not len(off):
            break
        closed = closed_switches(original[off], n)
        flips = np.where(closed, -values[off], values[off])
        gap = target[off] - _sums(values[off], original[off])
        found = subset_sum.solve(flips, gap, max_closed=n_flip)
        mask[off] = original[off] ^ found.mask
        error[off] = np.abs(found.error)
    return mask, error


def _least_expected(
    values: np.ndarray,
    target: np.ndarray,
    limit: np.ndarray,
    kept: np.ndarray,
    nearest: np.ndarray,
    covariance: np.ndarray,
    extra: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of least expected squared error, and how far they miss by prediction [S].

    Choices have as many flips of `kept` at most as `nearest` has, and `extra` more; none misses by
    more than the limit, or than `nearest` where that does. They are the nearest to aims about the
    target.
    """
    mask = nearest.copy()
    error = np.abs(_sums(values, mask) - target)
    expected = error**2 + _variance(mask, covariance)
    allowed = np.maximum(limit, error)
    n_flip = np.bitwise_count(nearest ^ kept)
    closed = closed_switches(kept, values.shape[1])
    flips, gap = np.where(closed, -values, values), target - _sums(values, kept)
    for count in np.unique(n_flip):
        part = np.flatnonzero(n_flip == count)
        for aim in _AIMS:
            aims = gap[part] + aim * limit[part]
            found = subset_sum.solve(flips[part], aims, max_closed=int(count) + extra)
            tried = kept[part] ^ found.mask
            miss = np.abs(_sums(values[part], tried) - target[part])
            square = miss**2 + _variance(tried, covariance[part])
            better = (miss <= allowed[part]) & (square < expected[part])
            at = part[better]
            mask[at], error[at], expected[at] = tried[better], miss[better], square[better]
    return mask, error


def _variance(masks: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the variance (n_cell,) [S^2] of what masks over both banks close."""
    n = covariance.shape[-1]
    closed = closed_switches(masks, 2 * n).reshape(-1, 2, n).astype(float)
    return np.einsum("csi,csij,csj->c", closed, covariance, closed, optimize=True)


def _mask(switches: np.ndarray) -> np.ndarray:
    """Return the masks (n_cell,) over both banks of switches (n_cell, 2, n)."""
    flat = switches.reshape(len(switches), -1).astype(np.uint64)
    return flat @ (np.uint64(1) << np.arange(flat.shape[1], dtype=np.uint64))


def _sums(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.where(closed_switches(masks, values.shape[1]), values, 0.0).sum(axis=1)


def _changes(
    tile: Tile, i: np.ndarray, j: np.ndarray, old: np.ndarray, new: np.ndarray, n: int
) -> list[Change]:
    flipped, closed = closed_switches(old ^ new, 2 * n), closed_switches(new, 2 * n)
    return [
        Change(
            tile.layer,
            tile.name,
            int(i[c]),
            int(j[c]),
            "pos" if k < n else "neg",
            int(k % n),
            bool(closed[c, k]),
        )
        for c, k in zip(*np.nonzero(flipped))
    ]
