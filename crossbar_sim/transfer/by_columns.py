"""The transfer matrix by elimination of one column of cells after another, from the far end.

What lies beyond a column acts on its word nodes as a dense symmetric matrix S of conductances to
ground. A cell's bit line, of nodal matrix K (tridiagonal) and cells G, adds

    G - G K^-1 G        and the output        g_end (0, …, 1) K^-1 G

for each of the column's bit lines. Seen through one segment of every word line, of r = 1 / g,

    S' = (1 + r S)^-1 S,

and an output that was a row over the nodes beyond the segment is multiplied by (1 + r S)^-1. S
never loses digits, since only positive terms are added.
"""

import numpy as np

from crossbar_sim.transfer import array_lines, symmetric_inverse
from crossbar_sim.transfer.symmetric_inverse import FAST, through_segment
from tinynets.files.compiled import kernels

kernel = kernels(symmetric_inverse, array_lines)
fast_kernel = kernels(symmetric_inverse, array_lines, fastmath=FAST)


@kernel
def eliminate_columns(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    g = np.ascontiguousarray(lines.g.T)
    beyond, divided = np.zeros((n_word, n_word)), np.empty((n_word, n_word))  # S, (1 + r S)^-1
    outputs, spare = np.empty((n_line, n_word)), np.empty((n_line, n_word))
    found = np.empty((n_line, n_word))
    m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        if m:
            through_segment(beyond, lines.g_word, divided)
            np.dot(outputs[:m], divided, spare[:m])
            outputs, spare = spare, outputs
        for line in range(j, n_line, lines.n_bit):
            _add_bit_line(g[line], lines.g_bit, lines.g_end, beyond, outputs[m])
            m += 1
    through_segment(beyond, lines.g_first, divided)
    np.dot(outputs, divided, spare)
    m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        for line in range(j, n_line, lines.n_bit):
            found[line] = spare[m]
            m += 1
    return np.ascontiguousarray(found.T)


@fast_kernel
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
