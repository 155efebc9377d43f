"""Permute the inputs and outputs of a sparse layer so that its weights gather on few tiles.

The non-zeros of a layer are the edges of a bipartite graph between its inputs and its outputs.
Its connected components share no line, so each is cut on its own: outputs that read nearly the
same inputs are grouped, then the inputs of a group by the outputs they reach, or the other way
round. Small pieces of any component then move in together. Everything is deterministic.
"""

from collections.abc import Iterator
from itertools import product

import networkx as nx
import numba
import numpy as np

from mapping.tiling.tiles import TileConfig
from tinynets.networks.layers import GroupedMatrix

#: The lines of a tile: sorted inputs (n_word,), sorted outputs (n_bit,).
Piece = tuple[np.ndarray, np.ndarray]


def components(mask: GroupedMatrix) -> list[Piece]:
    """Return the connected components of a layer's bipartite graph, largest first.

    mask: (n_out, n_in), True where a weight remains. Lines without a weight belong to no component.
    """
    inputs, outputs = mask.cells
    n_in = mask.shape[1]
    graph = nx.Graph(zip(inputs.tolist(), (outputs + n_in).tolist()))
    parts = [np.sort(np.fromiter(part, int)) for part in nx.connected_components(graph)]
    parts.sort(key=lambda nodes: (-len(nodes), nodes[0]))
    return [(nodes[nodes < n_in], nodes[nodes >= n_in] - n_in) for nodes in parts]


def cluster(mask: GroupedMatrix, config: TileConfig, in_order: list[Piece]) -> list[Piece]:
    """Return the pieces of a layer that take fewest conversions, then tiles, then word lines.

    mask: (n_out, n_in), True where a weight remains.
    in_order: another way to cut it; the result has no more tiles than that.

    Cost: about n_out * n_in * (n_out / n_bit + n_in / n_word) elementary steps.
    Source: Liang et al., arXiv 1807.10816, reorder inputs; growing a group by the fewest new lines
    is the greedy step of hypergraph partitioning.
    """
    parts = components(mask)
    ways = [in_order]
    # Fewest new lines is best for equal patterns, the largest common fraction for similar ones.
    for by_inputs, by_fraction in product((False, True), repeat=2):
        cuts = (_cut_part(mask, part, config, by_inputs, by_fraction) for part in parts)
        ways.append([piece for pieces in cuts for piece in pieces])
    packed = [_pack(mask, pieces, config) for pieces in ways]
    return min((pieces for pieces in packed if len(pieces) <= len(in_order)), key=_cost)


def _cost(pieces: list[Piece]) -> tuple[int, int, int]:
    """Return the numbers of conversions, of tiles and of word lines: ADCs use most energy."""
    return sum(len(c) for _, c in pieces), len(pieces), sum(len(r) for r, _ in pieces)


def _cut_part(
    mask: GroupedMatrix, part: Piece, config: TileConfig, by_inputs: bool, by_fraction: bool
) -> Iterator[Piece]:
    """Cut one component; the pieces hold the lines of the layer."""
    rows, columns = part
    matrix = mask.part(columns, rows)
    if len(rows) <= config.n_word and len(columns) <= config.n_bit:
        yield part
    elif by_inputs:
        for r, c in _cut(matrix.T, config.n_word, config.n_bit, by_fraction):
            yield rows[r], columns[c]
    else:
        for c, r in _cut(matrix, config.n_bit, config.n_word, by_fraction):
            yield rows[r], columns[c]


def _cut(matrix: np.ndarray, n_first: int, n_second: int, by_fraction: bool) -> Iterator[Piece]:
    """Group the first axis of a mask, then the second one within each group."""
    for first in _similar_groups(matrix, n_first, by_fraction):
        used = np.flatnonzero(matrix[first].any(axis=0))
        for second in _similar_groups(matrix[np.ix_(first, used)].T, n_second, by_fraction):
            part = used[second]
            yield first[matrix[np.ix_(first, part)].any(axis=1)], part


def _similar_groups(matrix: np.ndarray, size: int, by_fraction: bool) -> list[np.ndarray]:
    """Group items into sets of `size` that together use few features; the last may be smaller.

    matrix: (n_item, n_feature) bool, no item without a feature.

    A group starts from the item with most features. It grows by the item that adds the fewest, or
    that has the largest fraction of its features in common with the group; of equals, by the one
    with most in common, then the first. Returns sorted indices.
    """
    rows, columns = np.ascontiguousarray(matrix), np.ascontiguousarray(matrix.T)
    order = _grow(rows, columns, matrix.sum(axis=1), size, by_fraction)
    return [np.sort(order[k : k + size]) for k in range(0, len(order), size)]


@numba.njit(cache=True)
def _grow(rows, columns, n_used, size, by_fraction):
    """Return the items in the order in which they join groups; see `_similar_groups`."""
    n_item, n_feature = rows.shape
    order, free = np.empty(n_item, np.int64), np.ones(n_item, np.bool_)
    n_shared, covered = np.zeros(n_item, np.int64), np.zeros(n_feature, np.bool_)
    for k in range(n_item):
        if k % size == 0:
            n_shared[:], covered[:] = 0, False
        item, best, most = -1, np.inf, -1
        for other in range(n_item):
            if not free[other]:
                continue
            new = n_used[other] - n_shared[other]
            cost = float(new) if not by_fraction else new / n_used[other]
            if k % size == 0:
                cost = -float(n_used[other])
            if cost < best or (cost == best and n_shared[other] > most):
                item, best, most = other, cost, n_shared[other]
        order[k], free[item] = item, False
        for feature in range(n_feature):
            if rows[item, feature] and not covered[feature]:
                covered[feature] = True
                n_shared += columns[feature]
    return order


def _pack(mask: GroupedMatrix, pieces: list[Piece], config: TileConfig) -> list[Piece]:
    """Put each piece, largest first, into the first tile where it fits."""
    order = sorted(range(len(pieces)), key=lambda k: -len(pieces[k][0]) * len(pieces[k][1]))
    homes = _Homes(mask, config, len(pieces))
    for k in order:
        homes.add(*pieces[k])
    return homes.pieces


class _Homes:
    """Tiles being filled, and which lines each has, as bool matrices for fast comparison."""

    def __init__(self, mask: GroupedMatrix, config: TileConfig, most: int) -> None:
        self.mask, self.config = mask, config
        self.pieces: list[Piece] = []
        self.rows = np.zeros((most, mask.shape[1]), bool)
        self.columns = np.zeros((most, mask.shape[0]), bool)
        self.sizes = np.zeros((most, 2), int)

    def add(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Put a piece into the first home it fits, or into one of its own."""
        k = self._home(rows, columns)
        if k == len(self.pieces):
            self.pieces.append((rows, columns))
        self.rows[k, rows] = self.columns[k, columns] = True
        self.pieces[k] = np.flatnonzero(self.rows[k]), np.flatnonzero(self.columns[k])
        self.sizes[k] = [len(lines) for lines in self.pieces[k]]

    def _home(self, rows: np.ndarray, columns: np.ndarray) -> int:
        n = len(self.pieces)
        # Pieces come by size: two that fill more than half of a tile both ways never fit.
        if 2 * len(rows) <= self.config.n_word or 2 * len(columns) <= self.config.n_bit:
            n_row = self.sizes[:n, 0] + len(rows) - self.rows[:n, rows].sum(axis=1)
            n_column = self.sizes[:n, 1] + len(columns) - self.columns[:n, columns].sum(axis=1)
            fits = (n_row <= self.config.n_word) & (n_column <= self.config.n_bit)
            for k in np.flatnonzero(fits).tolist():
                if self._apart(k, rows, columns):
                    return k
        return n

    def _apart(self, k: int, rows: np.ndarray, columns: np.ndarray) -> bool:
        """True if the joint lines cross at no weights but those of both pieces."""
        both = self.rows[k].copy(), self.columns[k].copy()
        both[0][rows] = both[1][columns] = True
        n_together = self._n_weight(*map(np.flatnonzero, both))
        return n_together == self._n_weight(*self.pieces[k]) + self._n_weight(rows, columns)

    def _n_weight(self, rows: np.ndarray, columns: np.ndarray) -> int:
        return int(self.mask.part(columns, rows).sum())
