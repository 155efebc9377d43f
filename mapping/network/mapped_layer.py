"""One layer on its tiles: its targets, and what the devices realise."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mapping.tiling.tiles import Tile
from tinynets.networks.layers import PrunedLayer


@dataclass(frozen=True)
class Missed:
    """The cells whose conductance is further from its target than `tolerance` [S].

    rows, columns: (n_missed,) of the cells.
    target, realised: (n_missed,) [S].
    """

    rows: np.ndarray
    columns: np.ndarray
    target: np.ndarray
    realised: np.ndarray
    tolerance: float

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class MappedLayer:
    """One layer on its tiles.

    source: the weights to realise.
    g_per_weight: (n_out,), conductance of a unit weight [S] on each output.
    predicted: g_pos - g_neg [S] that the selection expected from measured values, of the shape of
        `source.weight`, as all that follow from it.
    tiles: in order of their index.
    """

    source: PrunedLayer
    g_per_weight: np.ndarray
    predicted: np.ndarray
    tiles: tuple[Tile, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.source.name

    @cached_property
    def target(self) -> np.ndarray:
        """The target of every cell: g_pos - g_neg [S]."""
        return self.g_per_weight[:, None] * self.source.weight

    @property
    def largest(self) -> float:
        """Magnitude of the largest weight."""
        return float(np.abs(self.source.weight).max())

    @cached_property
    def weight(self) -> np.ndarray:
        """The weights that the devices realise, without any wire."""
        matrices = [tile.g_pos - tile.g_neg for tile in self.tiles]
        return self.assemble(matrices) / self.g_per_weight[:, None]

    @property
    def error(self) -> np.ndarray:
        """Realised minus target weight (n_remaining,), as a fraction of the largest weight."""
        return (self.weight - self.source.weight)[self.source.mask] / (self.largest or 1.0)

    def missed(self, tolerance: float) -> Missed:
        """Return the targets missed by more than `tolerance`, a fraction of the largest weight.

        Weights that are all zero are compared with full scale, as in `error`.
        """
        (rows, columns), mask = self.source.cells, self.source.mask
        weight, scale = self.source.weight[mask], self.g_per_weight[columns]
        predicted = self.predicted[mask]
        limit = tolerance * (self.largest or 1.0)
        far = np.abs(predicted / scale - weight) > limit
        cells = (a[far] for a in (rows, columns, scale * weight, predicted))
        return Missed(*cells, tolerance=float(limit * scale.max()))

    @property
    def n_closed(self) -> int:
        """Number of closed switches."""
        chosen = [m for tile in self.tiles for m in (tile.chosen_pos, tile.chosen_neg)]
        return int(sum(np.bitwise_count(masks).sum() for masks in chosen))

    def target_of(self, tile: Tile) -> np.ndarray:
        """Return the targets of one tile: g_pos - g_neg (n_word, n_bit) [S]."""
        return self.source.grouped(self.target).part(tile.columns, tile.rows).T * tile.present

    def n_different(self, other: "MappedLayer") -> int:
        """Return how many switches differ in another selection of the same layer."""
        return sum(a.n_different(b) for a, b in zip(self.tiles, other.tiles, strict=True))

    def assemble(self, matrices: list[np.ndarray]) -> np.ndarray:
        """Return the layer's matrix, from one (n_word, n_bit) matrix a tile.

        It has the shape of `source.weight`, so what tiles pass between groups is left out.
        """
        whole = self.source.grouped(np.zeros(self.source.weight.shape))
        for tile, matrix in zip(self.tiles, matrices, strict=True):
            whole.add(tile.columns, tile.rows, matrix.T)
        return whole.values
