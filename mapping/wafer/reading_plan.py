"""Which combinations of switches to read, and how readings give the branches.

A bank read with one switch closed at a time gives each branch its own error. Readings of several
branches together, solved by least squares, share the meter's error: with a meter whose error is a
fixed number of siemens each branch is known better, by about sqrt(n) / 2. With a meter whose error
is a fraction of its reading nothing is gained, and one at a time is best: see `best_plan`.

`mapping.wafer.survey.select_estimated` chooses switches by these estimates.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from mapping.bank import ResistorBank
from mapping.wafer.meter import Meter


@dataclass(frozen=True)
class Plan:
    """Readings of one bank.

    closed: (n_reading, n) bool, which switches each reading closes.

    The last reading closes none and gives the leakage of all open switches together.
    """

    closed: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Branches of banks, as readings give them.

    g: (..., n) [S], what closing each switch adds.
    g_open: (...) [S], conductance with all switches open.
    covariance: (..., n + 1, n + 1) [S^2] of the errors of g and, last, of g_open.
    """

    g: np.ndarray
    g_open: np.ndarray
    covariance: np.ndarray


def one_at_a_time(n: int) -> Plan:
    """Return the plan that closes each switch alone, then none."""
    _check_n(n)
    return Plan(np.eye(n + 1, n, dtype=bool))


def weighing_plan(n: int) -> Plan:
    """Return the plan that closes about half of the switches in each reading, then none.

    The rows are those of a Hadamard matrix without its first row and column (an S-matrix), of the
    least power of two above n. Source: Harwit, Sloane, Hadamard Transform Optics, 1979.
    """
    _check_n(n)
    size = 1 << n.bit_length()
    s_matrix = hadamard(size)[1:, 1 : n + 1] < 0
    return Plan(np.vstack([s_matrix, np.zeros((1, n), bool)]))


def best_plan(bank: ResistorBank, meter: Meter) -> Plan:
    """Return the plan that determines sums of branches best with a meter.

    bank: its nominal values are assumed.

    Of the two plans it is the one that leaves less variance in the sum of a random half of the
    branches. With an exact meter both are equivalent, and the plan is one at a time.
    """
    if meter.exact:
        return one_at_a_time(bank.n)
    g = 1 / (bank.r_nominal + bank.r_on)
    plans = [one_at_a_time(bank.n), weighing_plan(bank.n)]

    def variance(plan: Plan) -> float:
        readings = (plan.closed @ g)[None]
        covariance = estimate(plan, readings, meter).covariance[0]
        half = np.append(np.full(bank.n, 0.5), 1.0)  # all switches open is part of every sum
        return float(half @ covariance @ half + np.trace(covariance[:-1, :-1]) / 4)

    return min(plans, key=variance)


def estimate(plan: Plan, readings: np.ndarray, meter: Meter) -> Estimate:
    """Return an estimate of the branches, by weighted least squares.

    readings: (n_bank, n_reading) [S]. Raises ValueError for readings that do not fit the plan, a
    plan that cannot tell the branches apart, or a meter without any error.
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
    meter.require_error()
    design = np.hstack([plan.closed.astype(float), np.ones((len(plan.closed), 1))])
    if np.linalg.matrix_rank(design) < n + 1:
        raise ValueError("the plan cannot tell its branches apart; it needs more readings")
    sigma = meter.sigma(readings)
    g, covariance = least_squares(design, readings, sigma)
    return Estimate(g[:, :n], g[:, n], covariance)


def least_squares(
    design: np.ndarray, readings: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares solution (n_bank, m) and its covariance (n_bank, m, m).

    design: (n_reading, m) of rank m.
    readings, sigma: (n_bank, n_reading), values and their standard errors in the same unit.
    """
    weight = 1.0 / (np.square(sigma) + 1e-300)
    normal = np.einsum("br,ri,rj->bij", weight, design, design, optimize=True)
    moment = np.einsum("br,ri,br->bi", weight, design, readings, optimize=True)
    # Scaling to a unit diagonal keeps siemens from making the matrix look singular.
    unit = 1.0 / np.sqrt(np.einsum("bii->bi", normal))
    covariance = np.linalg.inv(normal * unit[:, :, None] * unit[:, None, :])
    covariance *= unit[:, :, None] * unit[:, None, :]
    return np.einsum("bij,bj->bi", covariance, moment), covariance


def _check_n(n: int) -> None:
    if not 1 <= n <= 32:
        raise ValueError(f"a bank has 1 … 32 branches; got {n}")
