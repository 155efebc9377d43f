"""The transfer matrix of a regular array, by elimination of one word line after another.

What lies above a word line acts on its bit nodes as a dense symmetric matrix D of conductances to
the word lines' drivers. Seen through one segment of every bit line, of r = 1 / g_bit, it is

    D' = (1 + r D)^-1 D = (1 - (1 + r D)^-1) / r,

and the next word line adds to it G - G A^-1 G, where G are its cells and A is the tridiagonal
matrix of its own nodes. The currents that each driver injects into the bit nodes are carried along:
a row through (1 + r D)^-1, a new column G A^-1 (g_first, 0, …). D never loses digits, since only
positive terms are added.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit
from scipy import linalg
from threadpoolctl import ThreadpoolController

from crossbar_sim.solvers.array_lines import Lines, SolverError

#: Typed as Any: their functions are made at import, unseen by type checkers.
_blas: Any = linalg.blas
_lapack: Any = linalg.lapack


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def eliminate(lines: Lines) -> np.ndarray:
    """Return the transfer matrix (n_word, n_line) [S] of an array.

    Raises SolverError when conductances lie so far apart that a factorisation fails.
    """
    n_word, n_line = lines.g.shape
    diagonal = np.diag_indices(n_line)
    above = np.zeros((n_line, n_line), order="F")  # D, upper triangle
    response = np.zeros((n_line, n_word), order="F")  # current into the bit nodes, per input
    # One thread: on blocks of this size more threads cost more time than they save.
    with _threads().limit(limits=1, user_api="blas"):
        for i in range(n_word):
            if i:
                through = _inverse(above, 1.0 / lines.g_bit)
                response[:, :i] = _blas.dsymm(1.0, through, response[:, :i])
                above = np.multiply(through, -lines.g_bit, out=through)
                above[diagonal] += lines.g_bit
            response[:, i] = _add_word_line(
                lines.g[i], lines.n_bit, lines.g_first, lines.g_word, above
            )
        last = _inverse(above, 1.0 / lines.g_end)
        return _blas.dsymm(1.0, last, response).T


def _inverse(d: np.ndarray, r: float) -> np.ndarray:
    """Return (1 + r D)^-1, upper triangle, in place of D, which is symmetric and not negative."""
    matrix = np.multiply(d, r, out=d)
    matrix[np.diag_indices(len(d))] += 1.0
    factor, failed = _lapack.dpotrf(matrix, overwrite_a=1, clean=0)
    inverse, failed_too = _lapack.dpotri(factor, overwrite_c=1)
    if failed or failed_too:
        raise SolverError("the array could not be eliminated; look for conductances decades apart")
    return inverse


@njit(cache=True)
def _add_word_line(g, n_bit, g_first, g_word, matrix):
    """Add a word line to the conductance matrix of its bit nodes (upper triangle), in place.

    With A the tridiagonal matrix of the word line and G its cells, that is G - G A^-1 G. Returns
    the current (n_line,) that 1 V at the driver injects: G A^-1 (g_first, 0, …).
    """
    n_line = len(g)
    inverse = _word_inverse(g, n_bit, g_first, g_word)
    injected = np.empty(n_line)
    for line in range(n_line):
        row = inverse[line % n_bit]
        injected[line] = g[line] * row[0] * g_first
        for start in range(0, line + 1, n_bit):
            for j in range(min(n_bit, line + 1 - start)):
                matrix[start + j, line] -= g[line] * g[start + j] * row[j]
        matrix[line, line] += g[line]
    return injected


@njit(cache=True)
def _word_inverse(g, n_bit, g_first, g_word):
    """Return A^-1 (n_bit, n_bit) of a word line by voltage division, without cancellation."""
    diagonal, left, right = np.zeros(n_bit), np.empty(n_bit), np.empty(n_bit)
    for line in range(len(g)):
        diagonal[line % n_bit] += g[line]
    # Conductance that a node sees to its left and to its right, by elimination from each end.
    seen = g_first
    for j in range(n_bit):
        left[j] = seen
        seen = g_word * (seen + diagonal[j]) / (g_word + seen + diagonal[j])
    seen = 0.0
    for j in range(n_bit - 1, -1, -1):
        right[j] = seen
        seen = g_word * (seen + diagonal[j]) / (g_word + seen + diagonal[j])
    inverse = np.empty((n_bit, n_bit))
    for j in range(n_bit):
        share = g_word / (g_word + right[j] + diagonal[j])
        for k in range(j):
            inverse[j, k] = inverse[j - 1, k] * share
        inverse[j, j] = 1.0 / (left[j] + right[j] + diagonal[j])
    for j in range(n_bit - 2, -1, -1):
        share = g_word / (g_word + left[j] + diagonal[j])
        for k in range(j + 1, n_bit):
            inverse[j, k] = inverse[j + 1, k] * share
    return inverse
