"""Choose the resistors so that the array with its wires multiplies by the wanted matrix.

A wire or an amplifier of finite gain takes a little from every product. The transfer matrix tells
how much: targets move by what is missing, the switches are chosen again, and so on. Selection and
circuit both see the meter's values, as they would in a laboratory; the result is judged by the true
ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crossbar_sim.nodal import transfer_matrix
from mapping.design import MappedLayer, MappedNetwork
from mapping.select import realise, select_on_die
from mapping.tiles import Tile
from netlists.build import tile_circuit
from netlists.circuit import Periphery, Wires

#: A cell whose weight is at least this part of the largest decides how much scale the wires cost.
_STRONG = 0.5
#: Every round takes the least conducting subset within this part of the last rms error: lighter
#: arrays drop less, and a choice that moves little from round to round lets the rounds converge.
_TOLERANCE = 0.2

#: Called with the number of finished tiles, and of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerCalibration:
    """What calibration did to one layer.

    errors: root-mean-square error of the layer's matrix with wires, in parts of its largest weight:
    of the lightest choice, then of the best after each round, by the meter's values. before, after:
    the same by true values. floor: the part of `after` on pruned places, which have no device and
    cannot be mended. scale: what the scale of conductance was multiplied with, so that
    the largest weight stays within reach. n_changed: switches that differ; n_switch: of how many.
    """

    layer: str
    errors: tuple[float, ...]
    before: float
    after: float
    floor: float
    scale: float
    n_changed: int
    n_switch: int

    @property
    def out_of_reach(self) -> bool:
        """Whether the wires take more than calibration gave back: the error fell by less than half.

        An error that was at the bank's own resolution from the start does not count.
        """
        return self.after > 0.5 * self.before and self.after > 2e-3


@dataclass(frozen=True)
class Calibration:
    """A network selected anew for its wires, and what that did to each layer."""

    mapped: MappedNetwork
    layers: tuple[LayerCalibration, ...]


def calibrate(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    *,
    rounds: int = 12,
    progress: Progress | None = None,
) -> Calibration:
    """Select a network's switches anew so that wires and amplifiers are inside the targets.

    rounds: so many for each tile, which keeps its best one.
    Raises ValueError for rounds below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    n_tile, done, layers, reports = len(mapped.tiles), 0, [], []
    for layer in mapped.layers:
        scaled = _within_reach(layer, mapped, wires, periphery)
        work = [_Work(tile, scaled, mapped, wires, periphery) for tile in layer.tiles]
        for item in work:
            item.improve(rounds)
            done += 1
            if progress:
                progress(done, n_tile)
        found = replace(
            scaled,
            tiles=tuple(item.true_tile() for item in work),
            predicted=_predicted(scaled, work),
        )
        layers.append(found)
        reports.append(_report(layer, found, work, wires, periphery, mapped.die.bank.n))
    return Calibration(replace(mapped, layers=tuple(layers)), tuple(reports))


def matrix_error(
    layer: MappedLayer, tiles: tuple[Tile, ...], wires: Wires, periphery: Periphery
) -> tuple[float, float]:
    """Return the rms error of a layer's matrix with wires, and of its pruned places alone.

    In parts of the layer's largest weight, over all places (n_out, n_in) that some tile spans.
    """
    largest = np.abs(layer.layer.weight).max()
    gaps, pruned = [], []
    for tile in tiles:
        gap = pair_matrix(tile, wires, periphery) - wanted(layer, tile)
        gap = gap / layer.g_per_weight[tile.columns] / largest
        gaps.append(gap.ravel())
        pruned.append(np.where(tile.present, 0.0, gap).ravel())
    return _rms(np.concatenate(gaps)), _rms(np.concatenate(pruned))


def pair_matrix(tile: Tile, wires: Wires, periphery: Periphery) -> np.ndarray:
    """Return what a tile multiplies by (n_word, n_bit) [S]: both lines of a pair, and its TIAs."""
    g = transfer_matrix(tile_circuit(tile, wires, periphery))
    share = 1.0 / (1.0 + 1.0 / periphery.tia_gain)
    return share * (g[:, : tile.n_bit] - g[:, tile.n_bit :])


def wanted(layer: MappedLayer, tile: Tile) -> np.ndarray:
    """Return the conductances (n_word, n_bit) [S] that a tile's weights ask for."""
    target = layer.g_per_weight[:, None] * layer.layer.weight
    return target[np.ix_(tile.columns, tile.rows)].T * tile.present


class _Work:
    """One tile under calibration: its targets, and the best selection so far by the meter."""

    def __init__(
        self,
        tile: Tile,
        layer: MappedLayer,
        mapped: MappedNetwork,
        wires: Wires,
        periphery: Periphery,
    ) -> None:
        self.die, self.wires, self.periphery = mapped.die, wires, periphery
        self.i, self.j = np.nonzero(tile.present)
        self.cells = tile.layer, tile.rows[self.i], tile.columns[self.j]
        self.measured = mapped.die.branches(*self.cells, measured=True)
        self.aim = wanted(layer, tile)
        self.target = self.aim.copy()
        self.tolerance = _TOLERANCE * np.sqrt(self._error(self._with(tile, self.measured)))
        self.best = self._select(tile, tile.present)
        self.errors = [self._error(self.best)]

    def improve(self, rounds: int) -> None:
        """Move the targets by what is missing, and select again where most is missing.

        A new choice changes the load of its lines and so the drop of its neighbours. Choosing only
        the worst cells again lets the rest settle.
        """
        tile = self.best
        for k in range(rounds):
            gap = np.where(tile.present, self.aim - self._matrix(tile), 0.0)
            rms = np.sqrt(np.mean(gap[tile.present] ** 2))
            far = np.abs(gap) > (rms if k else 0.0)
            self.tolerance = _TOLERANCE * rms
            self.target = np.where(far, self.target + gap, self.target)
            tile = self._select(tile, far)
            error = self._error(tile)
            if error < self.errors[-1]:
                self.best = tile
            self.errors.append(min(error, self.errors[-1]))

    def true_tile(self) -> Tile:
        """Return the best selection with the true conductances."""
        true = self.die.branches(*self.cells, measured=False)
        return self._with(self.best, true)

    def _select(self, tile: Tile, where: np.ndarray) -> Tile:
        """Choose the switches of the cells at `where` (n_word, n_bit) anew, by the meter."""
        again = where[self.i, self.j]
        name, rows, columns = self.cells
        cells = name, rows[again], columns[again]
        rule = {"objective": "power", "tolerance": self.tolerance}
        found, _, _ = select_on_die(self.die, *cells, self.target[self.i, self.j][again], **rule)
        masks = {"chosen_pos": tile.chosen_pos.copy(), "chosen_neg": tile.chosen_neg.copy()}
        masks["chosen_pos"][self.i[again], self.j[again]] = found.chosen_pos
        masks["chosen_neg"][self.i[again], self.j[again]] = found.chosen_neg
        return self._with(replace(tile, **masks), self.measured)

    def _with(self, tile: Tile, branches) -> Tile:
        chosen = tile.chosen_pos[self.i, self.j], tile.chosen_neg[self.i, self.j]
        g_pos, g_neg = realise(branches, *chosen)
        return replace(tile, **self._spread({"g_pos": g_pos, "g_neg": g_neg}))

    def _spread(self, cells: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        full = {name: np.zeros(self.aim.shape, values.dtype) for name, values in cells.items()}
        for name, values in cells.items():
            full[name][self.i, self.j] = values
        return full

    def _matrix(self, tile: Tile) -> np.ndarray:
        return pair_matrix(tile, self.wires, self.periphery)

    def _error(self, tile: Tile) -> float:
        """Mean square error of the tile's matrix [S^2], by the meter."""
        return float(np.mean((self._matrix(tile) - self.aim) ** 2))


def _within_reach(
    layer: MappedLayer, mapped: MappedNetwork, wires: Wires, periphery: Periphery
) -> MappedLayer:
    """Lower a layer's scale by what the wires take from its strong weights at the most."""
    kept = 1.0
    largest = np.abs(layer.layer.weight).max()
    for tile in layer.tiles:
        aim = wanted(layer, tile)
        strong = np.abs(aim) > _STRONG * largest * layer.g_per_weight[tile.columns]
        if strong.any():
            found = pair_matrix(tile, wires, periphery)
            kept = min(kept, float((found / np.where(strong, aim, np.inf))[strong].min()))
    return replace(layer, g_per_weight=layer.g_per_weight * max(kept, 0.1))


def _predicted(layer: MappedLayer, work: list[_Work]) -> np.ndarray:
    """Return g_pos - g_neg (n_out, n_in) [S] of the chosen switches by the meter's values."""
    full = np.zeros(layer.layer.weight.shape)
    for item in work:
        _, rows, columns = item.cells
        full[columns, rows] = (item.best.g_pos - item.best.g_neg)[item.i, item.j]
    return full


def _report(
    before: MappedLayer,
    after: MappedLayer,
    work: list[_Work],
    wires: Wires,
    periphery: Periphery,
    n_branch: int,
) -> LayerCalibration:
    n_round = max(len(item.errors) for item in work)
    size = np.array([item.aim.size for item in work])
    square = np.array(
        [item.errors + [item.errors[-1]] * (n_round - len(item.errors)) for item in work]
    )
    unit = after.g_per_weight.mean() * np.abs(after.layer.weight).max()
    errors = np.sqrt(size @ square / size.sum()) / unit
    changed = sum(
        int(np.bitwise_count(getattr(a, name) ^ getattr(b, name)).sum())
        for a, b in zip(before.tiles, after.tiles)
        for name in ("chosen_pos", "chosen_neg")
    )
    rms, floor = matrix_error(after, after.tiles, wires, periphery)
    return LayerCalibration(
        layer=after.name,
        errors=tuple(errors.tolist()),
        before=matrix_error(before, before.tiles, wires, periphery)[0],
        after=rms,
        floor=floor,
        scale=float((after.g_per_weight / before.g_per_weight)[0]),
        n_changed=changed,
        n_switch=2 * n_branch * after.layer.n_remaining,
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
