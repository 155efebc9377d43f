"""A circuit as PySpice objects, for users who want to extend it by hand."""

from typing import TYPE_CHECKING

import numpy as np

from netlists.circuit import Circuit
from netlists.circuit.names import checked_names
from netlists.spice.text import tia
from tinynets.files.outputs import one_line

if TYPE_CHECKING:
    from PySpice.Spice.Netlist import Circuit as PySpiceCircuit

#: PySpice writes about forty times slower than `to_spice`; above this limit it is of no use.
MAX_BRANCHES = 100_000


def to_pyspice(
    circuit: Circuit, v_in: np.ndarray | None = None, *, title: str = "crossbar"
) -> "PySpiceCircuit":
    """Return a PySpice circuit with every resistor, input source and amplifier of a circuit.

    v_in: one input vector (n_word,) [V]; 0 V by default.
    title: the title of the netlist.

    Resistors are objects `circuit.R…` with their own names; the source of word line i is
    `circuit.Vin_<i>`. Amplifiers are raw lines from the same writer as in every netlist: the
    current into TIA j is that of `vtia_<j>`, its output node is `out_<j>`. Solve the circuit with
    `.simulator(simulator="ngspice-shared")`, and with the option "klu" if the array is large.

    Raises ValueError for inputs that do not fit, unsafe names, or more than MAX_BRANCHES branches.
    """
    from PySpice.Spice.Netlist import Circuit as PySpiceCircuit

    parts = circuit.elements
    if len(parts.branch_ohm) > MAX_BRANCHES:
        raise ValueError(
            f"a PySpice circuit takes at most {MAX_BRANCHES} branches; got "
            f"{len(parts.branch_ohm)}: write text with to_spice"
        )
    volts = np.zeros(circuit.n_word) if v_in is None else v_in
    (v_line,) = circuit.check_inputs(np.asarray(volts).reshape(1, -1)).tolist()
    nodes, branches = checked_names(circuit)
    result = PySpiceCircuit(one_line(title))
    for name, a, b, ohm in zip(branches, parts.branch_from, parts.branch_to, parts.branch_ohm):
        result.R(name[1:], nodes[a], nodes[b], float(ohm))
    for i, (node, volt) in enumerate(zip(parts.input_nodes, v_line)):
        result.V(f"in_{i}", nodes[node], result.gnd, volt)
    offsets = circuit.periphery.offsets(circuit.n_line).tolist()
    for j, (node, v_offset) in enumerate(zip(parts.tia_nodes, offsets)):
        lines = tia(f"{j}", nodes[node], f"out_{j}", circuit.periphery, v_offset)
        result.raw_spice += "\n".join(lines) + "\n"
    return result
