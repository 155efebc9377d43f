"""Intervals that provably hold the exact currents of a circuit.

The nodal matrix A of a resistive network is an M-matrix: off its diagonal nothing is above zero,
and no entry of its inverse is below zero. With r the residual of computed voltages, any z > 0 with
A z >= |r| therefore bounds their error: |v - exact| = |A^-1 r| <= A^-1 |r| <= z. One more solution
gives such a z. A current is summed over the branches that enter its bit line from outside, whose
voltages are far above their errors.
Sources: Berman, Plemmons, "Nonnegative matrices in the mathematical sciences" (1994), chapter 6;
Ogita, Oishi, Ushiro, "Fast verification of solutions for sparse monotone matrix equations" (2001);
rounding of sums: Higham, "Accuracy and stability of numerical algorithms" (2002), section 4.2.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crossbar_sim.certificates.certificate import Certificate
from crossbar_sim.solvers.nodal import factorise
from crossbar_sim.solvers.solution import Solution, SolverError
from netlists.circuit import Circuit
from netlists.circuit.elements import BIT_LINE

#: Half the distance of 1 and the next double.
_U = 2.0**-53
#: Roundings in a term g (a - b), with g the inverse of a resistance, and to spare.
_TERM = 8
#: How often the bound is doubled if rounding has made it too small.
_TRIALS = 4


class _Sums(NamedTuple):
    """Sums at every node: their values, and the most by which rounding has changed them."""

    value: np.ndarray
    error: np.ndarray


def certify(solution: Solution) -> Certificate:
    """Return the certificate of a solution that kept its node voltages.

    The intervals hold the exact currents of the circuit as it is stated: resistors of exactly
    `elements.branch_ohm`, input resistances and offsets of the amplifiers as `periphery` gives
    them in double precision.

    Raises SolverError if no bound is found: the conductances lie too many decades apart.
    """
    circuit, parts = solution.circuit, solution.circuit.elements
    n_line = circuit.n_line
    t = circuit.periphery.share * circuit.periphery.offsets(n_line)
    r_tia = np.array(circuit.periphery.r_tia_input)
    claims = np.zeros((2, len(solution.v_in), n_line))
    topology = parts.branch_from, parts.branch_to, parts.branch_ohm
    blank = Certificate(
        *topology,
        parts.input_nodes,
        parts.tia_nodes,
        r_tia,
        t,
        _held(circuit, solution, t),
        np.zeros(parts.n_node),
        _lines(circuit),
        *claims,
    )
    bounded = _bounded(blank)
    return bounded.with_claims(*_intervals(bounded))


def _held(circuit: Circuit, solution: Solution, t: np.ndarray) -> np.ndarray:
    """Return the node voltages (n_vector, n_node), those that are given exactly as given."""
    volts = solution.nodes.copy()
    volts[:, 0] = 0.0
    volts[:, circuit.elements.input_nodes] = solution.v_in
    if not circuit.periphery.r_tia_input:
        volts[:, circuit.elements.tia_nodes] = t
    return volts


def _lines(circuit: Circuit) -> np.ndarray:
    """Return the bit line that each node is on (n_node,), -1 for others."""
    parts = circuit.elements
    own = parts.branch_part == BIT_LINE
    ends = parts.branch_from[own], parts.branch_to[own]
    graph = coo_array((np.ones(own.sum()), ends), shape=(parts.n_node, parts.n_node))
    _, component = connected_components(graph, directed=False)
    line = np.full(parts.n_node, -1)
    for k, node in enumerate(parts.tia_nodes):
        line[component == component[node]] = k
    return line


def free_nodes(of: Certificate) -> np.ndarray:
    """Return which nodes (n_node,) are not held at a voltage."""
    free = np.ones(len(of.bound), dtype=bool)
    free[0], free[of.inputs] = False, False
    free[of.outputs] = bool(of.r_tia)
    return free


def _bounded(of: Certificate) -> Certificate:
    """Return the certificate with bounds on the errors of its voltages."""
    free = free_nodes(of)
    if not free.any():
        return of
    factor = _factorised(of, free)
    of = _refined(of, free, factor)
    each = [_currents(of, volts, of.t) for volts in of.volts]
    least = np.max([np.abs(sums.value) + sums.error for sums in each], axis=0, initial=0.0)[free]
    # Above zero everywhere, for only then A z > 0 proves that A is an M-matrix.
    least = np.maximum(least, max(1e-6 * least.max(), 1e-290))
    bound = np.zeros(len(free))
    bound[free] = factor.solve(1.001 * least)
    for _ in range(_TRIALS):
        sums = _currents(of, bound, np.zeros(len(of.t)))
        enough = (-sums.value - sums.error)[free] >= least * (1 + 4 * _U)
        if (bound[free] > 0).all() and enough.all():
            return replace(of, bound=bound)
        bound *= 2.0
    raise SolverError("no bound on the errors was found; look for conductances many decades apart")


def _refined(of: Certificate, free: np.ndarray, factor: Any) -> Certificate:
    """Return the certificate with voltages after a step of iterative refinement."""
    net = np.array([_currents(of, volts, of.t).value[free] for volts in of.volts])
    volts = of.volts.copy()
    volts[:, free] += factor.solve(net.T).T
    return replace(of, volts=volts)


def _factorised(of: Certificate, free: np.ndarray) -> Any:
    """Return the factors of A, which `solve` for the voltages of the free nodes."""
    n, g = len(free), 1.0 / of.ohm
    row = [of.tail, of.head, of.tail, of.head]
    column = [of.tail, of.head, of.head, of.tail]
    value = [g, g, -g, -g]
    if of.r_tia:
        row, column = [*row, of.outputs], [*column, of.outputs]
        value = [*value, np.full(len(of.outputs), 1.0 / of.r_tia)]
    entries = (np.concatenate(value), (np.concatenate(row), np.concatenate(column)))
    matrix = coo_array(entries, shape=(n, n)).tocsr()[free][:, free]
    return factorise(matrix)


def _currents(of: Certificate, volts: np.ndarray, t: np.ndarray) -> _Sums:
    """Return the net current into every node (n_node,) [A] at voltages (n_node,)."""
    n = len(volts)
    along = (volts[of.head] - volts[of.tail]) / of.ohm
    node, term = [of.tail, of.head], [along, -along]
    if of.r_tia:
        node, term = [*node, of.outputs], [*term, (t - volts[of.outputs]) / of.r_tia]
    return _summed(np.concatenate(node), np.concatenate(term), n)


def _summed(place: np.ndarray, term: np.ndarray, n: int) -> _Sums:
    """Return sums of terms by place (n,), each term the product of at most _TERM roundings."""
    value = np.bincount(place, term, n)
    size = np.bincount(place, np.abs(term), n)
    n_term = np.bincount(place, minlength=n)
    return _Sums(value, 1.01 * _U * (n_term + _TERM) * size + 1e-300)


def _intervals(of: Certificate) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the intervals of the currents (n_vector, n_line) [A]."""
    n_line = len(of.t)
    low, high = np.zeros((2, len(of.volts), n_line))
    first, second = of.line[of.tail], of.line[of.head]
    # A branch between two lines enters both.
    cut = [np.flatnonzero((a >= 0) & (first != second)) for a in (first, second)]
    place = np.concatenate([first[cut[0]], second[cut[1]]])
    inner = np.concatenate([of.tail[cut[0]], of.head[cut[1]]])
    outer = np.concatenate([of.head[cut[0]], of.tail[cut[1]]])
    ohm = np.concatenate([of.ohm[cut[0]], of.ohm[cut[1]]])
    off = np.bincount(place, (of.bound[inner] + of.bound[outer]) / ohm, n_line)
    for k, volts in enumerate(of.volts):
        sums = _summed(place, (volts[outer] - volts[inner]) / ohm, n_line)
        half = (sums.error + off) * 1.000001  # who adds up in another order is inside as well
        low[k] = np.nextafter(sums.value - half, -np.inf)
        high[k] = np.nextafter(sums.value + half, np.inf)
    return low, high
