"""Currents and power add up in every solution, and not in one that was disturbed."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approx import approx
from crossbar_sim import Solution, solve, solve_ngspice
from crossbar_sim.solvers.balance import _ROUNDING, LIMIT, Balance, balance
from netlists import Circuit, Periphery, Wires, array_circuit

WIRES = [Wires(), Wires(5.2, 1.8, 100.0), Wires(1e-6, 1e-6), Wires(0.0, 3.0), Wires(1e4, 1e3)]
ENDS = [Periphery(), Periphery(tia_gain=1e3, r_input=2.0, v_offset_sigma=2e-3, v_swing=1e-2)]


def array(wires: Wires = WIRES[1], ends: Periphery = ENDS[1]) -> tuple[Circuit, np.ndarray]:
    rng = np.random.default_rng(1)
    g = 10 ** rng.uniform(-7, -4, size=(9, 6)) * (rng.random((9, 6)) < 0.7)
    return array_circuit(g, wires, ends), rng.uniform(-0.2, 0.3, size=(3, 9))


@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("ends", ENDS)
def test_both_solvers_balance_by_their_own_voltages(wires, ends, worker):
    circuit, v_in = array(wires, ends)
    fast = solve(circuit, v_in, nodes=True)
    spice = solve_ngspice(circuit, v_in, worker=worker, nodes=True)
    assert spice.nodes == approx(fast.nodes, rel=1e-9, abs=1e-10)
    for solution in (fast, spice):
        found = balance(solution)
        assert found.holds
        assert max(found.current, found.power) < 1e-12 + found.rounding


@pytest.mark.parametrize("shape", [(2, 2), (6, 4), (32, 16)])
@pytest.mark.parametrize("wires", [Wires(1e-3, 1e-3, 1e6), Wires(1e-4, 1e-4, 5e4)])
def test_wires_of_a_milliohm_behind_large_drivers_balance(shape, wires):
    rng = np.random.default_rng(0)
    ends = Periphery(tia_gain=1e6, v_offset_sigma=1e-3)
    circuit = array_circuit(10 ** rng.uniform(-7, -4, size=shape), wires, ends)
    found = balance(solve(circuit, rng.uniform(-0.2, 0.2, size=(20, shape[0])), nodes=True))
    assert found.holds
    assert found.power < 1e-14


def disturbed(solution: Solution, part: str, rng: np.random.Generator) -> Solution:
    """Move a voltage by a millionth of the largest, or a current likewise."""
    values = solution.nodes if part == "nodes" else solution.i_out
    moved, parts = values.copy(), solution.circuit.elements
    own = parts.branch_from if part == "nodes" else np.arange(values.shape[1])
    moved[rng.integers(len(values)), rng.choice(own[own > 0])] += 1e-6 * np.abs(values).max()
    return replace(solution, **{"v_node" if part == "nodes" else part: moved})


@pytest.mark.parametrize("part", ["nodes", "i_out"])
@pytest.mark.parametrize("wires", [WIRES[1], WIRES[3]])
def test_any_disturbance_is_seen(part, wires):
    circuit, v_in = array(wires)
    right, rng = solve(circuit, v_in, nodes=True), np.random.default_rng(0)
    wrong = [balance(disturbed(right, part, rng)) for _ in range(50)]
    assert [found for found in wrong if found.holds] == []
    assert min(found.current for found in wrong) > 10 * LIMIT


def test_a_divider_off_by_a_known_voltage_is_off_by_known_amounts():
    """One cell behind a driver: 1 V over 3 ohm + 1 ohm, the node between them moved by 0.01 V."""
    circuit = array_circuit(np.array([[1.0]]), Wires(r_driver=3.0), Periphery(r_feedback=10.0))
    right = solve(circuit, np.array([[1.0]]), nodes=True)
    assert balance(right) == Balance(0.0, 0.0, approx(0.0, abs=1e-14))
    volts = right.nodes.copy()
    (middle,) = np.flatnonzero(np.abs(volts[0] - 0.25) < 1e-9)
    volts[0, middle] += 0.01
    found = balance(replace(right, v_node=volts))
    driver, cell = Fraction(74, 100) / 3, Fraction(26, 100)
    assert found.current == approx(float((cell - driver) / cell), rel=1e-9)
    heat = driver**2 * 3 + cell**2
    assert found.power == approx(float(abs(driver - heat) / heat), rel=1e-9)


def test_what_rounding_may_do_is_counted_by_hand():
    """1 V over a wire of 1 mohm and a cell of 1 ohm, whose ends are known to a rounding."""
    circuit = array_circuit(np.array([[1.0]]), Wires(r_driver=1e-3), Periphery(r_feedback=10.0))
    right = solve(circuit, np.array([[1.0]]), nodes=True)
    amps, middle = 1 / 1.001, 1 / 1.001
    # Conductance times the voltages at both ends, of all branches that meet at the node.
    unsure = _ROUNDING * ((1 + middle) * 1e3 + middle)
    assert balance(right).rounding == approx(
        max(unsure / amps, (_ROUNDING * (1 + middle) * 1e3 + middle * unsure) / amps), rel=1e-6
    )


def test_nan_does_not_hold_and_voltages_are_needed():
    circuit, v_in = array()
    right = solve(circuit, v_in, nodes=True)
    assert not balance(replace(right, v_node=np.nan * right.nodes)).holds
    with pytest.raises(ValueError, match="holds no node voltages"):
        balance(solve(circuit, v_in))


def test_an_offset_at_lines_without_current_is_no_imbalance():
    ends = Periphery(tia_gain=28e3, v_offset_sigma=5e-3)
    circuit = array_circuit(np.full((1, 8), 1e-14), Wires(), ends)
    found = balance(solve(circuit, np.array([[0.0], [-0.13]]), nodes=True))
    assert found.current > 1e-9
    assert found.holds
