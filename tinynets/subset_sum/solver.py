"""Exact subset sums: which switches of a bank to close so that its conductance hits a target.

The search is meet-in-the-middle: the sums of either half of a bank are listed in ascending order
by merging, and the two lists are walked once, in O(2^(n/2)) time and memory for n values. Values
may have either sign, so a differential pair is one problem, `[g_pos, -g_neg]`.

How sums compare. Within a problem, values and targets are rounded to a grid of 2^-60 of the sum of
|values| (finer than float64 resolves a sum), and sums on the grid are added and compared exactly.
So equal banks tie exactly, whatever the order of the values; results do not depend on the number
of threads or on the order of problems. Values below 2^-24 of the largest are also searched on
their own, on a grid of their own. Among subsets equally near to the target the one with fewest
values wins, then the least sum of |values|, then the lowest mask.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from tinynets.subset_sum import kernels

LARGEST_BANK = 40  # 2^20 sums a half: 50 MB a thread
LARGEST_GAP_BANK = 26  # one list of 2^26 sums: 1.6 GB
LARGEST_VECTOR_BANK = 36  # two lists of 2^18 sums
NEIGHBOURHOOD = 20
QUERY_CHUNK = 256
SMALL_JOB = 2**18  # sums, some milliseconds: not worth starting threads
LARGEST_LIST = 22  # a shared bank of up to this many values is listed whole, 2^22 sums


@dataclass(frozen=True)
class Selection:
    """Chosen subsets. All arrays have the shape of the targets, or (n_problem, top).

    mask: uint64, bit k set means value k is chosen.
    value: the sum of the chosen values [unit of the values], added in float64 by ascending k.
    error: value - target [same unit].
    """

    mask: NDArray[np.uint64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]


def solve(
    values: ArrayLike,
    targets: ArrayLike,
    *,
    tolerance: ArrayLike = 0.0,
    max_closed: int | None = None,
    device: Any = None,
) -> Selection:
    """Choose for each target the subset of values whose sum is nearest.

    values: (n_problem, n), any sign and unit, n <= 40; or (n,), one bank shared by all targets.
    targets: (n_problem,), same unit.
    tolerance: scalar or (n_problem,), same unit. Where positive and attainable, the lightest
        subset (least sum of |values|, then fewest, then lowest mask) within it is chosen instead.
    max_closed: choose at most this many values.
    device: that torch searches on in batches, such as "cuda", for the nearest subsets of n <= 24;
        None for compiled code on the CPU. The subsets are the same.

    Returns a Selection with arrays (n_problem,), ties settled as the module describes.
    Raises ValueError for wrong shapes, NaN or infinite numbers, n = 0, n > 40, a negative
    tolerance or max_closed.

    Source: E. Horowitz and S. Sahni, Computing partitions with applications to the knapsack
    problem, J. ACM 21 (1974) 277-292.
    """
    banks, targets = _checked(values, targets)
    n = banks.shape[1]
    tolerances = _checked_tolerances(tolerance, targets.shape)
    limit = _checked_max_closed(max_closed, n)
    masks = np.full(targets.shape, -1)
    if device is not None:
        return _selection(banks, targets, _on_device(banks, targets, tolerances, limit, device))
    if limit < n or np.any(tolerances > 0):

        def search(part: slice) -> None:
            rows = _rows(banks, part)
            kernels.solve_limited(rows, targets[part], tolerances[part], limit, masks[part])

    elif len(banks) > 1:

        def search(part: slice) -> None:
            kernels.solve_own_banks(banks[part], targets[part], masks[part])

    else:
        split = _split_of_shared(n, len(targets))

        def search(part: slice) -> None:
            kernels.solve_shared_bank(banks[0], targets[part], split, masks[part])

    _run(search, len(targets), 2 ** (n / 2))
    return _selection(banks, targets, masks)


def _on_device(
    banks: NDArray, targets: NDArray, tolerances: NDArray, limit: int, device: Any
) -> NDArray:
    """Return the masks of the nearest subsets, by torch; this module does without it otherwise."""
    import torch

    from tinynets.subset_sum import in_torch

    n = banks.shape[1]
    if n > in_torch.LARGEST_BANK or limit < n or np.any(tolerances > 0):
        raise ValueError(
            "with a device, expected the nearest subsets, without tolerance or max_closed, of up "
            f"to {in_torch.LARGEST_BANK} values; got {n} values; leave device out"
        )
    return in_torch.nearest_masks(banks, targets, torch.device(device))


def solve_top(values: ArrayLike, targets: ArrayLike, top: int) -> Selection:
    """List for each target the `top` nearest subsets, nearest first, to be measured again.

    values, targets: as for `solve`; small values are not searched on a grid of their own.
    top: number of candidates, at most 2^n.

    Returns a Selection with arrays (n_problem, top), ties in the order the module describes.
    Raises ValueError as `solve`, and for top < 1 or top > 2^n.
    """
    banks, targets = _checked(values, targets)
    n = banks.shape[1]
    if not 1 <= top <= 2**n:
        raise ValueError(
            f"top must lie in 1..{2**n}, the number of subsets of {n} values; got {top}; "
            "pass fewer candidates"
        )
    masks = np.empty((len(targets), top), np.int64)

    def search(part: slice) -> None:
        kernels.solve_best(_rows(banks, part), targets[part], masks[part])

    _run(search, len(targets), 2 ** (n / 2))
    return _selection(banks, targets[:, None], masks)


def largest_gap(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Return the widest step between neighbouring subset sums of each bank within a band.

    values: (n_bank, n) or (n,), any sign and unit, n <= 26.
    low, high: the band, scalar or (n_bank,), same unit. A step counts if it overlaps the band, so
        no target in the band is further from a subset sum than half of the result.

    Returns (n_bank,) or a scalar array, same unit; infinity where the band reaches beyond the
    least or the greatest sum. Raises ValueError for wrong shapes, NaN or infinite numbers, n = 0,
    n > 26, low > high.
    """
    banks, low, high = _checked_band(values, low, high)
    gaps = np.empty(len(banks))

    def search(part: slice) -> None:
        kernels.largest_gaps(banks[part], low[part], high[part], gaps[part])

    _run(search, len(banks), 2 ** banks.shape[1])
    return gaps.reshape(np.shape(values)[:-1])


def band_error(
    values: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the worst error of each bank over all targets of a band, exactly.

    values, low, high: as for `largest_gap`, with low < high.

    Returns the mean error, of targets uniform in the band, and the worst, each (n_bank,) or a
    scalar array, same unit. Raises ValueError as `largest_gap`, and for low = high.
    """
    banks, low, high = _checked_band(values, low, high)
    if np.any(low == high):
        raise ValueError(f"expected a band with low < high; got {low[low == high][0]} for both")
    mean, worst = np.empty(len(banks)), np.empty(len(banks))

    def search(part: slice) -> None:
        kernels.band_errors(banks[part], low[part], high[part], mean[part], worst[part])

    _run(search, len(banks), 2 ** banks.shape[1])
    shape = np.shape(values)[:-1]
    return mean.reshape(shape), worst.reshape(shape)


@dataclass(frozen=True)
class VectorSelection:
    """Chosen subsets of vectors.

    chosen: (n_target, n) bool.
    value: (n_target, d), the sums of the chosen vectors [unit of the values].
    error: value - target, (n_target, d) [same unit].
    exact: whether the largest |error| of each target is the proven minimum.
    """

    chosen: NDArray[np.bool_]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    exact: bool


def solve_vectors(
    values: ArrayLike, targets: ArrayLike, *, rounds: int = 100, seed: int = 0
) -> VectorSelection:
    """Choose for each target vector the subset of vectors whose sum is nearest in max norm.

    values: (n, d), one bank of n vectors for all targets, any unit.
    targets: (n_target, d), same unit.
    rounds, seed: of the heuristic for n > 36. It starts from a greedy choice; each round draws 20
        of the vectors and chooses among them again, exactly, with the others fixed.

    Up to n = 36 the minimum is exact to rounding, by meet-in-the-middle with a k-d tree; equally
    near subsets are not ranked. Returns a VectorSelection that says which of the two was used.
    Raises ValueError for wrong shapes, NaN or infinite numbers, n = 0, rounds < 0.
    """
    values, targets = _finite("values", values), _finite("targets", targets)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"values must have shape (n, d), both >= 1; got {values.shape}")
    if targets.ndim != 2 or targets.shape[1] != values.shape[1]:
        raise ValueError(
            f"targets must have shape (n_target, {values.shape[1]}) to match the vectors of "
            f"values; got {targets.shape}"
        )
    if rounds < 0:
        raise ValueError(f"rounds must be >= 0; got {rounds}; 0 keeps the greedy choice")
    exact = len(values) <= LARGEST_VECTOR_BANK
    chosen = np.zeros((len(targets), len(values)), bool)
    if exact:
        nearest = _nearest_vectors(values)
        for row, target in zip(chosen, targets):
            row[:] = nearest(target)
    else:
        random = np.random.default_rng(seed)
        for row, target in zip(chosen, targets):
            row[:] = _search_vectors(values, target, rounds, random)
    value = chosen.astype(float) @ values
    return VectorSelection(chosen, value, value - targets, exact)


def _nearest_vectors(values: NDArray) -> Callable[[NDArray], NDArray]:
    """List the sums of either half once; return the exact search for a target."""
    n = len(values)
    split = n // 2
    a, b = _sums_of_vectors(values[:split]), _sums_of_vectors(values[split:])
    tree = KDTree(b)

    def nearest(target: NDArray) -> NDArray:
        best, mask = np.inf, 0
        for start in range(0, len(a), QUERY_CHUNK):  # so that the best so far prunes the rest
            rest = target - a[start : start + QUERY_CHUNK]
            distance, partner = tree.query(rest, p=np.inf, distance_upper_bound=best)
            k = int(np.argmin(distance))
            if np.min(distance) < best:
                best, mask = np.min(distance), start + k | int(np.take(partner, k)) << split
        return np.array([mask >> k & 1 for k in range(n)], bool)

    return nearest


def _sums_of_vectors(values: NDArray) -> NDArray:
    """The sums of all subsets of n vectors, (2^n, d), in the order of their masks."""
    sums = np.zeros((1, values.shape[1]))
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


def _search_vectors(
    values: NDArray, target: NDArray, rounds: int, random: np.random.Generator
) -> NDArray:
    chosen = np.zeros(len(values), bool)
    rest = target.copy()
    for k in np.argsort(-np.abs(values).max(axis=1), kind="stable"):
        if np.abs(rest - values[k]).max() < np.abs(rest).max():
            chosen[k] = True
            rest -= values[k]
    for _ in range(rounds):
        drawn = random.choice(len(values), NEIGHBOURHOOD, replace=False)
        free = target - values[chosen].sum(axis=0) + values[drawn[chosen[drawn]]].sum(axis=0)
        trial = chosen.copy()
        trial[drawn] = _nearest_vectors(values[drawn])(free)
        if _miss(values, trial, target) < _miss(values, chosen, target):
            chosen = trial
    return chosen


def _miss(values: NDArray, chosen: NDArray, target: NDArray) -> float:
    return float(np.abs(values[chosen].sum(axis=0) - target).max())


# ---- running -------------------------------------------------------------------------------------


def _selection(banks: NDArray, targets: NDArray, masks: NDArray) -> Selection:
    value = np.empty(masks.shape)
    if len(masks):
        kernels.evaluate(banks, masks.reshape(len(masks), -1), value.reshape(len(masks), -1))
    return Selection(masks.view(np.uint64), value, value - targets)


def _rows(banks: NDArray, part: slice) -> NDArray:
    return banks[part] if len(banks) > 1 else banks


def _run(search: Callable[[slice], None], n_problem: int, sums_each: float) -> None:
    """Search slices of the problems in threads; a kernel releases the GIL and owns its scratch.

    Python's threads rather than numba's, whose pool breaks after a fork or when two threads call.
    """
    if n_problem == 0:
        return
    threads = min(numba.get_num_threads(), n_problem)
    if threads == 1 or n_problem * sums_each < SMALL_JOB:
        search(slice(0, n_problem))
        return
    edges = np.linspace(0, n_problem, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(search, map(slice, edges[:-1], edges[1:])))


def _split_of_shared(n: int, n_target: int) -> int:
    """Where to split a shared bank: nowhere (n) if one list of it costs less than many walks."""
    targets_a_thread = n_target / numba.get_num_threads()
    return n if n <= LARGEST_LIST and 2 ** (n / 2) <= targets_a_thread else n // 2


# ---- checking ------------------------------------------------------------------------------------


def _checked(values: ArrayLike, targets: ArrayLike) -> tuple[NDArray, NDArray]:
    """Banks (n_problem or 1, n) and targets (n_problem,), float64 and contiguous."""
    banks = _checked_values(values, LARGEST_BANK)
    targets = _finite("targets", targets)
    if targets.ndim != 1:
        raise ValueError(
            f"targets must have shape (n_problem,); got {targets.shape}; "
            "flatten them and reshape the result"
        )
    if banks.ndim == 2 and len(banks) != len(targets):
        raise ValueError(
            f"values has {len(banks)} banks but targets has {len(targets)} entries; "
            "pass one row of values per target, or one bank of shape (n,) for all"
        )
    return np.atleast_2d(banks), targets


def _checked_values(values: ArrayLike, largest: int) -> NDArray:
    values = _finite("values", values)
    if values.ndim not in (1, 2):
        raise ValueError(
            f"values must have shape (n_problem, n) or (n,); got {values.shape}; reshape it"
        )
    n = values.shape[-1]
    if not 1 <= n <= largest:
        raise ValueError(
            f"expected 1 to {largest} values per bank; got {n}, shape {values.shape}; "
            "pass smaller banks, or split them between several problems"
        )
    with np.errstate(over="ignore"):
        totals = np.abs(values).sum(axis=-1)
    if not np.all(np.isfinite(totals)):
        raise ValueError(
            "the sum of |values| of a bank exceeds the largest float64; use a larger unit"
        )
    return values


def _checked_band(
    values: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[NDArray, NDArray, NDArray]:
    """Banks (n_bank, n), and the ends of the band of each (n_bank,)."""
    banks = np.atleast_2d(_checked_values(values, LARGEST_GAP_BANK))
    low, high = (
        np.full(len(banks), _finite(name, x)) for name, x in (("low", low), ("high", high))
    )
    if np.any(low > high):
        k = int(np.argmax(low > high))
        raise ValueError(
            f"expected a band with low <= high; got low = {low[k]}, high = {high[k]}; swap the two"
        )
    return banks, low, high


def _finite(name: str, numbers: ArrayLike) -> NDArray:
    """As a float64 array that is contiguous and writeable, the one layout kernels compile for."""
    array = np.require(numbers, np.float64, ["C", "W"])
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        where = tuple(int(i) for i in np.unravel_index(bad[0], array.shape))
        raise ValueError(
            f"{name} must be finite; got {array.flat[bad[0]]} at index {where} and "
            f"{bad.size - 1} more; remove or replace such entries"
        )
    return array


def _checked_tolerances(tolerance: ArrayLike, shape: tuple[int, ...]) -> NDArray:
    tolerances = _finite("tolerance", tolerance)
    if tolerances.ndim and tolerances.shape != shape:
        raise ValueError(
            f"tolerance must be a number or have the shape {shape} of the targets; "
            f"got {tolerances.shape}"
        )
    if np.any(tolerances < 0):
        raise ValueError(
            f"tolerance must be >= 0; got {tolerances.min()}; pass 0 for the exact minimum"
        )
    return np.full(shape, tolerances)


def _checked_max_closed(max_closed: int | None, n: int) -> int:
    if max_closed is None:
        return n
    if max_closed < 0:
        raise ValueError(
            f"max_closed must be >= 0; got {max_closed}; pass None for no limit on the number"
        )
    return min(int(max_closed), n)
