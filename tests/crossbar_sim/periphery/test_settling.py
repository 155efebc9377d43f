"""Settling and charging, against closed forms and ngspice's transient analysis."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import splu

from approx import approx
from benchmarks.circuits.ngspice_analyses import (
    charging_energy,
    product_energy,
    step_deck,
    step_ngspice,
)
from crossbar_sim import solve
from crossbar_sim.config import RunConfig
from crossbar_sim.periphery import settling as module
from crossbar_sim.periphery.settling import (
    _Dynamics,
    _dynamics,
    _modes,
    node_capacitance,
    settling,
)
from crossbar_sim.pipeline.tile_limits import settling_time, tile_physics
from crossbar_sim.solvers.solution import SolverError
from mapping import Tile
from netlists import Circuit, Periphery, Wires, array_circuit, tile_circuit

TOLERANCE = 2**-9


def random_array(shape: tuple[int, int] = (8, 6), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-6, -4.5, size=shape) * (rng.random(shape) < 0.6)
    return g, rng.uniform(-0.2, 0.2, size=shape[0])


def measured(deck: str, cards: str, tmp_path: Path) -> dict[str, float]:
    """Run a deck in stock ngspice and return what its .meas cards found, by name."""
    deck = deck.replace(" interp", "").replace("\n.end\n", "\n" + "\n".join(cards) + "\n.end\n")
    (tmp_path / "step.cir").write_text(deck)
    run = subprocess.run(
        ["ngspice", "-b", "step.cir"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    return {k: float(v) for k, v in re.findall(r"^(\w+)\s+=\s+(\S+)", run.stdout, re.MULTILINE)}


def test_one_pole_settles_as_its_closed_form():
    g = np.array([[1e-4], [2e-4]])
    ends = Periphery(tia_gain=1e4, gbw=1e8)
    found = settling(array_circuit(g, Wires(), ends), np.array([0.1, 0.1]), TOLERANCE)
    pole = ends.bandwidth(np.array([3e-4]))[0] + 1e8 / 1e4
    assert found.slowest == approx(1 / (2 * np.pi * pole), rel=1e-9)
    assert found.time[0] == approx(np.log(2**9) / (2 * np.pi * pole), rel=1e-6)


def test_a_driven_capacitor_settles_as_its_closed_form():
    # One word line of two cells, all wire capacitance at one node behind the driver.
    wires = Wires(r_driver=1e3, c_word=1e-12)
    found = settling(array_circuit(np.full((1, 2), 1e-4), wires), np.array([0.2]), TOLERANCE)
    tau = 2e-12 / (1e-3 + 2e-4)
    assert found.slowest == approx(tau, rel=1e-9)
    assert found.time[0] == approx(tau * np.log(2**9), rel=1e-6)


@pytest.mark.parametrize(
    "wires", [Wires(), Wires(2, 2, 500, 2e-15, 2e-15), Wires(20, 20, 1e4, 1e-13, 1e-13)]
)
@pytest.mark.parametrize(
    "ends",
    [
        Periphery(tia_gain=1e4, gbw=1e8),
        Periphery(tia_gain=1e4, gbw=1e9, r_input=100.0, v_offset_sigma=1e-3),
        Periphery(gbw=1e8),
    ],
)
def test_ngspice_settles_at_the_same_time(wires, ends, worker):
    g, v_in = random_array()
    circuit = array_circuit(g, wires, ends)
    found = settling(circuit, v_in, TOLERANCE).time[0]
    times = np.linspace(0, 1.5 * found, 3001)
    wave = step_ngspice(circuit, v_in, times, worker=worker)
    final = solve(circuit, v_in).v_out[0]
    at_rest = solve(circuit, np.zeros(8)).v_out[0]
    np.testing.assert_allclose(wave[0], at_rest, atol=1e-9)
    beyond = np.abs(wave - final).max(axis=1) > TOLERANCE * np.abs(final - at_rest).max()
    last = times[np.flatnonzero(beyond)[-1] + 1]
    assert last == approx(found, abs=2 * times[1])


def test_wires_alone_and_an_underdamped_amplifier(worker):
    g, v_in = random_array()
    rings = Periphery(tia_gain=1e4, gbw=1e8, r_feedback=50e3)
    for wires, ends in (
        (Wires(20, 20, 1e3, 1e-14, 1e-14), Periphery()),
        (Wires(1, 1, 10, 0, 1e-12), rings),
    ):
        circuit = array_circuit(g, wires, ends)
        found = settling(circuit, v_in, TOLERANCE).time[0]
        times = np.linspace(0, 1.5 * found, 3001)
        wave = step_ngspice(circuit, v_in, times, worker=worker)
        final = solve(circuit, v_in).v_out[0]
        beyond = np.abs(wave - final).max(axis=1) > TOLERANCE * np.abs(final).max()
        last = times[np.flatnonzero(beyond)[-1] + 1]
        assert last == approx(found, rel=2e-3)
    assert (np.abs(wave) > 1.05 * np.abs(final)).any(), "it overshoots"


def test_a_tile_has_settled_within_half_a_step_of_its_adc():
    """Lines of one pole each, so the time is that pole's, for the strongest vector."""
    ends = {"tia_gain": 1e4, "gbw": 1e8, "r_feedback": 20e3, "adc_bits": 6}
    config = RunConfig.model_validate(
        {"name": "a", "wires": {"source": "given", "r_word": 0.0, "r_bit": 0.0}, "periphery": ends}
    )
    assert config.is_slow
    g_pos, g_neg = np.array([[1e-4], [2e-4]]), np.array([[2e-4], [1e-4]])
    present = np.ones((2, 1), bool)
    chosen = present.astype(np.uint32)
    tile = Tile("t", (0, 0), np.arange(2), np.arange(1), present, chosen, chosen, g_pos, g_neg)
    circuit = tile_circuit(tile, config.hardware.wires, config.hardware.periphery)
    v_in = np.array([[0.01, 0.0], [0.1, -0.2], [0.0, 0.0]])
    time = settling_time(config, circuit, v_in)
    found = tile_physics(config, tile, circuit, v_in, time)
    pole = ends["gbw"] / (1 + 20e3 * 3e-4) + ends["gbw"] / 1e4
    assert found.t_settling == approx(np.log(2.0**7) / (2 * np.pi * pole), rel=1e-6)
    assert found.full_scale == approx(2 * 20e3 * 0.3 * 1e-4, rel=1e-12)
    still = config.model_copy(update={"periphery": replace(config.periphery, gbw=np.inf)})
    assert settling_time(still, circuit, v_in) == 0


def test_settling_as_stock_ngspice_measures_it(tmp_path):
    g, v_in = random_array()
    circuit = array_circuit(g, Wires(20, 20, 1e3, 2e-14, 2e-14), Periphery(tia_gain=1e4, gbw=1e9))
    found = settling(circuit, v_in, TOLERANCE).time[0]
    final = solve(circuit, v_in).v_out[0]
    limit = TOLERANCE * np.abs(final).max()
    both = (("h", limit), ("l", -limit))
    levels = {f"t{j}{s}": float(final[j] + move) for j in range(6) for s, move in both}
    cards = [
        f".meas tran {name} when v(out_{name[1]})={level!r} cross=last"
        for name, level in levels.items()
    ]
    times = np.linspace(0, 2 * found, 2001)
    times_met = measured(step_deck(circuit, v_in, times), cards, tmp_path)
    crossed = [t for name, t in times_met.items() if name in levels]
    assert len(crossed) >= 6
    assert max(crossed) == approx(found, rel=2e-3)


def test_few_modes_are_enough_and_all_modes_are_exact():
    g, v_in = random_array((32, 24))
    circuit = array_circuit(g, Wires(5, 5, 1e3, 1e-14, 1e-14), Periphery(tia_gain=1e4, gbw=1e9))
    few, usual, many = (settling(circuit, v_in, TOLERANCE, order=n).time[0] for n in (10, 40, 150))
    assert usual == approx(many, rel=1e-6)
    assert few == approx(many, rel=0.02)


def test_a_batch_and_what_settles_at_once():
    g, v_in = random_array()
    circuit = array_circuit(g, Wires(2, 2, 10, 1e-15, 1e-15), Periphery(tia_gain=1e3, gbw=1e8))
    batch = settling(circuit, np.stack([v_in, 2 * v_in, 0 * v_in]), TOLERANCE)
    assert batch.time[1] == approx(batch.time[0], rel=1e-6), "a linear circuit"
    assert batch.time[2] == 0
    ideal = settling(array_circuit(g, Wires(1, 1), Periphery(tia_gain=1e3)), v_in, TOLERANCE)
    assert ideal.time[0] == ideal.slowest == 0


@pytest.mark.parametrize(
    "wires",
    [Wires(0, 0, 0, 1e-15, 2e-15), Wires(0, 0, 9, 1e-15, 2e-15), Wires(1, 1, 9, 1e-15, 2e-15)],
)
def test_every_segment_is_counted_once(wires):
    g, _ = random_array((3, 4))
    circuit = array_circuit(g, wires)
    c_node = node_capacitance(circuit)
    assert c_node.sum() == approx(12 * 3e-15)
    names = dict(zip(circuit.names[0], c_node))
    if wires.r_word:
        assert names["wl_2_3"] == 1e-15
        assert names["bl_0_0"] == 2e-15
        assert names["tia_0"] == names["in_0"] == 0
    else:
        assert names["tia_0"] == approx(6e-15)
        line = circuit.elements.branch_to[0] if wires.r_driver else circuit.elements.input_nodes[0]
        assert c_node[line] == approx(4e-15)


@pytest.mark.parametrize("gbw", [np.inf, 1e9])
def test_charging_takes_what_ngspice_integrates(gbw, tmp_path):
    g, v_in = random_array()
    ends = Periphery(tia_gain=1e4, gbw=gbw)
    circuit = array_circuit(g, Wires(5, 5, 1e3, 1e-12, 1e-12), ends)
    solution = solve(circuit, v_in, nodes=True)
    stop = float(3 * settling(circuit, v_in, 1e-6).time[0])
    deck = step_deck(circuit, v_in, np.linspace(0, stop, 4001))
    deck = re.sub(r"\.save .*", ".save " + " ".join(f"i(vin_{i})" for i in range(8)), deck)
    cards = [f".meas tran q{i} integ i(vin_{i}) from=0 to={stop!r}" for i in range(8)]
    found = measured(deck, cards, tmp_path)
    delivered = -sum(v_in[i] * found[f"q{i}"] for i in range(8))
    charging = charging_energy(solution)[0]
    assert charging > 0.01 * delivered
    excess = delivered - solution.power()["source"][0] * stop
    # An amplifier with a pole lets its input move for a while, which C v² does not know of.
    assert excess == approx(charging, rel=1e-4 if np.isinf(gbw) else 5e-3)
    assert product_energy(solution, stop)[0] == approx(delivered, rel=5e-3)


def test_what_cannot_be_timed_is_refused():
    g, v_in = random_array()
    circuit = array_circuit(g, Wires(1, 1, 1, 1e-15, 1e-15))
    for tolerance in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match="tolerance must lie between 0 and 1"):
            settling(circuit, v_in, tolerance)
    with pytest.raises(ValueError, match="regular array"):
        node_capacitance(Circuit(circuit.elements, Periphery()))
    with pytest.raises(ValueError, match="no node voltages"):
        charging_energy(solve(circuit, v_in))
    with pytest.raises(ValueError, match="evenly spaced from 0"):
        step_deck(circuit, v_in, np.array([0.0, 1e-9, 3e-9]))


def test_more_modes_are_taken_for_a_circuit_that_rings():
    g, v_in = random_array((4, 3))
    ends = Periphery(tia_gain=1e6, gbw=1e8, r_feedback=1e6)
    circuit = array_circuit(g, Wires(1, 1, 10, 0, 1e-11), ends)
    exact = settling(circuit, v_in, TOLERANCE, order=1000)
    assert exact.time[0] > 0
    for order in (3, 7):  # three modes alone would ring for ever
        few = settling(circuit, v_in, TOLERANCE, order=order)
        assert few.time[0] == approx(exact.time[0], rel=0.02)


def test_what_the_equations_settle_at_is_what_the_circuit_gives():
    g, v_in = random_array()
    ends = Periphery(tia_gain=100.0, gbw=1e8, r_input=50.0)
    circuit = array_circuit(g, Wires(2, 2, 10, 1e-15, 1e-15), ends)
    final = _dynamics(circuit).rest(v_in)[-circuit.n_line :]
    np.testing.assert_allclose(final, solve(circuit, v_in).v_out[0], rtol=1e-9, atol=0)


def test_twice_as_many_modes_are_taken_while_one_of_them_grows(monkeypatch):
    orders, plain = [], module._arnoldi
    monkeypatch.setattr(module, "_arnoldi", lambda *args: orders.append(args[-1]) or plain(*args))
    e = np.linspace(1, 2, 8)
    growing = _Dynamics(splu(csr_array(np.eye(8)).tocsc()), e, csr_array(np.eye(8)), 1)  # x = e x'
    with pytest.raises(SolverError, match="never settle"):
        _modes(growing, np.ones(8), 1)
    assert orders == [1, 2, 4, 8]


def test_a_circuit_that_never_settles():
    one = csr_array(np.array([[1.0]]))
    growing = _Dynamics(splu(one.tocsc()), np.array([1.0]), one, 1)  # x = x'
    with pytest.raises(SolverError, match="never settle"):
        _modes(growing, np.array([1.0]), 2)


def test_a_circuit_that_rings_for_ever_never_settles():
    turned = csr_array(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    ringing = _Dynamics(splu(turned.tocsc()), np.ones(2), csr_array(np.eye(2)), 1)
    with pytest.raises(SolverError, match="never settle"):
        _modes(ringing, np.array([1.0, 0.0]), 2)
