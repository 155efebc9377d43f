"""Read the cells of a die with a meter, and choose switches by the readings."""

from dataclasses import dataclass

import numpy as np

from mapping.bank import Cells, Die
from mapping.bank.streams import Term, normals
from mapping.bank.switches import closed_switches, split_mask
from mapping.selection.select import CellSelection
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Estimate, Plan, estimate
from tinynets import subset_sum

_CHUNK = 2**14  # cells whose candidates are held at once


@dataclass(frozen=True)
class Survey:
    """How the banks of a die are read before selection.

    plan: the readings of each bank.
    meter: the standard error of one reading.
    n_candidate: how many of the nearest subsets are weighed by their uncertainty; 1 takes the
        nearest whatever its uncertainty.

    Raises ValueError for a meter without any error or n_candidate below 1.
    """

    plan: Plan
    meter: Meter
    n_candidate: int = 32

    def __post_init__(self) -> None:
        self.meter.require_error()
        if self.n_candidate < 1:
            raise ValueError(f"n_candidate must be at least 1; got {self.n_candidate}")


def survey_cells(die: Die, cells: Cells, survey: Survey) -> Estimate:
    """Read both banks of cells as a survey says, and return their estimated branches.

    Returns an Estimate of (n_cell, 2) banks. The readings belong to the die: the same arguments
    give the same readings again. Stuck switches are read as they are, so one that never closes
    conducts nothing.
    """
    closed = survey.plan.closed
    if closed.shape[1] != die.bank.n:
        raise ValueError(
            f"the plan reads banks of {closed.shape[1]} branches; the die has {die.bank.n}; "
            f"make a plan for {die.bank.n}"
        )
    true = cells.branches(die, measured=False)
    g = (true.g_closed - true.g_open) @ closed.T + true.g_open.sum(axis=-1, keepdims=True)
    place = cells.rows, cells.columns
    noise = normals(die.seed, cells.layer, Term.SURVEY, *place, 2 * len(closed)).reshape(g.shape)
    g += survey.meter.sigma(g) * noise
    flat = estimate(survey.plan, g.reshape(-1, len(closed)), survey.meter)
    arrays = (flat.g, flat.g_open, flat.covariance)
    return Estimate(*(array.reshape(len(g), 2, *array.shape[1:]) for array in arrays))


def select_estimated(
    banks: Estimate, target: np.ndarray, *, n_candidate: int = 32
) -> CellSelection:
    """Choose the switches of every cell by least expected squared error.

    banks: an Estimate of (n_cell, 2) banks.
    target: (n_cell,) [S].
    n_candidate: how many of the nearest subsets are compared.

    The expected squared error of a subset is (predicted - target)^2 plus the variance of its sum.
    """
    n = banks.g.shape[-1]
    values = np.concatenate([banks.g[:, 0], -banks.g[:, 1]], axis=1)
    base = banks.g_open[:, 0] - banks.g_open[:, 1]
    top = subset_sum.solve_top(values, target - base, min(n_candidate, 4**n))
    closed = closed_switches(top.mask, 2 * n).reshape(*top.mask.shape, 2, n)
    # All switches open is part of every sum; banks err independently of each other.
    summed = np.concatenate([closed, np.ones((*closed.shape[:-1], 1), bool)], axis=-1)
    variance = np.einsum("cksi,csij,cksj->ck", summed, banks.covariance, summed, optimize=True)
    best = np.arange(len(base)), np.argmin(top.error**2 + variance, axis=1)
    return CellSelection(*split_mask(top.mask[best], n), base + top.value[best])


def select_surveyed(die: Die, cells: Cells, target: np.ndarray, survey: Survey) -> CellSelection:
    """Survey the cells of a die and choose their switches; see `select_estimated`."""
    chunks = []
    for start in range(0, len(cells), _CHUNK):
        part = slice(start, start + _CHUNK)
        banks = survey_cells(die, cells[part], survey)
        chosen = select_estimated(banks, target[part], n_candidate=survey.n_candidate)
        chunks.append((chosen.chosen_pos, chosen.chosen_neg, chosen.predicted))
    return CellSelection(*map(np.concatenate, zip(*chunks)))
