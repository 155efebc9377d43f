"""The nearest subset of each of many banks by torch, on any device: the masks of the kernels.

Sums are the same fixed-point numbers as in `order`, and the same subset wins a tie. The sums of one
half of a bank are sorted; for each sum of the other half, the nearest two are looked up. Problems
with a tie, which are rare, are looked at once more with all equals in the order of preference.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tinynets.subset_sum.order import FRACTION_BITS, LEVEL_RATIO

#: Most values of a bank, of which lists of 2^12 sums are sorted.
LARGEST_BANK = 24
#: Bytes that the tensors of a batch may take.
MEMORY = 2**30
_LARGEST = (1 << 63) - 1
#: Lists of 64-bit numbers, as long as a half's sums, that a problem takes.
_N_LIST = 32


class _Half(NamedTuple):
    """All subsets of a half of each bank, by their masks (n_problem, 2^n), in fixed point.

    sums, weights: of the values and of their magnitudes.
    counts: number of values (2^n,).
    """

    sums: torch.Tensor
    weights: torch.Tensor
    counts: torch.Tensor


def nearest_masks(
    values: NDArray, targets: NDArray, device: torch.device, memory: int = MEMORY
) -> NDArray:
    """Return the masks (n_problem,) int64 that `kernels.solve_own_banks` finds.

    values: (n_problem, n) float64, n up to `LARGEST_BANK`; or (1, n) for all problems.
    targets: (n_problem,), same unit.
    """
    n, masks = values.shape[1], np.empty(len(targets), np.int64)
    size = max(memory // (8 * _N_LIST * 2 ** (n - n // 2)), 1)
    for start in range(0, len(targets), size):
        part = slice(start, start + size)
        goals = torch.from_numpy(targets[part]).to(device)
        banks = torch.from_numpy(values[part] if len(values) > 1 else values).to(device)
        masks[part] = _solve(banks.expand(len(goals), -1), goals).cpu().numpy()
    return masks


def _solve(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Search on the grid of each bank, and again for values far below its largest."""
    masks = torch.full_like(targets, -1, dtype=torch.int64)
    rows, limit = torch.arange(len(targets), device=targets.device), values.abs().amax(dim=1)
    while len(rows):
        banks, goals, old = values[rows], targets[rows], masks[rows]
        found = _nearest(*_fixed(banks, goals, limit))
        masks[rows] = torch.where(_is_better(banks, goals, found, old), found, old)
        small = banks.abs()
        limit = small.masked_fill(small > (limit * LEVEL_RATIO)[:, None], 0.0).amax(dim=1)
        rows, limit = rows[limit > 0], limit[limit > 0]
    return masks


def _is_better(
    values: torch.Tensor, targets: torch.Tensor, masks: torch.Tensor, others: torch.Tensor
) -> torch.Tensor:
    """Do what `order.is_better` does without a tolerance; a negative mask is none yet."""
    miss = (_chosen_sum(values, masks) - targets).abs()
    miss_other = (_chosen_sum(values, others) - targets).abs()
    lighter = _chosen_sum(values.abs(), masks) < _chosen_sum(values.abs(), others)
    exact = (miss == 0) & (miss_other == 0)
    return (others < 0) | torch.where(exact, lighter, miss < miss_other)


def _chosen_sum(values: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the sums of the chosen values, in ascending order of k as in `order`."""
    total = torch.zeros_like(values[:, 0])
    for k in range(values.shape[1]):
        total = total + values[:, k] * ((masks >> k) & 1)
    return total


def _fixed(
    values: torch.Tensor, targets: torch.Tensor, limit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values of at most `limit`, 0 for larger ones, and targets, in fixed point."""
    kept = values.masked_fill(values.abs() > limit[:, None], 0.0)
    total = _chosen_sum(kept.abs(), torch.full_like(targets, -1, dtype=torch.int64))
    exponent = FRACTION_BITS - torch.frexp(total)[1].long()
    half = torch.div(exponent, 2, rounding_mode="floor")
    first, second = _power_of_two(half), _power_of_two(exponent - half)
    bound = 1.25 * 2.0**FRACTION_BITS
    goals = (targets * first * second).clamp(-bound, bound)
    return (kept * first[:, None] * second[:, None]).round().long(), goals.round().long()


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Return 2^exponent exactly, for exponents of -1022 … 1023, from the bits of a double."""
    return ((exponent + 1023) << 52).view(torch.float64)


def _subsets(q: torch.Tensor) -> _Half:
    sums = weights = torch.zeros_like(q[:, :1]) if q.shape[1] else q.new_zeros(len(q), 1)
    counts = torch.zeros(1, dtype=torch.int64, device=q.device)
    for k in range(q.shape[1]):
        value = q[:, k : k + 1]
        sums = torch.cat((sums, sums + value), dim=1)
        weights = torch.cat((weights, weights + value.abs()), dim=1)
        counts = torch.cat((counts, counts + 1))
    return _Half(sums, weights, counts)


def _nearest(q: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the preferred nearest subsets (n_problem,) of banks (n_problem, n)."""
    split = q.shape[1] // 2
    a, b = _subsets(q[:, :split]), _subsets(q[:, split:])
    ascending, order = b.sums.sort(dim=1)
    place, miss = _neighbours(ascending, targets[:, None] - a.sums)
    nearest, best = miss.min(dim=1)
    place = place.gather(1, best[:, None])
    masks = best % a.sums.shape[1] | order.gather(1, place)[:, 0] << split
    tied = ((miss == nearest[:, None]).sum(dim=1) > 1) | _has_equals(ascending, place)
    rows = tied.nonzero()[:, 0]
    if len(rows):
        of_a, of_b = (_Half(x.sums[rows], x.weights[rows], x.counts) for x in (a, b))
        masks[rows] = _preferred(of_a, of_b, targets[rows], split)
    return masks


def _neighbours(ascending: torch.Tensor, rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of the sums at or above, and then below each rest, and their distances.

    Of equal sums it is the first of those above and the last of those below. Where there is none,
    the distance is the largest number.
    """
    n = ascending.shape[1]
    above = torch.searchsorted(ascending, rest)
    place = torch.cat((above.clamp(max=n - 1), (above - 1).clamp(min=0)), dim=1)
    miss = (ascending.gather(1, place) - torch.cat((rest, rest), dim=1)).abs()
    return place, miss.masked_fill(torch.cat((above == n, above == 0), dim=1), _LARGEST)


def _has_equals(ascending: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return whether a neighbour in the list is as large as the sum at a place (n_problem, 1)."""
    n, own = ascending.shape[1], ascending.gather(1, place)
    before = (ascending.gather(1, (place - 1).clamp(min=0)) == own) & (place > 0)
    after = (ascending.gather(1, (place + 1).clamp(max=n - 1)) == own) & (place < n - 1)
    return (before | after)[:, 0]


def _preferred(a: _Half, b: _Half, targets: torch.Tensor, split: int) -> torch.Tensor:
    """Return the nearest subsets: of equals the fewest values, least weight, lowest mask."""
    order = b.weights.argsort(dim=1, stable=True)
    order = order.gather(1, b.counts[order].argsort(dim=1, stable=True))
    order = order.gather(1, b.sums.gather(1, order).argsort(dim=1, stable=True))
    ascending = b.sums.gather(1, order)
    place, miss = _neighbours(ascending, targets[:, None] - a.sums)
    place = torch.searchsorted(ascending, ascending.gather(1, place))  # first of its equals
    of_b = order.gather(1, place)
    of_a = torch.arange(a.sums.shape[1], device=targets.device).repeat(2).expand(of_b.shape)
    left = miss == miss.amin(dim=1, keepdim=True)
    for rank in (
        a.counts[of_a] + b.counts[of_b],
        a.weights.gather(1, of_a) + b.weights.gather(1, of_b),
        of_a | of_b << split,
    ):
        least = rank.masked_fill(~left, _LARGEST).amin(dim=1, keepdim=True)
        left &= rank == least
    return least[:, 0]
