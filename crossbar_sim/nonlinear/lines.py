"""The linearised array: every line solved exactly, and what couples them by GMRES.

Around some voltages a cell's current is by_word u - by_bit w + constant, with u and w its voltages.
A line is then a chain of conductances and sources. Seen from the far end, what lies beyond a
segment of resistance r is a conductance Y and a current J, of which Y s and J s with
s = 1 / (1 + r Y) come through; on the way back each node's voltage is s times what is before the
segment plus r J. No step divides by r or subtracts conductances, so that r = 0 needs no case of its
own: an ideal wire is a wire. (The kernels of `crossbar_sim.solvers.conjugate_gradients` divide by
r and rely on a symmetric matrix, which this one is not.)

All bit lines from the word nodes u, then all word lines from them, are an affine map P. It changes
u by little where wires have little resistance beside cells; u = P u is solved by GMRES.
Bit nodes are counted from the voltage at their TIA, as there.
Source: Saad, Schultz, "GMRES", SIAM J. Sci. Stat. Comput. 7 (1986) 856.
"""

from typing import NamedTuple

import numpy as np

from crossbar_sim.nonlinear import chebyshev
from crossbar_sim.nonlinear.chebyshev import FAST, Cells
from tinynets.files.compiled import kernels

#: Vectors that GMRES keeps before it starts anew, and how often it does.
N_KEPT, N_CYCLE = 40, 25

#: Word lines that are solved side by side: each alone would wait for its own last product.
_TOGETHER = 8

fast_kernel = kernels(chebyshev, fastmath=FAST, error_model="numpy")


class Segments(NamedTuple):
    """Resistances of the wires [ohm], 0 for ideal ones.

    r_first: from an input to the first cell of a word line.
    r_word, r_bit: between neighbours on a word line and on a bit line.
    r_end: from the last cell of a bit line to the voltage behind its TIA.
    """

    r_first: float
    r_word: float
    r_bit: float
    r_end: float


class Linear(NamedTuple):
    """A linearised array.

    cells: their derivatives; `current` is what flows with all word nodes at 0 V and all bit nodes
        at the voltage of their TIA.
    word, bit: s of each segment, (n_word, n_bit) and (n_word, n_side, n_bit).
    """

    cells: Cells
    segments: Segments
    word: np.ndarray
    bit: np.ndarray


@fast_kernel
def linearised(cells, segments, u, x):
    """Return the array linearised at the word nodes u and the bit nodes x above their TIAs [V].

    u: (n_word, n_bit).
    x: (n_word, n_side, n_bit).
    """
    current, by_word, by_bit = cells
    n_word, n_side, n_bit = x.shape
    constant, word, bit = np.empty_like(x), np.zeros_like(u), by_bit.copy()
    for i in range(n_word):
        for side in range(n_side):
            for j in range(n_bit):
                at = by_word[i, side, j] * u[i, j] - by_bit[i, side, j] * x[i, side, j]
                constant[i, side, j] = current[i, side, j] - at
                word[i, j] += by_word[i, side, j]
    for i in range(n_word):
        beyond = 0.0
        for j in range(n_bit - 1, -1, -1):
            beyond += word[i, j]
            word[i, j] = 1.0 / (1.0 + (segments.r_word if j else segments.r_first) * beyond)
            beyond *= word[i, j]
    beyond = np.zeros((n_side, n_bit))
    for i in range(n_word):
        r = segments.r_bit if i < n_word - 1 else segments.r_end
        for side in range(n_side):
            for j in range(n_bit):
                beyond[side, j] += bit[i, side, j]
                bit[i, side, j] = 1.0 / (1.0 + r * beyond[side, j])
                beyond[side, j] *= bit[i, side, j]
    return Linear(Cells(constant, by_word, by_bit), segments, word, bit)


@fast_kernel
def solve_linear(linear, v_in, fraction, u, x):
    """Solve a linearised array from u on, in place, until P u - u has shrunk by a fraction.

    v_in: (n_word,) [V].

    x becomes the bit nodes above the TIAs. Voltages are not finite where the array is singular.
    """
    cells, nothing = linear.cells, np.zeros_like(v_in)
    still = Cells(np.zeros_like(cells.current), cells.by_word, cells.by_bit)
    homogeneous = Linear(still, linear.segments, linear.word, linear.bit)
    residual, target = np.empty_like(u), 0.0
    for cycle in range(N_CYCLE + 1):
        _relax(linear, v_in, u, x, residual)
        _mix(residual, 1.0, u, -1.0)
        size = np.sqrt(_dot(residual, residual))
        if cycle == 0:
            target = fraction * size
        if not size > target or cycle == N_CYCLE:
            break
        _gmres(homogeneous, nothing, residual, target, u)
    _mix(u, 1.0, residual, 1.0)


@fast_kernel
def _relax(linear, v_in, u, x, image):
    """Solve all bit lines for the word nodes u, then all word lines: x, and image = P u."""
    constant, by_word, by_bit = linear.cells
    share, (n_word, n_side, n_bit) = linear.bit, x.shape
    r_bit, r_end = linear.segments.r_bit, linear.segments.r_end
    for i in range(n_word):
        for side in range(n_side):
            for j in range(n_bit):
                x[i, side, j] = by_word[i, side, j] * u[i, j] + constant[i, side, j]
            if i:
                for j in range(n_bit):
                    x[i, side, j] += share[i - 1, side, j] * x[i - 1, side, j]
    image[:] = 0.0
    for i in range(n_word - 1, -1, -1):
        for side in range(n_side):
            for j in range(n_bit):
                if i < n_word - 1:
                    x[i, side, j] = x[i + 1, side, j] + r_bit * x[i, side, j]
                else:
                    x[i, side, j] *= r_end
                x[i, side, j] *= share[i, side, j]
                image[i, j] += by_bit[i, side, j] * x[i, side, j] - constant[i, side, j]
    _solve_words(linear, v_in, image)


@fast_kernel
def _solve_words(linear, v_in, f):
    """Solve all word lines in place: f (n_word, n_bit), injected currents, becomes voltages."""
    share, (n_word, n_bit) = linear.word, f.shape
    r_first, r_word = linear.segments.r_first, linear.segments.r_word
    for start in range(0, n_word, _TOGETHER):
        stop = min(start + _TOGETHER, n_word)
        for j in range(n_bit - 2, -1, -1):
            for i in range(start, stop):
                f[i, j] += share[i, j + 1] * f[i, j + 1]
        for i in range(start, stop):
            f[i, 0] = (v_in[i] + r_first * f[i, 0]) * share[i, 0]
        for j in range(1, n_bit):
            for i in range(start, stop):
                f[i, j] = (f[i, j - 1] + r_word * f[i, j]) * share[i, j]


@fast_kernel
def _gmres(linear, v_in, residual, target, u):
    """Add to u what brings |residual - (1 - P) u| to the target, or as near as N_KEPT vectors do.

    linear, v_in: without constants and inputs, so that P is linear.
    """
    basis, x = np.empty((N_KEPT + 1, *u.shape)), np.empty_like(linear.bit)
    upper, turn = np.zeros((N_KEPT + 1, N_KEPT)), np.empty((N_KEPT, 2))
    left, n_used = np.zeros(N_KEPT + 1), 0
    left[0] = np.sqrt(_dot(residual, residual))
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            basis[0, i, j] = residual[i, j] / left[0]
    while n_used < N_KEPT and abs(left[n_used]) > target:
        k = n_used
        new, h = basis[k + 1], upper[:, k]
        _relax(linear, v_in, basis[k], x, new)
        _mix(new, -1.0, basis[k], 1.0)
        for m in range(k + 1):
            h[m] = _dot(basis[m], new)
            _mix(new, 1.0, basis[m], -h[m])
        h[k + 1] = np.sqrt(_dot(new, new))
        if h[k + 1] > 0:
            _mix(new, 1.0 / h[k + 1], new, 0.0)
        for m in range(k):
            h[m], h[m + 1] = _turned(turn[m], h[m], h[m + 1])
        length = np.hypot(h[k], h[k + 1])
        turn[k, 0], turn[k, 1] = h[k] / length, h[k + 1] / length
        h[k], h[k + 1] = length, 0.0
        left[k], left[k + 1] = _turned(turn[k], left[k], 0.0)
        n_used += 1
    for m in range(n_used - 1, -1, -1):  # the triangular system, from its end
        left[m] /= upper[m, m]
        for n in range(m):
            left[n] -= left[m] * upper[n, m]
        _mix(u, 1.0, basis[m], left[m])


@fast_kernel
def _turned(turn, a, b):
    """Return a and b after a rotation by (cosine, sine)."""
    return turn[0] * a + turn[1] * b, turn[0] * b - turn[1] * a


@fast_kernel
def _mix(a, factor_a, b, factor_b):
    """Set a = factor_a * a + factor_b * b, both (n_word, n_bit)."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] = factor_a * a[i, j] + factor_b * b[i, j]


@fast_kernel
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
    return total
