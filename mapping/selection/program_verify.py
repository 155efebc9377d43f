"""Program-verify: set a cell's switches in several ways, read each as a whole, keep the best.

Branches read one by one leave an error in their sum, different for each choice of branches. The
best of many choices that are equally good by calculation is then several times nearer.
"""

import numpy as np

from mapping.bank import Die
from mapping.bank.streams import Term, normals
from mapping.bank.switches import closed_switches, realise, split_mask
from mapping.selection.select import CellSelection, subset_problem
from tinynets import subset_sum


def program_verify(
    die: Die,
    layer,
    rows,
    columns,
    target,
    *,
    n_candidate=8,
    composite_error=0.0,
) -> CellSelection:
    """Choose the switches of every cell, with readings of the cell as a whole.

    layer, rows, columns: of the cells, as for `Die.branches`; target: (n_cell,) [S].
    n_candidate: choices read, the nearest by calculation. composite_error: relative error of one
    reading of one bank with its switches set.
    A calculated and a read value are averaged by their variances; the result is `predicted`.
    Readings belong to the die: the same arguments give the same again.
    Raises ValueError for n_candidate below 1.
    """
    rows, columns, target = np.asarray(rows), np.asarray(columns), np.asarray(target, float)
    values, base = subset_problem(die.branches(layer, rows, columns, measured=True))
    n_candidate = min(n_candidate, 2 ** values.shape[1])
    found = subset_sum.solve_top(values, target - base, n_candidate)
    true = die.branches(layer, rows, columns, measured=False)
    noise = normals(die.seed, layer, Term.COMPOSITE, rows, columns, 2 * n_candidate)
    errors = composite_error * noise.reshape(-1, n_candidate, 2)

    doubt = die.bank.meter_error**2 * _sum_of_squares(found.mask, values)
    reading = _banks(true, found.mask) * (1 + errors)
    estimate = _combine(base[:, None] + found.value, doubt, reading, composite_error)
    best = np.arange(len(target)), np.argmin(np.abs(estimate - target[:, None]), axis=1)
    return CellSelection(*split_mask(found.mask[best], die.bank.n), estimate[best])


def _banks(true, masks):
    """Return (n_cell, n_candidate, 2) what either bank truly conducts [S]."""
    n = true.g_closed.shape[-1]
    g = [np.stack(realise(true, *split_mask(mask, n)), axis=-1) for mask in masks.T]
    return np.stack(g, axis=1)


def _sum_of_squares(masks, values):
    closed = closed_switches(masks, values.shape[1])
    return np.einsum("ckn,cn->ck", closed, values**2)


def _combine(calculated, doubt, reading, composite_error):
    """Return the mean of the calculated and the read values, weighted by their variances."""
    doubt_read = composite_error**2 * np.sum(reading**2, axis=-1)
    total = doubt + doubt_read
    trust = np.divide(doubt, total, out=np.zeros_like(total), where=total > 0)
    return calculated + trust * (reading[..., 0] - reading[..., 1] - calculated)
