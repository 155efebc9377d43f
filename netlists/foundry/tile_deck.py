"""The circuit of a tile whose branches are a foundry's devices, as lines of a netlist."""

from dataclasses import dataclass

import numpy as np

from netlists.circuit import Circuit
from netlists.circuit.elements import CELL
from netlists.circuit.names import checked_names
from netlists.foundry.branch import FoundryBranch
from netlists.foundry.cards import rails, resistor_card, switch_cards
from netlists.spice.text import tia


@dataclass(frozen=True)
class CellDevices:
    """The devices in the cells of a tile: (2, n_cell, n) each, positive banks first.

    closed: whether the switch is closed.
    resistor: multiplicity of the resistor.
    switch: multiplicity of the switch.
    """

    closed: np.ndarray
    resistor: np.ndarray
    switch: np.ndarray


def foundry_elements(
    circuit: Circuit, branch: FoundryBranch, devices: CellDevices
) -> tuple[list[str], list[str]]:
    """Return the element lines of a tile's circuit, and its input nodes.

    circuit: of the tile; each of its cells is replaced by a bank of devices.
    branch: the devices.
    devices: of the cells, in the order of the circuit's cells.

    Raises ValueError for devices of another number of cells.
    """
    parts = circuit.elements
    nodes, names = checked_names(circuit)
    lines = rails(branch)
    cells = np.flatnonzero(parts.branch_part == CELL)
    n = len(branch.lengths)
    if devices.closed.size != len(cells) * n:
        raise ValueError(
            f"the circuit has {len(cells)} cells of {n} branches; got devices of shape "
            f"{devices.closed.shape}"
        )
    for k in np.flatnonzero(parts.branch_part != CELL).tolist():
        ends = nodes[parts.branch_from[k]], nodes[parts.branch_to[k]]
        lines.append(f"{names[k]} {ends[0]} {ends[1]} {float(parts.branch_ohm[k])!r}")
    arrays = [a.reshape(-1, n).tolist() for a in (devices.closed, devices.resistor, devices.switch)]
    for k, *states in zip(cells.tolist(), *arrays, strict=True):
        ends = nodes[parts.branch_from[k]], nodes[parts.branch_to[k]]
        lines += _bank(branch, f"c{k}", ends, states)
    offsets = circuit.periphery.offsets(circuit.n_line).tolist()
    for j, (node, v_offset) in enumerate(zip(parts.tia_nodes.tolist(), offsets)):
        lines += tia(f"{j}", nodes[node], f"out_{j}", circuit.periphery, v_offset)
    return lines, [nodes[k] for k in parts.input_nodes]


def _bank(
    branch: FoundryBranch, name: str, ends: tuple[str, str], states: list[list[float]]
) -> list[str]:
    """Return the lines of the branches between a word-line node and a bit-line node."""
    lines, (word, bit) = [], ends
    for b, (closed, resistor, switch) in enumerate(zip(*states)):
        label, inner = f"{name}_{b}", f"i{name}_{b}"
        at_bit = branch.switch_at == "bit line"
        r_ends, s_ends = ((word, inner), (inner, bit)) if at_bit else ((inner, bit), (word, inner))
        length = branch.lengths[b]
        lines.append(resistor_card(branch, f"r{label}", r_ends, length=length, m=resistor))
        lines += switch_cards(branch, f"s{label}", s_ends, closed=bool(closed), m=switch)
    return lines
