"""Which switches to close: exact subset sums over both banks of every cell, leakage included."""

from dataclasses import dataclass

import numpy as np

from mapping.bank import Branches
from tinynets import subset_sum

_HIGHEST_BRANCH = 32


@dataclass(frozen=True)
class CellSelection:
    """The switches to close in each cell, and the differential conductance they should give.

    chosen_pos, chosen_neg: (n_cell,) uint32, bit k closes branch k; predicted: (n_cell,) [S].
    """

    chosen_pos: np.ndarray
    chosen_neg: np.ndarray
    predicted: np.ndarray


def select(branches: Branches, target, *, objective="error", tolerance=0.0) -> CellSelection:
    """Choose the switches of both banks of every cell at once.

    branches: what each branch is believed to conduct, (n_cell, 2, n) [S];
    target: (n_cell,) differential conductance g_pos - g_neg [S].
    Source: base = sum g_open and delta_k = g_closed - g_open make it a subset-sum problem over
    [delta_pos, -delta_neg] with the target less base_pos - base_neg.
    """
    values, base = subset_problem(branches)
    found = subset_sum.solve(values, np.asarray(target, float) - base, tolerance=tolerance)
    pos, neg = split_mask(found.mask, branches.g_closed.shape[-1])
    return CellSelection(pos, neg, base + found.value)


def realise(branches: Branches, chosen_pos, chosen_neg):
    """Return what the banks conduct with the chosen switches closed and the others open.

    branches: the true ones; chosen_pos, chosen_neg: (n_cell,) masks.
    Returns g_pos, g_neg: (n_cell,) [S].
    """
    chosen = np.stack([chosen_pos, chosen_neg], axis=1).astype(np.uint64)
    closed = closed_switches(chosen, branches.g_closed.shape[-1])
    g = np.where(closed, branches.g_closed, branches.g_open).sum(axis=-1)
    return g[:, 0], g[:, 1]


def subset_problem(branches: Branches):
    """Return values (n_cell, 2 n) [S] of closing each switch, and base (n_cell,) of all open."""
    delta = branches.g_closed - branches.g_open
    base = branches.g_open.sum(axis=-1)
    return np.concatenate([delta[:, 0], -delta[:, 1]], axis=1), base[:, 0] - base[:, 1]


def split_mask(mask, n):
    """Return the (uint32) masks of the positive and the negative bank of a mask over both."""
    low = np.uint64((1 << n) - 1)
    return (mask & low).astype(np.uint32), (mask >> np.uint64(n)).astype(np.uint32)


def closed_switches(chosen, n):
    """Return (..., n) bool, which switches a (...) mask closes."""
    return (np.asarray(chosen, np.uint64)[..., None] >> np.arange(n, dtype=np.uint64)) & 1 == 1
