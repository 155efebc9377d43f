"""Choose the resistors so that the array with its wires multiplies by the wanted matrix.

A wire or an amplifier of finite gain takes a little from every product. The transfer matrix tells
how much: targets move by what is missing, the switches are chosen again, and so on. Selection and
circuit both see the meter's values, as they would in a laboratory; the result is judged by the true
ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crossbar_sim.calibration.tile import TileWork, pair_matrix
from mapping.bank import Branches, Die
from mapping.network.map_network import SecondMoment
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.select import CellSelection, select_layer_aware
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires

#: A cell whose weight is at least this part of the largest decides how much scale the wires cost.
_STRONG = 0.5
#: Called with the number of finished tiles, and of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerCalibration:
    """What calibration did to one layer.

    errors: by the meter's values, of the first choice and then of the best after each round: the
    root-mean-square error of the layer's matrix with wires, in parts of its largest weight, or, of
    a selection aware of its inputs, that of its outputs, in parts of the wanted outputs. before,
    after: error of the matrix by true values. floor: the part of `after` on pruned places, which
    have no device and cannot be mended. scale: what the scale of conductance was multiplied with,
    so that the largest weight stays within reach. n_changed: switches that differ; n_switch: of
    how many.
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
    rounds: int = 24,
    second_moment: SecondMoment | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Select a network's switches anew so that wires and amplifiers are inside the targets.

    rounds: so many for each tile, which keeps its best one. The first moves the targets by what is
    missing; the others are rounds of `crossbar_sim.calibration.descent`, in which the error of its
    neighbours counts more and more for a cell. second_moment: of each layer's inputs, for a
    selection in which errors cancel on real inputs, as `map_network` takes it; then every round
    selects whole layers. Raises ValueError for rounds below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    n_tile, layers, reports = len(mapped.tiles), [], []
    believed: dict[str, np.ndarray] = {}
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, n_tile)

    for layer in mapped.layers:
        parts = mapped.die, wires, periphery
        scaled = _within_reach(layer, wires, periphery)
        if second_moment is None:
            found, report = _nearest(layer, scaled, *parts, rounds, tick)
        else:
            moment = second_moment(layer.name, believed)
            found, report, matrix = _aware(layer, scaled, *parts, moment, rounds)
            believed[layer.name] = matrix / found.g_per_weight[:, None]
            for _ in layer.tiles:
                tick()
        layers.append(found)
        reports.append(report)
    return Calibration(replace(mapped, layers=tuple(layers)), tuple(reports))


def _nearest(
    layer: MappedLayer,
    scaled: MappedLayer,
    die: Die,
    wires: Wires,
    periphery: Periphery,
    rounds: int,
    tick: Callable[[], None],
) -> tuple[MappedLayer, LayerCalibration]:
    """Bring every product of every tile as near as can be to the wanted one."""
    work = [TileWork(tile, scaled, die, wires, periphery) for tile in layer.tiles]
    for item in work:
        item.improve(rounds)
        tick()
    found = replace(
        scaled,
        tiles=tuple(item.true_tile() for item in work),
        predicted=_predicted(scaled, work),
    )
    n_round = max(len(item.errors) for item in work)
    size = np.array([item.aim.size for item in work])
    square = np.array(
        [item.errors + [item.errors[-1]] * (n_round - len(item.errors)) for item in work]
    )
    unit = found.g_per_weight.mean() * found.largest
    errors = np.sqrt(size @ square / size.sum()) / unit
    return found, _report(layer, found, errors, die, wires, periphery)


def _aware(
    layer: MappedLayer,
    scaled: MappedLayer,
    die: Die,
    wires: Wires,
    periphery: Periphery,
    moment: np.ndarray,
    rounds: int,
) -> tuple[MappedLayer, LayerCalibration, np.ndarray]:
    """Select a whole layer so that its errors, those of its wires included, cancel on its inputs.

    Returns also what the layer multiplies by (n_out, n_in) [S] by the meter's values.
    """
    mask, aim = scaled.source.mask, scaled.target
    columns, rows = np.nonzero(mask)
    measured = die.branches(layer.name, rows, columns, measured=True)
    size = np.einsum("ij,jk,ik->", scaled.source.weight, moment, scaled.source.weight)
    target, errors, best = aim[mask], [], None
    for _ in range(rounds + 1):
        chosen = select_layer_aware(measured, target, rows, columns, moment)
        tiles = _tiles(scaled, measured, chosen, rows, columns)
        matrix = scaled.assemble([pair_matrix(tile, wires, periphery) for tile in tiles])
        miss = (matrix - aim) / scaled.g_per_weight[:, None]
        errors.append(float(np.sqrt(np.einsum("ij,jk,ik->", miss, moment, miss) / size)))
        if errors[-1] == min(errors):
            best = chosen, matrix
        # The wires take nearly the same from the next choice.
        target = aim[mask] - (matrix[mask] - chosen.predicted)
    assert best is not None
    chosen, matrix = best
    true = die.branches(layer.name, rows, columns, measured=False)
    predicted = np.zeros(aim.shape)
    predicted[mask] = chosen.predicted
    tiles = tuple(_tiles(scaled, true, chosen, rows, columns))
    found = replace(scaled, tiles=tiles, predicted=predicted)
    errors = np.minimum.accumulate(errors)
    return found, _report(layer, found, errors, die, wires, periphery), matrix


def _tiles(
    layer: MappedLayer,
    branches: Branches,
    chosen: CellSelection,
    rows: np.ndarray,
    columns: np.ndarray,
) -> list[Tile]:
    """Return a layer's tiles with a selection of all its cells."""
    cell = np.zeros(layer.source.weight.shape, dtype=int)
    cell[columns, rows] = np.arange(len(rows))
    tiles = []
    for tile in layer.tiles:
        k = cell[tile.cells[::-1]]
        part = Branches(branches.g_closed[k], branches.g_open[k])
        tiles.append(tile.with_switches(chosen.chosen_pos[k], chosen.chosen_neg[k], part))
    return tiles


def matrix_error(
    layer: MappedLayer, tiles: tuple[Tile, ...], wires: Wires, periphery: Periphery
) -> tuple[float, float]:
    """Return the rms error of a layer's matrix with wires, and of its pruned places alone.

    In parts of the layer's largest weight, over all places (n_out, n_in) that some tile spans.
    """
    gaps, pruned = [], []
    for tile in tiles:
        gap = pair_matrix(tile, wires, periphery) - layer.target_of(tile)
        gap = gap / layer.g_per_weight[tile.columns] / layer.largest
        gaps.append(gap.ravel())
        pruned.append(np.where(tile.present, 0.0, gap).ravel())
    return _rms(np.concatenate(gaps)), _rms(np.concatenate(pruned))


def _within_reach(layer: MappedLayer, wires: Wires, periphery: Periphery) -> MappedLayer:
    """Lower a layer's scale by what the wires take from its strong weights at the most."""
    kept = 1.0
    for tile in layer.tiles:
        aim = layer.target_of(tile)
        strong = np.abs(aim) > _STRONG * layer.largest * layer.g_per_weight[tile.columns]
        if strong.any():
            found = pair_matrix(tile, wires, periphery)
            kept = min(kept, float((found / np.where(strong, aim, np.inf))[strong].min()))
    return replace(layer, g_per_weight=layer.g_per_weight * max(kept, 0.1))


def _predicted(layer: MappedLayer, work: list[TileWork]) -> np.ndarray:
    """Return g_pos - g_neg (n_out, n_in) [S] of the chosen switches by the meter's values."""
    full = np.zeros(layer.source.weight.shape)
    for item in work:
        _, rows, columns = item.cells
        full[columns, rows] = (item.best.g_pos - item.best.g_neg)[item.i, item.j]
    return full


def _report(
    before: MappedLayer,
    after: MappedLayer,
    errors: np.ndarray,
    die: Die,
    wires: Wires,
    periphery: Periphery,
) -> LayerCalibration:
    rms, floor = matrix_error(after, after.tiles, wires, periphery)
    return LayerCalibration(
        layer=after.name,
        errors=tuple(errors.tolist()),
        before=matrix_error(before, before.tiles, wires, periphery)[0],
        after=rms,
        floor=floor,
        scale=float((after.g_per_weight / before.g_per_weight)[0]),
        n_changed=after.n_different(before),
        n_switch=2 * die.bank.n * after.source.n_remaining,
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
