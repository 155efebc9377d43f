"""Joules by hand, in pJ: closed forms, published figures, and the circuit's own currents."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approx import approx
from crossbar_sim import Converters, solve, solve_ngspice
from crossbar_sim.config import RunConfig
from crossbar_sim.energy.digital import (
    NODES,
    arithmetic,
    energies,
    memory,
    weight_fetch,
)
from crossbar_sim.energy.inference import network_energy, verdict
from crossbar_sim.energy.power import (
    ADC_FACTORS,
    Figures,
    adc_energy,
    amplifier_energy,
    dac_energy,
    drawn,
    tia_energy,
    tile_energy,
    transconductance,
    transistor_noise,
)
from crossbar_sim.findings.yardstick import yardstick
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.pipeline.tile_limits import amplifier_numbers
from mapping import Die, MappedNetwork, Tile, TileConfig
from mapping.network.map_network import map_layer
from netlists import Circuit, Elements, Periphery, Wires, array_circuit, tile_circuit
from tinynets.networks.flops import Counts
from tinynets.networks.layers import PrunedLayer

REAL = Converters(dac_bits=8, adc_bits=8)
PJ = 1e-12
BY_NAME = {node.name: node for node in NODES}


def test_published_figures_of_a_dense_100_by_100_product():
    n_mac = 10_000
    assert arithmetic(BY_NAME["45 nm int8"], n_mac) == approx(3.0e-9)
    assert arithmetic(BY_NAME["45 nm fp32"], n_mac) == approx(46e-9)
    assert arithmetic(BY_NAME["7 nm int8"], n_mac) == approx(1.0e-9)
    assert arithmetic(BY_NAME["7 nm fp32"], n_mac) == approx(16.9e-9)


@pytest.mark.parametrize(
    ("node", "n_weight", "name", "pj_word"),
    [
        ("45 nm int8", 237, "8 KB", 10),
        ("45 nm int8", 8 * 1024, "8 KB", 10),
        ("45 nm int8", 8 * 1024 + 1, "32 KB", 20),
        ("45 nm fp32", 8 * 1024, "32 KB", 20),
        ("45 nm int8", 266_200, "1024 KB", 100),
        ("45 nm int8", 3 * 2**20, "3 × 1024 KB, a lower bound", 100),
    ],
)
def test_weights_come_from_the_smallest_memory_that_holds_them(node, n_weight, name, pj_word):
    found = BY_NAME[node]
    assert memory(found, n_weight) == (name, pj_word * PJ)
    assert weight_fetch(found, n_weight) == approx(n_weight * found.bits / 64 * pj_word * PJ)


def test_a_network_has_memories_of_its_dense_and_its_sparse_size():
    row, *_, seven = energies(Counts(20_000, 2_000, 20_000, 2_000, 40_000, 4_000))
    assert (row["dense_memory"], row["nonzero_memory"]) == ("32 KB", "8 KB")
    assert row["dense_with_fetch"] == approx(20_000 * 0.3 * PJ + 20_000 / 8 * 20 * PJ)
    assert row["nonzero_with_fetch"] == approx(2_000 * 0.3 * PJ + 2_000 / 8 * 10 * PJ)
    assert seven["nonzero_with_fetch"] is None, "no figure for its memory was read"
    with pytest.raises(ValueError, match="7 nm int8 has no figure for memory"):
        weight_fetch(BY_NAME["7 nm int8"], 100)


def test_the_adc_law_by_hand_and_monotone():
    # 0.267 + 1.446e-7 * 65,536 = 0.27648 pJ.
    assert adc_energy(8, "envelope") == approx(0.2764765056 * PJ)
    assert adc_energy(8, "lower quartile") == approx(13.2 * 0.2764765056 * PJ)
    assert adc_energy(8, "median") == approx(9.676677696 * PJ)
    for case in ADC_FACTORS:
        assert np.all(np.diff([adc_energy(bits, case) for bits in range(1, 25)]) > 0)
    with pytest.raises(ValueError, match="one of envelope, lower quartile, median; got 'typical'"):
        adc_energy(8, "typical")
    with pytest.raises(ValueError, match="an ADC has 1 … 24 bits; got 25"):
        adc_energy(25, "median")


def test_the_adc_factors_are_those_of_the_kept_survey():
    kept = Path(__file__).parents[3] / "benchmarks" / "results" / "adc_survey.json"
    found = json.loads(kept.read_text())["bands"][0]
    assert found["n_design"] > 200
    for case in ("lower quartile", "median"):
        assert ADC_FACTORS[case] == approx(found[case]["factor"], rel=5e-3)
        assert found[case]["low"] < ADC_FACTORS[case] < found[case]["high"]


def test_a_dac_takes_its_power_as_long_as_it_holds():
    # 3.9 uW * 128 = 0.4992 mW: 0.4992 pJ in a nanosecond, 16.5 pJ in 33.1 ns.
    assert dac_energy(8, 1e-9) == approx(0.4992 * PJ)
    assert dac_energy(8, 33.1e-9) == approx(16.52352 * PJ)
    assert dac_energy(1, 1e-9) == approx(0.0039 * PJ)
    assert dac_energy(5, 1e-9) == approx(0.0624 * PJ), "not in MNSIM's table, on its line"
    with pytest.raises(ValueError, match="a DAC has 1 … 24 bits; got 0"):
        dac_energy(0, 1e-9)


def test_an_amplifier_without_a_pole_takes_what_settling_takes():
    # V_DD 1 V, V_ov 0.15 V, 100 fF, beta 0.2, 8 bits, no safety factor: 0.234 pJ.
    by_hand = 0.15 * 100e-15 * 9 * np.log(2) / 0.4
    figures = Figures(tia_factor=1.0)
    assert tia_energy(figures, 8, np.array([0.2]))[0] == approx(by_hand)
    ideal = Periphery(r_feedback=1e4)
    found = amplifier_energy(figures, ideal, np.array([4e-4]), 8)
    assert found == approx(np.array([by_hand]))


def test_an_amplifier_of_a_gain_bandwidth_takes_its_bias_for_the_read():
    # gm = 2 pi 100 fF 100 MHz = 62.8 uS, I = 4.712 uA, four times, at 1 V for 33.1 ns: 0.624 pJ.
    figures, ends = Figures(t_read=33.1e-9), Periphery(gbw=1e8)
    assert transconductance(figures, 1e8) == approx(62.83185e-6)
    assert amplifier_energy(figures, ends, np.ones(2), 8) == approx(np.full(2, 0.62392 * PJ), 1e-5)
    # Two transistors of that gm hum with sqrt(2 * 4 k T * 2/3 / gm), k T at 300.15 K.
    assert transistor_noise(62.83185e-6) == approx(18.755e-9, rel=1e-4)


@pytest.fixture
def tile() -> Tile:
    present = np.ones((3, 2), bool)
    g = np.random.default_rng(0).uniform(1e-6, 2e-5, size=(2, 3, 2))
    chosen = present.astype(np.uint32)
    return Tile("fc", (0, 0), np.arange(3), np.arange(2), present, chosen, chosen, *g)


def test_tile_energy_by_hand_in_picojoules(tile):
    """3 word lines, 2 pairs, ideal wires with capacitance, 10 kohm feedback, 50 ns, two passes."""
    v_in, wires = np.array([[0.1, -0.2, 0.15]]), Wires(c_word=5e-15, c_bit=3e-15)
    ends = Periphery(r_feedback=1e4, gbw=1e8)
    solution = solve(tile_circuit(tile, wires, ends), v_in, nodes=True)
    real = Converters(dac_bits=6, adc_bits=7, auto_zero=True)
    figures = Figures(t_read=50e-9, adc_case="lower quartile", v_dd=1.2)
    hardware = Hardware(wires, ends, real)
    used = tile_energy(tile, drawn(solution, 1.2), hardware, figures, n_pass=2)
    g = np.concatenate([tile.g_pos, tile.g_neg], axis=1)
    (i_in,), (i_out,) = v_in * g.sum(axis=1), v_in @ g
    cells = float(v_in[0] @ i_in)
    feedback = float(1e4 * (i_out**2).sum())
    twice = 2 * 50e-9
    by_hand = {
        "cell": twice * cells,
        "word line": 0.0,
        "bit line": 0.0,
        "driver": 0.0,
        "input": 0.0,
        "feedback": twice * feedback,
        "driver stage": twice * (1.2 * np.abs(i_in).sum() - cells),
        "TIA stage": twice * (1.2 * np.abs(i_out).sum() - feedback),
        "charging": 2 * 1.2 * 2 * 5e-15 * 0.45,
        "amplifier": 2 * 4 * 4 * 1.2 * (2 * np.pi * 1e-13 * 1e8 * 0.075) * 50e-9,
        "DAC": 2 * 3 * 3.9e-6 * 32 * 50e-9,
        "ADC": 2 * 2 * 13.2 * (0.267 + 1.446e-7 * 4**7) * PJ,
        "digital": 2 * 2 * 2 * 0.1 * PJ,
    }
    assert used.energy == approx(by_hand, rel=1e-9)
    assert used.power["source"] == approx(cells, rel=1e-9)


def test_bit_serial_inputs_need_dacs_of_one_bit(tile):
    solution = solve(tile_circuit(tile, Wires()), np.full(3, 0.1), nodes=True)
    serial = Converters(dac_bits=8, adc_bits=8, inputs="bit-serial")
    hardware = Hardware(converters=serial)
    used = tile_energy(tile, drawn(solution, 1.0), hardware, Figures(), n_pass=8)
    assert used.energy["DAC"] == approx(8 * 3 * 3.9e-6 * 100e-9)


@pytest.mark.parametrize(
    "ends",
    [
        Periphery(),
        Periphery(tia_gain=20.0),
        Periphery(r_input=300.0),
        Periphery(tia_gain=50.0, r_input=300.0, v_offset=3e-3, v_offset_sigma=1e-3),
        Periphery(tia_gain=50.0, v_swing=1e-3),
    ],
)
@pytest.mark.parametrize("wires", [Wires(), Wires(4.0, 9.0, 100.0)])
def test_what_is_delivered_is_what_heats(ends, wires):
    rng = np.random.default_rng(1)
    circuit = array_circuit(rng.uniform(1e-6, 1e-4, (7, 5)), wires, ends)
    solution = solve(circuit, rng.uniform(-0.2, 0.2, (4, 7)), nodes=True)
    power = solution.power()
    delivered = power.pop("source") + power.pop("TIA output")
    np.testing.assert_allclose(delivered, sum(power.values()), rtol=1e-9)
    assert (power["input"] > 0).all() == bool(ends.r_input)


def test_the_supply_gives_current_at_its_own_voltage():
    g, ends = np.array([[1e-5], [2e-5]]), Periphery(r_feedback=1e4)
    solution = solve(array_circuit(g, Wires(), ends), np.array([0.2, -0.1]), nodes=True)
    power, stages = solution.power(), solution.stage_power(1.5)
    # 2 uA and -2 uA leave the drivers, nothing reaches the amplifier.
    assert power["source"] + stages["driver stage"] == approx(np.array([1.5 * 4e-6]))
    assert stages["TIA stage"] == approx(np.array([0.0]), abs=1e-18)
    # A supply below an output is taken to be as high as the output.
    high = solution.stage_power(0.05)["driver stage"]
    assert high == approx(np.array([0.0]), abs=1e-18)


def test_power_of_a_batch_is_that_of_each_vector():
    rng = np.random.default_rng(1)
    ends = Periphery(tia_gain=50.0, r_input=300.0, v_offset=3e-3)
    circuit = array_circuit(rng.uniform(1e-6, 1e-4, (7, 5)), Wires(), ends)
    v_in = rng.uniform(-0.2, 0.2, (4, 7))
    whole = solve(circuit, v_in, nodes=True)
    assert all(watts.shape == (len(v_in),) for watts in whole.power().values())
    for k, vector in enumerate(v_in):
        alone = solve(circuit, vector, nodes=True)
        for many, one in (
            (whole.power(), alone.power()),
            (whole.stage_power(1.2), alone.stage_power(1.2)),
        ):
            assert {part: watts[k] for part, watts in many.items()} == approx(
                {part: watts[0] for part, watts in one.items()}, rel=1e-9, abs=1e-18
            )


def test_the_first_vectors_of_a_solution_are_all_there_is_of_them():
    circuit = array_circuit(np.full((2, 3), 1e-5), Wires(1.0, 2.0, 3.0), Periphery())
    whole = solve(circuit, np.array([[0.1, 0.2], [0.2, -0.1], [0.0, 0.3]]), nodes=True)
    first, outputs = whole.first(2), replace(whole, v_node=None).first(2)
    for name in ("v_in", "i_out", "v_out", "v_node"):
        assert np.array_equal(getattr(first, name), getattr(whole, name)[:2]), name
    assert outputs.v_node is None
    assert np.array_equal(outputs.v_in, whole.v_in[:2])


def test_what_an_input_feeds_does_not_depend_on_how_its_branch_is_drawn():
    """Two resistors in series, the first drawn towards the input: 0.3 V over 3 kohm."""
    ohm, part = np.array([1e3, 2e3]), np.array([3, 0])
    ends = Periphery(r_feedback=1e3)
    for tail, head in (([1, 2], [2, 3]), ([2, 2], [1, 3])):
        nodes = np.array([1]), np.array([3])
        parts = Elements(4, np.array(tail), np.array(head), ohm, part, *nodes)
        power = solve(Circuit(parts, ends), np.array([[0.3]]), nodes=True).power()
        assert power["source"] == approx(np.array([0.3 * 1e-4]), rel=1e-12)
        assert power["driver"] == approx(np.array([1e-8 * 1e3]), rel=1e-12)
        assert power["cell"] == approx(np.array([1e-8 * 2e3]), rel=1e-12)


def test_power_needs_node_voltages_and_real_converters(tile, worker):
    circuit = tile_circuit(tile, Wires(1, 1))
    spice = solve_ngspice(circuit, np.full(3, 0.1), worker=worker)
    with pytest.raises(ValueError, match="no node voltages"):
        spice.power()
    draw = drawn(solve(circuit, np.full(3, 0.1), nodes=True), 1.0)
    with pytest.raises(ValueError, match="dac_bits and adc_bits"):
        tile_energy(tile, draw, Hardware(), Figures())


def test_power_of_the_feedback_resistor():
    g = np.array([[1e-5]])
    circuit = array_circuit(g, Wires(), Periphery(r_feedback=1e4))
    found = solve(circuit, np.array([0.2]), nodes=True).power()
    assert found["feedback"][0] == approx((0.2e-5) ** 2 * 1e4)


def network_energy_of(network: MappedNetwork) -> dict[str, Any]:
    v_in = {layer.name: np.full((1, layer.source.n_in), 0.1) for layer in network.layers}
    tiles = {}
    for tile in network.tiles:
        volts = v_in[tile.layer][:, tile.rows]
        solution = solve(tile_circuit(tile, Wires()), volts, nodes=True)
        hardware = Hardware(converters=REAL)
        tiles[tile.name] = tile_energy(tile, drawn(solution, 1.0), hardware, Figures())
    return network_energy(network, tiles)


def test_network_energy_counts_every_position_of_a_convolution(mapped):
    def energy(n_mvm):
        layer = replace(mapped.layers[0], source=replace(mapped.layers[0].source, n_mvm=n_mvm))
        return network_energy_of(replace(mapped, layers=(layer,)))

    once, often = energy(1), energy(64)
    assert often["analog_total"] == approx(64 * once["analog_total"])
    assert often["counts"]["n_mac"] == 64 * 35
    assert once["analog_total"] == approx(sum(once["analog"].values()))
    row = once["digital"][0]
    assert row["nonzero"] < row["dense"] < row["dense_with_fetch"]
    assert [r["dense_with_fetch_ratio"] is None for r in once["digital"]] == [False] * 2 + [
        True
    ] * 2
    assert row["dense_ratio"] == approx(row["dense"] / once["analog_total"])


def test_the_verdict_says_where_analog_loses():
    rows = energies(Counts(100, 10, 100, 10, 200, 20))
    rows[2].update({"nonzero_ratio": None, "nonzero_with_fetch_ratio": None})
    rows[2]["dense_with_fetch_ratio"] = None
    for row in rows[:2] + rows[3:]:
        row.update({f"{key}_ratio": 0.5 for key in ("nonzero", "nonzero_with_fetch")})
        row["dense_with_fetch_ratio"] = 3.0
    first, second, third = verdict(rows)
    assert "the die loses, using 2 × as much as 45 nm int8" in first
    assert "loses" in second
    assert not any("7 nm int8" in sentence for sentence in (first, second, third))
    assert "it wins, using 3 × less than 45 nm int8" in third


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (0.4, "the die loses, using 2.5 × as much as 45 nm int8"),
        (1.0, "the die loses, using 1 × as much as 45 nm int8"),
        (1.5, "it wins, using 1.5 × less than 45 nm int8"),
        (100.0, "it wins, using 100 × less than 45 nm int8"),
        (12_345.0, "it wins, using 12,345 × less than 45 nm int8"),
    ],
)
def test_the_die_wins_where_the_digital_side_takes_more(ratio, said):
    keys = ("nonzero", "nonzero_with_fetch", "dense_with_fetch")
    row = {"node": "45 nm int8"} | {f"{key}_ratio": ratio for key in keys}
    sentences = verdict([row])
    assert sentences
    assert all(sentence.endswith(f": {said}.") for sentence in sentences)


def test_yardstick():
    found = yardstick(RunConfig(name="a"), 100e-9)
    assert (found["n_mac"], found["n_flop"]) == (10_000, 19_900)
    assert found["analog_total"] == approx(sum(found["analog"].values()))
    # 100 DACs of 0.4992 mW for 100 ns are half of it.
    assert found["analog"]["DAC"] == approx(4.992e-9)
    assert 8e-9 < found["analog_total"] < 12e-9


def test_the_yardstick_reads_as_long_as_the_run():
    short, long = (yardstick(RunConfig(name="a"), time)["analog"] for time in (50e-9, 200e-9))
    assert short["DAC"] == approx(100 * 0.4992e-3 * 50e-9)
    for part in ("cell", "feedback", "driver stage", "DAC"):
        assert long[part] == approx(4 * short[part]), part


def test_the_yardstick_is_on_the_runs_own_die():
    """With a spread of the lot alone, all resistors of a die are off by one factor."""
    bank = {"sigma_lot": 0.1, "sigma_local": 0.0, "meter_error": 0.0, "r_on": 0.0, "r_off": 1e15}
    currents, ohms = [], []
    for seed in (1, 2):
        given = {"name": "a", "bank": bank, "die": {"seed": seed}}
        ideal = {"wires": {"source": "given", "r_word": 0.0, "r_bit": 0.0}}
        config = RunConfig.model_validate(given | ideal)
        die, cell = Die(config.bank, seed=seed), np.zeros(1, int)
        ohms.append(die.resistances("yardstick", cell, cell)[0, 0, 0])
        currents.append(config.energy.v_dd / yardstick(config, 100e-9)["r_feedback"])
    assert abs(ohms[1] / ohms[0] - 1) > 0.01
    assert currents[0] / currents[1] == approx(ohms[1] / ohms[0], rel=2e-3)


def test_what_is_free_has_a_size(mapped):
    free = {row["what"]: row for row in network_energy_of(mapped)["free"]}
    n_cell = sum(layer.source.n_remaining for layer in mapped.layers)
    switches = free["memory of the switches, its leakage"]
    assert switches["size"] == f"{2 * mapped.die.bank.n * n_cell} bits"
    assert switches["energy"] is None
    bits = sum(
        layer.source.n_remaining * math.ceil(math.log2(layer.source.n_in))
        for layer in mapped.layers
    )
    index = free["index of the non-zero weights"]
    assert (index["size"], index["side"]) == (f"{bits} bits", "digital")
    assert index["energy"] == approx(bits / 64 * 10 * PJ)
    assert {row["side"] for row in free.values()} == {"die", "digital", "both"}


def test_stated_noise_beside_the_noise_of_the_bias():
    periphery = {"gbw": 1e8, "v_noise": 10e-9}
    found = amplifier_numbers(RunConfig.model_validate({"name": "a", "periphery": periphery}))
    assert found["bias"] == approx(4.712389e-6)
    assert found["v_noise"] == approx(18.755e-9, rel=1e-4)
    # Noise goes as one over the root of the bias.
    assert found["bias_for_noise"] == approx(4.712389e-6 * 1.8755**2, rel=1e-4)
    assert amplifier_numbers(RunConfig(name="a")) is None


def test_only_a_read_time_that_is_left_to_settling_is_settled():
    assert Figures(t_read=50e-9).settled(1e-6).seconds == 50e-9
    assert Figures(t_read="settling").settled(1e-6).seconds == 1e-6


def test_the_yardstick_by_hand():
    """Eight vectors of uniform inputs on ideal wires; the largest output reaches the supply."""
    given = {"wires": {"source": "given", "r_word": 0.0, "r_bit": 0.0}}
    ends = {"periphery": {"tia_gain": float("inf")}, "energy": {"v_dd": 1.5}}
    config = RunConfig.model_validate({"name": "a", "seed": 3} | given | ends)
    rng = np.random.default_rng(3)
    layer = PrunedLayer("yardstick", rng.normal(size=(100, 100)), np.ones((100, 100), bool))
    (tile,) = map_layer(layer, Die(config.bank, seed=1), TileConfig(100, 100)).tiles
    v_in = rng.uniform(0, config.periphery.v_read, size=(8, 100))
    i_out = v_in @ np.concatenate([tile.g_pos, tile.g_neg], axis=1)
    r_feedback = 1.5 / i_out.max()
    found = yardstick(config, 100e-9)
    assert found["r_feedback"] == approx(r_feedback, rel=1e-9)
    assert found["analog"]["feedback"] == approx(
        100e-9 * r_feedback * (i_out**2).sum(axis=1).mean(), rel=1e-9
    )
    in_cells = (v_in**2 @ (tile.g_pos + tile.g_neg)).sum(axis=1).mean()
    assert found["power"]["source"] == approx(in_cells, rel=1e-9)
    g_line = np.concatenate([tile.g_pos.sum(axis=0), tile.g_neg.sum(axis=0)])
    figures = replace(config.energy, t_read=100e-9)
    amplifiers = tia_energy(figures, config.periphery.adc_bits, 1 / (1 + r_feedback * g_line))
    assert found["analog"]["amplifier"] == approx(amplifiers.sum(), rel=1e-9)
