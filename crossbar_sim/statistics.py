"""Intervals for what a sample of dies says."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

#: Resamples of a bootstrap.
N_RESAMPLE = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def mean_interval(values: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of values (n,) with a bootstrap percentile interval.

    A single value has an interval without bounds. Source: Efron, Ann. Statist. 7 (1979) 1.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Interval(float(values.mean()), -np.inf, np.inf)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(N_RESAMPLE, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def yield_interval(good: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Return the share of good dies with Wilson's interval. Source: Wilson, JASA 22 (1927) 209."""
    if not 0 <= good <= total or total < 1:
        raise ValueError(
            f"{good} good of {total} dies makes no share; pass 0 <= good <= total >= 1"
        )
    found = stats.binomtest(good, total).proportion_ci(confidence, method="wilson")
    return Interval(good / total, float(found.low), float(found.high))


def paired_difference(
    a: dict[int, float], b: dict[int, float], *, confidence: float = 0.95
) -> Interval:
    """Return the mean of b - a over the dies (seeds) that both have, with its interval.

    The same die in both makes the difference far more certain than the two means.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ValueError("the two have no die in common; run them on the same seeds")
    return mean_interval(np.array([b[die] - a[die] for die in shared]), confidence=confidence)
