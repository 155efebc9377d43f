"""Write a circuit as flat SPICE text, number by number what the fast engine solves."""

import numpy as np

from netlists.circuit import Circuit

#: Largest number of vectors in one sweep; ngspice searches the table of each input for each point.
MAX_VECTORS = 4096

#: KLU's default pivot tolerance of 1e-3 loses up to eight digits next to controlled sources.
OPTIONS = ".options klu pivrel=0.5"


def to_spice(circuit: Circuit, v_in: np.ndarray, *, title: str = "crossbar") -> str:
    """Return a netlist that stock ngspice sweeps over all input vectors.

    circuit: any circuit. v_in: (n_batch, n_word) or (n_word,) [V].

    Each input is a table over a sweep index, so that one `.dc` analysis solves every vector on a
    circuit that is parsed and ordered once. The current into TIA j is `i(vtia_<j>)`, its output
    voltage `v(out_<j>)`; j is the TIA's place in output order.
    """
    v_in = circuit.check_inputs(v_in)
    if len(v_in) > MAX_VECTORS:
        raise ValueError(f"{len(v_in)} vectors in one netlist; pass at most {MAX_VECTORS}")
    body = [*elements(circuit), *input_sources(circuit, v_in)]
    saved = " ".join(f"i(vtia_{j}) v(out_{j})" for j in range(circuit.n_line))
    cards = [OPTIONS, f".dc vsel 0 {len(v_in) - 1} 1", f".save {saved}", ".end", ""]
    return "\n".join([f"* {_one_line(title)}", *body, *cards])


def elements(circuit: Circuit) -> list[str]:
    """Return the element lines of a circuit: resistors, then ammeters and TIAs."""
    parts = circuit.elements
    nodes, names = circuit.names
    tail, head = parts.branch_from.tolist(), parts.branch_to.tolist()
    lines = [
        f"{name} {nodes[a]} {nodes[b]} {ohm!r}"
        for name, a, b, ohm in zip(names, tail, head, parts.branch_ohm.tolist())
    ]
    for j, node in enumerate(parts.tia_nodes.tolist()):
        lines += tia(f"{j}", nodes[node], f"out_{j}", circuit.periphery)
    return lines


def tia(label: str, node: str, out: str, periphery) -> list[str]:
    """Return an ammeter `vtia_<label>` from a bit line into a TIA, and the TIA."""
    r, gain = float(periphery.r_feedback), float(periphery.tia_gain)
    if np.isinf(gain):
        # An ideal amplifier holds its input at 0 V and turns the ammeter's current into v(out).
        return [f"vtia_{label} {node} 0 0", f"hout_{label} {out} 0 vtia_{label} {-r!r}"]
    return [
        f"vtia_{label} {node} sum_{label} 0",
        f"rfb_{label} sum_{label} {out} {r!r}",
        f"eout_{label} {out} 0 0 sum_{label} {gain!r}",
    ]


def input_sources(circuit: Circuit, v_in: np.ndarray) -> list[str]:
    """Return the sweep index and one table of voltages over it for each word line."""
    lines, nodes = ["vsel sel 0 0"], circuit.names[0]
    for i, node in enumerate(circuit.elements.input_nodes.tolist()):
        lines.append(table_source(f"bin_{i}", nodes[node], v_in[:, i].tolist()))
    return lines


def table_source(name: str, node: str, volts: list[float]) -> str:
    """Return a source whose voltage at sweep index k is volts[k]."""
    # `pwl` extrapolates beyond its ends, so both are held flat far outside the sweep.
    points = [(-9e9, volts[0]), *enumerate(volts), (9e9, volts[-1])]
    table = ", ".join(f"{x!r}, {v!r}" for x, v in points)
    return f"{name} {node} 0 v = pwl(v(sel), {table})"


def _one_line(text: str) -> str:
    """Keep only printable characters of one line, so that a title cannot add a card."""
    return "".join(c if c.isprintable() else " " for c in text)
