"""The transfer matrix by elimination of one column of cells after another, from the far end.

What lies beyond a column acts on its word nodes as a dense symmetric matrix S of conductances to
ground. A cell's bit line, of nodal matrix K (tridiagonal) and cells G, adds

    G - G K^-1 G        and the output        g_end (0, …, 1) K^-1 G

for each of the column's two bit lines. Seen through one segment of every word line, of r = 1 / g,

    S' = (1 + r S)^-1 S = (1 - (1 + r S)^-1) / r,

and an output that was a row over the nodes beyond the segment is multiplied by (1 + r S)^-1. S
never loses digits, since only positive terms are added.
"""

import numpy as np
from numba import njit

from crossbar_sim.transfer.symmetric_inverse import FAST, invert_segment, through_segment


@njit(cache=True, nogil=True)
def eliminate_columns(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    g = np.ascontiguousarray(lines.g.T)
    beyond = np.zeros((n_word, n_word))  # S
    outputs, spare = np.empty((n_line, n_word)), np.empty((n_line, n_word))
    found = np.empty((n_line, n_word))
    m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        if m:
            invert_segment(beyond, lines.g_word)
            np.dot(outputs[:m], beyond, spare[:m])
            outputs, spare = spare, outputs
            through_segment(beyond, lines.g_word)
        for line in (j, lines.n_bit + j):
            _add_bit_line(g[line], lines.g_bit, lines.g_end, beyond, outputs[m])
            m += 1
    invert_segment(beyond, lines.g_first)
    np.dot(outputs, beyond, spare)
    for j in range(lines.n_bit):
        first = 2 * (lines.n_bit - 1 - j)
        found[j], found[lines.n_bit + j] = spare[first], spare[first + 1]
    return np.ascontiguousarray(found.T)


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_bit_line(g, g_bit, g_end, s, output):
    """Add the cells g (n_word,) of a bit line to S; write its output current per word volt."""
    n = len(g)
    above, below = np.empty(n), np.empty(n)
    # Conductance that a bit node sees above and below, by elimination from each end.
    seen = 0.0
    for i in range(n):
        above[i] = seen
        seen = g_bit * (seen + g[i]) / (g_bit + seen + g[i])
    seen = g_end
    for i in range(n - 1, -1, -1):
        below[i] = seen
        seen = g_bit * (seen + g[i]) / (g_bit + seen + g[i])
    # Rows of K^-1 by voltage division, up to the diagonal, without cancellation.
    for i in range(n):
        share = g_bit / (g_bit + below[i] + g[i])
        for k in range(i):
            output[k] *= share
        output[i] = 1.0 / (above[i] + below[i] + g[i])
        for k in range(i):
            shared = g[i] * output[k] * g[k]
            s[i, k] -= shared
            s[k, i] -= shared
        s[i, i] += g[i] - g[i] * output[i] * g[i]
    for k in range(n):
        output[k] *= g_end * g[k]
