"""Circuits: validation, merged shorts, missing devices."""

import numpy as np
import pytest

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
        (np.ones((0, 3)), "no cell"),
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
    [({"r_feedback": 0}, "r_feedback"), ({"tia_gain": 0}, "tia_gain"), ({"tia_gain": -1}, "tia_g")],
)
def test_bad_periphery(options, message):
    with pytest.raises(ValueError, match=message):
        Periphery(**options)


def hand_built(**changes):
    parts = {
        "n_node": 3,
        "branch_from": np.array([1]),
        "branch_to": np.array([2]),
        "branch_ohm": np.array([1e3]),
        "branch_part": np.array([0]),
        "input_nodes": np.array([1]),
        "tia_nodes": np.array([2]),
        "labels": lambda: (["0", "a", "b"], ["R1"]),
    }
    return Circuit(Elements(**(parts | changes)), Periphery())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"branch_ohm": np.array([0.0])}, "branch 0 has 0.0 ohm"),
        ({"branch_ohm": np.array([np.nan])}, "branch 0"),
        ({"branch_ohm": np.array([-5.0])}, "branch 0 has -5.0"),
        ({"branch_to": np.array([3])}, "outside"),
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
