"""Nonlinear cells as a solution of their circuit: nodes, currents, power, balance."""

from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from crossbar_sim import solve
from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.nonlinear.newton import solve_nonlinear
from crossbar_sim.nonlinear.operating_point import operating_point
from crossbar_sim.solvers.balance import balance
from netlists import Periphery, Wires
from netlists.circuit import Circuit, Grid
from netlists.circuit.elements import CELL

BOX = VoltageBox((-1.0, 1.0), (-0.5, 0.5))
ENDS = Periphery(r_feedback=1e4, tia_gain=1e3, r_input=20.0, v_offset=2e-3)
WIRES = [Wires(), Wires(3, 2, 50), Wires(0, 2, 50), Wires(3, 0, 0), Wires(0, 0, 50), Wires(3, 2)]


def array(wires: Wires, bend: float) -> tuple[CellLaws, Circuit, np.ndarray]:
    """Return two-sided laws with empty cells, a circuit of their slopes at 0 V, and inputs."""
    rng = np.random.default_rng(0)
    g = rng.uniform(1e-5, 1e-4, (2, 4, 3)) * (rng.random((2, 4, 3)) < 0.8)
    laws = CellLaws.fitted(lambda u, w: g[..., None] * (1 + bend * (u - w) ** 2), BOX)
    return laws, Circuit(Grid(g, ("_p", "_n"), wires), ENDS), rng.uniform(-0.8, 0.8, (5, 4))


@pytest.mark.parametrize("wires", WIRES)
def test_straight_cells_have_the_linear_engines_nodes_and_power(wires):
    laws, circuit, v_in = array(wires, 0.0)
    found, known = operating_point(laws, circuit, v_in), solve(circuit, v_in, nodes=True)
    assert found.v_out == approx(known.v_out, rel=1e-9, abs=1e-12)
    assert found.nodes == approx(known.nodes, rel=1e-9, abs=1e-11)
    assert found.amps == approx(known.amps, rel=1e-7, abs=1e-13)
    power, right = found.power(), known.power()
    assert power.keys() == right.keys()
    for part in power:
        assert power[part] == approx(right[part], rel=1e-7, abs=1e-15)


@pytest.mark.parametrize("wires", WIRES)
def test_currents_and_power_of_bent_cells_add_up(wires):
    laws, circuit, v_in = array(wires, 0.7)
    found = operating_point(laws, circuit, v_in)
    assert balance(found).holds
    assert found.i_out == approx(solve_nonlinear(laws, wires, ENDS, v_in).i_out, rel=1e-12)
    # With the cells' resistances in place of their laws, nothing would balance.
    linear = solve(circuit, v_in, nodes=True).amps
    lines = replace(found, cell_amps=linear[:, circuit.elements.branch_part == CELL])
    assert not balance(lines).holds


def test_a_circuit_of_other_cells_is_refused():
    laws, circuit, v_in = array(Wires(3, 2), 0.1)
    assert circuit.grid is not None
    other = replace(circuit, source=replace(circuit.grid, g=np.ones_like(circuit.grid.g)))
    with pytest.raises(ValueError, match=r"with the cells that have laws"):
        operating_point(laws, other, v_in)
