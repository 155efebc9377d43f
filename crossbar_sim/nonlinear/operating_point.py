"""The solution of nonlinear cells as one of their circuit, for power, balance and pictures."""

from dataclasses import dataclass

import numpy as np

from crossbar_sim.nonlinear.cell_laws import CellLaws
from crossbar_sim.nonlinear.newton import NonlinearSolution, solve_nonlinear
from crossbar_sim.solvers.solution import Solution
from netlists.circuit import Circuit
from netlists.circuit.array_topology import grid_nodes
from netlists.circuit.elements import CELL

_SOLVER = "nodal, Newton's method"


@dataclass(frozen=True)
class OperatingPoint(Solution):
    """A solution whose cells conduct by laws of their own, not by the circuit's resistances.

    cell_amps: (n_batch, n_cell) current through each of the circuit's cells [A].
    """

    cell_amps: np.ndarray

    @property
    def amps(self) -> np.ndarray:
        """Current (n_batch, n_branch) through each branch [A]."""
        amps = super().amps
        amps[:, self.circuit.elements.branch_part == CELL] = self.cell_amps
        return amps


def operating_point(cells: CellLaws, circuit: Circuit, v_in: np.ndarray) -> OperatingPoint:
    """Return the solution of a circuit whose cells have these laws, with all node voltages.

    circuit: a regular array with the same cells; their resistances are not used.
    v_in: (n_batch, n_word) or (n_word,) [V].

    Raises ValueError for an array of other cells, and as `solve_nonlinear` does.
    """
    grid = circuit.grid
    if grid is None or not np.array_equal(grid.g > 0, cells.present):
        raise ValueError("the circuit must be a regular array with the cells that have laws")
    v_in = circuit.check_inputs(v_in)
    found = solve_nonlinear(cells, grid.wires, circuit.periphery, v_in, nodes=True)
    v_word, v_bit = found.v_word, found.v_bit
    assert v_word is not None
    assert v_bit is not None
    n_side, n_word, n_bit = grid.g.shape
    amps = cells.currents(v_word, v_bit).current.reshape(-1, n_word, n_side, n_bit)
    cell_amps = amps.transpose(0, 2, 1, 3)[:, grid.g > 0]
    v_node = _all_nodes(circuit, v_in, found)
    return OperatingPoint(
        circuit, v_in, found.i_out, found.v_out, v_node, _SOLVER, found.residual, cell_amps
    )


def _all_nodes(circuit: Circuit, v_in: np.ndarray, found: NonlinearSolution) -> np.ndarray:
    """Return the voltages (n_batch, n_node) in the order of the circuit's elements."""
    grid, ends, parts = circuit.grid, circuit.periphery, circuit.elements
    assert grid is not None
    assert found.v_word is not None
    assert found.v_bit is not None
    (n_side, n_word, n_bit), wires = grid.g.shape, grid.wires
    at, v_node = grid_nodes(grid.g, wires), np.zeros((len(v_in), parts.n_node))
    if wires.r_driver and wires.r_word:
        drop = v_in - found.v_word[:, :, 0]
        share = wires.r_driver / (wires.r_driver + wires.r_word)
        v_node[:, at.drivers] = v_in - share * drop
    v_node[:, at.word] = found.v_word
    bit = found.v_bit.reshape(-1, n_word, n_side, n_bit)
    v_node[:, at.bit] = bit.transpose(0, 2, 1, 3)
    v_node[:, parts.input_nodes] = v_in
    v_tia = ends.share * ends.offsets(circuit.n_line)
    v_node[:, parts.tia_nodes] = v_tia + found.i_out * ends.r_tia_input
    return v_node
