"""Re-select the switches so that an array with its wires multiplies by the target matrix.

A wire or an amplifier of finite gain takes a little from every product. The transfer matrix tells
how much: targets move by what is missing, the switches are selected again, and so on. Selection
and circuit both see the meter's values, as they would in a laboratory; the result is judged by the
true ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crossbar_sim.calibration.tile import TileWork, WiredDie
from mapping.bank import Branches, Cells
from mapping.network.map_network import SecondMoment
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.select import CellSelection, select_layer_aware
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from tinynets.progress import Progress, silent

#: Cells whose weight is at least this fraction of the largest decide how much scale the wires cost.
_STRONG = 0.5


@dataclass(frozen=True)
class LayerCalibration:
    """What re-selection did to one layer.

    errors: by the meter's values, after the first choice and then of the best after each round.
    Rms error of the layer's matrix with wires, as a fraction of its largest weight; for a selection
    that is aware of its inputs, rms error of the outputs, as a fraction of the target outputs.
    before, after: error of the matrix by true values.
    floor: the share of `after` that pruned places have, where no device could repair it.
    scale: factor on the scale of conductance that keeps the largest weight within reach.
    n_changed: switches that differ.
    n_switch: all switches.
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
        """Whether the wires cost more than re-selection won back: the error fell by less than half.

        An error that was at the bank's own resolution from the start does not count.
        """
        return self.after > 0.5 * self.before and self.after > 2e-3


@dataclass(frozen=True)
class Calibration:
    """A network re-selected for its wires, and what that did to each layer."""

    mapped: MappedNetwork
    layers: tuple[LayerCalibration, ...]


def reselect_for_wires(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    *,
    rounds: int = 24,
    second_moment: SecondMoment | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Re-select a network's switches so that they make up for its wires and amplifiers.

    rounds: rounds for each tile, which keeps its best one. The first moves the targets by what is
    missing; the others are rounds of `crossbar_sim.calibration.descent`, in which the error of its
    neighbours counts more and more for a cell.
    second_moment: of each layer's inputs, (n_in, n_in) also between the groups of a convolution,
    for a selection in which errors cancel on real inputs; then every round selects whole layers.

    Raises ValueError for rounds below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    n_tile, layers, reports = len(mapped.tiles), [], []
    believed: dict[str, np.ndarray] = {}
    wired, done = WiredDie(mapped.die, wires, periphery), 0
    progress("calibrate", 0, n_tile)

    def tick() -> None:
        nonlocal done
        done += 1
        progress("calibrate", done, n_tile)

    for layer in mapped.layers:
        if second_moment is None:
            reselected, report = _nearest(layer, wired, rounds, tick)
        else:
            moment = second_moment(layer.name, believed)
            reselected, report, matrix = _aware(layer, wired, moment, rounds)
            believed[layer.name] = matrix / reselected.g_per_weight[:, None]
            for _ in layer.tiles:
                tick()
        layers.append(reselected)
        reports.append(report)
    return Calibration(replace(mapped, layers=tuple(layers)), tuple(reports))


def _nearest(
    layer: MappedLayer, wired: WiredDie, rounds: int, tick: Callable[[], None]
) -> tuple[MappedLayer, LayerCalibration]:
    """Bring every product of every tile as near as possible to its target."""
    scaled = _within_reach(layer, wired)
    work = [TileWork(tile, scaled, wired) for tile in layer.tiles]
    for item in work:
        item.improve(rounds)
        tick()
    tiles = tuple(item.true_tile() for item in work)
    predicted = scaled.assemble([item.best.g_pos - item.best.g_neg for item in work])
    reselected = replace(scaled, tiles=tiles, predicted=predicted)
    n_round = max(len(item.errors) for item in work)
    size = np.array([item.target.size for item in work])
    square = np.array(
        [item.errors + [item.errors[-1]] * (n_round - len(item.errors)) for item in work]
    )
    unit = reselected.g_per_weight.mean() * reselected.largest
    errors = np.sqrt(size @ square / size.sum()) / unit
    return reselected, _report(layer, reselected, errors, wired)


def _aware(
    layer: MappedLayer, wired: WiredDie, moment: np.ndarray, rounds: int
) -> tuple[MappedLayer, LayerCalibration, np.ndarray]:
    """Select a whole layer so that its errors, those of its wires included, cancel on its inputs.

    Returns also what the layer multiplies by [S], in its weight's shape, by the meter's values.
    """
    scaled = _within_reach(layer, wired)
    # Wires leak between the groups of a convolution too, and the moment is as large as that.
    whole = replace(scaled, source=scaled.source.written_out())
    mask, goal, weight = whole.source.mask, whole.target, whole.source.weight
    rows, columns = whole.source.cells
    cells = Cells(layer.name, rows, columns)
    measured = cells.branches(wired.die, measured=True)
    size = np.einsum("ij,jk,ik->", weight, moment, weight)
    target, errors, best = goal[mask], [], None
    for _ in range(rounds + 1):
        selection = select_layer_aware(measured, target, rows, columns, moment)
        tiles = _tiles(scaled, cells, selection, measured)
        matrices = [wired.matrix(tile) for tile in tiles]
        matrix = whole.assemble(matrices)
        miss = (matrix - goal) / scaled.g_per_weight[:, None]
        errors.append(float(np.sqrt(np.einsum("ij,jk,ik->", miss, moment, miss) / size)))
        if errors[-1] == min(errors):
            best = selection, matrices
        # The wires take nearly the same from the next choice.
        target = goal[mask] - (matrix[mask] - selection.predicted)
    assert best is not None
    selection, matrices = best
    predicted = np.zeros(layer.source.weight.shape)
    predicted[layer.source.mask] = selection.predicted
    true = cells.branches(wired.die, measured=False)
    tiles = _tiles(scaled, cells, selection, true)
    reselected = replace(scaled, tiles=tiles, predicted=predicted)
    errors = np.minimum.accumulate(errors)
    return reselected, _report(layer, reselected, errors, wired), scaled.assemble(matrices)


def _tiles(
    layer: MappedLayer, cells: Cells, selection: CellSelection, branches: Branches
) -> tuple[Tile, ...]:
    """Return a layer's tiles with a selection of all its cells."""
    cell = np.zeros(layer.source.weight.shape, dtype=int)
    place = layer.source.pattern.place
    cell[place(cells.columns, cells.rows)] = np.arange(len(cells))
    tiles = []
    for tile in layer.tiles:
        k = cell[place(*tile.cells[::-1])]
        part = Branches(branches.g_closed[k], branches.g_open[k])
        tiles.append(tile.with_switches(selection.chosen_pos[k], selection.chosen_neg[k], part))
    return tuple(tiles)


def matrix_error(layer: MappedLayer, wired: WiredDie) -> tuple[float, float]:
    """Return the rms error of a layer's matrix with wires, and of its pruned places alone.

    As a fraction of the layer's largest weight, over all places (n_out, n_in) that a tile spans.
    """
    gaps, pruned = [], []
    for tile in layer.tiles:
        gap = wired.matrix(tile) - layer.target_of(tile)
        gap = gap / layer.g_per_weight[tile.columns] / layer.largest
        gaps.append(gap.ravel())
        pruned.append(np.where(tile.present, 0.0, gap).ravel())
    return _rms(np.concatenate(gaps)), _rms(np.concatenate(pruned))


def _within_reach(layer: MappedLayer, wired: WiredDie) -> MappedLayer:
    """Lower a layer's scale by the most that the wires take from one of its strong weights."""
    kept = 1.0
    for tile in layer.tiles:
        target = layer.target_of(tile)
        strong = np.abs(target) > _STRONG * layer.largest * layer.g_per_weight[tile.columns]
        if strong.any():
            share = wired.matrix(tile) / np.where(strong, target, np.inf)
            kept = min(kept, float(share[strong].min()))
    return replace(layer, g_per_weight=layer.g_per_weight * max(kept, 0.1))


def _report(
    before: MappedLayer, after: MappedLayer, errors: np.ndarray, wired: WiredDie
) -> LayerCalibration:
    rms, floor = matrix_error(after, wired)
    return LayerCalibration(
        layer=after.name,
        errors=tuple(errors.tolist()),
        before=matrix_error(before, wired)[0],
        after=rms,
        floor=floor,
        scale=float((after.g_per_weight / before.g_per_weight)[0]),
        n_changed=after.n_different(before),
        n_switch=2 * wired.die.bank.n * after.source.n_remaining,
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
