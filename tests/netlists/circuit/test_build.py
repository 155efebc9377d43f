"""Circuits: validation, merged shorts, missing devices."""

from typing import Any

import numpy as np
import pytest

from approx import approx
from netlists import Circuit, Elements, Periphery, Wires, array_circuit

G = np.array([[1e-6, 0.0, 2e-6], [0.0, 3e-6, 4e-6]])


def test_ideal_wires_leave_only_terminals():
    circuit = array_circuit(G, Wires())
    assert circuit.names[0] == ["0", "in_0", "in_1", "tia_0", "tia_1", "tia_2"]
    assert circuit.names[1] == ["Rc_0_0", "Rc_0_2", "Rc_1_1", "Rc_1_2"]


@pytest.mark.parametrize("wires", [Wires(1, 0), Wires(0, 1), Wires(1, 1), Wires(0, 0, 5)])
def test_shorts_are_merged_and_ground_stays_node_zero(wires):
    circuit = array_circuit(G, wires)
    parts = circuit.elements
    assert (circuit.elements.branch_ohm > 0).all()
    assert circuit.names[0][0] == "0"
    names = [circuit.names[0][k] for k in [*parts.input_nodes, *parts.tia_nodes]]
    assert names == ["in_0", "in_1", "tia_0", "tia_1", "tia_2"]


@pytest.mark.parametrize(
    ("g", "message"),
    [
        (np.ones(3), r"expected \(n_word, n_bit\)"),
        (np.ones((0, 3)), "at least 1 × 1 cells"),
        (np.array([[np.nan]]), "finite"),
        (np.array([[-1e-6]]), ">= 0"),
        (np.array([[np.inf]]), "finite"),
    ],
)
def test_bad_conductances(g, message):
    with pytest.raises(ValueError, match=message):
        array_circuit(g, Wires())


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, 1e-9])
@pytest.mark.parametrize("name", ["r_word", "r_bit", "r_driver"])
def test_bad_wires(name, value):
    with pytest.raises(ValueError, match=name):
        Wires(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_feedback": 0}, "r_feedback"),
        ({"tia_gain": 0}, "tia_gain"),
        ({"tia_gain": -1}, "tia_g"),
        ({"v_swing": 0}, "v_swing"),
        ({"gbw": np.nan}, "gbw"),
        ({"r_input": -1}, "r_input"),
        ({"v_offset": np.inf}, "v_offset"),
        ({"v_offset_sigma": -1e-3}, "v_offset_sigma"),
        ({"v_noise": np.inf}, "v_noise"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.0}, "seed"),
    ],
)
def test_bad_periphery(options, message):
    with pytest.raises(ValueError, match=message):
        Periphery(**options)


@pytest.mark.parametrize("ohm", [1e-6, 1e18])
def test_the_least_and_the_largest_resistance(ohm):
    beyond = ohm * (0.99 if ohm < 1 else 1.01)
    assert Wires(r_word=ohm).r_word == ohm
    array_circuit(np.array([[1 / ohm]]), Wires())
    with pytest.raises(ValueError, match="r_word"):
        Wires(r_word=beyond)
    with pytest.raises(ValueError, match="conductance"):
        array_circuit(np.array([[1 / beyond]]), Wires())
    hand_built(branch_ohm=np.array([ohm]))
    with pytest.raises(ValueError, match="branch 0"):
        hand_built(branch_ohm=np.array([beyond]))


def test_what_an_amplifier_makes_of_a_line_by_hand():
    """1 mS behind 500 ohm is 2/3 mS; times 10 kohm that is 20/3, and 1 more is the noise gain."""
    ends = Periphery(r_feedback=10e3, r_input=500.0, tia_gain=200.0, gbw=23e6)
    assert ends.noise_gain(1e-3) == approx(23 / 3, rel=1e-12)
    assert ends.bandwidth(1e-3) == approx(3e6, rel=1e-12)
    assert ends.share == approx(200 / 201, rel=1e-12)
    assert ends.r_tia_input == approx(500 + 10e3 / 201, rel=1e-12)
    assert Periphery().share == 1


def test_offsets_are_a_mean_and_a_spread_of_each_tiles_own():
    ends = Periphery(v_offset=2e-3, v_offset_sigma=1e-3, seed=4)
    drawn = ends.for_tile("a").offsets(20_000)
    assert drawn.mean() == approx(2e-3, abs=3e-5)
    assert drawn.std() == approx(1e-3, rel=0.02)
    np.testing.assert_array_equal(drawn, ends.for_tile("a").offsets(20_000))
    for other in (ends.for_tile("b"), Periphery(v_offset_sigma=1e-3, seed=5, tile="a")):
        assert np.abs(np.corrcoef(other.offsets(20_000), drawn)[0, 1]) < 0.03
    np.testing.assert_array_equal(Periphery(v_offset=2e-3).offsets(3), [2e-3] * 3)


def test_offsets_are_drawn_from_the_seed_and_the_name_of_the_tile():
    """Amplifiers that were drawn before come out the same."""
    ends = Periphery(v_offset=2e-3, v_offset_sigma=1e-3, seed=4, tile="a")
    deviation = np.random.default_rng([4, ord("a")]).standard_normal(3)
    np.testing.assert_allclose(ends.offsets(3), 2e-3 + 1e-3 * deviation, rtol=1e-12, atol=0)


def hand_built(**changes: Any) -> Circuit:
    parts = {
        "n_node": 3,
        "branch_from": np.array([1]),
        "branch_to": np.array([2]),
        "branch_ohm": np.array([1e3]),
        "branch_part": np.array([0]),
        "input_nodes": np.array([1]),
        "tia_nodes": np.array([2]),
        "names": (["0", "a", "b"], ["R1"]),
    }
    return Circuit(Elements(**(parts | changes)), Periphery())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"branch_ohm": np.array([0.0])}, "got 0.0 at branch 0"),
        ({"branch_ohm": np.array([np.nan])}, "branch 0"),
        ({"branch_ohm": np.array([-5.0])}, "got -5.0 at branch 0"),
        ({"branch_to": np.array([3])}, "nodes must be in 0 … 2"),
        ({"input_nodes": np.array([0])}, "ground"),
        ({"input_nodes": np.array([2])}, "different nodes"),
    ],
)
def test_circuits_that_make_no_sense_are_refused(changes, message):
    hand_built()
    with pytest.raises(ValueError, match=message):
        hand_built(**changes)


@pytest.mark.parametrize(
    ("v_in", "message"),
    [
        (np.zeros((2, 3)), r"v_in has shape \(2, 3\) but the circuit has 2 word lines"),
        (np.zeros((1, 1, 2)), "pass"),
        (np.array([0.1, np.nan]), "finite"),
    ],
)
def test_bad_inputs(v_in, message):
    with pytest.raises(ValueError, match=message):
        array_circuit(G, Wires()).check_inputs(v_in)


def test_whole_numbers_are_conductances_too():
    circuit = array_circuit(np.array([[1, 0], [0, 1]]), Wires())
    assert circuit.grid.g.dtype == np.float64


def test_wires_are_ideal_by_default():
    wires = Wires()
    assert wires.ideal
    assert {wires.r_word, wires.r_bit, wires.r_driver, wires.c_word, wires.c_bit} == {0.0}
