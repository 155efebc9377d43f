"""What one bit line, a chain of cells above a TIA, adds to the word lines that it crosses."""

import numpy as np

from crossbar_sim.transfer.symmetric_inverse import FAST
from tinynets.files.compiled import kernels

fast_kernel = kernels(fastmath=FAST)


@fast_kernel
def add_bit_line(g, down, s, output):
    """Add G - G K^-1 G of a bit line to S (k, k); write g_end (0, …, 1) K^-1 G, in place.

    K is the tridiagonal matrix of the line's nodes with its cells G.

    g: cells (k,) [S].
    down: segments from each cell to the next, and from the last one into the TIA (k,) [S].
    """
    k = len(g)
    above, below = np.empty(k), np.empty(k)
    seen = 0.0
    for i in range(k):
        above[i] = seen
        seen = down[i] * (seen + g[i]) / (down[i] + seen + g[i])
    seen = down[k - 1]
    for i in range(k - 1, -1, -1):
        below[i] = seen
        if i:
            seen = down[i - 1] * (seen + g[i]) / (down[i - 1] + seen + g[i])
    for i in range(k):
        if i:
            share = down[i - 1] / (down[i - 1] + below[i] + g[i])
            for q in range(i):
                output[q] *= share
        output[i] = 1.0 / (above[i] + below[i] + g[i])
        for q in range(i):
            shared = g[i] * output[q] * g[q]
            s[i, q] -= shared
            s[q, i] -= shared
        s[i, i] += g[i] - g[i] * output[i] * g[i]
    for q in range(k):
        output[q] *= down[k - 1] * g[q]
