"""Joules: closed forms, published figures, and the circuit's own currents."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim import Converters, solve, solve_ngspice
from crossbar_sim.config import RunConfig
from crossbar_sim.digital import NODES, arithmetic, energies, weight_fetch
from crossbar_sim.energy import network_energy, verdict, yardstick
from crossbar_sim.power import Figures, adc_energy, dac_energy, tia_energy, tile_energy
from mapping import Tile
from netlists import Periphery, Wires, array_circuit, tile_circuit
from tinynets.flops import Counts

REAL = Converters(dac_bits=8, adc_bits=8)


def test_published_figures_of_a_dense_100_by_100_product():
    by_name = {node.name: node for node in NODES}
    n_mac = 10_000
    assert arithmetic(by_name["45 nm int8"], n_mac) == approx(3.0e-9)
    assert arithmetic(by_name["45 nm fp32"], n_mac) == approx(46e-9)
    assert arithmetic(by_name["7 nm int8"], n_mac) == approx(1.0e-9)
    assert arithmetic(by_name["7 nm fp32"], n_mac) == approx(16.9e-9)
    assert weight_fetch(by_name["45 nm int8"], n_mac) == approx(25e-9)


def test_converter_figures():
    assert adc_energy(8, "optimistic") == approx(0.276e-12, rel=0.01)
    assert adc_energy(8, "typical") == approx(7.1e-12)
    assert dac_energy(8) == 0.5e-12
    with pytest.raises(ValueError, match="no typical ADC of 4 bits"):
        adc_energy(4, "typical")
    with pytest.raises(ValueError, match="no DAC of 5 bits"):
        dac_energy(5)


def test_amplifier_energy_of_the_worked_example():
    # V_DD 1 V, V_ov 0.15 V, 100 fF, beta 0.2, 8 bits, no safety factor: 0.23 pJ.
    found = tia_energy(Figures(tia_factor=1.0), 8, np.array([0.2]))
    assert found[0] == approx(0.234e-12, rel=0.01)


@pytest.fixture
def tile():
    present = np.ones((3, 2), bool)
    g = np.random.default_rng(0).uniform(1e-6, 2e-5, size=(2, 3, 2))
    chosen = present.astype(np.uint32)
    return Tile("fc", (0, 0), np.arange(3), np.arange(2), present, chosen, chosen, *g)


def test_tile_energy_with_ideal_wires_is_v_squared_g(tile):
    v_in = np.array([[0.1, 0.2, 0.15]])
    used = tile_energy(tile, solve(tile_circuit(tile, Wires()), v_in, nodes=True), REAL, Figures())
    cells = float((v_in**2 @ (tile.g_pos + tile.g_neg)).sum())
    assert used.power["cell"] == approx(cells)
    assert used.power["source"] == approx(cells)
    assert used.energy["cell"] == approx(cells * 100e-9)
    assert used.energy["ADC"] == approx(2 * 7.1e-12)
    assert used.energy["DAC"] == approx(3 * 0.5e-12)
    assert used.energy["word line"] == used.energy["driver"] == 0


def test_power_needs_node_voltages_and_real_converters(tile, worker):
    circuit = tile_circuit(tile, Wires(1, 1))
    spice = solve_ngspice(circuit, np.full(3, 0.1), worker=worker)
    with pytest.raises(ValueError, match="no node voltages"):
        spice.power()
    with pytest.raises(ValueError, match="dac_bits and adc_bits"):
        tile_energy(tile, solve(circuit, np.full(3, 0.1), nodes=True), Converters(), Figures())


def test_power_of_the_feedback_resistor():
    g = np.array([[1e-5]])
    circuit = array_circuit(g, Wires(), Periphery(r_feedback=1e4))
    found = solve(circuit, np.array([0.2]), nodes=True).power()
    assert found["feedback"][0] == approx((0.2e-5) ** 2 * 1e4)


def test_network_energy_counts_every_position_of_a_convolution(mapped, tile):
    from dataclasses import replace

    def energy(n_mvm):
        layer = replace(mapped.layers[0], layer=replace(mapped.layers[0].layer, n_mvm=n_mvm))
        network = replace(mapped, layers=(layer,))
        v_in = np.full((1, 7), 0.1)
        tiles = {
            t.name: tile_energy(
                t, solve(tile_circuit(t, Wires()), v_in[:, t.rows], nodes=True), REAL, Figures()
            )
            for t in network.tiles
        }
        return network_energy(network, tiles)

    once, often = energy(1), energy(64)
    assert often["analog_total"] == approx(64 * once["analog_total"])
    assert often["counts"]["n_mac"] == 64 * 35
    assert once["analog_total"] == approx(sum(once["analog"].values()))
    row = once["digital"][0]
    assert row["nonzero"] < row["dense"] < row["dense_with_fetch"]
    assert row["dense_ratio"] == approx(row["dense"] / once["analog_total"])


def test_the_verdict_says_where_analog_loses():
    rows = energies(Counts(100, 10, 100, 10, 200, 20))
    for row in rows:
        row.update({f"{key}_ratio": 0.5 for key in ("nonzero", "nonzero_with_fetch")})
        row["dense_with_fetch_ratio"] = 3.0
    first, second, third = verdict(rows)
    assert "the die loses, using 2 × as much as 45 nm int8" in first
    assert "loses" in second
    assert "it wins, using 3 × less than 45 nm int8" in third


def test_yardstick():
    found = yardstick(RunConfig(name="a"), 100e-9)
    assert (found["n_mac"], found["n_flop"]) == (10_000, 19_900)
    assert found["analog_total"] == approx(sum(found["analog"].values()))
    assert 0.5e-9 < found["analog_total"] < 20e-9
