"""Which switches to close: exact subset sums over the banks of every cell.

Open switches leak and stuck ones do not change. With base = sum(g_open) and
delta = g_closed - g_open of each branch, as measured, a pair of banks conducts
base_pos - base_neg + sum over closed switches of [delta_pos, -delta_neg]: a subset-sum problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapping.bank import Branches, Cells, Die
from mapping.bank.switches import closed_switches, realise, split_mask
from mapping.selection.activation_aware import Compensation, choose_together
from mapping.selection.encode import Per, g_per_weight
from tinynets import subset_sum
from tinynets.networks.layers import PrunedLayer

OBJECTIVES = ("error", "power")
SCALE_FACTORS = (0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4)
DEFAULT_RULE = Compensation()
_CHUNK = 2**18  # cells held at once by `select_on_die`


@dataclass(frozen=True)
class CellSelection:
    """The switches to close in each cell, and the signed conductance they should give.

    chosen_pos, chosen_neg: (n_cell,) uint32, bit k closes branch k.
    predicted: (n_cell,) [S].
    """

    chosen_pos: np.ndarray
    chosen_neg: np.ndarray
    predicted: np.ndarray


def select(
    branches: Branches,
    target: np.ndarray,
    *,
    objective: str = "error",
    tolerance: float | np.ndarray = 0.0,
    max_closed: int | None = None,
    device: Any = None,
) -> CellSelection:
    """Choose the switches of every cell, jointly over both of its banks.

    branches: what each branch is believed to conduct, (n_cell, 2, n) [S].
    target: (n_cell,) [S].
    objective: "error", the nearest choice; "power", the least conducting choice that lies within
        `tolerance` [S] of the target, and the nearest one where there is none.
    max_closed: the most switches of a cell that may be closed.
    device: that torch searches on, such as "cuda", for objective "error" without max_closed; the
        switches are the same.

    Raises ValueError for another objective, a tolerance without its objective or the reverse,
    and for what `tinynets.subset_sum.solve` refuses.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}; got {objective!r}")
    if (objective == "power") != bool(np.any(np.asarray(tolerance) > 0)):
        raise ValueError(
            "pass a positive tolerance [S] with objective='power', and none with "
            f"objective='error'; got {objective!r} and {tolerance}"
        )
    values, base = subset_problem(branches)
    aim = np.asarray(target, float) - base
    options: Any = {"tolerance": tolerance, "max_closed": max_closed, "device": device}
    nearest = subset_sum.solve(values, aim, **options)
    pos, neg = split_mask(nearest.mask, branches.g_closed.shape[-1])
    return CellSelection(pos, neg, base + nearest.value)


def select_on_die(
    die: Die, cells: Cells, target: np.ndarray, **options: Any
) -> tuple[CellSelection, np.ndarray, np.ndarray]:
    """Measure cells of a die and choose their switches; return the selection and what it realises.

    target: (n_cell,) [S].
    options: of `select`, the same for all cells.

    Returns CellSelection, g_pos, g_neg, the last two (n_cell,) [S], true values. Memory beyond the
    result does not grow with the number of cells.
    """
    chunks = []
    for start in range(0, max(len(cells), 1), _CHUNK):
        part = slice(start, start + _CHUNK)
        chosen = select(cells[part].branches(die, measured=True), target[part], **options)
        true = cells[part].branches(die, measured=False)
        g = realise(true, chosen.chosen_pos, chosen.chosen_neg)
        chunks.append((chosen.chosen_pos, chosen.chosen_neg, chosen.predicted, *g))
    pos, neg, predicted, g_pos, g_neg = map(np.concatenate, zip(*chunks))
    return CellSelection(pos, neg, predicted), g_pos, g_neg


def select_layer_aware(
    branches: Branches,
    target: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    second_moment: np.ndarray,
    rule: Compensation = DEFAULT_RULE,
) -> CellSelection:
    """Choose the switches of a layer's cells so that their errors cancel on real inputs.

    branches, target: as for `select`.
    rows, columns: (n_cell,) input and output index of each cell, in any order; only these cells
        compensate, so a pruned weight stays pruned.
    second_moment: (n_in, n_in), mean of x x' over calibration inputs x of the layer; or of each
        group of a grouped convolution, (groups, n_in / groups, n_in / groups).

    Raises ValueError for shapes that disagree, more switches a cell than `subset_sum` takes, a
    target that is not finite, or a matrix that cannot be a second moment.
    """
    rows, columns = np.asarray(rows), np.asarray(columns)
    values, base = subset_problem(branches)
    second_moment = _checked_moment(second_moment, rows)
    _check_cells(values, target, rows, columns)
    aim = np.asarray(target, float) - base
    mask = choose_together(values, aim, columns, rows, second_moment, rule)
    pos, neg = split_mask(mask.view(np.uint64), branches.g_closed.shape[-1])
    closed = closed_switches(mask, values.shape[1])
    return CellSelection(pos, neg, base + np.where(closed, values, 0.0).sum(axis=1))


def layer_aware_scale(
    layer: PrunedLayer,
    die: Die,
    second_moment: np.ndarray,
    *,
    per: Per = "layer",
    factors: Sequence[float] = SCALE_FACTORS,
    aware: bool = True,
) -> float | np.ndarray:
    """Return the scale at which a selection has the least error at a layer's outputs.

    second_moment: of the inputs, as for `select_layer_aware`.
    per: what shares a scale.
    factors: the factors tried on top of the scale of `mapping.selection.encode.g_per_weight`.
    aware: True for the choice of `select_layer_aware`, False for that of `select`.

    A larger scale rounds the many small weights less and clips the few large ones, whose misses
    the others make up for. Counted are the errors of the choice and, on average, those of the
    meter.

    Returns a float, or (n_out,) with per="output" [S per unit weight].
    """
    rows, columns = layer.cells
    branches = die.branches(layer.name, rows, columns, measured=True)
    variances = Branches((die.bank.meter_error * branches.g_closed) ** 2, 0 * branches.g_open)
    least = g_per_weight(layer.grouped(layer.weight), die, per, layer=layer.name)
    least = np.broadcast_to(least, layer.n_out)
    moment = _checked_moment(second_moment, rows)
    strength, n_in = np.diagonal(moment, axis1=1, axis2=2).ravel(), moment.shape[-1]
    errors = []
    for factor in factors:
        scale = factor * least
        target = scale[columns] * layer.weight[layer.mask]
        if aware:
            chosen = select_layer_aware(branches, target, rows, columns, second_moment)
        else:
            chosen = select(branches, target)
        miss = np.zeros((layer.n_out, n_in))
        miss[columns, rows % n_in] = chosen.predicted - target
        miss = miss.reshape(len(moment), -1, n_in)
        error = np.einsum("gij,gij->gi", miss @ moment, miss).ravel()
        variance = np.sum(realise(variances, chosen.chosen_pos, chosen.chosen_neg), axis=0)
        variance *= strength[rows]
        error += np.bincount(columns, variance, layer.n_out)
        errors.append(error / scale**2)
    if per == "layer":
        return float(least[0] * factors[int(np.argmin(np.sum(errors, axis=1)))])
    return least * np.asarray(factors)[np.argmin(errors, axis=0)]


def subset_problem(branches: Branches) -> tuple[np.ndarray, np.ndarray]:
    """Return what each switch adds (n_cell, 2 n) [S], and what a cell gives with none closed."""
    delta = branches.g_closed - branches.g_open
    base = branches.g_open.sum(axis=-1)
    return np.concatenate([delta[:, 0], -delta[:, 1]], axis=1), base[:, 0] - base[:, 1]


def _checked_moment(second_moment: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return second moments of the inputs of each group, (groups, n_in, n_in)."""
    given = np.asarray(second_moment, float)
    moment = given[None] if given.ndim == 2 else given
    n_row = int(np.max(rows, initial=-1)) + 1
    square = moment.ndim == 3 and moment.shape[1] == moment.shape[2]
    if not square or n_row > moment.shape[0] * moment.shape[1]:
        raise ValueError(
            f"second_moment has shape {given.shape} and the rows go up to {n_row - 1}; pass "
            "x.T @ x / n_sample of all n_in inputs, or of each group's inputs"
        )
    tiny = 1e-8 * np.abs(moment).max(initial=0.0)
    finite = np.isfinite(moment).all()
    if not (finite and np.allclose(moment, moment.transpose(0, 2, 1), atol=tiny)):
        raise ValueError("second_moment must be symmetric and finite; pass x.T @ x / n_sample")
    return moment


def _check_cells(
    values: np.ndarray, target: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> None:
    if not len(rows) == len(columns) == len(values) == len(target):
        raise ValueError(
            f"pass as many targets, rows and columns as cells; got {len(values)} cells, "
            f"{len(target)} targets, {len(rows)} rows and {len(columns)} columns"
        )
    if values.shape[1] > subset_sum.LARGEST_BANK:
        raise ValueError(
            f"at most {subset_sum.LARGEST_BANK} switches a cell can be searched, so use fewer "
            f"branches; got {values.shape[1]} switches"
        )
    if not (np.isfinite(target).all() and np.isfinite(values).all()):
        raise ValueError("targets and branches must be finite; remove NaN and infinite ones")
