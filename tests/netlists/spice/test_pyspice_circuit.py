"""A circuit as PySpice objects: the same currents, and open to changes by hand."""

import logging
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from crossbar_sim.ngspice.process import Job
from crossbar_sim.ngspice.worker import NgspiceWorker, find_library, solve_ngspice
from crossbar_sim.solvers.nodal import solve
from netlists import Circuit, Elements, Periphery, Wires, array_circuit
from netlists.spice.pyspice_circuit import MAX_BRANCHES, to_pyspice

G = 10 ** np.random.default_rng(0).uniform(-6, -4, size=(4, 3))
V_IN = np.array([0.1, -0.2, 0.05, 0.2])


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)


def currents(worker: NgspiceWorker, text: str, n_line: int) -> np.ndarray:
    names = tuple(f"vtia_{j}#branch" for j in range(n_line))
    deck = f"{text}\n.options klu pivrel=0.5\n.op\n.end"
    return worker.run(Job(deck, "op", names, 1)).values[:, 0]


@pytest.mark.parametrize(
    "ends", [Periphery(), Periphery(tia_gain=1e4), Periphery(tia_gain=1e3, v_offset=1e-3)]
)
@pytest.mark.parametrize("wires", [Wires(), Wires(1, 2, 30)])
def test_its_currents_are_the_engines(worker, wires, ends):
    circuit = array_circuit(G, wires, ends)
    found = currents(worker, str(to_pyspice(circuit, V_IN)), 3)
    np.testing.assert_allclose(found, solve(circuit, V_IN).i_out[0], rtol=1e-9)


def test_a_resistor_added_by_hand_changes_the_current_as_it_should(worker):
    circuit = array_circuit(G, Wires(), Periphery())
    extended = to_pyspice(circuit)
    extended.Vin_0.dc_value = 0.1
    extended.R("extra", "in_0", "tia_1", 1e3)
    found = currents(worker, str(extended), 3)
    expected = 0.1 * G[0] + np.array([0.0, 0.1 / 1e3, 0.0])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_pyspice_itself_runs_it():
    """In a process of its own: PySpice reads the library's path when it is imported."""
    code = f"""
        import os
        os.environ["NGSPICE_LIBRARY_PATH"] = {find_library()!r}
        import numpy as np
        from netlists import Periphery, Wires, array_circuit
        from netlists.spice.pyspice_circuit import to_pyspice
        g = np.array({G.tolist()})
        circuit = array_circuit(g, Wires(1, 2), Periphery(tia_gain=1e4))
        simulator = to_pyspice(circuit, {V_IN.tolist()}).simulator(simulator="ngspice-shared")
        found = simulator.operating_point()
        print(*(float(found.branches[f"vtia_{{j}}"][0]) for j in range(3)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = solve(array_circuit(G, Wires(1, 2), Periphery(tia_gain=1e4)), V_IN).i_out[0]
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], expected, rtol=1e-9)


def hand_made(branch: str) -> Circuit:
    parts = Elements(
        n_node=3,
        branch_from=np.array([1]),
        branch_to=np.array([2]),
        branch_ohm=np.array([1e3]),
        branch_part=np.array([0]),
        input_nodes=np.array([1]),
        tia_nodes=np.array([2]),
        names=(["0", "a", "b"], [branch]),
    )
    return Circuit(parts, Periphery())


def test_what_it_refuses(worker):
    circuit = array_circuit(G, Wires())
    with pytest.raises(ValueError, match="4 word lines"):
        to_pyspice(circuit, np.zeros(3))
    with pytest.raises(ValueError, match="not safe"):
        to_pyspice(hand_made("R1\n.control"))
    assert "R1 a b 1000.0" in str(to_pyspice(hand_made("R1")))
    side = int(MAX_BRANCHES**0.5) + 1
    with pytest.raises(ValueError, match="write text with to_spice"):
        to_pyspice(array_circuit(np.full((side, side), 1e-6), Wires()))
    title = str(to_pyspice(circuit, title="x\n.control\nshell")).splitlines()[0]
    assert title == ".title x .control shell"
    assert solve_ngspice(hand_made("R1"), np.array([0.1]), worker=worker).i_out[0, 0] > 0
