"""The nearest subset sum of exactly k values, for every k at once.

The sums of either half are listed by their number of values, each list in ascending order. A sum of
exactly k values is one of i values and one of k - i, so the walks over the pairs of lists
(i, k - i) see every candidate. Sums are added in float64 and equal ones are not ranked; what is
asked for here is the distance, not the preferred subset.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynets.files.compiled import kernels

jit = kernels()

LARGEST_LISTS = 1 << 24  # sums of a half: 128 MB
ONE_BY_ONE = 20  # values


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
    total = sum(math.comb(len(values), k) for k in range(most + 1))
    if total > LARGEST_LISTS:
        raise ValueError(
            f"half of the bank has {total} subsets of up to {most} of {len(values)} values, over "
            f"{LARGEST_LISTS}; ask for fewer values, or pass a smaller bank"
        )
    lists = _by_number(values, most, members)
    return (
        np.concatenate([sums for sums, _ in lists]),
        np.cumsum([0, *(len(sums) for sums, _ in lists)]),
        np.concatenate([chosen for _, chosen in lists]),
    )


def _by_number(values: NDArray, most: int, members: bool) -> list[tuple[NDArray, NDArray]]:
    """Return sums and members of 0, 1 … `most` values, each ascending.

    From the lists of two parts. The second part of a short bank is one value, so that two ascending
    lists are merged; a long bank, of which few are chosen, is halved.
    """
    n = len(values)
    if n < 2:
        chosen = np.array([[False], [True]])[:, : n * members]
        return [(np.zeros(1), chosen[:1]), (values[:1], chosen[1:])][: min(most, n) + 1]
    split = n // 2 if n > ONE_BY_ONE else n - 1
    a, b = (_by_number(part, most, members) for part in (values[:split], values[split:]))
    lists = []
    for k in range(min(most, n) + 1):
        first, last = max(0, k + 1 - len(b)), min(k, len(a) - 1)
        lists.append(_ascending([_paired(a[i], b[k - i]) for i in range(first, last + 1)]))
    return lists


def _paired(a: tuple[NDArray, NDArray], b: tuple[NDArray, NDArray]) -> tuple[NDArray, NDArray]:
    """Return the sums of every pair of a subset of a and one of b, and who is in them."""
    sums = (a[0] + b[0][:, None]).ravel()
    who = [np.tile(a[1], (len(b[0]), 1)), np.repeat(b[1], len(a[0]), axis=0)]
    return sums, np.concatenate(who, axis=1)


def _ascending(parts: list[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    """Put lists into one; a stable sort finds the runs, and merges two in linear time."""
    sums = np.concatenate([part for part, _ in parts])
    who = np.concatenate([part for _, part in parts])
    if not who.shape[1]:
        return np.sort(sums, kind="stable"), who
    order = np.argsort(sums, kind="stable")
    return sums[order], who[order]


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
