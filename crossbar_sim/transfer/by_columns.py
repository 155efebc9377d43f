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

from crossbar_sim.transfer import array_lines, bit_line_elimination, symmetric_inverse
from crossbar_sim.transfer.bit_line_elimination import add_bit_line
from crossbar_sim.transfer.symmetric_inverse import dot_into, through_segment
from tinynets.files.compiled import kernels

kernel = kernels(symmetric_inverse, bit_line_elimination, array_lines)


@kernel
def eliminate_columns(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    g = np.ascontiguousarray(lines.g.T)
    beyond, divided = np.zeros((n_word, n_word)), np.empty((n_word, n_word))  # S, (1 + r S)^-1
    outputs, spare = np.empty((n_line, n_word)), np.empty((n_line, n_word))
    found = np.empty((n_line, n_word))
    down = np.full(n_word, lines.g_bit)
    down[-1] = lines.g_end
    m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        if m:
            through_segment(beyond, lines.g_word, divided)
            dot_into(outputs[:m], divided, spare[:m])
            outputs, spare = spare, outputs
        for line in range(j, n_line, lines.n_bit):
            add_bit_line(g[line], down, beyond, outputs[m])
            m += 1
    through_segment(beyond, lines.g_first, divided)
    dot_into(outputs, divided, spare)
    m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        for line in range(j, n_line, lines.n_bit):
            found[line] = spare[m]
            m += 1
    return np.ascontiguousarray(found.T)
