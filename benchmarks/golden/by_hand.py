"""The equations of crossbar_sim/golden/README.md in rational numbers, written from that page alone.

No code of the packages is used: who doubts a current of a small array can read how it comes about.
"""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

#: A node's name; those of sources are in the dictionary of held voltages.
_Node = tuple[Any, ...]


def exact_currents(array: Any) -> list[list[Fraction]]:
    """Return the exact currents into the amplifiers [A], for each input vector.

    array: has the attributes of `crossbar_sim.golden.GoldenArray`.
    """
    return [_solved(array, volts) for volts in array.v_in.tolist()]


def _solved(array: Any, v_in: list[float]) -> list[Fraction]:
    resistors, held = _netlist(array), _sources(array, v_in)
    short = _merged([(a, b) for a, b, ohm in resistors if not ohm], held)
    into: dict[_Node, dict[_Node, Fraction]] = {}
    for a, b, ohm in resistors:
        a, b = short(a), short(b)
        if ohm and a != b:
            for one, other in ((a, b), (b, a)):
                row = into.setdefault(one, {})
                row[other] = row.get(other, Fraction(0)) + 1 / ohm
    volts = _eliminated({node: dict(row) for node, row in into.items()}, held)
    n_side, _, n_bit = array.ohm.shape
    found = []
    for node in (("behind", s, j) for s, j in product(range(n_side), range(n_bit))):
        row = into.get(node, {})
        found.append(sum((g * (volts[near] - held[node]) for near, g in row.items()), Fraction(0)))
    return found


def _netlist(array: Any) -> list[tuple[_Node, _Node, Fraction]]:
    """Return all resistors: two nodes and ohms, zero for a short."""
    word, bit, driver = (Fraction(r) for r in (array.r_word, array.r_bit, array.r_driver))
    end = Fraction(array.r_input)
    if np.isfinite(array.gain):
        end += Fraction(array.r_feedback) / (1 + Fraction(array.gain))
    n_side, n_word, n_bit = array.ohm.shape
    parts = []
    for i in range(n_word):
        parts.append((("in", i), ("driver", i), driver))
        for j in range(n_bit):
            parts.append((("word", i, j - 1) if j else ("driver", i), ("word", i, j), word))
    for s, i, j in np.argwhere(np.isfinite(array.ohm)).tolist():
        parts.append((("word", i, j), ("bit", s, i, j), Fraction(float(array.ohm[s, i, j]))))
    for s, i, j in product(range(n_side), range(n_word), range(n_bit)):
        parts.append((("bit", s, i, j), ("bit", s, i + 1, j), bit))
    ends = product(range(n_side), range(n_bit))
    return parts + [(("bit", s, n_word, j), ("behind", s, j), end) for s, j in ends]


def _sources(array: Any, v_in: list[float]) -> dict[_Node, Fraction]:
    """Return the voltages of the drivers and behind the amplifiers' input resistances."""
    held: dict[_Node, Fraction] = {("in", i): Fraction(v) for i, v in enumerate(v_in)}
    n_side, _, n_bit = array.ohm.shape
    part = Fraction(1)
    if np.isfinite(array.gain):
        part = Fraction(array.gain) / (1 + Fraction(array.gain))
    for k, (s, j) in enumerate(product(range(n_side), range(n_bit))):
        held["behind", s, j] = part * Fraction(float(array.v_offset[k]))
    return held


def _merged(shorts: list[tuple[_Node, _Node]], held: dict[_Node, Fraction]):
    """Return a function from a node to the one that stands for all those it is shorted to."""
    above: dict[_Node, _Node] = {}

    def top(node: _Node) -> _Node:
        while node in above:
            node = above[node]
        return node

    for a, b in shorts:
        a, b = sorted((top(a), top(b)), key=held.__contains__)  # a source is never merged away
        if a != b:
            above[a] = b
    return top


def _eliminated(
    rows: dict[_Node, dict[_Node, Fraction]], held: dict[_Node, Fraction]
) -> dict[_Node, Fraction]:
    """Return all voltages: nodes are removed one by one (star to mesh), then found backwards."""
    order = sorted((node for node in rows if node not in held), key=lambda node: len(rows[node]))
    removed = []
    for node in order:
        star = rows.pop(node)
        total = sum(star.values(), Fraction(0))
        removed.append((node, star, total))
        for a in star:
            del rows[a][node]
            for b in star:
                if a != b:
                    rows[a][b] = rows[a].get(b, Fraction(0)) + star[a] * star[b] / total
    volts = dict(held)
    for node, star, total in reversed(removed):
        volts[node] = sum((g * volts[near] for near, g in star.items()), Fraction(0)) / total
    return volts
