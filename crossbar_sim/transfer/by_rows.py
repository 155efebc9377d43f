"""The transfer matrix by elimination of one word line after another, for tall, narrow arrays.

What lies above a word line acts on its bit nodes as a dense symmetric matrix D of conductances to
the word lines' drivers. Seen through one segment of every bit line, of r = 1 / g_bit, it is

    D' = (1 + r D)^-1 D,

and the next word line adds to it G - G A^-1 G, where G are its cells and A is the tridiagonal
matrix of its own nodes. The currents that each driver injects into the bit nodes are carried along:
a row through (1 + r D)^-1, a new row G A^-1 (g_first, 0, …). D never loses digits, since only
positive terms are added.
"""

import numpy as np

from crossbar_sim.transfer import array_lines, symmetric_inverse
from crossbar_sim.transfer.symmetric_inverse import FAST, dot_into, through_segment
from tinynets.files.compiled import kernels

kernel = kernels(symmetric_inverse, array_lines)
fast_kernel = kernels(symmetric_inverse, array_lines, fastmath=FAST)


@kernel
def eliminate_rows(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    above, divided = np.zeros((n_line, n_line)), np.empty((n_line, n_line))  # D, (1 + r D)^-1
    injected, spare = np.empty((n_word, n_line)), np.empty((n_word, n_line))
    for i in range(n_word):
        if i:
            through_segment(above, lines.g_bit, divided)
            dot_into(injected[:i], divided, spare[:i])
            injected, spare = spare, injected
        _add_word_line(lines.g[i], lines.n_bit, lines.g_first, lines.g_word, above, injected[i])
    through_segment(above, lines.g_end, divided)
    dot_into(injected, divided, spare)
    return spare


@fast_kernel
def _add_word_line(g, n_bit, g_first, g_word, d, injected):
    """Add the cells g (n_line,) of a word line to D; write what 1 V at its driver injects."""
    n_line = len(g)
    inverse = _word_inverse(g, n_bit, g_first, g_word)
    for line in range(n_line):
        row = inverse[line % n_bit]
        injected[line] = g[line] * row[0] * g_first
        for start in range(0, n_line, n_bit):
            for j in range(n_bit):
                d[line, start + j] -= g[line] * g[start + j] * row[j]
        d[line, line] += g[line]


@fast_kernel
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
