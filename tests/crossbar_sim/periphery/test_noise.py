"""Noise: the closed form, ngspice's own analysis, and the published figure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.constants import Boltzmann

from approx import approx
from benchmarks.circuits.ngspice_analyses import output_noise_ngspice
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.periphery.noise import Noise, output_noise
from crossbar_sim.pipeline.tile_limits import TilePhysics
from crossbar_sim.report.formats import number, si
from crossbar_sim.report.run_report import without_infinities
from mapping.selection.bits import effective_bits
from netlists import Periphery, Wires, array_circuit

ENDS = [
    Periphery(tia_gain=1e4),
    Periphery(tia_gain=100.0, r_input=200.0),
    Periphery(tia_gain=1e3, v_noise=4e-9, r_input=50.0, v_offset_sigma=1e-3),
]


def line_noise(g_line: Any, ends: Periphery, temperature: float) -> Any:
    """Return the noise [V²/Hz] of a line of total conductance g_line [S], for ideal wires.

    (4 k T r_feedback N + v_noise² N²) / (1 + N / gain)², N being the noise gain. The first term is
    the thermal noise of feedback resistor and line, the second that of the amplifier.
    """
    n = ends.noise_gain(g_line)
    thermal = 4.0 * Boltzmann * temperature * ends.r_feedback * n
    return (thermal + (ends.v_noise * n) ** 2) / (1.0 + n / ends.tia_gain) ** 2


@pytest.fixture(scope="module")
def sparse() -> Iterator[NgspiceWorker]:
    """An ngspice that may use its old solver, as `.noise` must."""
    with NgspiceWorker(time_limit=120, require_klu=False) as running:
        yield running


@pytest.fixture
def g() -> np.ndarray:
    rng = np.random.default_rng(0)
    return 10 ** rng.uniform(-6, -4, size=(5, 4)) * (rng.random((5, 4)) < 0.8)


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("wires", [Wires(), Wires(10, 20, 500)])
@pytest.mark.parametrize("pairs", [False, True])
def test_ngspice_finds_the_same_noise(g, ends, wires, pairs, sparse):
    circuit = array_circuit(g, wires, ends)
    spice = output_noise_ngspice(circuit, 1e6, worker=sparse, pairs=pairs)
    fast = output_noise(circuit, pairs=pairs).volts(1e6)
    # ngspice's own value of k leaves a common factor of 1.7e-7.
    np.testing.assert_allclose(spice, fast, rtol=3e-7)
    assert np.ptp(spice / fast) < 1e-9


@pytest.mark.parametrize("ends", [Periphery(), Periphery(v_noise=2e-9), *ENDS])
def test_the_closed_form_holds_without_wires(g, ends):
    found = output_noise(array_circuit(g, Wires(), ends), temperature=350.0)
    target = line_noise(g.sum(axis=0), ends, temperature=350.0)
    np.testing.assert_allclose(found.total, target, rtol=1e-12)


def test_thermal_noise_of_a_line_of_a_hundred_cells(sparse):
    # 100 cells of 10 uS at 300 K: sqrt(4 k T B G) is 9.1 nA and 12.6 bits of 0.2 mA at 5 MHz, the
    # noise bandwidth of a read of 100 ns; 12.9 nA and 12.1 bits at 10 MHz.
    circuit = array_circuit(np.full((100, 1), 10e-6), Wires(), Periphery(tia_gain=1e9))
    cells = output_noise(circuit, temperature=300.0).by_source["cell"]
    i_noise = np.sqrt(cells[0] * np.array([5e6, 10e6])) / circuit.periphery.r_feedback
    np.testing.assert_allclose(i_noise, [9.1e-9, 12.87e-9], rtol=2e-3)
    bits = effective_bits(100 * 10e-6 * 0.2, i_noise)
    np.testing.assert_allclose(bits, [12.63, 12.13], atol=0.01)
    spice = output_noise_ngspice(circuit, 5e6, worker=sparse)
    np.testing.assert_allclose(spice, output_noise(circuit).volts(5e6), rtol=1e-6)


def test_a_hand_calculation():
    circuit = array_circuit(np.array([[1e-4]]), Wires(), Periphery(r_feedback=1e4))
    found = output_noise(circuit, temperature=300.0).total[0]
    assert found == approx(2 * 4 * Boltzmann * 300.0 * 1e4, rel=1e-12)


def test_outputs_may_be_taken_in_parts(g, monkeypatch):
    circuit = array_circuit(g, Wires(1, 1, 10), Periphery(tia_gain=1e3, v_noise=1e-9))
    whole = output_noise(circuit).by_source
    monkeypatch.setattr("crossbar_sim.periphery.noise._MAX_TRANSFERS", 1)
    parts = output_noise(circuit).by_source
    assert parts.keys() == whole.keys()
    for name, density in parts.items():
        np.testing.assert_allclose(density, whole[name], rtol=1e-12)


def test_a_pair_on_one_driver_shares_its_noise():
    # Equal banks: what the driver's resistance makes reaches both sides and cancels.
    circuit = array_circuit(np.array([[1e-4, 1e-4]]), Wires(r_driver=1e3))
    assert output_noise(circuit).by_source["driver"][0] > 0
    assert output_noise(circuit, pairs=True).by_source["driver"][0] == approx(0, abs=1e-30)


def test_what_ngspice_cannot_do_is_refused(g, sparse):
    with pytest.raises(ValueError, match="tia_gain must be finite"):
        output_noise_ngspice(array_circuit(g, Wires()), 1e6, worker=sparse)
    large = array_circuit(np.full((40, 40), 1e-5), Wires(1, 1), Periphery(tia_gain=1e4))
    with pytest.raises(ValueError, match=r"\.noise without KLU serves at most"):
        output_noise_ngspice(large, 1e6, worker=sparse)


def test_a_circuit_may_have_as_many_nodes_as_stated_and_not_one_more(g, sparse, monkeypatch):
    circuit = array_circuit(g, Wires(1, 1), Periphery(tia_gain=1e4))
    n_node = circuit.elements.n_node
    monkeypatch.setattr("benchmarks.circuits.ngspice_analyses.MAX_SPICE_NODES", n_node)
    assert len(output_noise_ngspice(circuit, 1e6, worker=sparse)) == circuit.n_line
    monkeypatch.setattr("benchmarks.circuits.ngspice_analyses.MAX_SPICE_NODES", n_node - 1)
    with pytest.raises(ValueError, match=rf"serves at most .* nodes; got {n_node}"):
        output_noise_ngspice(circuit, 1e6, worker=sparse)


@pytest.mark.parametrize("options", [{"bandwidth": -1}, {"bandwidth": 1e6, "temperature": -1}])
def test_bad_noise(options):
    with pytest.raises(ValueError, match="must be greater than or equal to"):
        Noise(**options)


def test_a_tile_without_signal_has_no_bits():
    quiet = TilePhysics(t_settling=0.0, noise_density=1e-16, full_scale=0.0, area=1e-9)
    assert quiet.noise_bits(1e6) is None
    assert replace(quiet, full_scale=0.1).noise_bits(1e6) > 3
    numbers = {"a": [1.0, float("nan")], "b": {"c": float("-inf")}, "d": "x"}
    assert without_infinities(numbers) == {"a": [1.0, None], "b": {"c": None}, "d": "x"}
    assert (number(None, "%.1f"), number(1.25, "%.1f"), si(None, "V")) == ("–", "1.2", "–")


def test_noise_is_off_by_default_and_that_of_a_pair_is_of_its_difference():
    """Two lines of a pair on ideal wires: each its own noise, so the squares add up."""
    assert Noise().bandwidth == 0.0
    g = np.array([[1e-5, 2e-5, 4e-5, 3e-5], [2e-5, 1e-5, 1e-5, 5e-5]])
    circuit = array_circuit(g, Wires(), Periphery(r_feedback=1e4, v_noise=1e-8))
    lines = output_noise(circuit, temperature=350.0).total
    found = Noise(bandwidth=1e6, temperature=350.0).pair_volts(circuit)
    assert found.shape == (2,)
    assert found == approx(np.sqrt((lines[:2] + lines[2:]) * 1e6), rel=1e-9)
