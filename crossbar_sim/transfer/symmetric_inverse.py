"""The inverse of a symmetric positive definite matrix, in compiled code that threads can share."""

import numpy as np

from tinynets.files.compiled import kernels

#: Lets sums be taken in any order, so that they use vector instructions.
FAST = {"contract", "reassoc"}
#: Rows up to which a matrix is not halved.
_SMALL = 32

kernel = kernels()
fast_kernel = kernels(fastmath=FAST)


@kernel
def invert(a):
    """Invert a matrix (n, n) in place, by halves.

    With P = A^-1, X = P B and S = C - B^T X, of the blocks A, B, C of the matrix,

        P + X S^-1 X^T   -X S^-1
        -S^-1 X^T         S^-1.
    """
    n = len(a)
    if n <= _SMALL:
        _sweep(a)
        return
    half = n // 2
    rest = n - half
    p, b, c = np.empty((half, half)), np.empty((half, rest)), np.empty((rest, rest))
    for i in range(half):
        for j in range(half):
            p[i, j] = a[i, j]
        for j in range(rest):
            b[i, j] = a[i, half + j]
    invert(p)
    x = dot(p, b)
    update = dot_of_columns(b, x)
    for i in range(rest):
        for j in range(rest):
            c[i, j] = a[half + i, half + j] - update[i, j]
    invert(c)
    xs = dot(x, c)
    update = dot_of_rows(xs, x)
    for i in range(half):
        for j in range(half):
            a[i, j] = p[i, j] + update[i, j]
        for j in range(rest):
            a[i, half + j] = -xs[i, j]
            a[half + j, i] = -xs[i, j]
    for i in range(rest):
        for j in range(rest):
            a[half + i, half + j] = c[i, j]


@kernel
def dot(a, b):
    """Return A B. Compiled once, since calls of BLAS compile slowly."""
    return np.dot(a, b)


@kernel
def dot_into(a, b, out):
    """Write A B."""
    np.dot(a, b, out)


@kernel
def dot_of_rows(a, b):
    """Return A B^T."""
    return np.dot(a, b.T)


@kernel
def dot_of_columns(a, b):
    """Return A^T B."""
    return np.dot(a.T, b)


@fast_kernel
def _sweep(a):
    """Invert a small matrix in place, by Gauss-Jordan elimination of two rows at a time."""
    n = len(a)
    for k in range(0, n - 1, 2):
        scale = 1.0 / (a[k, k] * a[k + 1, k + 1] - a[k, k + 1] * a[k + 1, k])
        first, both, second = scale * a[k + 1, k + 1], -scale * a[k, k + 1], scale * a[k, k]
        a[k, k] = a[k + 1, k + 1] = 1.0
        a[k, k + 1] = a[k + 1, k] = 0.0
        for j in range(n):
            x, y = a[k, j], a[k + 1, j]
            a[k, j], a[k + 1, j] = first * x + both * y, both * x + second * y
        for i in range(n):
            if i < k or i > k + 1:
                x, y = a[i, k], a[i, k + 1]
                a[i, k] = a[i, k + 1] = 0.0
                for j in range(n):
                    a[i, j] -= x * a[k, j] + y * a[k + 1, j]
    if n % 2:
        last = n - 1
        scale = 1.0 / a[last, last]
        a[last, last] = 1.0
        for j in range(n):
            a[last, j] *= scale
        for i in range(last):
            x = a[i, last]
            a[i, last] = 0.0
            for j in range(n):
                a[i, j] -= x * a[last, j]


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
