"""One tile whose switches are selected for what it multiplies by with its wires."""

from dataclasses import dataclass

import numpy as np

from crossbar_sim.calibration.descent import Resistances, TileState, descend
from crossbar_sim.solvers.nodal import transfer_matrix
from mapping.bank import Branches, Cells, Die
from mapping.bank.switches import joined_mask, split_mask
from mapping.network.mapped_layer import MappedLayer
from mapping.selection.select import select_on_die
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import tile_circuit

#: Fields of `Wires` that the descent knows, or that no current depends on.
_KNOWN = ("r_word", "r_bit", "r_driver", "c_word", "c_bit")
#: Every round takes the least conducting subset within this fraction of the last rms error: lighter
#: arrays drop less, and a choice that moves little from round to round lets the rounds converge.
_TOLERANCE = 0.2
#: What a neighbour's error counts beside a cell's own in the first and the last round of descent.
_CARE = (0.003, 0.9)


def pair_matrix(tile: Tile, wires: Wires, periphery: Periphery) -> np.ndarray:
    """Return what a tile multiplies by (n_word, n_bit) [S]: both lines of a pair, and its TIAs."""
    g = transfer_matrix(tile_circuit(tile, wires, periphery))
    return periphery.share * (g[:, : tile.n_bit] - g[:, tile.n_bit :])


@dataclass(frozen=True)
class WiredDie:
    """A die, and the wires and amplifiers around its cells."""

    die: Die
    wires: Wires
    periphery: Periphery

    def matrix(self, tile: Tile) -> np.ndarray:
        """Return what a tile multiplies by (n_word, n_bit) [S]."""
        return pair_matrix(tile, self.wires, self.periphery)

    @property
    def resistances(self) -> Resistances:
        """What the current of a cell flows through; ValueError for unknown fields of wires."""
        wires = self.wires
        if names := wires.others(_KNOWN):
            raise ValueError(f"expected wires without {', '.join(names)}, which no descent knows")
        return Resistances(wires.r_driver, wires.r_word, wires.r_bit, self.periphery.r_tia_input)


def _care(k: int, rounds: int) -> float:
    """Return what neighbours count in round k: little at first, as they will be selected again."""
    return _CARE[0] * (_CARE[1] / _CARE[0]) ** ((k - 1) / max(rounds - 2, 1))


class TileWork:
    """One tile under re-selection: its targets, and the best selection so far by the meter.

    errors: after each round, the mean square error [S²] of the best selection so far.
    """

    def __init__(self, tile: Tile, layer: MappedLayer, wired: WiredDie) -> None:
        self.wired = wired
        self.i, self.j = np.nonzero(tile.present)
        self.cells = Cells(tile.layer, *tile.cells)
        self.measured = self.cells.branches(wired.die, measured=True)
        self.target = layer.target_of(tile)
        rms = np.sqrt(self._error(self._with(tile, self.measured)))
        self.best = self._select(tile, self.target, _TOLERANCE * rms)
        self.errors = [self._error(self.best)]

    def improve(self, rounds: int) -> None:
        """Move the targets by what is missing and select all cells again; then descend.

        A new choice changes the load of its lines and so the IR drop of its neighbours. The rounds
        of descent allow for that.
        """
        tile = self.best
        for k in range(rounds):
            gap = np.where(tile.present, self.target - self.wired.matrix(tile), 0.0)
            if not k:
                rms = np.sqrt(np.mean(gap[tile.present] ** 2))
                tile = self._select(tile, self.target + gap, _TOLERANCE * rms)
            else:
                tile = self._refine(tile, gap, _care(k, rounds))
            error = self._error(tile)
            if error < self.errors[-1]:
                self.best = tile
            self.errors.append(min(error, self.errors[-1]))

    def _refine(self, tile: Tile, gap: np.ndarray, care: float) -> Tile:
        """Select every cell once more, knowing what its load does to its neighbours."""
        n, delta = self.wired.die.bank.n, self.measured.g_closed - self.measured.g_open
        old = joined_mask(tile.chosen_pos[tile.present], tile.chosen_neg[tile.present], n)
        state = TileState(self.i, self.j, tile.g_pos, tile.g_neg, gap)
        new = descend(delta.reshape(len(old), 2 * n), old, state, self.wired.resistances, care)
        return tile.with_switches(*split_mask(new, n), self.measured)

    def true_tile(self) -> Tile:
        """Return the best selection with the true conductances."""
        return self._with(self.best, self.cells.branches(self.wired.die, measured=False))

    def _select(self, tile: Tile, target: np.ndarray, tolerance: float) -> Tile:
        """Select the lightest subset within a tolerance [S] of each target [S], by the meter."""
        rule = {"objective": "power", "tolerance": tolerance}
        selection, _, _ = select_on_die(self.wired.die, self.cells, target[self.i, self.j], **rule)
        return tile.with_switches(selection.chosen_pos, selection.chosen_neg, self.measured)

    def _with(self, tile: Tile, branches: Branches) -> Tile:
        chosen = tile.chosen_pos[tile.present], tile.chosen_neg[tile.present]
        return tile.with_switches(*chosen, branches)

    def _error(self, tile: Tile) -> float:
        """Return the mean square error of the tile's matrix [S²], by the meter."""
        return float(np.mean((self.wired.matrix(tile) - self.target) ** 2))
