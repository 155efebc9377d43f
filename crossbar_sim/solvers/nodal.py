"""The fast engine: exact nodal analysis of any circuit."""

import numpy as np
import scipy
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import splu

from crossbar_sim.solvers.grid import (
    GridSolution,
    SolverError,
    is_regular,
    solve_grid,
    superpose_grid,
    transfer_grid,
)
from crossbar_sim.solvers.solution import Solution
from netlists.circuit import Circuit

__all__ = ["SolverError", "solve", "transfer_matrix"]

#: Largest accepted violation of Kirchhoff's current law at a node, relative to the sum of the
#: magnitudes of all g * v that meet there (the componentwise backward error of the solve).
RESIDUAL_LIMIT = 1e-12
#: Largest accepted error of a transfer matrix by elimination, over the largest current.
MATRIX_LIMIT = 1e-9
#: For output currents alone, a batch of this fraction of the word lines is worth a transfer matrix.
_WORTH_A_MATRIX = 0.25

#: With node voltages, a batch of this many times the word lines is worth a solution for each line.
_WORTH_A_SUM = 2

_SPARSE = f"nodal, sparse (scipy {scipy.__version__} SuperLU)"


def solve(circuit: Circuit, v_in: np.ndarray, *, nodes: bool = False) -> Solution:
    """Return the outputs, and on request all node voltages, for every input vector.

    Regular arrays with resistive wires are solved by their structure (`crossbar_sim.solvers.grid`),
    all other circuits by a sparse factorisation.

    circuit: any circuit.
    v_in: (n_batch, n_word) or (n_word,) [V].
    nodes: keep the voltages of all nodes, which power and pictures need.

    Raises ValueError for inputs that do not fit, SolverError for a circuit with a floating node, or
    when the residual is too large.
    """
    v_in = circuit.check_inputs(v_in)
    v_tia = circuit.periphery.share * circuit.periphery.offsets(circuit.n_line)
    if not is_regular(circuit):
        return _solve_sparse(circuit, v_in, v_tia, nodes)
    if not nodes and len(v_in) >= max(2, _WORTH_A_MATRIX * circuit.n_word):
        return _multiply(circuit, v_in, v_tia)
    many = len(v_in) > _WORTH_A_SUM * circuit.n_word
    grid = (superpose_grid if many else solve_grid)(circuit, v_in, v_tia)
    return _solution(
        circuit,
        v_in,
        grid.i_out,
        _grid_nodes(circuit, v_in, v_tia, grid) if nodes else None,
        "nodal, word lines eliminated and conjugate gradients",
        grid.residual,
    )


def transfer_matrix(circuit: Circuit) -> np.ndarray:
    """Return the matrix (n_word, n_line) [S] that an array multiplies by: i_out = v_in @ matrix.

    With ideal wires and TIAs this is the conductance matrix itself. It is compared with a direct
    solution of one random vector. Raises SolverError as `solve` does.
    """
    if not is_regular(circuit):
        no_offset = np.zeros(circuit.n_line)
        return _solve_sparse(circuit, np.eye(circuit.n_word), no_offset, False).i_out
    return _transfer(circuit)[0]


def tia_response(circuit: Circuit, v_tia: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the response to voltages at the amplifiers' inputs, with every word line at 0 V.

    With 1 V at TIA k alone, the voltage at a node is also the fraction of a current injected there
    that flows into TIA k: the network is reciprocal.

    circuit: any circuit.
    v_tia: (n_batch, n_line) [V], each in series with r_tia_input.

    Returns the node voltages (n_batch, n_node) [V] and the currents (n_batch, n_line) [A] into the
    TIAs. Raises SolverError as `solve` does.
    """
    solution = _solve_sparse(circuit, np.zeros((len(v_tia), circuit.n_word)), v_tia, True)
    assert solution.v_node is not None
    return solution.v_node, solution.i_out


def _multiply(circuit: Circuit, v_in: np.ndarray, v_tia: np.ndarray) -> Solution:
    """Solve by the transfer matrix, and once for the TIAs' offsets."""
    matrix, error, how = _transfer(circuit)
    i_out = v_in @ matrix
    if v_tia.any():
        i_out += solve_grid(circuit, np.zeros((1, circuit.n_word)), v_tia).i_out
    return _solution(circuit, v_in, i_out, None, how, error)


def _transfer(circuit: Circuit) -> tuple[np.ndarray, float, str]:
    """Return the transfer matrix of a regular circuit, its error, and how it was found.

    Where drivers have far more resistance than wires, the elimination cancels; then the matrix is
    made of a solution for each word line, which counts every voltage from the TIA. Raises
    SolverError where that is no better, as with cells of far less resistance than the others.
    """
    matrix = transfer_grid(circuit)
    error = matrix_error(circuit, matrix)
    if error <= MATRIX_LIMIT:
        return matrix, error, "nodal, transfer matrix"
    found = solve_grid(circuit, np.eye(circuit.n_word), np.zeros(circuit.n_line))
    if not found.residual <= MATRIX_LIMIT:
        raise SolverError(
            f"the transfer matrix is off by {error:.1e} of the largest current (limit "
            f"{MATRIX_LIMIT:.0e}); look for conductances many decades apart"
        )
    return found.i_out, found.residual, "nodal, a solution for each word line"


def matrix_error(circuit: Circuit, matrix: np.ndarray) -> float:
    """Return the error of a transfer matrix on one solved vector, over the largest current.

    circuit: one that `is_regular`.
    matrix: (n_word, n_line) [S].

    The vector is random, so that a wrong matrix is right for it only by rounding.
    """
    v_in = np.random.default_rng(0).uniform(-1.0, 1.0, size=(1, circuit.n_word))
    i_out = solve_grid(circuit, v_in, np.zeros(circuit.n_line)).i_out
    largest = float(np.abs(i_out).max())
    return float(np.abs(v_in @ matrix - i_out).max() / largest) if largest else 0.0


def _grid_nodes(
    circuit: Circuit, v_in: np.ndarray, v_tia: np.ndarray, solved: GridSolution
) -> np.ndarray:
    """Return all node voltages (n_batch, n_node) in the order of the circuit's elements."""
    grid, n_batch = circuit.grid, len(v_in)
    assert grid is not None
    n_side, n_word, n_bit = grid.g.shape
    driver = grid.wires.r_driver
    first = solved.v_word[:, :, 0]
    i_in = (v_in - first) / (driver + grid.wires.r_word)
    bit = solved.v_bit.reshape(n_batch, n_word, n_side, n_bit).transpose(0, 2, 1, 3)
    parts = [
        np.zeros((n_batch, 1)),
        v_in,
        *([first + grid.wires.r_word * i_in] if driver else []),  # keeps the digits of i_in
        solved.v_word.reshape(n_batch, -1),
        bit.reshape(n_batch, -1),
        v_tia + solved.i_out * circuit.periphery.r_tia_input,
    ]
    return np.concatenate(parts, axis=1)


def _solve_sparse(circuit: Circuit, v_in: np.ndarray, v_tia: np.ndarray, nodes: bool) -> Solution:
    """Solve any circuit by one sparse factorisation.

    v_tia: (n_line,) or (n_batch, n_line), the voltage [V] behind the input of each TIA.
    """
    parts = circuit.elements
    fixed = _fixed_nodes(circuit)
    free = np.setdiff1d(np.arange(parts.n_node), fixed)
    g = _conductance_matrix(circuit)
    v_node = np.zeros((parts.n_node, len(v_in)))
    v_node[parts.input_nodes] = v_in.T
    behind = np.broadcast_to(v_tia, (len(v_in), circuit.n_line)).T
    injected = np.zeros_like(v_node)
    if circuit.periphery.r_tia_input:
        injected[parts.tia_nodes] = behind / circuit.periphery.r_tia_input
    else:
        v_node[parts.tia_nodes] = behind
    if len(free):
        rows = g[free]
        drive = injected[free] - rows[:, fixed] @ v_node[fixed]
        factor = factorise(rows[:, free])
        v_node[free] = factor.solve(drive)
        v_node[free] += factor.solve(drive - rows[:, free] @ v_node[free])  # refine once
    residual = _residual(g[free], v_node, injected[free])
    if not residual <= RESIDUAL_LIMIT:
        raise SolverError(
            f"Kirchhoff's current law is violated by {residual:.1e} of the currents at a node "
            f"(limit {RESIDUAL_LIMIT:.0e}); look for conductances many decades apart"
        )
    i_out = _tia_current(circuit, g, v_node, behind)
    return _solution(circuit, v_in, i_out, v_node.T if nodes else None, _SPARSE, residual)


def _solution(
    circuit: Circuit,
    v_in: np.ndarray,
    i_out: np.ndarray,
    v_node: np.ndarray | None,
    solver: str,
    residual: float,
) -> Solution:
    """Add the outputs of the TIAs."""
    v_out = circuit.periphery.outputs(i_out)
    return Solution(circuit, v_in, i_out, v_out, v_node, solver, residual)


def _fixed_nodes(circuit: Circuit) -> np.ndarray:
    """Return the nodes whose voltage is given: ground, inputs, ideal virtual grounds."""
    ideal = circuit.periphery.r_tia_input == 0
    tia = circuit.elements.tia_nodes if ideal else circuit.elements.tia_nodes[:0]
    return np.concatenate([[0], circuit.elements.input_nodes, tia])


def _conductance_matrix(circuit: Circuit) -> csr_array:
    """Return the symmetric nodal matrix (n_node, n_node) [S], TIA inputs as shunts to ground."""
    parts = circuit.elements
    a, b, g = parts.branch_from, parts.branch_to, 1.0 / parts.branch_ohm
    row, column, value = [a, b, a, b], [a, b, b, a], [g, g, -g, -g]
    if circuit.periphery.r_tia_input:
        tia = parts.tia_nodes
        row, column = [*row, tia], [*column, tia]
        value = [*value, np.full(len(tia), 1.0 / circuit.periphery.r_tia_input)]
    entries = (np.concatenate(value), (np.concatenate(row), np.concatenate(column)))
    return coo_array(entries, shape=(parts.n_node, parts.n_node)).tocsr()


def factorise(matrix: csr_array):
    """Return the factors of a symmetric nodal matrix of free nodes, which have a `solve`."""
    try:
        return splu(
            matrix.tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError as error:
        raise SolverError(
            f"the circuit has a node that nothing holds at a voltage ({error}); "
            "connect it or leave it out"
        ) from error


def _residual(rows: csr_array, v_node: np.ndarray, injected: np.ndarray) -> float:
    """Return the largest net current at a free node, as a fraction of the sum of |g v| there.

    injected: current (n_free, n_batch) [A] from outside.
    Source: Oettli, Prager, Numer. Math. 6 (1964) 405.
    """
    meeting = abs(rows) @ np.abs(v_node) + np.abs(injected)
    net = np.abs(rows @ v_node - injected)
    return float((net / np.where(meeting > 0, meeting, 1.0)).max(initial=0.0))


def _tia_current(
    circuit: Circuit, g: csr_array, v_node: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """Return the current (n_batch, n_line) from each bit line into its TIA.

    behind: (n_line, n_batch) the voltage behind the TIAs' inputs [V].
    """
    tia = circuit.elements.tia_nodes
    if circuit.periphery.r_tia_input:
        return (v_node[tia] - behind).T / circuit.periphery.r_tia_input
    # The node is held at a voltage: its branches bring minus its row of the nodal matrix.
    return -(g[tia] @ v_node).T
