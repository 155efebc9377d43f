"""Confidence intervals of means and shares over dies and trained networks."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy import stats

from crossbar_sim.findings.shares import CONFIDENCE, Interval, share_interval


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the mean of independent values (n,) with Student's t interval.

    A single value has an unbounded interval. The coverage is exact for normal values at any n, and
    lower than asked for a skewed metric (benchmarks/studies/interval_coverage.py). Raises
    ValueError without a value.
    Source: Student, Biometrika 6 (1908) 1.
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise ValueError("expected at least one value; got none")
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    wide = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values)
    return Interval(mean, float(mean - wide), float(mean + wide))


def geometric(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Return the columns of the geometric mean of errors (n,); zeros if any of them is 0.

    The interval is that of the mean logarithm, see `mean_interval`.
    """
    values = np.asarray(values, dtype=float)
    if not values.all():
        return {name: 0.0, name + "_low": 0.0, name + "_high": float(values.max())}
    found = mean_interval(np.log(values)).columns(name)
    return {key: float(np.exp(value)) for key, value in found.items()}


def nested_interval(groups: Sequence[Sequence[float]] | np.ndarray) -> Interval:
    """Return the mean over trainings and their dies, with its interval.

    groups: the values of each training's own dies, the same number for each (n_training, n_die).

    The dies of one training share its network and are not independent. With several trainings the
    interval is therefore that of the trainings' means and covers both trainings and dies; with one
    training it covers dies alone.
    Source: Cox, Solomon, Components of Variance (2003), balanced nested samples.
    """
    table = np.asarray(groups, dtype=float)
    if table.ndim != 2:
        raise ValueError(
            f"expected the same number of dies for each training; got shape {table.shape}"
        )
    return mean_interval(table.mean(axis=1) if len(table) > 1 else table[0])


def yield_interval(good: int, total: int) -> Interval:
    """Return the share of good dies with Wilson's interval; see `share_interval`."""
    return share_interval(good, total)


def clustered_share(outcomes: np.ndarray) -> Interval:
    """Return the share of true outcomes of which those of one group are not independent.

    outcomes: (n_group, n_each) bool, such as targets of banks.

    Wilson's interval for as many independent outcomes as have the variance of the groups' means; at
    least one for each group, which is all that is known if every outcome is the same.
    Source: Korn, Graubard, Survey Methodology 24 (1998) 193, with Wilson's interval for their exact
    one.
    """
    outcomes = np.asarray(outcomes, dtype=float)
    if outcomes.ndim != 2 or len(outcomes) < 2 or not outcomes.shape[1]:
        raise ValueError(
            f"expected outcomes (n_group, n_each) of two groups or more; got {outcomes.shape}"
        )
    share, n_group = float(outcomes.mean()), len(outcomes)
    variance = float(outcomes.mean(axis=1).var(ddof=1)) / n_group
    independent = share * (1 - share) / variance if variance > 0 else n_group
    count = min(max(independent, n_group), outcomes.size)
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    wide = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z**2 / count)
    return Interval(share, float(centre - wide), float(centre + wide))


def image_half_width(accuracy: float, n_image: float) -> float:
    """Return the half width of the interval that n_image test images leave to an accuracy.

    The interval over dies and trainings does not cover this, since all dies see the same images.
    """
    return yield_interval(round(accuracy * n_image), round(n_image)).half_width


def paired_difference(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> Interval:
    """Return the mean of b - a over the dies that both have, with its interval.

    a, b: values by die, or by (training, die); the interval is then that of the trainings' means.

    The difference on the same dies is far more certain than the two means.
    """
    shared = [key for key in a if key in b]
    if not shared:
        raise ValueError("a and b have no die in common; run both on the same seeds")
    by_training: dict[Hashable, list[float]] = {}
    for key in shared:
        training = key[0] if isinstance(key, tuple) else None
        by_training.setdefault(training, []).append(b[key] - a[key])
    sizes = {len(differences) for differences in by_training.values()}
    if len(sizes) > 1:
        raise ValueError(
            "a and b share more dies of one training than of another; run every die of both"
        )
    return nested_interval(list(by_training.values()))
