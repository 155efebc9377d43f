"""Circuits against decks that were written by hand from the README's convention.

The writer and the engine read one `Circuit`, so that they agree says nothing of whether it is the
right one. These decks are by another hand: word and bit lines, banks and amplifiers are told apart
by values of their own, and stock ngspice solves them as they stand.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from crossbar_sim import solve, solve_ngspice
from mapping import Tile
from netlists import Circuit, Periphery, Wires, array_circuit, tile_circuit

GOLDEN = Path(__file__).parents[2] / "golden"
NONE = np.inf


def hand_made(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return output currents [A] and voltages [V] of a deck in tests/golden."""
    done = subprocess.run(
        ["ngspice", "-b", name], cwd=GOLDEN, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(?:i|v)\(\w+\) = (\S+)", done.stdout, re.MULTILINE)
    assert len(found) in (6, 8), done.stdout + done.stderr
    i_out, v_out = np.array(found, float).reshape(2, -1)
    return i_out, v_out


def pairs(ohm_pos: list[list[float]], ohm_neg: list[list[float]]) -> Tile:
    """Return a tile of differential pairs of given resistances [ohm]."""
    g_pos, g_neg = 1 / np.array(ohm_pos), 1 / np.array(ohm_neg)
    present = g_pos > 0
    lines = (np.arange(n) for n in present.shape)
    return Tile("t", (0, 0), *lines, present, *2 * [present.astype(np.uint32)], g_pos, g_neg)


def pairs_wires() -> tuple[Circuit, list[float]]:
    tile = pairs(
        [[20e3, NONE], [50e3, 80e3], [NONE, 30e3]], [[25e3, NONE], [100e3, 40e3], [NONE, 60e3]]
    )
    wires = Wires(r_word=300, r_bit=40, r_driver=100)
    return tile_circuit(tile, wires, Periphery(r_feedback=10e3)), [0.2, -0.15, 0.1]


def pairs_amplifiers() -> tuple[Circuit, list[float]]:
    tile = pairs([[20e3, 12e3], [50e3, 80e3]], [[25e3, 90e3], [100e3, 40e3]])
    ends = Periphery(r_feedback=10e3, tia_gain=200, r_input=50, v_offset=1.5e-3)
    return tile_circuit(tile, Wires(r_word=15, r_bit=220), ends), [0.2, -0.05]


def array_swing() -> tuple[Circuit, list[float]]:
    g = 1 / np.array([[8e3, NONE, 70e3], [16e3, 33e3, 45e3]])
    ends = Periphery(r_feedback=10e3, v_swing=0.25)
    return array_circuit(g, Wires(r_word=500, r_bit=9), ends), [0.3, 0.2]


@pytest.mark.parametrize("case", [pairs_wires, pairs_amplifiers, array_swing])
def test_both_solvers_find_what_a_hand_written_deck_says(case, worker):
    circuit, v_in = case()
    i_out, v_out = hand_made(f"{case.__name__}.cir")
    for found in (solve(circuit, v_in), solve_ngspice(circuit, v_in, worker=worker)):
        for ours, wanted in ((found.i_out[0], i_out), (found.v_out[0], v_out)):
            gap = 1e-9 * np.abs(wanted).max()
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=gap, err_msg=found.solver)


@pytest.mark.parametrize("case", [pairs_wires, pairs_amplifiers, array_swing])
def test_word_lines_are_told_from_bit_lines(case):
    circuit, v_in = case()
    grid, ends = circuit.grid, circuit.periphery
    turned = Wires(grid.wires.r_bit, grid.wires.r_word, grid.wires.r_driver)
    other = array_circuit(np.hstack(list(grid.g)), turned, ends)
    gap = np.abs(solve(other, v_in).i_out - solve(circuit, v_in).i_out).max()
    assert gap > 1e-3 * np.abs(solve(circuit, v_in).i_out).max()
