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

    coefficients: (n_direction, n_word, n_side, n_bit, p, q) [S]: the first for currents from word
        to bit line, the last for those that flow back.
    present: (n_word, n_side, n_bit), where there is a cell; pruned networks have few.
    middle_word, scale_word: (n_direction,) centre of the box [V], and 2 over its width [1/V].
    middle_bit, scale_bit: the same of bit nodes, for both directions.
    """

    coefficients: np.ndarray
    present: np.ndarray
    middle_word: np.ndarray
    scale_word: np.ndarray
    middle_bit: float
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
    back, n_word, n_side, n_bit, p, q = c.shape
    s, ds = np.empty(q), np.empty(q)
    for i in range(n_word):
        for side in range(n_side):
            for j in range(n_bit):
                if not series.present[i, side, j]:
                    current[i, side, j] = by_word[i, side, j] = by_bit[i, side, j] = 0.0
                    continue
                w = x[i, side, j] + v_tia[side, j]
                drop = u[i, j] - w
                way = 0 if drop >= 0.0 else back - 1
                b = (w - series.middle_bit) * series.scale_bit
                t, dt, t_next, dt_next = 1.0, 0.0, b, 1.0
                for n in range(q):
                    s[n], ds[n] = t, dt
                    t, dt, t_next, dt_next = _next(b, t, dt, t_next, dt_next)
                a = (u[i, j] - series.middle_word[way]) * series.scale_word[way]
                t, dt, t_next, dt_next = 1.0, 0.0, a, 1.0
                g, g_word, g_bit = 0.0, 0.0, 0.0
                for m in range(p):
                    inner, d_inner = 0.0, 0.0
                    for n in range(q):
                        inner += c[way, i, side, j, m, n] * s[n]
                        d_inner += c[way, i, side, j, m, n] * ds[n]
                    g += t * inner
                    g_word += dt * inner
                    g_bit += t * d_inner
                    t, dt, t_next, dt_next = _next(a, t, dt, t_next, dt_next)
                current[i, side, j] = drop * g
                by_word[i, side, j] = g + drop * g_word * series.scale_word[way]
                by_bit[i, side, j] = g - drop * g_bit * series.scale_bit


@fast_kernel
def _next(x, t, dt, t_next, dt_next):
    """Return T_{m+1}, T_{m+1}', T_{m+2}, T_{m+2}' at x, from those of m and m + 1."""
    above = 2.0 * x * t_next - t
    return t_next, dt_next, above, 2.0 * t_next + 2.0 * x * dt_next - dt
