"""Intervals of a few units in the last place that provably hold the exact currents of an array.

The theorem is that of `crossbar_sim.certificates`: the nodal matrix A of the free nodes has no
entry above zero off its diagonal, so any z > 0 with A z > 0 proves that it is an M-matrix, and with
A z >= |b - A v| the voltages v are within z of the exact ones. Here v has hundreds of bits: it is a
whole number of 2^-BITS V, and currents are whole numbers of 2^-FINE A, every division rounded down
and counted. Doubles only propose corrections of v, and z. The proof rests on whole numbers alone.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crossbar_sim.golden.arrays import GoldenArray
from crossbar_sim.solvers.nodal import factorise
from netlists.circuit.elements import BIT_LINE, CELL

#: Voltages are whole multiples of 2^-BITS V, currents of 2^-FINE A.
BITS, FINE = 320, 420
#: Voltages are refined until no node has a net current above 2^-_NET A, or so many times.
_NET, _STEPS = 250, 300
#: The least current at a node that the bound is made for; the largest is 1 A.
_LEAST = 1e-6


class NotProved(ArithmeticError):
    """No interval was found."""


class Currents(NamedTuple):
    """Whole numbers of 2^-FINE A; what they stand for is above them by `error` at most, or below.

    value: the numbers.
    error: so many divisions were rounded.
    """

    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Network:
    """The resistors of an array, exactly.

    tail, head: nodes (n_branch,) at the ends of each.
    ohm: resistances (n_branch,) [ohm].
    free: which nodes (n_node,) are not held at a voltage.
    line: of each node (n_node,) the bit line that it is on, or -1.
    volts: voltages (n_vector, n_node) of the held nodes, 0 of others; whole numbers of 2^-BITS V.
    n_inside: number of branches before those of the amplifiers' inputs.
    """

    tail: np.ndarray
    head: np.ndarray
    ohm: np.ndarray
    free: np.ndarray
    line: np.ndarray
    volts: np.ndarray
    n_inside: int

    @cached_property
    def ratio(self) -> tuple[np.ndarray, np.ndarray]:
        """Numerators and denominators (n_branch,) of the resistances."""
        top, bottom = zip(*(r.as_integer_ratio() for r in self.ohm.tolist()))
        return np.array(top, dtype=object), np.array(bottom, dtype=object)

    @cached_property
    def factors(self) -> Any:
        """Factors of A in doubles."""
        g, tail, head = 1.0 / self.ohm, self.tail, self.head
        places = np.concatenate([tail, head, tail, head]), np.concatenate([tail, head, head, tail])
        n = len(self.free)
        matrix = coo_array((np.concatenate([g, g, -g, -g]), places), shape=(n, n)).tocsr()
        return factorise(matrix[self.free][:, self.free])

    def through(self, drop: np.ndarray, branch: np.ndarray | slice = slice(None)) -> Currents:
        """Return the currents of branches with voltages (n,) across them."""
        top, bottom = (part[branch] for part in self.ratio)
        fine = (drop * bottom) << (FINE - BITS)
        value = fine // top
        return Currents(value, (value * top != fine).astype(object))

    def net(self, volts: np.ndarray) -> Currents:
        """Return the net currents into the free nodes."""
        along = self.through(volts[self.tail] - volts[self.head])
        value, error = np.zeros((2, len(volts)), dtype=object)
        np.add.at(value, self.head, along.value)
        np.subtract.at(value, self.tail, along.value)
        for end in (self.head, self.tail):
            np.add.at(error, end, along.error)
        return Currents(value[self.free], error[self.free])

    def corrected(self, volts: np.ndarray, net: np.ndarray) -> np.ndarray:
        """Return voltages after a step of iterative refinement."""
        step = self.factors.solve(net.astype(float) * 2.0**-FINE)
        volts = volts.copy()
        volts[self.free] += _whole(step)
        return volts


def network(array: GoldenArray) -> Network:
    """Return the resistors of an array, those of the amplifiers' inputs included."""
    circuit = array.circuit()
    parts, n_line = circuit.elements, array.n_line
    ohm = parts.branch_ohm.copy()
    ohm[parts.branch_part == CELL] = array.ohm[np.isfinite(array.ohm)]  # in the same order
    held = parts.tia_nodes
    tail, head, n = parts.branch_from, parts.branch_to, parts.n_node
    own = parts.branch_part == BIT_LINE
    graph = coo_array((np.ones(own.sum()), (tail[own], head[own])), shape=(n + n_line, n + n_line))
    component = connected_components(graph, directed=False)[1]
    line = np.full(n + n_line, -1)
    for k, node in enumerate(parts.tia_nodes):
        line[component == component[node]] = k
    if array.r_tia:
        held = n + np.arange(n_line)
        tail, head = np.concatenate([tail, parts.tia_nodes]), np.concatenate([head, held])
        ohm = np.concatenate([ohm, np.full(n_line, array.r_tia)])
    volts = np.zeros((len(array.v_in), n + n_line), dtype=object)
    volts[:, parts.input_nodes] = _whole(array.v_in)
    volts[:, held] = _whole(array.v_tia)
    free = np.arange(n + n_line) < n
    free[0], free[parts.input_nodes], free[held] = False, False, False
    return Network(tail, head, ohm, free, line, volts, len(parts.branch_ohm))


def proved(array: GoldenArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (n_vector, n_line) of intervals that hold the exact currents [A].

    They are the doubles beside the one that is nearest to the current. Raises NotProved.
    """
    ends = [[_outward(*current) for current in vector] for vector in enclosed(array)]
    low, high = np.array(ends).transpose(2, 0, 1)
    return low, high


def enclosed(array: GoldenArray) -> list[list[tuple[Fraction, Fraction]]]:
    """Return for each vector and line a current [A], and how far off it may be at most [A]."""
    of = network(array)
    return [_currents(of, _refined(of, volts)) for volts in of.volts]


def holds(array: GoldenArray) -> bool:
    """Return whether the intervals of an array provably hold its exact currents."""
    return all(
        Fraction(low) <= current - off and current + off <= Fraction(high)
        for row in zip(enclosed(array), array.low.tolist(), array.high.tolist())
        for (current, off), low, high in zip(*row)
    )


def _outward(current: Fraction, off: Fraction) -> tuple[float, float]:
    nearest = float(current)
    if not off and Fraction(nearest) == current:
        return nearest, nearest
    low, high = np.nextafter(nearest, [-np.inf, np.inf]).tolist()
    if not Fraction(low) <= current - off <= current + off <= Fraction(high):
        raise NotProved(f"a current of {nearest:.3g} A is only known to {float(off):.1g} A")
    return low, high


def _refined(of: Network, volts: np.ndarray) -> np.ndarray:
    """Return the voltages of all nodes, refined until Kirchhoff's law nearly holds."""
    for _ in range(_STEPS if of.free.any() else 0):
        net = of.net(volts).value
        if np.abs(net).max() < 1 << (FINE - _NET):
            break
        volts = of.corrected(volts, net)
    return volts


class _Bound(NamedTuple):
    """A proof that A is an M-matrix.

    z: voltages (n_node,), above zero at free nodes.
    least: what A z is above (n_free,), all above zero; whole numbers of 2^-FINE A.
    """

    z: np.ndarray
    least: np.ndarray


def _bound(of: Network, net: Currents) -> _Bound:
    """Return z such that A z is about the net currents, of which the largest counts as 1 A."""
    size = np.abs(net.value) + net.error
    goal = np.maximum((size / max(size.max(), 1)).astype(float), _LEAST)
    goal = np.array([int(amps * 2.0**FINE) for amps in goal], dtype=object)
    z = np.zeros(len(of.free), dtype=object)
    for _ in range(_STEPS):
        out = of.net(z)
        least = -out.value - out.error
        if (least > 0).all() and (2 * least >= goal).all() and (z[of.free] > 0).all():
            return _Bound(z, least)
        z = of.corrected(z, goal + out.value)
    raise NotProved("no bound on the errors was found")


def _currents(of: Network, volts: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    """Return the current out of every line [A], and how far off it may be at most [A]."""
    lines = [_line(of, k) for k in range(of.line.max() + 1)]
    off, z = Fraction(0), None
    if of.free.any():
        net = of.net(volts)
        z, least = _bound(of, net)
        off = max(map(Fraction, np.abs(net.value) + net.error, least))
    found = []
    for inner, outer, branch in lines:
        along = of.through(volts[outer] - volts[inner], branch)
        more = 0
        if z is not None and off:
            wide = of.through(z[outer] + z[inner], branch)
            more = off * (sum(wide.value) + sum(wide.error))
        unit = Fraction(1, 1 << FINE)
        found.append((sum(along.value) * unit, (sum(along.error) + more) * unit))
    return found


def _line(of: Network, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nodes inside and outside, and the branches, by which currents enter a line."""
    by_head = np.flatnonzero((of.line[of.head] == k) & (of.line[of.tail] != k))
    by_tail = np.flatnonzero((of.line[of.tail] == k) & (of.line[of.head] != k))
    by_tail = by_tail[by_tail < of.n_inside]
    inner = np.concatenate([of.head[by_head], of.tail[by_tail]])
    outer = np.concatenate([of.tail[by_head], of.head[by_tail]])
    return inner, outer, np.concatenate([by_head, by_tail])


def _whole(volts: np.ndarray) -> np.ndarray:
    """Return doubles as whole numbers of 2^-BITS V."""
    return np.array([int(v) for v in np.ravel(volts * 2.0**BITS)], dtype=object).reshape(
        volts.shape
    )
