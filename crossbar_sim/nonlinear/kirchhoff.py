"""Whether the currents at the nodes of an array of nonlinear cells balance.

What counts is the net current of a node beyond what voltages rounded to doubles explain: where a
wire has little resistance, the last digit of a voltage is much current. Nodes that an ideal wire
connects are one node.
"""

import numpy as np

from crossbar_sim.nonlinear import chebyshev, lines
from crossbar_sim.nonlinear.chebyshev import FAST
from tinynets.files.compiled import kernels

#: What the voltages at both ends, as doubles, leave unsure of a difference, with some room.
_ROUNDING = 1e-15

fast_kernel = kernels(chebyshev, lines, fastmath=FAST, error_model="numpy")


@fast_kernel
def imbalance(cells, segments, ends, u, x):
    """Return the largest net current of a node, and the largest sum of currents that meet [A].

    cells: `Cells` at the word nodes u (n_word, n_bit) and the bit nodes x (n_word, n_side, n_bit)
        above their TIAs [V].
    ends: voltages v_in (n_word,) and v_tia (n_side, n_bit) [V].

    The net current is infinite if a voltage or a current is not finite.
    """
    net, most = 0.0, 0.0
    current, by_word, by_bit = cells
    n_word, n_side, n_bit = x.shape
    arriving = np.zeros((n_side, n_bit, 3))
    for i in range(n_word):
        last = i == n_word - 1
        leaving = (0.0, 0.0, 0.0)
        for j in range(n_bit - 1, -1, -1):
            for side in range(n_side):
                w = x[i, side, j] + ends.v_tia[side, j]
                unsure = abs(by_word[i, side, j] * u[i, j]) + abs(by_bit[i, side, j] * w)
                cell = current[i, side, j], abs(current[i, side, j]), _ROUNDING * unsure
                leaving = _sum(leaving, cell)
                after, ohm = (0.0, segments.r_end) if last else (x[i + 1, side, j], segments.r_bit)
                carried = _sum(arriving[side, j], cell)
                off, meet, carried = _through(x[i, side, j], after, ohm, carried)
                arriving[side, j, 0], arriving[side, j, 1], arriving[side, j, 2] = carried
                net, most = _larger(off, net), max(meet, most)
            before = u[i, j - 1] if j else ends.v_in[i]
            ohm = segments.r_word if j else segments.r_first
            off, meet, leaving = _through(before, u[i, j], ohm, leaving)
            net, most = _larger(off, net), max(meet, most)
    return net, most


@fast_kernel
def _sum(a, b):
    """Return current, sum of magnitudes and uncertainty, each of both together."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@fast_kernel
def _through(v, v_next, ohm, carried):
    """Return net current and meeting currents before a segment, and what it carries."""
    if ohm == 0.0:
        return 0.0, 0.0, carried
    flows, unsure = (v - v_next) / ohm, _ROUNDING * (abs(v) + abs(v_next)) / ohm
    net = abs(flows - carried[0]) - carried[2] - unsure
    return net, abs(flows) + carried[1], (flows, abs(flows), unsure)


@fast_kernel
def _larger(net, largest):
    """Return the larger net current, infinity for NaN."""
    return max(net, largest) if np.isfinite(net) else np.inf
