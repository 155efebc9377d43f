"""Sorted lists of subset sums, compiled.

A *list* is an ascending array of fixed-point sums at positions 1..length, with a sentinel at
position 0 and at length + 1, so that no walk needs a bounds check; a *labelled* list has the masks
beside the sums. Positions in inner loops are unsigned, which spares numba's test for negative
subscripts; masks are signed, because numba turns sums of mixed signedness into floats.
"""

import numpy as np

from tinynets.files.compiled import kernels
from tinynets.subset_sum import order
from tinynets.subset_sum.order import before, count_closed

jit = kernels(order)

SENTINEL = 1 << 62
ALL = 1 << 62  # "keep every subset of equal sum"


@jit
def scratch(n):
    """Buffers for the list of up to 2**n sums: sums, masks and a spare of each."""
    size = (1 << n) + 2
    return (
        np.empty(size, np.int64),
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.int32),
    )


@jit
def merge(sums, length, value, out_sums, labels):
    """Merge a list with itself plus `value`, from both ends at once; return if sums were equal.

    labels: (masks, bit of the value, masks of the result); None merges the sums alone, which is
        faster.

    Each end makes `length` steps, so none can run off its list, and the two chains of dependent
    loads overlap.
    """
    one = np.uint64(1)
    i, j, low = one, one, one
    x, y, high = np.uint64(length), np.uint64(length), np.uint64(2 * length)
    tied = False
    for _ in range(length):
        without, with_value = sums[i], sums[j] + value
        first = without <= with_value
        out_sums[low] = min(without, with_value)
        if labels is not None:
            masks, bit, out_masks = labels
            tied |= without == with_value
            out_masks[low] = masks[i] if first else masks[j] | bit
        step = np.uint64(first)
        i += step
        j += one - step
        low += one
        without, with_value = sums[x], sums[y] + value
        first = without <= with_value
        out_sums[high] = max(without, with_value)
        if labels is not None:
            masks, bit, out_masks = labels
            tied |= without == with_value
            out_masks[high] = masks[y] | bit if first else masks[x]
        step = np.uint64(first)
        y -= step
        x -= one - step
        high -= one
    return tied


@jit
def settle_ties(q, sums, masks, length, keep):
    """Order subsets of equal sum by preference, keep the first `keep`; return the new length."""
    kept, run = 0, 0
    for k in range(1, length + 1):
        total, mask = sums[k], masks[k]
        if kept == 0 or sums[kept] != total:
            run = 0
        if run < keep:
            kept += 1
            run += 1
        elif not before(q, mask, masks[kept]):
            continue
        slot = kept
        while slot > kept - run + 1 and before(q, mask, masks[slot - 1]):
            masks[slot] = masks[slot - 1]
            slot -= 1
        sums[kept], masks[slot] = total, mask
    return kept


@jit
def close_list(sums, length):
    """Put a sentinel at either end of a list, so that searches need no bounds."""
    sums[0], sums[length + 1] = -SENTINEL, SENTINEL


@jit
def sorted_sums(q, sums, spare):
    """All subset sums of q, ascending: (sums, length), in one of the two buffers."""
    sums[1] = 0
    length = 1
    for k in range(len(q)):
        merge(sums, length, q[k], spare, None)
        length *= 2
        sums, spare = spare, sums
    close_list(sums, length)
    return sums, length


@jit
def labelled_sums(q, keep, sums, masks, spare_sums, spare_masks):
    """Subset sums of q with their masks, ascending, at most `keep` of each sum."""
    sums[1], masks[1] = 0, 0
    length = 1
    for k in range(len(q)):
        tied = merge(sums, length, q[k], spare_sums, (masks, np.int32(1 << k), spare_masks))
        length *= 2
        sums, spare_sums = spare_sums, sums
        masks, spare_masks = spare_masks, masks
        if tied and keep < ALL:
            length = settle_ties(q, sums, masks, length, keep)
    close_list(sums, length)
    return sums, masks, length


@jit
def best_mask(q, total, natural):
    """The preferred subset of q among those that sum to `total`; natural is scratch, 2**len(q)."""
    natural[0] = 0
    size = 1
    for value in q:
        for m in range(size):
            natural[size + m] = natural[m] + value
        size *= 2
    best = -1
    for m in range(size):
        if natural[m] == total and (best < 0 or before(q, m, best)):
            best = m
    return best


@jit
def of_count(items, least, most, buffers):
    """The sublist of a labelled list with least..most closed, copied to the first two buffers."""
    all_sums, all_masks, length = items
    sums, masks = buffers[0], buffers[1]
    kept = 0
    for k in range(1, length + 1):
        if least <= count_closed(all_masks[k]) <= most:
            kept += 1
            sums[kept], masks[kept] = all_sums[k], all_masks[k]
    close_list(sums, kept)
    return sums, masks, kept
