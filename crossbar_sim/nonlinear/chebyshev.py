"""Currents of all cells of an array and their derivatives, from Chebyshev series.

With a and b the voltages of a cell's word and bit node, scaled to -1 … 1 over the box, its
conductance is the sum of c[m, n] T_m(a) T_n(b). T and its derivative follow from

    T_m = 2 a T_{m-1} - T_{m-2},    T_m' = 2 T_{m-1} + 2 a T_{m-1}' - T_{m-2}'.

Products of these are faster than Clenshaw's recurrences, and cell by cell they are as fast as along
rows of cells, where vector instructions wait for memory.
Source: Mason, Handscomb, "Chebyshev Polynomials", 2003, 1.2 and 2.4.
"""

from typing import NamedTuple

import numpy as np

from tinynets.files.compiled import kernels

#: Lets sums be taken in any order, so that they use vector instructions.
FAST = {"contract", "reassoc"}

fast_kernel = kernels(fastmath=FAST)


class Series(NamedTuple):
    """Series of an array's cells, as the kernels read them.

    coefficients: (n_word, n_side, n_bit, p, q) [S].
    middle_word, middle_bit: centre of the box [V].
    scale_word, scale_bit: 2 over its width [1/V].
    """

    coefficients: np.ndarray
    middle_word: float
    middle_bit: float
    scale_word: float
    scale_bit: float


class Cells(NamedTuple):
    """What the cells do at given voltages, (n_word, n_side, n_bit) each.

    current: from word line to bit line [A].
    by_word: its derivative by the voltage of the word node [S].
    by_bit: minus its derivative by the voltage of the bit node [S].
    """

    current: np.ndarray
    by_word: np.ndarray
    by_bit: np.ndarray


@fast_kernel
def evaluate(series, u, x, v_tia, cells):
    """Write what the cells do into `Cells`.

    u: word nodes (n_word, n_bit) [V].
    x: bit nodes (n_word, n_side, n_bit) [V] above v_tia (n_side, n_bit) [V].
    """
    c = series.coefficients
    current, by_word, by_bit = cells
    s, ds = np.empty(c.shape[4]), np.empty(c.shape[4])
    for i in range(c.shape[0]):
        for side in range(c.shape[1]):
            for j in range(c.shape[2]):
                w = x[i, side, j] + v_tia[side, j]
                b = (w - series.middle_bit) * series.scale_bit
                t, dt, t_next, dt_next = 1.0, 0.0, b, 1.0
                for n in range(c.shape[4]):
                    s[n], ds[n] = t, dt
                    t, dt, t_next, dt_next = _next(b, t, dt, t_next, dt_next)
                a = (u[i, j] - series.middle_word) * series.scale_word
                t, dt, t_next, dt_next = 1.0, 0.0, a, 1.0
                g, g_word, g_bit = 0.0, 0.0, 0.0
                for m in range(c.shape[3]):
                    inner, d_inner = 0.0, 0.0
                    for n in range(c.shape[4]):
                        inner += c[i, side, j, m, n] * s[n]
                        d_inner += c[i, side, j, m, n] * ds[n]
                    g += t * inner
                    g_word += dt * inner
                    g_bit += t * d_inner
                    t, dt, t_next, dt_next = _next(a, t, dt, t_next, dt_next)
                drop = u[i, j] - w
                current[i, side, j] = drop * g
                by_word[i, side, j] = g + drop * g_word * series.scale_word
                by_bit[i, side, j] = g - drop * g_bit * series.scale_bit


@fast_kernel
def _next(x, t, dt, t_next, dt_next):
    """Return T_{m+1}, T_{m+1}', T_{m+2}, T_{m+2}' at x, from those of m and m + 1."""
    above = 2.0 * x * t_next - t
    return t_next, dt_next, above, 2.0 * t_next + 2.0 * x * dt_next - dt
