"""Compiled search for subset sums: walks over pairs of sorted lists, and whole problems.

Each `solve_...` kernel takes a slice of the problems, allocates its lists once and fills `masks`.
"""

import numpy as np

from tinynets.files.compiled import kernels
from tinynets.subset_sum import order, sorted_lists
from tinynets.subset_sum.order import (
    before,
    chosen_sum,
    fixed,
    is_better,
    lighter,
    next_limit,
    quantise,
)
from tinynets.subset_sum.sorted_lists import (
    ALL,
    best_mask,
    labelled_sums,
    of_count,
    scratch,
    settle_ties,
    sorted_sums,
)

jit = kernels(order, sorted_lists)

LARGEST = (1 << 63) - 1
ROUNDING = 1 << 13  # what float64 may be off when it adds the values of a bank, on the grid


# ---- walks over two lists -----------------------------------------------------------------------


@jit
def nearest_sums(a_sums, a_length, b_sums, b_length, targets):
    """The pair (a, b) with a + b nearest to one of four targets: (a, b, which target, tied).

    Four walks down the staircases a + b = target advance in step, so that their dependent loads
    overlap. At step s a walk stands at positions i and b_length + 1 - (s + 1 - i) = base + i.
    `tied` says that another pair is as near, possibly of the same sums.
    """
    i_0 = i_1 = i_2 = i_3 = np.uint64(1)
    target_0, target_1, target_2, target_3 = targets
    nearest, best_a, best_b, which, tied = LARGEST, 0, 0, 0, False
    for s in range(a_length + b_length - 1):
        base = np.uint64(b_length - 1 - s)
        miss = a_sums[i_0] + b_sums[base + i_0] - target_0
        if abs(miss) <= nearest:
            tied = abs(miss) == nearest
            nearest, best_a, best_b, which = abs(miss), a_sums[i_0], b_sums[base + i_0], 0
        i_0 += np.uint64(miss <= 0)
        miss = a_sums[i_1] + b_sums[base + i_1] - target_1
        if abs(miss) <= nearest:
            tied = abs(miss) == nearest
            nearest, best_a, best_b, which = abs(miss), a_sums[i_1], b_sums[base + i_1], 1
        i_1 += np.uint64(miss <= 0)
        miss = a_sums[i_2] + b_sums[base + i_2] - target_2
        if abs(miss) <= nearest:
            tied = abs(miss) == nearest
            nearest, best_a, best_b, which = abs(miss), a_sums[i_2], b_sums[base + i_2], 2
        i_2 += np.uint64(miss <= 0)
        miss = a_sums[i_3] + b_sums[base + i_3] - target_3
        if abs(miss) <= nearest:
            tied = abs(miss) == nearest
            nearest, best_a, best_b, which = abs(miss), a_sums[i_3], b_sums[base + i_3], 3
        i_3 += np.uint64(miss <= 0)
    return best_a, best_b, which, tied


@jit
def nearest_mask(q, split, a, b, target, best):
    """The preferred subset among the nearest ones, of two labelled lists without equal sums.

    best: the best (mask, distance) so far, (-1, LARGEST) at the start; also what is returned.
    """
    mask, nearest = best
    a_sums, a_masks, a_length = a
    b_sums, b_masks, b_length = b
    i, j = 1, b_length
    while i <= a_length and j >= 1:
        miss = a_sums[i] + b_sums[j] - target
        if abs(miss) <= nearest:
            candidate = np.int64(a_masks[i]) | np.int64(b_masks[j]) << split
            if abs(miss) < nearest or before(q, candidate, mask):
                mask, nearest = candidate, abs(miss)
        if miss > 0:
            j -= 1
        else:
            i += 1
    return mask, nearest


@jit
def nearest_in_list(q, a, target):
    """Like nearest_mask, for the one list of a whole bank, by binary search."""
    sums, masks, length = a
    k = 1 + np.searchsorted(sums[1 : length + 1], target)
    above, below = sums[k] - target, target - sums[k - 1]
    if above < below or (above == below and before(q, masks[k], masks[k - 1])):
        return np.int64(masks[k])
    return np.int64(masks[k - 1])


@jit
def lightest_mask(q, a, b, window, queue, mask):
    """The lightest subset with its sum in the window, or `mask` (-1 for none) if that is lighter.

    window: (low, high), both included.
    queue: scratch.

    As a grows, the admissible b form a range that slides down their list; `queue` holds the
    positions in the range that no later one beats, so its head is the lightest.
    """
    split, (low, high) = len(q) // 2, window
    a_sums, a_masks, a_length = a
    b_sums, b_masks, b_length = b
    q_b = q[split:]
    head, tail, entering = 0, 0, b_length
    for i in range(1, a_length + 1):
        while b_sums[entering] >= low - a_sums[i]:
            while tail > head and lighter(q_b, b_masks[entering], b_masks[queue[tail - 1]]):
                tail -= 1
            queue[tail] = entering
            tail += 1
            entering -= 1
        while head < tail and b_sums[queue[head]] > high - a_sums[i]:
            head += 1
        if head < tail:
            candidate = np.int64(a_masks[i]) | np.int64(b_masks[queue[head]]) << split
            if mask < 0 or lighter(q, candidate, mask):
                mask = candidate
    return mask


@jit
def offer(q, miss, mask, misses, masks):
    """Insert a candidate into the ordered best ones, dropping the last, if it is good enough."""
    last = len(misses) - 1
    if miss == misses[last] and not before(q, mask, masks[last]):
        return
    slot = last
    while slot > 0 and (
        miss < misses[slot - 1] or (miss == misses[slot - 1] and before(q, mask, masks[slot - 1]))
    ):
        misses[slot], masks[slot] = misses[slot - 1], masks[slot - 1]
        slot -= 1
    misses[slot], masks[slot] = miss, mask


@jit
def best_masks(q, a, b, target, misses, masks):
    """Fill masks with the best subsets in order; misses is scratch of the same length."""
    split = len(q) // 2
    a_sums, a_masks, a_length = a
    b_sums, b_masks, b_length = b
    misses[:] = LARGEST
    masks[:] = (1 << len(q)) - 1
    last = len(misses) - 1
    boundary = b_length
    for i in range(1, a_length + 1):
        rest = target - a_sums[i]
        while b_sums[boundary] > rest:
            boundary -= 1
        j = boundary
        while j >= 1 and rest - b_sums[j] <= misses[last]:
            candidate = np.int64(a_masks[i]) | np.int64(b_masks[j]) << split
            offer(q, rest - b_sums[j], candidate, misses, masks)
            j -= 1
        j = boundary + 1
        while j <= b_length and b_sums[j] - rest <= misses[last]:
            candidate = np.int64(a_masks[i]) | np.int64(b_masks[j]) << split
            offer(q, b_sums[j] - rest, candidate, misses, masks)
            j += 1


# ---- whole problems -----------------------------------------------------------------------------


@jit
def bank_of(values, p):
    """Row p of values, or the only row: one bank shared by all problems."""
    return values[p] if len(values) > 1 else values[0]


@jit
def solve_own_banks(values, targets, masks):
    """The nearest subset for each row of values; masks holds -1 at the start."""
    n_problem, n = values.shape
    q = np.zeros(max(n, 2), np.int64)  # a second value of 0 for n = 1, so that no half is empty
    split = len(q) // 2
    a, b = scratch(split), scratch(len(q) - split)
    for p in range(n_problem):
        limit = np.abs(values[p]).max()
        while True:
            target = fixed(targets[p], quantise(values[p], limit, q))
            mask = nearest_of_bank(q, split, target, a, b)
            if masks[p] < 0 or is_better(values[p], targets[p], 0.0, mask, masks[p]):
                masks[p] = mask
            limit = next_limit(values[p], limit)
            if limit == 0.0:
                break


@jit
def nearest_of_bank(q, split, target, a, b):
    """The preferred nearest subset.

    The last value of either half stays out of the lists: using it or not makes four targets for
    lists of half the length, and spares the longest merge.
    """
    q_a, q_b = q[:split], q[split:]
    last_a, last_b = split - 1, len(q_b) - 1
    a_sums, a_length = sorted_sums(q_a[:last_a], a[0], a[2])
    b_sums, b_length = sorted_sums(q_b[:last_b], b[0], b[2])
    rest = target - q_a[last_a]
    targets = (target, rest, target - q_b[last_b], rest - q_b[last_b])
    best_a, best_b, which, tied = nearest_sums(a_sums, a_length, b_sums, b_length, targets)
    if tied:
        list_a = labelled_sums(q_a, 1, a[0], a[1], a[2], a[3])
        list_b = labelled_sums(q_b, 1, b[0], b[1], b[2], b[3])
        return nearest_mask(q, split, list_a, list_b, target, (-1, LARGEST))[0]
    mask_a = best_mask(q_a[:last_a], best_a, a[0]) | (which & 1) << last_a
    mask_b = best_mask(q_b[:last_b], best_b, b[0]) | (which >> 1) << last_b
    return mask_a | mask_b << split


@jit
def solve_shared_bank(values, targets, split, masks):
    """The nearest subset of one bank for each target; split = len(values) lists the whole bank."""
    n = len(values)
    a, b = scratch(split), scratch(n - split)
    q = np.empty(n, np.int64)
    limit = np.abs(values).max()
    while True:
        scale = quantise(values, limit, q)
        list_a = labelled_sums(q[:split], 1, a[0], a[1], a[2], a[3])
        list_b = labelled_sums(q[split:], 1, b[0], b[1], b[2], b[3])
        for p in range(len(targets)):
            target = fixed(targets[p], scale)
            if split == n:
                mask = nearest_in_list(q, list_a, target)
            else:
                mask = nearest_mask(q, split, list_a, list_b, target, (-1, LARGEST))[0]
            if masks[p] < 0 or is_better(values, targets[p], 0.0, mask, masks[p]):
                masks[p] = mask
        limit = next_limit(values, limit)
        if limit == 0.0:
            break


@jit
def solve_limited(values, targets, tolerances, max_closed, masks):
    """Like solve_own_banks, with at most max_closed chosen; the lightest within the tolerances."""
    n = values.shape[1]
    split = n // 2
    a, b = scratch(split), scratch(n - split)
    buffers = scratch(split), scratch(n - split)
    queue = np.empty((1 << (n - split)) + 1, np.int32)
    q = np.empty(n, np.int64)
    for p in range(len(targets)):
        bank, target, tolerance = bank_of(values, p), targets[p], tolerances[p]
        limit = np.abs(bank).max()
        while True:
            scale = quantise(bank, limit, q)
            lists = (
                labelled_sums(q[:split], ALL, a[0], a[1], a[2], a[3]),
                labelled_sums(q[split:], ALL, b[0], b[1], b[2], b[3]),
            )
            window = (fixed(target - tolerance, scale), fixed(target + tolerance, scale))
            mask = np.int64(-1)
            if tolerance > 0.0:
                mask = lightest_limited(q, lists, window, max_closed, buffers, queue)
            if mask < 0:
                mask = nearest_limited(q, lists, fixed(target, scale), max_closed, buffers)
            if masks[p] < 0 or is_better(bank, target, tolerance, mask, masks[p]):
                masks[p] = mask
            limit = next_limit(bank, limit)
            if limit == 0.0:
                break


@jit
def lightest_limited(q, lists, window, max_closed, buffers, queue):
    """The lightest subset with its sum in a window and at most max_closed values, or -1."""
    mask = np.int64(-1)
    for closed in range(n_class(max_closed, len(q))):
        part_a, part_b = parts(len(q), lists, closed, max_closed, buffers)
        mask = lightest_mask(q, part_a, part_b, window, queue, mask)
    return mask


@jit
def nearest_limited(q, lists, target, max_closed, buffers):
    """The preferred nearest subset of at most max_closed values."""
    split = len(q) // 2
    best = np.int64(-1), np.int64(LARGEST)
    for closed in range(n_class(max_closed, len(q))):
        part_a, part_b = parts(len(q), lists, closed, max_closed, buffers)
        part_a = part_a[0], part_a[1], settle_ties(q[:split], part_a[0], part_a[1], part_a[2], 1)
        part_b = part_b[0], part_b[1], settle_ties(q[split:], part_b[0], part_b[1], part_b[2], 1)
        best = nearest_mask(q, split, part_a, part_b, target, best)
    return best[0]


@jit
def n_class(max_closed, n):
    """Number of pairs of sublists that hold all subsets with at most max_closed of n values."""
    return 1 if max_closed >= n else min(max_closed, n // 2) + 1


@jit
def parts(n, lists, closed, max_closed, buffers):
    """The pair of sublists for `closed` values of the first half; both whole without a limit."""
    if max_closed >= n:
        return lists
    part_a = of_count(lists[0], closed, closed, buffers[0])
    return part_a, of_count(lists[1], 0, max_closed - closed, buffers[1])


@jit
def solve_best(values, targets, masks):
    """The best subsets in order, as many as masks (n_problem, top) has columns."""
    n = values.shape[1]
    split = n // 2
    a, b = scratch(split), scratch(n - split)
    q = np.empty(n, np.int64)
    misses = np.empty(masks.shape[1], np.int64)
    for p in range(len(targets)):
        bank = bank_of(values, p)
        target = fixed(targets[p], quantise(bank, np.abs(bank).max(), q))
        list_a = labelled_sums(q[:split], len(misses), a[0], a[1], a[2], a[3])
        list_b = labelled_sums(q[split:], len(misses), b[0], b[1], b[2], b[3])
        best_masks(q, list_a, list_b, target, misses, masks[p])


@jit
def evaluate(values, masks, sums):
    """Sums of the chosen values in float64, ascending k; one bank or one bank per row of masks."""
    for p in range(masks.shape[0]):
        for c in range(masks.shape[1]):
            sums[p, c] = chosen_sum(bank_of(values, p), masks[p, c])


@jit
def largest_gaps(values, low, high, gaps):
    """For each bank, the widest step between neighbouring sums that overlaps [low, high]."""
    n = values.shape[1]
    a = scratch(n)
    q = np.empty(n, np.int64)
    for p in range(len(values)):
        scale = quantise(values[p], np.abs(values[p]).max(), q)
        sums, length = sorted_sums(q, a[0], a[2])
        first, last = fixed(low[p], scale), fixed(high[p], scale)
        beyond = first < sums[1] - ROUNDING or last > sums[length] + ROUNDING
        widest = np.inf if beyond else 0.0
        for k in range(1, length):
            if sums[k] < last and sums[k + 1] > first:
                widest = max(widest, (sums[k + 1] - sums[k]) / scale[0] / scale[1])
        gaps[p] = widest


@jit
def band_errors(values, low, high, means, worsts):
    """For each bank, the mean and the greatest distance of a target in [low, high] to a sum."""
    n = values.shape[1]
    a = scratch(n)
    q = np.empty(n, np.int64)
    for p in range(len(values)):
        scale = quantise(values[p], np.abs(values[p]).max(), q)
        sums, length = sorted_sums(q, a[0], a[2])
        integral, worst = 0.0, 0.0
        for k in range(length + 1):
            left = sums[k] / scale[0] / scale[1] if k > 0 else -np.inf
            right = sums[k + 1] / scale[0] / scale[1] if k < length else np.inf
            if left < high[p] and right > low[p]:
                area, furthest = distances(left, right, max(left, low[p]), min(right, high[p]))
                integral += area
                worst = max(worst, furthest)
        means[p], worsts[p] = integral / (high[p] - low[p]), worst


@jit
def distances(left, right, start, stop):
    """Integral and maximum over [start, stop] of the distance to the nearer of left and right."""
    middle = min(max((left + right) / 2, start), stop)
    area = 0.0
    if start < middle:
        area += (middle - start) * ((middle + start) / 2 - left)
    if middle < stop:
        area += (stop - middle) * (right - (middle + stop) / 2)
    return area, min(middle - left, right - middle)
