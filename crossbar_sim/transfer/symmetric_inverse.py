"""The inverse of a symmetric positive definite matrix, in compiled code that threads can share."""

import numpy as np

from tinynets.files.compiled import kernels

#: Lets sums be taken in any order, so that they use vector instructions.
FAST = {"contract", "reassoc"}
#: Rows that are eliminated at once.
_BLOCK = 32

kernel = kernels()
fast_kernel = kernels(fastmath=FAST)


@fast_kernel
def invert(a):
    """Invert a matrix (n, n) in place, by Gauss-Jordan elimination of blocks.

    With P the inverse of a block on the diagonal, and C and R its columns and rows elsewhere,

        P    P R            the block and its rows
       -C P  rest - C P R   all other rows.
    """
    n = len(a)
    update = np.empty((n, n))
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        pivot = a[start:stop, start:stop].copy()
        _sweep(pivot)
        columns = a[:, start:stop].copy()
        columns[start:stop] = 0.0
        rows = np.dot(pivot, a[start:stop])
        rows[:, start:stop] = pivot
        a[:, start:stop] = 0.0
        np.dot(columns, rows, update)
        for i in range(n):
            for j in range(n):
                a[i, j] -= update[i, j]
        a[start:stop] = rows


@fast_kernel
def _sweep(a):
    """Invert a small matrix in place, one row after another."""
    n = len(a)
    for k in range(n):
        scale = 1.0 / a[k, k]
        a[k, k] = 1.0
        for j in range(n):
            a[k, j] *= scale
        for i in range(n):
            if i != k:
                factor = a[i, k]
                a[i, k] = 0.0
                for j in range(n):
                    a[i, j] -= factor * a[k, j]


@fast_kernel
def through_segment(s, g, divided):
    """Look at conductances S (n, n) to ground through a segment g at each node, in place.

    divided: gets M = (1 + S / g)^-1, the voltages behind the segments per volt in front of them.

    S' = S M = g (1 - M): the first for the diagonal, where the second would lose digits.
    """
    n = len(s)
    for i in range(n):
        for j in range(n):
            divided[i, j] = s[i, j] / g
        divided[i, i] += 1.0
    invert(divided)
    for i in range(n):
        own = 0.0
        for j in range(n):
            own += s[i, j] * divided[j, i]
        for j in range(n):
            s[i, j] = -g * divided[i, j]
        s[i, i] = own
