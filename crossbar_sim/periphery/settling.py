"""The settling time of outputs after a step of the inputs, and the energy of charging wires."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import SuperLU, splu

from crossbar_sim.solvers.solution import Solution, SolverError
from netlists.circuit import Circuit
from netlists.circuit.elements import BIT_LINE, DRIVER, WORD_LINE

#: Number of modes kept of a circuit; more of them, beginning with the slowest, are more exact.
ORDER = 40
#: Modes with a time constant below this fraction of the slowest one's count as instantaneous.
_INSTANT = 1e-6
#: Points in time at which a response is evaluated, three times, each time on a finer scale.
_N_TIME = 2000
#: Fields of `Wires` whose capacitances find their nodes.
_KNOWN = ("r_word", "r_bit", "r_driver", "c_word", "c_bit")


@dataclass(frozen=True)
class Settling:
    """The settling of a circuit's outputs after a step from rest.

    time: from then on, every output is within tolerance times the largest output of its final
        value (n_batch,) [s].
    slowest: largest time constant that the steps excite [s].
    """

    time: np.ndarray
    slowest: float


def settling(
    circuit: Circuit, v_in: np.ndarray, tolerance: float, *, order: int = ORDER
) -> Settling:
    """Return the settling time of the outputs after the inputs step from 0 V to v_in.

    circuit: of a regular array, with `Wires.c_word`, `Wires.c_bit` and `Periphery.gbw`; the swing
        is ignored.
    v_in: (n_batch, n_word) or (n_word,) [V].
    tolerance: relative, such as 2**-9 for half a step of 8 bits.
    order: number of modes kept; it is doubled for as long as one of them grows.

    The circuit is projected on the span of its moments, which takes one sparse factorisation, and
    `order` solutions for each vector. The response is exact if there are no more modes than
    `order`. Raises ValueError for a tolerance outside 0 … 1, SolverError for a circuit that never
    settles.
    Source: Odabasioglu, Celik, Pileggi, IEEE TCAD 17 (1998) 645 (moment matching by projection).
    """
    v_in = circuit.check_inputs(v_in)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1; got {tolerance}")
    dynamics = _dynamics(circuit)
    times, slowest = zip(*(_settle(dynamics, v, tolerance, order) for v in v_in))
    return Settling(np.array(times), max(slowest))


def node_capacitance(circuit: Circuit) -> np.ndarray:
    """Return the capacitance to ground (n_node,) [F] of every node of a regular array.

    A word-line segment loads the cell at its end, a bit-line segment the cell at its start. If
    wires have no resistance, the whole line is one node. Raises ValueError for a circuit that is
    not a regular array, or whose wires set a field that is unknown here.
    """
    grid, parts = circuit.grid, circuit.elements
    if grid is None:
        raise ValueError("only the wires of a regular array have capacitances; pass its circuit")
    _, n_word, n_bit = grid.g.shape
    wires, c_node = grid.wires, np.zeros(parts.n_node)
    if names := wires.others(_KNOWN):
        raise ValueError(
            f"expected wires without {', '.join(names)}, whose capacitances are unknown"
        )
    if wires.r_word:
        np.add.at(c_node, parts.branch_to[parts.branch_part == WORD_LINE], wires.c_word)
    else:
        driven = parts.branch_to[parts.branch_part == DRIVER]
        c_node[driven if wires.r_driver else parts.input_nodes] += n_bit * wires.c_word
    if wires.r_bit:
        np.add.at(c_node, parts.branch_from[parts.branch_part == BIT_LINE], wires.c_bit)
    else:
        c_node[parts.tia_nodes] += n_word * wires.c_bit
    return c_node


def wire_charge(solution: Solution) -> np.ndarray:
    """Return the charge (n_batch,) [C] that the wires take, the sum of C |v| over nodes.

    Multiplied by a supply voltage, it is the energy that the drivers' supply delivers while the
    nodes rise. Raises ValueError without node voltages.
    """
    return np.abs(solution.nodes) @ node_capacitance(solution.circuit)


@dataclass(frozen=True)
class _Dynamics:
    """The equations A x + B v_in = E x' of a circuit.

    x holds all unknown voltages, the TIAs' outputs last.
    """

    factor: SuperLU
    e: np.ndarray
    b: csr_array
    n_line: int

    def rest(self, v_in: np.ndarray) -> np.ndarray:
        """Return the final x for inputs (n_word,) [V]."""
        return -self.factor.solve(self.b @ v_in)

    def moment(self, x: np.ndarray) -> np.ndarray:
        """Return A^-1 E x, the negative of the area under a deviation that starts at x."""
        return self.factor.solve(self.e * x)


def _dynamics(circuit: Circuit) -> _Dynamics:
    """Return the equations of a circuit, including the output node of each amplifier.

    An amplifier is v_out' / (2 pi gbw) = -v_entry - v_out / gain.
    """
    parts, ends, n_line = circuit.elements, circuit.periphery, circuit.n_line
    line = np.arange(n_line)
    entry = parts.n_node + line if ends.r_input else parts.tia_nodes
    out = max(parts.n_node, int(entry.max()) + 1) + line
    links = [(parts.branch_from, parts.branch_to, 1.0 / parts.branch_ohm)]
    links.append((entry, out, np.full(n_line, 1.0 / ends.r_feedback)))
    if ends.r_input:
        links.append((parts.tia_nodes, entry, np.full(n_line, 1.0 / ends.r_input)))
    tail, head, g = (np.concatenate(part) for part in zip(*links))
    size = int(out[-1]) + 1
    shape = (size, size)
    entries = (np.concatenate([tail, head]), np.concatenate([head, tail]))
    between = coo_array((np.concatenate([g, g]), entries), shape=shape).tocsr()
    leaving = coo_array((between.sum(axis=1), (np.arange(size), np.arange(size))), shape=shape)
    a = (between - leaving).tolil()
    a[out] = 0
    a[out, entry] = -1.0
    a[out, out] = -1.0 / ends.tia_gain
    free = np.setdiff1d(np.arange(size), [0, *parts.input_nodes])
    e = np.zeros(size)
    e[: parts.n_node] = node_capacitance(circuit)
    e[out] = 1.0 / (2.0 * np.pi * ends.gbw)
    rows = a.tocsr()[free]
    return _Dynamics(splu(rows[:, free].tocsc()), e[free], rows[:, parts.input_nodes], n_line)


def _settle(dynamics: _Dynamics, v_in: np.ndarray, tolerance: float, order: int):
    """Return the settling time and the slowest time constant [s] of one step."""
    final = dynamics.rest(v_in)
    limit = tolerance * np.abs(final[-dynamics.n_line :]).max()
    tau, share = _modes(dynamics, final, order)
    if not len(tau) or not limit:
        return 0.0, 0.0
    slowest = float(-np.real(tau).min())

    def beyond(time: np.ndarray) -> np.ndarray:
        left = np.real(share @ np.exp(time / tau[:, None]))
        return np.abs(left).max(axis=0) > limit

    first, last = 0.0, slowest * (np.log(1.0 / tolerance) + 5.0)
    while beyond(np.array([last]))[0]:
        last *= 2.0
    for _ in range(3):
        time = np.linspace(first, last, _N_TIME)
        over = np.flatnonzero(beyond(time))
        if not len(over):
            return first, slowest
        first, last = time[over[-1]], time[over[-1] + 1]
    return float(last), slowest


def _modes(dynamics: _Dynamics, start: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return time constants tau (n_mode,) and the share (n_line, n_mode) of each in each output.

    At time t after a step, the outputs are share @ exp(t / tau) away from their final values.
    """
    basis, hessenberg = _arnoldi(dynamics, start, order)
    tau, vector = np.linalg.eig(hessenberg)
    slow = np.abs(tau) > _INSTANT * np.abs(tau).max(initial=0.0)
    if (np.real(tau[slow]) >= 0).any():
        if order >= len(start):
            raise SolverError("the outputs never settle: a mode of this circuit grows")
        # A projection may be unstable although its circuit is not.
        return _modes(dynamics, start, 2 * order)
    weight = np.linalg.solve(vector, np.linalg.norm(start) * np.eye(len(tau))[0])
    share = (basis[:, -dynamics.n_line :].T @ vector) * weight
    return tau[slow], share[:, slow]


def _arnoldi(dynamics: _Dynamics, start: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis (m, n) of the moments of a step, and A^-1 E in it (m, m)."""
    order = min(order, len(start))
    basis, h = np.zeros((order + 1, len(start))), np.zeros((order + 1, order))
    basis[0] = start / (np.linalg.norm(start) or 1.0)
    for k in range(order):
        fresh = dynamics.moment(basis[k])
        size = np.linalg.norm(fresh)
        for _ in range(2):  # two passes keep the basis orthogonal
            part = basis[: k + 1] @ fresh
            h[: k + 1, k] += part
            fresh -= part @ basis[: k + 1]
        h[k + 1, k] = np.linalg.norm(fresh)
        if h[k + 1, k] <= 1e-12 * size:
            return basis[: k + 1], h[: k + 1, : k + 1]
        basis[k + 1] = fresh / h[k + 1, k]
    return basis[:order], h[:order]
