"""Repair a selection after the die has changed, with as few switch changes as possible."""

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
_AIMS = np.linspace(-1, 1, 5)  # fractions of the limit about the target, to search near


@dataclass(frozen=True)
class Change:
    """One switch that changes: where it is, and whether it is now closed."""

    layer: str
    tile: str
    word_line: int
    bit_line: int
    side: str
    branch: int
    closed: bool


@dataclass(frozen=True)
class Repair:
    """A network re-selected on a changed die.

    changes: every switch that changes.
    n_cell: cells that were off by more than the tolerance.
    n_unrepaired: those that still are, at their least error.
    """

    mapped: MappedNetwork
    changes: tuple[Change, ...]
    n_cell: int
    n_unrepaired: int


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

    die: the changed chip, of banks with as many branches.
    tolerance: a cell within this fraction of its layer's largest weight keeps its switches; any
        other gets the fewest changes that bring it there, or else its nearest choice.
    unknown: layer -> (n_in, n_out, 2, n) bool, branches whose conductance is unknown; their
        switches are opened, and stay open if they conduct nothing on the die.
    doubt: how uncertain branches are. Of the choices of a cell that need no more changes and are
        within the tolerance, the one of least expected squared error is then taken:
        (predicted - target)^2 plus the variance of its sum.
    extra: how many more changes each such cell may have for that.

    Raises ValueError for banks of another size, a tolerance that is not positive, or extra below 0.
    """
    if die.bank.n != mapped.die.bank.n:
        raise ValueError(
            f"the die must have the network's banks of {mapped.die.bank.n} branches; "
            f"got {die.bank.n}"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be a fraction of the largest weight > 0; got {tolerance}")
    if extra < 0:
        raise ValueError(f"extra must be a number of changes >= 0; got {extra}")
    layers, changes, n_cell, n_unrepaired = [], [], 0, 0
    for layer in mapped.layers:
        unread = None if unknown is None else unknown[layer.name]
        part = _repair_layer(layer, die, tolerance, unread, doubt, extra)
        layers.append(part[0])
        changes += part[1]
        n_cell += part[2]
        n_unrepaired += part[3]
    repaired = replace(mapped, layers=tuple(layers), die=die)
    return Repair(repaired, tuple(changes), n_cell, n_unrepaired)


def on_die(mapped: MappedNetwork, die: Die) -> MappedNetwork:
    """Return a network with the same switches on another die."""

    def moved(tile: Tile) -> Tile:
        true = die.branches(tile.layer, *tile.cells, measured=False)
        return tile.with_switches(*tile.chosen, true)

    layers = (replace(each, tiles=tuple(map(moved, each.tiles))) for each in mapped.layers)
    return replace(mapped, layers=tuple(layers), die=die)


def _repair_layer(
    layer: MappedLayer,
    die: Die,
    tolerance: float,
    unknown: np.ndarray | None,
    doubt: Doubt | None,
    extra: int,
) -> tuple[MappedLayer, list[Change], int, int]:
    predicted = np.zeros(layer.predicted.shape)
    tiles, changes, n_cell, n_unrepaired = [], [], 0, 0
    for tile in layer.tiles:
        i, j = np.nonzero(tile.present)
        rows, columns = tile.cells
        place = layer.source.pattern.place(columns, rows)
        values, base = subset_problem(die.branches(tile.layer, rows, columns, measured=True))
        limit = tolerance * layer.largest * layer.g_per_weight[columns]
        old = joined_mask(*tile.chosen, die.bank.n)
        kept = old if unknown is None else old & ~_mask(unknown[rows, columns])
        banks = _Banks(values, layer.target[place] - base, limit, kept)
        new = _fewest_flips(banks)
        if doubt is not None or extra:
            off = np.flatnonzero(new != kept)
            covariance = np.zeros((len(off), 2, die.bank.n, die.bank.n))
            if doubt is not None:
                covariance = doubt(tile.layer, rows[off], columns[off])
            new[off] = _least_expected(banks[off], new[off], covariance, extra)
        n_cell += int((banks.miss(old) > limit).sum())
        n_unrepaired += int((banks.miss(new) > limit).sum())
        changes += _changes(tile, i, j, old, new, die.bank.n)
        true = die.branches(tile.layer, rows, columns, measured=False)
        tiles.append(tile.with_switches(*split_mask(new, die.bank.n), true))
        predicted[place] = base + banks.sums(new)
    return replace(layer, tiles=tuple(tiles), predicted=predicted), changes, n_cell, n_unrepaired


@dataclass(frozen=True)
class _Banks:
    """Banks of cells that must come within a limit of their targets.

    values: (n_cell, 2 n) [S], what closing each switch adds.
    target, limit: (n_cell,) [S].
    kept: (n_cell,), the masks that changes are counted from.
    """

    values: np.ndarray
    target: np.ndarray
    limit: np.ndarray
    kept: np.ndarray

    def __getitem__(self, part: np.ndarray) -> "_Banks":
        return _Banks(self.values[part], self.target[part], self.limit[part], self.kept[part])

    def sums(self, masks: np.ndarray) -> np.ndarray:
        """Return what the switches of masks (n_cell,) add [S]."""
        closed = closed_switches(masks, self.values.shape[1])
        return np.where(closed, self.values, 0.0).sum(axis=1)

    def miss(self, masks: np.ndarray) -> np.ndarray:
        """Return how far masks (n_cell,) are from the targets [S]."""
        return np.abs(self.sums(masks) - self.target)

    def flipped(self, shift: np.ndarray | float, n_flip: int) -> np.ndarray:
        """Return the masks nearest to target + shift [S] with at most n_flip changes.

        Flipping switch k adds its value or takes it away, so this is a subset-sum problem with a
        bound on the size of the subset.
        """
        closed = closed_switches(self.kept, self.values.shape[1])
        flips = np.where(closed, -self.values, self.values)
        gap = self.target - self.sums(self.kept) + shift
        return self.kept ^ subset_sum.solve(flips, gap, max_closed=n_flip).mask


def _fewest_flips(banks: _Banks) -> np.ndarray:
    """Return the masks (n_cell,) within the limit that need the fewest changes."""
    mask = banks.kept.copy()
    for n_flip in range(1, banks.values.shape[1] + 1):
        off = np.flatnonzero(banks.miss(mask) > banks.limit)
        if not len(off):
            break
        mask[off] = banks[off].flipped(0.0, n_flip)
    return mask


def _least_expected(
    banks: _Banks, nearest: np.ndarray, covariance: np.ndarray, extra: int
) -> np.ndarray:
    """Return the masks (n_cell,) of least expected squared error.

    Choices have at most as many changes as `nearest`, and `extra` more; none misses by more than
    the limit, or than `nearest` where that does. They are the nearest to aims about the target.
    """
    mask, error = nearest.copy(), banks.miss(nearest)
    expected = error**2 + _variance(mask, covariance)
    allowed = np.maximum(banks.limit, error)
    n_flip = np.bitwise_count(nearest ^ banks.kept)
    for count in np.unique(n_flip):
        part = np.flatnonzero(n_flip == count)
        some = banks[part]
        for aim in _AIMS:
            tried = some.flipped(aim * some.limit, int(count) + extra)
            miss = some.miss(tried)
            square = miss**2 + _variance(tried, covariance[part])
            better = (miss <= allowed[part]) & (square < expected[part])
            mask[part[better]], expected[part[better]] = tried[better], square[better]
    return mask


def _variance(masks: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the variance (n_cell,) [S^2] of what masks over both banks close."""
    n = covariance.shape[-1]
    closed = closed_switches(masks, 2 * n).reshape(-1, 2, n).astype(float)
    return np.einsum("csi,csij,csj->c", closed, covariance, closed, optimize=True)


def _mask(switches: np.ndarray) -> np.ndarray:
    """Return the masks (n_cell,) over both banks of switches (n_cell, 2, n)."""
    flat = switches.reshape(len(switches), -1).astype(np.uint64)
    return flat @ (np.uint64(1) << np.arange(flat.shape[1], dtype=np.uint64))


def _changes(
    tile: Tile, i: np.ndarray, j: np.ndarray, old: np.ndarray, new: np.ndarray, n: int
) -> list[Change]:
    flipped, closed = closed_switches(old ^ new, 2 * n), closed_switches(new, 2 * n)
    cells, switches = np.nonzero(flipped)
    words, bits, states = i[cells].tolist(), j[cells].tolist(), closed[flipped].tolist()
    return [
        Change(tile.layer, tile.name, word, bit, "pos" if k < n else "neg", k % n, state)
        for word, bit, k, state in zip(words, bits, switches.tolist(), states)
    ]
