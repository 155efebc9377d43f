"""Solve readings of several branches at once, with gaps, for each branch.

Open switches leak as the bank's `r_off` specifies. So readings may be missing, even the one that
closes no switch, as long as the others determine the branches.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from mapping.bank import ResistorBank
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan, least_squares

_CHUNK = 2**14  # banks solved at once
_ROUNDS = 3  # the leakage depends on the resistors, by R / r_off: little
_CHANCE = 1e-9  # probability that the readings of a sound bank count as disagreeing
_DEAD = 0.2  # fraction of its nominal conductance below which a branch adds nothing
_SIGMAS = 6.0


@dataclass(frozen=True)
class Solved:
    """Banks solved from their readings.

    g: (n_bank, n) [S], each branch through its closed switch; NaN where it is not determined.
    covariance: (n_bank, n, n) [S^2] of the errors of g; 0 where it is not determined.
    agrees: (n_bank,) bool, True if the readings agree within the meter's error.
    stuck: (n_bank, n) bool, True for a switch that is stuck closed.
    """

    g: np.ndarray
    covariance: np.ndarray
    agrees: np.ndarray
    stuck: np.ndarray


def told_apart(closed: np.ndarray) -> np.ndarray:
    """Return (n,) bool: the branches that readings of `closed` (n_reading, n) bool determine."""
    if not len(closed):
        return np.zeros(closed.shape[1], bool)
    design = closed.astype(float)
    image = np.linalg.pinv(design) @ design
    return np.isclose(np.diagonal(image), 1.0, atol=1e-6)


def solve_banks(plan: Plan, readings: np.ndarray, bank: ResistorBank, meter: Meter) -> Solved:
    """Return the branches of banks, by least squares weighted with the meter's error.

    readings: (n_bank, n_reading) [S], NaN where there is none.

    A branch that the readings do not determine is NaN; so is every branch of a bank whose readings
    disagree, unless a switch that is stuck closed explains it. Raises ValueError for a plan or
    readings of another size, and for a meter without any error.
    """
    n = plan.closed.shape[1]
    if n != bank.n or readings.ndim != 2 or readings.shape[1] != len(plan.closed):
        raise ValueError(
            f"readings of shape {readings.shape} and a plan of {len(plan.closed)} readings of {n} "
            f"branches do not fit banks of {bank.n}; pass (n_bank, n_reading) of such banks"
        )
    meter.require_error()
    solved = Solved(
        np.full((len(readings), n), np.nan),
        np.zeros((len(readings), n, n)),
        np.ones(len(readings), bool),
        np.zeros((len(readings), n), bool),
    )
    patterns, which = np.unique(~np.isnan(readings), axis=0, return_inverse=True)
    for k, rows in enumerate(patterns):
        banks = np.flatnonzero(which.ravel() == k)
        for start in range(0, len(banks), _CHUNK):
            part = banks[start : start + _CHUNK]
            _solve_alike(solved, part, plan.closed[rows], readings[part][:, rows], bank, meter)
    return solved


def _solve_alike(
    solved: Solved,
    banks: np.ndarray,
    closed: np.ndarray,
    readings: np.ndarray,
    bank: ResistorBank,
    meter: Meter,
) -> None:
    """Put the solution of banks that have the same readings into `solved`."""
    known = told_apart(closed)
    if not known.any():
        return
    # Branches that are not determined enter by those of their sums that are.
    design = np.hstack([closed[:, known].astype(float), _basis(closed[:, ~known])])
    sigma, n_known = meter.sigma(readings), int(known.sum())
    g, g_open = np.full((len(banks), bank.n), np.nan), _leakage(bank, len(banks))
    rest = fitted = covariance = np.empty(0)  # those of the last round count
    for _ in range(_ROUNDS):
        rest = readings - g_open.sum(axis=1, keepdims=True)
        fitted, covariance = least_squares(design, rest, sigma)
        g[:, known] = fitted[:, :n_known] + g_open[:, known]
        g_open[:, known] = _open(g[:, known], bank)
    agrees = _agree(rest - fitted @ design.T, sigma, g_open, len(closed) - design.shape[1])
    solved.g[banks] = np.where(agrees[:, None], g, np.nan)
    at = np.flatnonzero(known)
    solved.covariance[np.ix_(banks, at, at)] = covariance[:, :n_known, :n_known]
    solved.covariance[banks[~agrees]] = 0.0
    solved.agrees[banks] = agrees
    _mark_stuck(solved, banks[~agrees], closed, readings[~agrees], bank, meter)


def _mark_stuck(
    solved: Solved,
    banks: np.ndarray,
    closed: np.ndarray,
    readings: np.ndarray,
    bank: ResistorBank,
    meter: Meter,
) -> None:
    """Explain banks that disagree by a switch that is stuck closed, where that fits.

    Such a bank conducts too much with all switches open, and one branch adds nothing when closed.
    If several add nothing, the one of nearest nominal value is taken: the bank conducts the same.
    """
    design = np.hstack([closed.astype(float), np.ones((len(closed), 1))])
    if not len(banks) or np.linalg.matrix_rank(design) <= bank.n:
        return
    sigma, g_open = meter.sigma(readings), _leakage(bank, len(banks))
    fitted, covariance = least_squares(design, readings, sigma)
    excess = fitted[:, -1] - g_open.sum(axis=1)
    fits = _agree(readings - fitted @ design.T, sigma, g_open, len(closed) - bank.n - 1)
    fits &= excess > _SIGMAS * np.sqrt(covariance[:, -1, -1])
    g_nominal = 1 / (bank.r_nominal + bank.r_on)
    dead = np.abs(fitted[:, :-1]) < _DEAD * g_nominal
    fits &= dead.any(axis=1)
    at = np.flatnonzero(fits)
    far = np.abs(np.log(excess[at, None] / g_nominal))
    k = np.argmin(np.where(dead[at], far, np.inf), axis=1)
    g = fitted[at, :-1] + _open(fitted[at, :-1], bank)
    g[np.arange(len(at)), k] = excess[at]
    solved.g[banks[at]] = g
    solved.covariance[banks[at]] = covariance[at, :-1, :-1]
    solved.stuck[banks[at], k] = True
    solved.agrees[banks[at]] = True


def _agree(residual: np.ndarray, sigma: np.ndarray, g_open: np.ndarray, n_spare: int) -> np.ndarray:
    """Return (n_bank,) bool: whether meter error and leakage explain the residuals [S]."""
    if n_spare <= 0:
        return np.ones(len(residual), bool)
    leakage = g_open.sum(axis=1, keepdims=True)
    square = np.square(residual) / (np.square(sigma) + np.square(leakage) + 1e-300)
    return square.sum(axis=1) <= chdtri(n_spare, _CHANCE)


def _basis(closed: np.ndarray) -> np.ndarray:
    """Return orthonormal columns (n_reading, rank) that span those of `closed`."""
    u, size, _ = np.linalg.svd(closed.astype(float), full_matrices=False)
    return u[:, size > 1e-9]


def _leakage(bank: ResistorBank, n_bank: int) -> np.ndarray:
    """Return (n_bank, n) [S]: what each nominal branch conducts while its switch is open."""
    return np.tile(1 / (bank.r_nominal + bank.r_off), (n_bank, 1))


def _open(g: np.ndarray, bank: ResistorBank) -> np.ndarray:
    """Return what branches that conduct g [S] when closed conduct when open; 0 for no branch."""
    conducts = g > 0
    ohm = 1 / np.where(conducts, g, 1.0) - bank.r_on + bank.r_off
    return np.where(conducts, 1 / ohm, 0.0)
