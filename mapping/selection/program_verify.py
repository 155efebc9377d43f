"""Program-verify: set a cell's switches in several ways, read each as a whole, keep the best.

Branches read one by one leave an error in their sum, different for each choice of branches. Of
many choices that are equally good by calculation, the best one read is several times nearer.
"""

import numpy as np

from mapping.bank import Branches, Cells, Die
from mapping.bank.streams import Term, normals
from mapping.bank.switches import closed_switches, realise, split_mask
from mapping.selection.select import CellSelection, subset_problem
from tinynets import subset_sum


def program_verify(
    die: Die,
    cells: Cells,
    target: np.ndarray,
    *,
    n_candidate: int = 8,
    composite_error: float = 0.0,
) -> CellSelection:
    """Choose the switches of every cell, with readings of the cell as a whole.

    target: (n_cell,) [S].
    n_candidate: how many choices are read, the nearest ones by calculation.
    composite_error: relative error of one reading of one bank with its switches set.

    `predicted` is the mean of the calculated and the read value, weighted by their variances.
    Readings belong to the die: the same arguments give the same readings again.
    Raises ValueError for n_candidate below 1.
    """
    target = np.asarray(target, float)
    values, base = subset_problem(cells.branches(die, measured=True))
    n_candidate = min(n_candidate, 2 ** values.shape[1])
    top = subset_sum.solve_top(values, target - base, n_candidate)
    true = cells.branches(die, measured=False)
    place = cells.rows, cells.columns
    noise = normals(die.seed, cells.layer, Term.COMPOSITE, *place, 2 * n_candidate)
    errors = composite_error * noise.reshape(-1, n_candidate, 2)

    closed = closed_switches(top.mask, values.shape[1])
    variance = die.bank.meter_error**2 * np.einsum("ckn,cn->ck", closed, values**2)
    reading = _banks(true, top.mask) * (1 + errors)
    estimate = _combine(base[:, None] + top.value, variance, reading, composite_error)
    best = np.arange(len(target)), np.argmin(np.abs(estimate - target[:, None]), axis=1)
    return CellSelection(*split_mask(top.mask[best], die.bank.n), estimate[best])


def _banks(true: Branches, masks: np.ndarray) -> np.ndarray:
    """Return what either bank truly conducts (n_cell, n_candidate, 2) [S]."""
    n = true.g_closed.shape[-1]
    g = [np.stack(realise(true, *split_mask(mask, n)), axis=-1) for mask in masks.T]
    return np.stack(g, axis=1)


def _combine(
    calculated: np.ndarray, variance: np.ndarray, reading: np.ndarray, composite_error: float
) -> np.ndarray:
    """Return the mean of the calculated and the read values, weighted by their variances."""
    variance_read = composite_error**2 * np.sum(reading**2, axis=-1)
    total = variance + variance_read
    trust = np.divide(variance, total, out=np.zeros_like(total), where=total > 0)
    return calculated + trust * (reading[..., 0] - reading[..., 1] - calculated)
