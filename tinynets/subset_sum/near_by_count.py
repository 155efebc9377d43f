"""A near subset sum of exactly k of many values, where the nearest one is out of reach.

Random subsets of k are drawn, and the one whose sum is nearest to the target is taken. Some of its
values and some of the others are then chosen anew, exactly (`by_count`). The nearest subset of all
is at least as near, so an error found here is an upper bound of the exact search's.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynets.subset_sum.by_count import solve_by_count

STARTS = 32  # random subsets for each target
FREE = 16  # values chosen anew


def near_by_count(
    values: ArrayLike, targets: ArrayLike, k: int, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Return a subset of exactly k values near each target, (n_target, n) bool.

    values: (n,), one bank, any sign and unit.
    targets: (n_target,), same unit.
    k: number of values, 1 … n.

    Up to FREE values the subset is the nearest. Raises ValueError for wrong shapes and for a k
    outside 1 … n.
    """
    bank, goals = np.asarray(values, np.float64), np.asarray(targets, np.float64)
    if bank.ndim != 1 or goals.ndim != 1 or not 1 <= k <= len(bank):
        raise ValueError(
            "expected values (n,), targets (n_target,) and k in 1 … n; got "
            f"{bank.shape}, {goals.shape} and k = {k}; pass one bank at a time"
        )
    chosen = np.zeros((len(goals), len(bank)), np.bool_)
    for subset, goal in zip(chosen, goals):
        subset[_near(bank, goal, k, random)] = True
    return chosen


def _near(values: NDArray, target: float, k: int, random: np.random.Generator) -> NDArray:
    """Return the places (k,) of one subset."""
    orders = random.permuted(np.tile(np.arange(len(values)), (STARTS, 1)), axis=1)
    sums = values[orders[:, :k]].sum(axis=1)
    order = orders[np.argmin(np.abs(sums - target))]
    n_out = min(len(values) - k, max(FREE // 2, FREE - k))
    n_in = min(k, FREE - n_out)
    kept, free = order[: k - n_in], order[k - n_in : k + n_out]
    rest = target - values[kept].sum()
    again = solve_by_count(values[free], [rest], n_in).chosen[0, n_in]
    return np.concatenate([kept, free[again]])
