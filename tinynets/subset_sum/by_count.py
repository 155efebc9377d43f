"""The nearest subset sum of exactly k values, for every k at once.

The sums of either half are listed by their number of values, each list in ascending order. A sum of
exactly k values is one of i values and one of k - i, so the walks over the pairs of lists
(i, k - i) see every candidate. Sums are added in float64 and equal ones are not ranked; what is
asked for here is the distance, not the preferred subset.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynets.files.compiled import kernels

jit = kernels()

LARGEST_LISTS = 1 << 24  # sums of a half: 128 MB


@dataclass(frozen=True)
class CountedSelection:
    """Nearest subsets by their number of values.

    error: (n_target, largest + 1), sum - target of the nearest subset of exactly k values [unit of
        the values].
    chosen: (n_target, largest + 1, n) bool, the subset.
    """

    error: NDArray[np.float64]
    chosen: NDArray[np.bool_]


def nearest_by_count(values: ArrayLike, targets: ArrayLike, largest: int) -> NDArray[np.float64]:
    """Return the distance of each target to the nearest sum of exactly k values, k = 0 … largest.

    values: (n,), one bank, any sign and unit.
    targets: (n_target,), same unit.
    largest: number of values up to which subsets are asked for, 0 … n.

    Returns (n_target, largest + 1), same unit. Raises ValueError for wrong shapes, for a largest
    outside 0 … n, and if a half has too many such subsets.
    Source: as `solve`, with lists by cardinality.
    """
    halves, goals = _halves(values, targets, largest, members=False)
    return np.abs(_nearest(halves, goals, largest)[0])


def solve_by_count(values: ArrayLike, targets: ArrayLike, largest: int) -> CountedSelection:
    """Return the nearest subsets of exactly k values, k = 0 … largest; otherwise as above."""
    halves, goals = _halves(values, targets, largest, members=True)
    error, place = _nearest(halves, goals, largest)
    parts = [members[place[..., h]] for h, (_, _, members) in enumerate(halves)]
    return CountedSelection(error, np.concatenate(parts, axis=-1))


# ---- lists --------------------------------------------------------------------------------------

Half = tuple[NDArray, NDArray, NDArray]
"""Sums of all lists one after the other, where each list begins, members (n_sum, n_half)."""


def _halves(
    values: ArrayLike, targets: ArrayLike, largest: int, *, members: bool
) -> tuple[list[Half], NDArray]:
    """Return the lists of either half, and the checked targets."""
    bank, goals = np.asarray(values, np.float64), np.asarray(targets, np.float64)
    if bank.ndim != 1 or goals.ndim != 1 or not len(bank):
        raise ValueError(
            f"expected values (n,) and targets (n_target,); got {bank.shape} and {goals.shape}; "
            "pass one bank at a time"
        )
    if not 0 <= largest <= len(bank):
        raise ValueError(f"largest must lie in 0 … {len(bank)}, the values; got {largest}")
    split = len(bank) // 2
    return [_lists(half, largest, members) for half in (bank[:split], bank[split:])], goals


def _lists(values: NDArray, largest: int, members: bool) -> Half:
    """List the sums of up to `largest` of these values, by their number."""
    most = min(largest, len(values))
    width = len(values) if members else 0
    lists = [(np.zeros(1), np.zeros((1, width), bool))]
    for k, value in enumerate(values):
        with_value = [_added(entry, value, k if members else None) for entry in lists[:most]]
        without = (
            lists if len(lists) > most else [*lists, (np.empty(0), np.empty((0, width), bool))]
        )
        lists = [lists[0], *map(_merged, without[1:], with_value)]
        if sum(len(sums) for sums, _ in lists) > LARGEST_LISTS:
            raise ValueError(
                f"half of the bank has over {LARGEST_LISTS} subsets of up to {most} of "
                f"{len(values)} values; ask for fewer values, or pass a smaller bank"
            )
    starts = np.cumsum([0, *(len(sums) for sums, _ in lists)])
    return (
        np.concatenate([sums for sums, _ in lists]),
        starts,
        np.concatenate([chosen for _, chosen in lists]),
    )


def _added(entry: tuple[NDArray, NDArray], value: float, k: int | None) -> tuple[NDArray, NDArray]:
    """Return a list with value k in every subset."""
    sums, members = entry
    if k is not None:
        members = members.copy()
        members[:, k] = True
    return sums + value, members


def _merged(one: tuple[NDArray, NDArray], other: tuple[NDArray, NDArray]) -> tuple:
    """Merge two ascending lists; a stable sort finds the two runs and takes linear time."""
    sums = np.concatenate([one[0], other[0]])
    if not one[1].shape[1]:
        return np.sort(sums, kind="stable"), np.empty((len(sums), 0), bool)
    order = np.argsort(sums, kind="stable")
    return sums[order], np.concatenate([one[1], other[1]])[order]


# ---- walks --------------------------------------------------------------------------------------


def _nearest(halves: list[Half], targets: NDArray, largest: int) -> tuple[NDArray, NDArray]:
    """Return error (n_target, largest + 1), and the place of either part in its half's sums."""
    error = np.empty((len(targets), largest + 1))
    place = np.empty((*error.shape, 2), np.int64)
    (a, a_starts, _), (b, b_starts, _) = halves
    _walk(a, a_starts, b, b_starts, targets, (error, place))
    return error, place


@jit
def _walk(a, a_starts, b, b_starts, targets, found):
    """Fill the error and the place of the nearest sum of each count, for each target."""
    error, place = found
    for t in range(len(targets)):
        for k in range(error.shape[1]):
            best, best_p, best_q = np.inf, 0, 0
            for i in range(max(0, k + 2 - len(b_starts)), min(k + 1, len(a_starts) - 1)):
                p, last = a_starts[i], a_starts[i + 1]
                first, q = b_starts[k - i], b_starts[k - i + 1] - 1
                while p < last and q >= first:
                    miss = a[p] + b[q] - targets[t]
                    if abs(miss) < abs(best):
                        best, best_p, best_q = miss, p, q
                    if miss > 0:
                        q -= 1
                    else:
                        p += 1
            error[t, k], place[t, k, 0], place[t, k, 1] = best, best_p, best_q
