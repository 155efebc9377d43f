"""Shares of samples with their intervals, and two networks compared on the same samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

#: Probability with which every interval holds the true value.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """Return the columns of a table: NAME, NAME_low and NAME_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def share_interval(good: int, total: int) -> Interval:
    """Return a share with Wilson's interval. Source: Wilson, JASA 22 (1927) 209."""
    if not 0 <= good <= total or total < 1:
        raise ValueError(f"expected 0 <= good <= total and total >= 1; got {good} good of {total}")
    bounds = stats.binomtest(good, total).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(good / total, float(bounds.low), float(bounds.high))


def exact_test(lost: int, gained: int) -> float:
    """Return the probability of a split as uneven as this one, if either side is as likely.

    Source: McNemar, Psychometrika 12 (1947) 153, with the exact binomial distribution.
    """
    n = lost + gained
    return float(stats.binomtest(lost, n).pvalue) if n else 1.0


def compared(right: np.ndarray | None, reference: np.ndarray | None = None) -> dict[str, Any]:
    """Return the interval of a share of samples, and how it differs from another's.

    right: (n_sample,) bool, the samples that count; None if nothing does.
    reference: those of the network to compare with, the same samples; None for no comparison.

    low, high: Wilson's interval of the share, as if the samples were drawn at random. It covers
        the choice of samples alone, not that of dies or trainings.
    lost, gained: numbers of samples that only the reference, and that only this network has.
    p: see `exact_test`. All are None where they do not exist.
    """
    row: dict[str, Any] = dict.fromkeys(("low", "high", "lost", "gained", "p"))
    if right is None:
        return row
    found = share_interval(int(right.sum()), len(right))
    row |= {"low": found.low, "high": found.high}
    if reference is None:
        return row
    lost, gained = int((reference & ~right).sum()), int((right & ~reference).sum())
    return row | {"lost": lost, "gained": gained, "p": exact_test(lost, gained)}
