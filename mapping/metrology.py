"""Which combinations of switches to read, and what each branch then is.

A bank read with one switch closed at a time gives each branch its own error. Readings of several
branches together, solved by least squares, share the meter's error: with a meter whose error is a
fixed number of siemens each branch is known better, by about sqrt(n) / 2. With a meter whose error
is a part of its reading nothing is won, and one at a time is best.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard


@dataclass(frozen=True)
class Plan:
    """Readings of one bank: closed (n_reading, n) bool, which switches each of them closes.

    The last reading closes none and gives the leakage of all open switches together.
    """

    closed: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Branches of a bank: g (n_bank, n) closed minus open [S], their standard error, and the
    leakage g_open (n_bank,) of all switches open [S]."""

    g: np.ndarray
    sigma: np.ndarray
    g_open: np.ndarray


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
    if not (relative >= 0 and absolute >= 0 and relative + absolute > 0):
        raise ValueError("give the meter's error: relative or absolute must be above zero")
    design = np.hstack([plan.closed.astype(float), np.ones((len(plan.closed), 1))])
    if np.linalg.matrix_rank(design) < n + 1:
        raise ValueError("the plan cannot tell its branches apart; it needs more readings")
    weight = 1.0 / (np.square(relative * readings) + absolute**2 + 1e-300)
    normal = np.einsum("br,ri,rj->bij", weight, design, design)
    moment = np.einsum("br,ri,br->bi", weight, design, readings)
    # Scaling to a unit diagonal keeps siemens from making the matrix look singular.
    unit = 1.0 / np.sqrt(np.einsum("bii->bi", normal))
    covariance = np.linalg.inv(normal * unit[:, :, None] * unit[:, None, :])
    covariance *= unit[:, :, None] * unit[:, None, :]
    g = np.einsum("bij,bj->bi", covariance, moment)
    sigma = np.sqrt(np.einsum("bii->bi", covariance))
    return Estimate(g[:, :n], sigma[:, :n], g[:, n])


def _check_n(n: int) -> None:
    if not 1 <= n <= 32:
        raise ValueError(f"a bank has 1 … 32 branches; got {n}")
