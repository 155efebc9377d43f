"""The rule of comparison of subset sums, compiled: fixed point, and preference among ties.

Sums are 64-bit fixed-point numbers, so that adding is associative and ties are exact equalities.
"""

import math

import numpy as np

from tinynets.files.compiled import kernels

FRACTION_BITS = 60  # |sum| < 2**60 leaves room for targets beyond reach and for sentinels
LEVEL_RATIO = 2.0**-24

jit = kernels()


# ---- order of preference among subsets ----------------------------------------------------------


@jit
def count_closed(mask):
    """Number of values in a subset."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@jit
def weight(q, mask):
    """Sum of the magnitudes of the chosen values, in fixed point."""
    total = 0
    k = 0
    while mask:
        if mask & 1:
            total += abs(q[k])
        mask >>= 1
        k += 1
    return total


@jit
def before(q, mask, other):
    """Whether `mask` wins a tie: fewest closed, then least weight, then lowest mask."""
    closed, closed_other = count_closed(mask), count_closed(other)
    if closed != closed_other:
        return closed < closed_other
    heavy, heavy_other = weight(q, mask), weight(q, other)
    if heavy != heavy_other:
        return heavy < heavy_other
    return mask < other


@jit
def lighter(q, mask, other):
    """Whether `mask` is preferred within a tolerance: least weight, fewest closed, lowest mask."""
    heavy, heavy_other = weight(q, mask), weight(q, other)
    if heavy != heavy_other:
        return heavy < heavy_other
    closed, closed_other = count_closed(mask), count_closed(other)
    if closed != closed_other:
        return closed < closed_other
    return mask < other


# ---- fixed point --------------------------------------------------------------------------------


@jit
def quantise(values, limit, q):
    """Write the values of at most `limit` in fixed point to q, 0 for larger; return the scale."""
    total = 0.0
    for value in values:
        if abs(value) <= limit:
            total += abs(value)
    exponent = FRACTION_BITS - math.frexp(total)[1]
    # Two factors, because 2**exponent alone may overflow.
    scale = math.ldexp(1.0, exponent // 2), math.ldexp(1.0, exponent - exponent // 2)
    for k in range(len(values)):
        value = values[k] if abs(values[k]) <= limit else 0.0
        q[k] = np.int64(np.rint(value * scale[0] * scale[1]))
    return scale


@jit
def fixed(number, scale):
    """A target in fixed point, moved to just beyond every sum if it is further out than that."""
    bound = 1.25 * 2.0**FRACTION_BITS
    return np.int64(np.rint(min(max(number * scale[0] * scale[1], -bound), bound)))


@jit
def next_limit(values, limit):
    """The largest magnitude far below `limit`, 0 if there is none."""
    largest = 0.0
    for value in values:
        if abs(value) <= limit * LEVEL_RATIO:
            largest = max(largest, abs(value))
    return largest


@jit
def chosen_sum(values, mask):
    """Sum of the chosen values in float64, in ascending order of k."""
    total = 0.0
    k = 0
    while mask:
        if mask & 1:
            total += values[k]
        mask >>= 1
        k += 1
    return total


@jit
def is_better(values, target, tolerance, mask, other):
    """Whether a subset of a finer level replaces the earlier one."""
    miss = abs(chosen_sum(values, mask) - target)
    miss_other = abs(chosen_sum(values, other) - target)
    if miss <= tolerance and miss_other <= tolerance:
        return weight(values, mask) < weight(values, other)
    return miss < miss_other
