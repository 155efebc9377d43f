"""The fast engine: exact nodal analysis of any circuit by a sparse direct solve."""

import numpy as np
import scipy
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import splu

from crossbar_sim.solution import Solution
from netlists.circuit import Circuit

#: Largest accepted violation of Kirchhoff's current law at a node, relative to the sum of the
#: magnitudes of all g * v that meet there (the componentwise backward error of the solve).
RESIDUAL_LIMIT = 1e-12


class SolverError(RuntimeError):
    """A circuit that could not be solved to the accuracy promised."""


def solve(circuit: Circuit, v_in: np.ndarray) -> Solution:
    """Return outputs and all node voltages for every input vector.

    circuit: any circuit. v_in: (n_batch, n_word) or (n_word,) [V].
    Raises ValueError for inputs that do not fit, SolverError for a circuit with a node that
    nothing holds, or when the residual is above RESIDUAL_LIMIT.
    """
    v_in = circuit.check_inputs(v_in)
    fixed = _fixed_nodes(circuit)
    free = np.setdiff1d(np.arange(circuit.n_node), fixed)
    g = _conductance_matrix(circuit)
    v_node = np.zeros((circuit.n_node, len(v_in)))
    v_node[circuit.input_nodes] = v_in.T
    if len(free):
        rows = g[free]
        drive = -(rows[:, fixed] @ v_node[fixed])
        factor = _factor(rows[:, free])
        v_node[free] = factor.solve(drive)
        v_node[free] += factor.solve(drive - rows[:, free] @ v_node[free])  # refine once
    residual = _residual(g[free], v_node)
    if not residual <= RESIDUAL_LIMIT:
        raise SolverError(
            f"Kirchhoff's current law is violated by {residual:.1e} of the currents at a node "
            f"(limit {RESIDUAL_LIMIT:.0e}); look for conductances many decades apart"
        )
    i_out = _tia_current(circuit, g, v_node)
    return Solution(
        circuit=circuit,
        v_in=v_in,
        i_out=i_out,
        v_out=_tia_voltage(circuit, i_out),
        v_node=v_node.T,
        solver=f"nodal (scipy {scipy.__version__} SuperLU)",
        residual=residual,
    )


def transfer_matrix(circuit: Circuit) -> np.ndarray:
    """Return the matrix (n_word, n_line) [S] that the array multiplies by: i_out = v_in @ it.

    With ideal wires and TIAs this is the conductance matrix itself.
    """
    return solve(circuit, np.eye(circuit.n_word)).i_out


def _fixed_nodes(circuit: Circuit) -> np.ndarray:
    """Return the nodes whose voltage is given: ground, inputs, ideal virtual grounds."""
    ideal = np.isinf(circuit.periphery.tia_gain)
    tia = circuit.tia_nodes if ideal else circuit.tia_nodes[:0]
    return np.concatenate([[0], circuit.input_nodes, tia])


def _conductance_matrix(circuit: Circuit) -> csr_array:
    """Return the symmetric nodal matrix (n_node, n_node) [S], TIA inputs as shunts to ground."""
    a, b, g = circuit.branch_from, circuit.branch_to, 1.0 / circuit.branch_ohm
    row, column, value = [a, b, a, b], [a, b, b, a], [g, g, -g, -g]
    if np.isfinite(circuit.periphery.tia_gain):
        tia = circuit.tia_nodes
        row, column = [*row, tia], [*column, tia]
        value = [*value, np.full(len(tia), 1.0 / circuit.periphery.r_tia_input)]
    entries = (np.concatenate(value), (np.concatenate(row), np.concatenate(column)))
    return coo_array(entries, shape=(circuit.n_node, circuit.n_node)).tocsr()


def _factor(matrix: csr_array):
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


def _residual(rows: csr_array, v_node: np.ndarray) -> float:
    """Return the largest net current at a free node over what meets there, sum of |g v|.

    Source: Oettli, Prager, Numer. Math. 6 (1964) 405.
    """
    meeting = abs(rows) @ np.abs(v_node)
    net = np.abs(rows @ v_node)
    return float((net / np.where(meeting > 0, meeting, 1.0)).max(initial=0.0))


def _tia_current(circuit: Circuit, g: csr_array, v_node: np.ndarray) -> np.ndarray:
    """Return the current (n_batch, n_line) from each bit line into its TIA."""
    if np.isfinite(circuit.periphery.tia_gain):
        return v_node[circuit.tia_nodes].T / circuit.periphery.r_tia_input
    # Held at 0 V: what the branches bring is the nodal matrix's row, with the sign turned.
    return -(g[circuit.tia_nodes] @ v_node).T


def _tia_voltage(circuit: Circuit, i_out: np.ndarray) -> np.ndarray:
    """Return v_out = -i r_feedback gain / (1 + gain) (n_batch, n_line) [V]."""
    share = 1.0 / (1.0 + 1.0 / circuit.periphery.tia_gain)
    return -i_out * circuit.periphery.r_feedback * share
