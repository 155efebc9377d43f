"""Points compared on the same dies: which is best, and which others are shown to be worse."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossbar_sim.findings.shares import CONFIDENCE, Interval
from crossbar_sim.report.formats import SIGNIFICANT


@dataclass(frozen=True)
class Pairs:
    """Every point against every other, on the dies that both have.

    mean: (n_point, n_point), the mean of what a column has more than a row.
    error: its standard error; NaN where a pair has fewer than two independent differences.
    freedom: degrees of freedom of each pair.
    p: probability of a difference as large by chance, adjusted for all pairs; NaN without one.
    """

    mean: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    p: np.ndarray

    @property
    def n_test(self) -> int:
        """The number of pairs that are tested."""
        return int(np.isfinite(self.p).sum()) // 2

    def needed(self, n_unit: int) -> float:
        """Return by how many standard errors a single pair must differ to be told apart.

        n_unit: number of independent differences of the pair.
        """
        share = (1 - CONFIDENCE) / (2 * max(self.n_test, 1))
        return float(stats.t.isf(share, n_unit - 1))

    def interval(self, a: int, b: int) -> Interval:
        """Return what point b has more than point a, with the interval of this pair alone."""
        mean, error = float(self.mean[a, b]), float(self.error[a, b])
        if np.isnan(error):
            return Interval(mean, -np.inf, np.inf)
        wide = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom[a, b])) * error
        return Interval(mean, mean - wide, mean + wide)

    def differs(self, a: int, b: int) -> bool:
        """Return whether two points differ by more than the dies explain, among all pairs."""
        return bool(self.p[a, b] < SIGNIFICANT)

    def differs_alone(self, a: int, b: int) -> bool:
        """Return whether two points would differ if no other pair had been compared."""
        found = self.interval(a, b)
        return found.low > 0 or found.high < 0


def compare(values: np.ndarray) -> Pairs:
    """Compare all points by paired t tests, adjusted for the number of pairs.

    values: (n_point, n_training, n_die), a metric; NaN where a point lacks the die.

    Independent are the trainings, by the mean over their dies, or the dies of a single training, as
    in `intervals.paired_difference`. All pairs are adjusted for, not only those of the best point:
    so the one that happens to be best may be picked afterwards.
    Source: Holm, Scand. J. Statist. 6 (1979) 65.
    """
    n = len(values)
    mean, error, freedom = np.zeros((n, n)), np.full((n, n), np.nan), np.zeros((n, n))
    for k in range(n):
        each = values - values[k]  # (n_point, n_training, n_die)
        units = _means(each) if values.shape[1] > 1 else each[:, 0]
        count = np.isfinite(units).sum(axis=1)
        mean[k] = _means(units)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.nansum((units - mean[k][:, None]) ** 2, axis=1) / (count - 1)
            error[k] = np.where(count > 1, np.sqrt(spread / count), np.nan)
        freedom[k] = count - 1
    np.fill_diagonal(error, np.nan)
    upper = np.triu_indices(n, 1)
    p = np.full((n, n), np.nan)
    p[upper] = holm(_probability(mean[upper], error[upper], freedom[upper]))
    return Pairs(mean, error, freedom, np.fmax(p, p.T))


def _means(values: np.ndarray) -> np.ndarray:
    """Return means over the last axis of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(axis=-1) / there.sum(axis=-1)


def _probability(mean: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return the two-sided p of Student's t; of equal differences, 1 if they are 0, else 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    return np.where(np.isnan(error), np.nan, 2 * stats.t.sf(t, freedom))


def holm(p: np.ndarray) -> np.ndarray:
    """Return probabilities (n,) adjusted for their number; NaN, which is no test, stays NaN."""
    p = np.asarray(p, dtype=float)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted
