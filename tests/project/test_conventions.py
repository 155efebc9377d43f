"""The conventions that the README states, pinned."""

import re

import numpy as np
import pytest

from approx import approx
from crossbar_sim import solve, transfer_matrix
from mapping import Tile
from netlists import Periphery, Wires, array_circuit, tile_circuit, to_spice


@pytest.fixture
def g() -> np.ndarray:
    return np.random.default_rng(1).uniform(1e-6, 1e-4, size=(3, 2))


@pytest.fixture
def tile() -> Tile:
    rng = np.random.default_rng(2)
    present = np.array([[True, False], [True, True], [False, True]])
    chosen = present.astype(np.uint32)
    g_pos, g_neg = (rng.uniform(1e-6, 1e-5, size=(3, 2)) * present for _ in range(2))
    return Tile("fc", (0, 0), np.arange(3), np.arange(2), present, chosen, chosen, g_pos, g_neg)


def test_word_line_is_input_is_row_and_batch_comes_first(g):
    v_in = np.array([[0.1, 0.2, 0.3], [0.0, 0.1, 0.0]])
    i_out = solve(array_circuit(g, Wires()), v_in).i_out
    np.testing.assert_allclose(i_out, v_in @ g, rtol=1e-13)


def test_outputs_are_all_positive_bit_lines_then_all_negative(tile):
    t = transfer_matrix(tile_circuit(tile, Wires()))
    np.testing.assert_allclose(t, np.hstack([tile.g_pos, tile.g_neg]), rtol=1e-13)


def test_tiles_are_weight_transposed(mapped, layer):
    wanted = mapped.layers[0].g_per_weight[:, None] * layer.weight
    assert len(mapped.tiles) > 1
    for tile in mapped.tiles:
        found = tile.g_pos - tile.g_neg
        part = wanted[np.ix_(tile.columns, tile.rows)].T * tile.present
        assert np.abs(found - part).max() < 0.05 * np.abs(wanted).max()


def test_wire_segments_before_the_first_cell_and_after_the_last(g):
    # One cell at word line 0, bit line 1 of 3 × 2: two word segments, three bit segments.
    only = np.zeros_like(g)
    only[0, 1] = 1e-3
    i_out = solve(array_circuit(only, Wires(r_word=10, r_bit=7)), np.array([1.0, 0, 0])).i_out
    assert i_out[0, 1] == approx(1 / (1e3 + 2 * 10 + 3 * 7), rel=1e-12)


def test_names(tile):
    circuit = tile_circuit(tile, Wires(1, 1, 1), Periphery(tia_gain=1e4))
    assert {"0", "in_2", "drv_2", "wl_1_0", "bl_1_0_p", "bl_1_0_n", "tia_1_n"} <= set(
        circuit.names[0]
    )
    assert {"Rd_0", "Rw_0_1", "Rb_2_1_n", "Rc_0_0_p", "Rc_2_1_n"} <= set(circuit.names[1])
    assert "Rc_0_1_p" not in circuit.names[1]  # no device, no line
    assert len(set(circuit.names[1])) == len(circuit.elements.branch_ohm)
    assert len(set(circuit.names[0])) == circuit.elements.n_node


def test_numbers_in_spice_are_plain_reprs(g):
    text = to_spice(array_circuit(g, Wires(0.5, 0.25)), np.array([0.1, 0.2, 0.3]))
    assert "np." not in text
    values = [line.split()[3] for line in text.splitlines() if line.startswith("R")]
    assert len(values) >= 3 * g.size, "a cell has its resistor and two pieces of wire"
    for value in values:
        assert re.fullmatch(r"[0-9.]+(e[-+][0-9]+)?", value)
        assert repr(float(value)) == value


def test_ideal_parts_are_the_default():
    assert Wires().ideal
    assert Periphery().r_tia_input == 0
    assert Periphery().r_feedback == 20e3
    assert Periphery().seed == 0
    assert not Wires(r_bit=1).ideal
