"""The same array of nonlinear cells as a deck for stock ngspice: a B source for each cell.

Its expression is the cell's own polynomial, in powers of voltages from the middle of the box, by
Horner's rule: the form that ngspice is quickest with.
"""

import numpy as np
from numpy.polynomial import chebyshev

from crossbar_sim.ngspice.process import Job
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.nonlinear.cell_laws import CellLaws
from netlists.circuit import Periphery, Wires
from netlists.spice.text import MAX_VECTORS, OPTIONS, elements, input_tables

#: ngspice repeats a point until voltages and currents change by less than these [1, V, A]; its
#: own values stop at a thousandth.
CLOSE = "reltol=1e-9 vntol=1e-15 abstol=1e-20"


def nonlinear_deck(cells: CellLaws, wires: Wires, periphery: Periphery, v_in: np.ndarray) -> str:
    """Return a netlist that ngspice sweeps over all input vectors v_in (n_batch, n_word) [V].

    Other arguments, names and outputs as for `solve_nonlinear` and `netlists.to_spice`. Raises
    ValueError for inputs that do not fit, or too many.
    """
    circuit = cells.outline(wires, periphery)
    v_in = circuit.check_inputs(v_in)
    if len(v_in) > MAX_VECTORS:
        raise ValueError(f"a netlist takes at most {MAX_VECTORS} vectors; got {len(v_in)}")
    parts, nodes = circuit.elements, circuit.names[0]
    body = [line for line in elements(circuit) if not line.startswith("Rc_")]
    is_cell = np.array([name.startswith("Rc_") for name in circuit.names[1]], dtype=bool)
    ends = zip(parts.branch_from[is_cell].tolist(), parts.branch_to[is_cell].tolist())
    names = [name for name, cell in zip(circuit.names[1], is_cell) if cell]
    ways = [cells] if cells.reverse is None else [cells, cells.reverse]
    each = zip(*(way.coefficients[cells.present] for way in ways))
    for name, (a, b), series in zip(names, ends, each):
        word, bit = nodes[a], nodes[b]
        amps = [_current(word, bit, c, way) for c, way in zip(series, ways)]
        law = amps[0] if len(amps) == 1 else f"v({word}) > v({bit}) ? {amps[0]} : {amps[1]}"
        body.append(f"b{name[1:]} {word} {bit} i = {law}")
    inputs = [nodes[k] for k in parts.input_nodes]
    saved = " ".join(f"i(vtia_{j}) v(out_{j})" for j in range(circuit.n_line))
    sweep = ["vsel sel 0 0", *input_tables(inputs, v_in), f"{OPTIONS} {CLOSE}"]
    cards = [f".dc vsel 0 {len(v_in) - 1} 1", f".save {saved}", ".end", ""]
    return "\n".join(["* crossbar of nonlinear cells", *body, *sweep, *cards])


def nonlinear_job(cells: CellLaws, wires: Wires, periphery: Periphery, v_in: np.ndarray) -> Job:
    """Return the job of ngspice that solves that deck: all currents, then all output voltages."""
    lines = range(cells.outline(wires, periphery).n_line)
    vectors = (*(f"vtia_{j}#branch" for j in lines), *(f"out_{j}" for j in lines))
    return Job(
        nonlinear_deck(cells, wires, periphery, v_in), "dc", vectors, len(np.atleast_2d(v_in))
    )


def nonlinear_by_ngspice(
    cells: CellLaws,
    wires: Wires,
    periphery: Periphery,
    v_in: np.ndarray,
    worker: NgspiceWorker,
) -> tuple[np.ndarray, np.ndarray]:
    """Return currents [A] and voltages [V] of the outputs, (n_batch, n_line), as ngspice has them.

    v_in: (n_batch, n_word) [V]; other arguments as for `solve_nonlinear`. Voltages that leave the
    box go unseen here: ngspice takes a polynomial anywhere.

    Raises NgspiceError when it fails.
    """
    values = worker.run(nonlinear_job(cells, wires, periphery, v_in)).values.T
    n_line = values.shape[1] // 2
    return values[:, :n_line], values[:, n_line:]


def _current(word: str, bit: str, coefficients: np.ndarray, cells: CellLaws) -> str:
    """Return the current from node word to node bit, of one cell's coefficients (p, q)."""
    (middle, scale), of_bit = ((sum(ends) / 2, 2 / (ends[1] - ends[0])) for ends in cells.box)
    powers = _powers(_powers(coefficients, scale).T, of_bit[1]).T
    a, b = _above(word, middle), _above(bit, of_bit[0])
    rows = [_horner([_number(value) for value in row], b) for row in powers.tolist()]
    return f"(v({word}) - v({bit})) * {_horner(rows, a)}"


def _powers(coefficients: np.ndarray, scale: float) -> np.ndarray:
    """Return the coefficients (p, n) of powers of v, from those (p, n) of T_m(scale * v)."""
    p = len(coefficients)
    matrix = [
        np.pad(chebyshev.cheb2poly(row[: m + 1]), (0, p - m - 1)) for m, row in enumerate(np.eye(p))
    ]
    return (np.transpose(matrix) * scale ** np.arange(p)[:, None]) @ coefficients


def _above(node: str, middle: float) -> str:
    """Return the voltage of a node above one in the middle of the box."""
    return f"(v({node}) - {_number(middle)})" if middle else f"v({node})"


def _horner(terms: list[str], x: str) -> str:
    """Return terms[0] + x (terms[1] + x (…)) as an expression in brackets."""
    nested = terms[-1]
    for term in terms[-2::-1]:
        nested = f"({term} + {x} * {nested})"
    return nested


def _number(value: float) -> str:
    return f"({value!r})" if value < 0 else repr(value)
