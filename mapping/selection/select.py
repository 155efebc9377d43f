"""Which switches to close: exact subset sums over the banks of every cell.

Leakage of open switches, stuck branches and the meter's own values are inside the target. With
base = sum(g_open) and delta = g_closed - g_open of each branch, a pair of banks conducts
base_pos - base_neg + sum over closed switches of [delta_pos, -delta_neg]: a subset-sum problem.
"""

from dataclasses import dataclass

import numpy as np

from mapping.bank import Branches, Die
from mapping.bank.switches import closed_switches, realise, split_mask
from mapping.selection.activation_aware import choose_together
from mapping.selection.encode import g_per_weight
from tinynets import subset_sum

OBJECTIVES = ("error", "power")
SCALE_FACTORS = (0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4)
_CHUNK = 2**18  # cells held at once by `select_on_die`


@dataclass(frozen=True)
class CellSelection:
    """The switches to close in each cell, and the signed conductance they should give.

    chosen_pos, chosen_neg: (n_cell,) uint32, bit k closes branch k; predicted: (n_cell,) [S].
    """

    chosen_pos: np.ndarray
    chosen_neg: np.ndarray
    predicted: np.ndarray


def select(
    branches: Branches,
    target,
    *,
    objective="error",
    tolerance=0.0,
    max_closed=None,
) -> CellSelection:
    """Choose the switches of every cell, jointly over both of its banks.

    branches: what each branch is believed to conduct, (n_cell, 2, n) [S]. target: (n_cell,) [S].
    objective: "error", as near as can be; "power", the least conducting choice that lies within
    `tolerance` [S] of the target, and the nearest one where there is none.
    max_closed: close at most so many switches of a cell.
    Raises ValueError for another objective, a tolerance without its objective or the reverse,
    and for what `tinynets.subset_sum.solve` refuses.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    if (objective == "power") != bool(np.any(np.asarray(tolerance) > 0)):
        raise ValueError(
            f"objective {objective!r} came with tolerance {tolerance}; pass a positive tolerance "
            "[S] with objective='power', and none with objective='error'"
        )
    values, base = subset_problem(branches)
    aim = np.asarray(target, float) - base
    found = subset_sum.solve(values, aim, tolerance=tolerance, max_closed=max_closed)
    pos, neg = split_mask(found.mask, branches.g_closed.shape[-1])
    return CellSelection(pos, neg, base + found.value)


def select_on_die(die: Die, layer, rows, columns, target, **options):
    """Measure the cells of a die, select, and return the selection and what it truly gives.

    layer, rows, columns: of the cells, as for `Die.branches`; target: (n_cell,) [S]; options: of
    `select`, the same for all cells. Returns CellSelection, g_pos, g_neg, the last two (n_cell,)
    [S]. Memory beyond the result does not grow with the number of cells.
    """
    parts = []
    for start in range(0, max(len(rows), 1), _CHUNK):
        part = slice(start, start + _CHUNK)
        cells = layer, rows[part], columns[part]
        chosen = select(die.branches(*cells, measured=True), target[part], **options)
        true = die.branches(*cells, measured=False)
        g = realise(true, chosen.chosen_pos, chosen.chosen_neg)
        parts.append((chosen.chosen_pos, chosen.chosen_neg, chosen.predicted, *g))
    pos, neg, predicted, g_pos, g_neg = map(np.concatenate, zip(*parts))
    return CellSelection(pos, neg, predicted), g_pos, g_neg


def select_layer_aware(
    branches: Branches,
    target,
    rows,
    columns,
    second_moment,
    *,
    damping=0.01,
    window=64,
    sweeps=1,
) -> CellSelection:
    """Choose the switches of a layer's cells so that their errors cancel on real inputs.

    branches, target: as for `select`. rows, columns: (n_cell,) input and output index of
    each cell, in any order; only these cells compensate, so a pruned weight stays away.
    second_moment: (n_in, n_in), mean of x x' over calibration inputs x of the layer.
    damping: part of the mean of its diagonal that is added to the diagonal; window: about how
    many cells of an output are weighed against each other at once; sweeps: repetitions.
    Raises ValueError for shapes that disagree, more switches a cell than `subset_sum` takes, a
    target that is not finite, and a second moment that is not one.
    """
    rows, columns = np.asarray(rows), np.asarray(columns)
    values, base = subset_problem(branches)
    second_moment = _checked_moment(second_moment, rows)
    _check_cells(values, target, rows, columns)
    aim = np.asarray(target, float) - base
    options = {"damping": damping, "window": window, "sweeps": sweeps}
    mask = choose_together(values, aim, columns, rows, second_moment, **options)
    pos, neg = split_mask(mask.view(np.uint64), branches.g_closed.shape[-1])
    closed = closed_switches(mask, values.shape[1])
    return CellSelection(pos, neg, base + np.where(closed, values, 0.0).sum(axis=1))


def layer_aware_scale(
    weight, mask, die: Die, layer, second_moment, *, per="layer", factors=SCALE_FACTORS, aware=True
):
    """Find the scale at which `select_layer_aware` errs least on a layer's outputs.

    aware: False for the scale at which cells chosen alone, by `select`, err least by that measure.

    weight, mask: (n_out, n_in), and where it has cells; die, layer: where they are; second_moment:
    (n_in, n_in) of the inputs; per: "layer" or "output", what shares a scale; factors: tried on
    top of the scale of `mapping.selection.encode.g_per_weight`. A larger scale rounds the many
    small weights less and clips the few large ones, whose miss the others make up for. The errors
    counted are those of the choice and, on average, those of the meter. Returns [S per unit weight]
    a float, or (n_out,) with per="output".
    """
    columns, rows = np.nonzero(mask)
    branches = die.branches(layer, rows, columns, measured=True)
    variances = Branches((die.bank.meter_error * branches.g_closed) ** 2, 0 * branches.g_open)
    least = np.broadcast_to(g_per_weight(weight, die, per, layer=layer), len(weight))
    errors = []
    for factor in factors:
        scale = factor * least
        target = scale[columns] * np.asarray(weight)[columns, rows]
        if aware:
            found = select_layer_aware(branches, target, rows, columns, second_moment)
        else:
            found = select(branches, target)
        miss = np.zeros(np.shape(weight))
        miss[columns, rows] = found.predicted - target
        error = np.einsum("ij,ij->i", miss @ second_moment, miss)
        variance = sum(realise(variances, found.chosen_pos, found.chosen_neg))
        variance *= np.diagonal(second_moment)[rows]
        error += np.bincount(columns, variance, len(weight))
        errors.append(error / scale**2)
    if per == "layer":
        return float(least[0] * factors[np.argmin(np.sum(errors, axis=1))])
    return least * np.asarray(factors)[np.argmin(errors, axis=0)]


@dataclass(frozen=True)
class Missed:
    """The cells whose conductance is further from its target than `tolerance` [S].

    rows, columns: (n_missed,) of the cells; target, realised: (n_missed,) [S].
    """

    rows: np.ndarray
    columns: np.ndarray
    target: np.ndarray
    realised: np.ndarray
    tolerance: float

    def __len__(self):
        return len(self.rows)


def subset_problem(branches: Branches):
    """Return what closing each switch adds, (n_cell, 2 n) [S], and (n_cell,) with none."""
    delta = branches.g_closed - branches.g_open
    base = branches.g_open.sum(axis=-1)
    return np.concatenate([delta[:, 0], -delta[:, 1]], axis=1), base[:, 0] - base[:, 1]


def _checked_moment(second_moment, rows):
    second_moment = np.asarray(second_moment, float)
    n_in = len(second_moment)
    if second_moment.shape != (n_in, n_in) or np.max(rows, initial=-1) >= n_in:
        raise ValueError(
            f"second_moment has shape {second_moment.shape} and the rows go up to "
            f"{np.max(rows, initial=-1)}; pass x.T @ x / n_sample of all n_in inputs"
        )
    tiny = 1e-8 * np.abs(second_moment).max(initial=0.0)
    finite = np.isfinite(second_moment).all()
    if not (finite and np.allclose(second_moment, second_moment.T, atol=tiny)):
        raise ValueError("second_moment must be symmetric and finite; pass x.T @ x / n_sample")
    return second_moment


def _check_cells(values, target, rows, columns):
    if not len(rows) == len(columns) == len(values) == len(target):
        raise ValueError(
            f"{len(values)} cells of branches came with {len(target)} targets, {len(rows)} rows "
            f"and {len(columns)} columns; pass as many of each"
        )
    if values.shape[1] > subset_sum.LARGEST_BANK:
        raise ValueError(
            f"a cell has {values.shape[1]} switches; at most {subset_sum.LARGEST_BANK} can be "
            "searched, so use fewer branches"
        )
    if not (np.isfinite(target).all() and np.isfinite(values).all()):
        raise ValueError("targets and branches must be finite; remove NaN and infinite ones")
