"""Which combinations of switches to read, and what each branch then is.

A bank read with one switch closed at a time gives each branch its own error. Readings of several
branches together, solved by least squares, share the meter's error: with a meter whose error is a
fixed number of siemens each branch is known better, by about sqrt(n) / 2. With a meter whose error
is a part of its reading nothing is won, and one at a time is best: see `best_plan`.

What selection makes of it: see `select_estimated`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from mapping.bank import Die, ResistorBank
from mapping.select import CellSelection, split_mask
from mapping.streams import Term, normals
from mapping.tiles import closed_switches
from tinynets import subset_sum

_CHUNK = 2**14  # cells whose candidates are held at once


@dataclass(frozen=True)
class Plan:
    """Readings of one bank: closed (n_reading, n) bool, which switches each of them closes.

    The last reading closes none and gives the leakage of all open switches together.
    """

    closed: np.ndarray


@dataclass(frozen=True)
class Meter:
    """Standard error of one reading: `relative`, a part of it, and `absolute` [S] on top of it.

    Raises ValueError for one that is negative or not finite.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("absolute", self.absolute)):
            if not 0 <= value < np.inf:
                raise ValueError(f"the meter's {name} error must be finite and >= 0; got {value}")

    @property
    def exact(self) -> bool:
        """Whether the meter has no error at all."""
        return not (self.relative or self.absolute)

    def sigma(self, readings: np.ndarray) -> np.ndarray:
        """Return the standard error [S] of readings [S] of any shape."""
        return np.hypot(self.relative * readings, self.absolute)


@dataclass(frozen=True)
class Estimate:
    """Branches of banks: g (..., n) closed minus open [S], and g_open (...) all switches open [S].

    covariance: (..., n + 1, n + 1) [S^2] of the errors of g, and of g_open as the last.
    """

    g: np.ndarray
    g_open: np.ndarray
    covariance: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Standard error (..., n) of each branch [S]."""
        variance = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return np.sqrt(variance[..., :-1])


@dataclass(frozen=True)
class Survey:
    """How the banks of a die are read before selection.

    plan: the readings of each bank. relative, absolute [S]: standard error of one reading, as a
    part of it and on top of it. n_candidate: nearest subsets that are weighed by their
    uncertainty; 1 takes the nearest whatever its uncertainty.
    Raises ValueError for a meter without any error or n_candidate below 1.
    """

    plan: Plan
    relative: float = 0.0
    absolute: float = 0.0
    n_candidate: int = 32

    def __post_init__(self) -> None:
        _check_meter(self.relative, self.absolute)
        if self.n_candidate < 1:
            raise ValueError(f"n_candidate must be at least 1; got {self.n_candidate}")


def one_at_a_time(n: int) -> Plan:
    """Return the plan that closes each switch alone, then none."""
    _check_n(n)
    return Plan(np.vstack([np.eye(n, dtype=bool), np.zeros((1, n), bool)]))


def weighing_plan(n: int) -> Plan:
    """Return the plan that closes about half of the switches in each reading, then none.

    The rows are a Hadamard matrix's without its first row and column (an S-matrix), the fewest
    power of two above n. Source: Harwit, Sloane, Hadamard Transform Optics, 1979.
    """
    _check_n(n)
    size = 1 << n.bit_length()
    s_matrix = hadamard(size)[1:, 1 : n + 1] < 0
    return Plan(np.vstack([s_matrix, np.zeros((1, n), bool)]))


def best_plan(bank: ResistorBank, *, relative: float = 0.0, absolute: float = 0.0) -> Plan:
    """Return the plan after which sums of branches are best known with a meter.

    bank: its nominal values are what is weighed; relative, absolute: as for `estimate`. Of the two
    plans, the one that leaves the least variance of the sum of a random half of the branches.
    """
    g = 1 / (bank.r_nominal + bank.r_on)
    plans = [one_at_a_time(bank.n), weighing_plan(bank.n)]

    def doubt(plan: Plan) -> float:
        readings = (plan.closed @ g)[None]
        found = estimate(plan, readings, relative=relative, absolute=absolute).covariance[0]
        half = np.append(np.full(bank.n, 0.5), 1.0)  # all switches open is part of every sum
        return float(half @ found @ half + np.trace(found[:-1, :-1]) / 4)

    return min(plans, key=doubt)


def plan_for(bank: ResistorBank, meter: Meter) -> Plan:
    """Return the best plan with a meter; with an exact one all are alike: one at a time."""
    if meter.exact:
        return one_at_a_time(bank.n)
    return best_plan(bank, relative=meter.relative, absolute=meter.absolute)


def estimate(
    plan: Plan, readings: np.ndarray, *, relative: float = 0.0, absolute: float = 0.0
) -> Estimate:
    """Return what the branches are, by weighted least squares.

    readings: (n_bank, n_reading) [S]. relative, absolute [S]: standard error of one reading, as a
    part of it and on top of it. Raises ValueError for readings that do not fit the plan, a plan
    that cannot tell the branches apart, or a meter without any error.
    """
    n = plan.closed.shape[1]
    if readings.ndim != 2 or readings.shape[1] != len(plan.closed):
        raise ValueError(
            f"readings have shape {readings.shape}; the plan has {len(plan.closed)} readings, pass "
            f"(n_bank, {len(plan.closed)})"
        )
    if not np.isfinite(readings).all():
        raise ValueError(
            "readings hold NaN or inf; mark such banks as defective and leave them out"
        )
    _check_meter(relative, absolute)
    design = np.hstack([plan.closed.astype(float), np.ones((len(plan.closed), 1))])
    if np.linalg.matrix_rank(design) < n + 1:
        raise ValueError("the plan cannot tell its branches apart; it needs more readings")
    sigma = Meter(relative, absolute).sigma(readings)
    g, covariance = least_squares(design, readings, sigma)
    return Estimate(g[:, :n], g[:, n], covariance)


def least_squares(
    design: np.ndarray, readings: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what least squares makes of readings, (n_bank, m), and its covariance (…, m, m).

    design: (n_reading, m) of rank m; readings, sigma: (n_bank, n_reading), values and their
    standard errors in the same unit.
    """
    weight = 1.0 / (np.square(sigma) + 1e-300)
    normal = np.einsum("br,ri,rj->bij", weight, design, design, optimize=True)
    moment = np.einsum("br,ri,br->bi", weight, design, readings, optimize=True)
    # Scaling to a unit diagonal keeps siemens from making the matrix look singular.
    unit = 1.0 / np.sqrt(np.einsum("bii->bi", normal))
    covariance = np.linalg.inv(normal * unit[:, :, None] * unit[:, None, :])
    covariance *= unit[:, :, None] * unit[:, None, :]
    return np.einsum("bij,bj->bi", covariance, moment), covariance


def survey_cells(die: Die, layer, rows, columns, survey: Survey) -> Estimate:
    """Read both banks of cells as a survey says, and return what their branches then are.

    layer, rows, columns: of the cells, as for `Die.branches`. Returns an Estimate of (n_cell, 2)
    banks. The readings belong to the die: the same arguments give the same again. Stuck switches
    are as they are, so that one that never closes is found to conduct nothing.
    """
    closed = survey.plan.closed
    if closed.shape[1] != die.bank.n:
        raise ValueError(
            f"the plan reads banks of {closed.shape[1]} branches, the die has {die.bank.n}; "
            f"make a plan for {die.bank.n}"
        )
    true = die.branches(layer, rows, columns, measured=False)
    g = (true.g_closed - true.g_open) @ closed.T + true.g_open.sum(axis=-1, keepdims=True)
    noise = normals(die.seed, layer, Term.SURVEY, rows, columns, 2 * len(closed)).reshape(g.shape)
    g += np.hypot(survey.relative * g, survey.absolute) * noise
    found = estimate(
        survey.plan,
        g.reshape(-1, len(closed)),
        relative=survey.relative,
        absolute=survey.absolute,
    )
    parts = (found.g, found.g_open, found.covariance)
    return Estimate(*(part.reshape(len(g), 2, *part.shape[1:]) for part in parts))


def select_estimated(found: Estimate, target, *, n_candidate: int = 32) -> CellSelection:
    """Choose the switches of every cell by least expected squared error.

    The error of a subset is that of its predicted sum, and the variance of that sum: the subset
    of least (predicted - target)^2 + variance wins, among the n_candidate nearest by prediction.

    found: of (n_cell, 2) banks; target: (n_cell,) [S].
    """
    n = found.g.shape[-1]
    values = np.concatenate([found.g[:, 0], -found.g[:, 1]], axis=1)
    base = found.g_open[:, 0] - found.g_open[:, 1]
    top = subset_sum.solve_top(values, target - base, min(n_candidate, 4**n))
    closed = closed_switches(top.mask, 2 * n).reshape(*top.mask.shape, 2, n)
    # All switches open is part of every sum; banks err independently of each other.
    summed = np.concatenate([closed, np.ones((*closed.shape[:-1], 1), bool)], axis=-1)
    variance = np.einsum("cksi,csij,cksj->ck", summed, found.covariance, summed, optimize=True)
    best = np.arange(len(base)), np.argmin(top.error**2 + variance, axis=1)
    return CellSelection(*split_mask(top.mask[best], n), base + top.value[best])


def select_surveyed(die: Die, layer, rows, columns, target, survey: Survey) -> CellSelection:
    """Survey the cells of a die and choose their switches; arguments as of the two functions."""
    parts = []
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = survey_cells(die, layer, rows[part], columns[part], survey)
        chosen = select_estimated(found, target[part], n_candidate=survey.n_candidate)
        parts.append((chosen.chosen_pos, chosen.chosen_neg, chosen.predicted))
    return CellSelection(*map(np.concatenate, zip(*parts)))


def _check_meter(relative: float, absolute: float) -> None:
    if not (relative >= 0 and absolute >= 0 and relative + absolute > 0):
        raise ValueError("give the meter's error: relative or absolute must be above zero")


def _check_n(n: int) -> None:
    if not 1 <= n <= 32:
        raise ValueError(f"a bank has 1 … 32 branches; got {n}")
