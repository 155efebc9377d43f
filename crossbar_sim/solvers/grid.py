"""The fast engine for regular arrays with resistive wires, in both its ways.

A word line is a tridiagonal system, and so is a bit line; the cells couple them. One vector is
solved by `conjugate_gradients`, all inputs at once by elimination (`crossbar_sim.transfer`).
"""

from dataclasses import dataclass

import numpy as np

from crossbar_sim.solvers.conjugate_gradients import solve_vectors
from crossbar_sim.solvers.solution import SolverError
from crossbar_sim.transfer.array_lines import is_regular, lines_of
from crossbar_sim.transfer.elimination import eliminate
from netlists.circuit import Circuit

__all__ = ["GridSolution", "is_regular", "solve_grid", "superpose_grid", "transfer_grid"]

#: Largest accepted relative residual, recomputed at the end.
RESIDUAL_LIMIT = 1e-10


@dataclass(frozen=True)
class GridSolution:
    """The solution of a regular array.

    v_word: word nodes (n_batch, n_word, n_bit) [V].
    v_bit: bit nodes (n_batch, n_word, n_line) [V].
    i_out: output currents (n_batch, n_line) [A].
    residual: the largest relative residual.
    """

    v_word: np.ndarray
    v_bit: np.ndarray
    i_out: np.ndarray
    residual: float


def solve_grid(circuit: Circuit, v_in: np.ndarray, v_tia: np.ndarray) -> GridSolution:
    """Solve a regular circuit by conjugate gradients.

    circuit: one that `is_regular`.
    v_in: (n_batch, n_word) [V].
    v_tia: (n_line,) or (n_batch, n_line) [V] behind the input resistance of each TIA.

    Raises SolverError when the residual does not fall below RESIDUAL_LIMIT.
    """
    lines = lines_of(circuit)
    v_tia = np.ascontiguousarray(np.broadcast_to(v_tia, (len(v_in), circuit.n_line)))
    v_word, above, residual = solve_vectors(lines, v_in, v_tia)
    worst = check_residual(*residual.max(axis=0, initial=0.0).tolist())
    return GridSolution(v_word, above + v_tia[:, None], lines.g_end * above[:, -1], worst)


def superpose_grid(circuit: Circuit, v_in: np.ndarray, v_tia: np.ndarray) -> GridSolution:
    """Solve a regular circuit for many vectors by the sum of what each word line alone causes.

    Arguments as for `solve_grid`; v_tia is (n_line,). The residual is the largest of the solutions
    that are summed.
    """
    none = np.zeros(circuit.n_line)
    alone = solve_grid(circuit, np.eye(circuit.n_word), none)
    rest = solve_grid(circuit, np.zeros((1, circuit.n_word)), v_tia)

    def summed(name: str) -> np.ndarray:
        return np.tensordot(v_in, getattr(alone, name), axes=1) + getattr(rest, name)

    v_word, v_bit, i_out = (summed(name) for name in ("v_word", "v_bit", "i_out"))
    return GridSolution(v_word, v_bit, i_out, max(alone.residual, rest.residual))


def check_residual(worst: float, cancelled: float) -> float:
    """Return the largest relative residual; SolverError if it is above the limit.

    cancelled: size of the terms that cancel in it.
    """
    # Wire currents far above the cells' leave a residual from rounding alone, not an error.
    if not worst <= RESIDUAL_LIMIT + 1e-15 * cancelled:
        raise SolverError(
            f"the conjugate gradients stopped at a relative residual of {worst:.1e} (limit "
            f"{RESIDUAL_LIMIT:.0e}); the wires are too resistive for these cells, "
            "or the conductances lie many decades apart"
        )
    return worst


def transfer_grid(circuit: Circuit) -> np.ndarray:
    """Return the transfer matrix (n_word, n_line) [S] of a regular circuit."""
    return eliminate(lines_of(circuit))
