"""Geometry: published ohms per cell, longer wires for more branches, layers that may cross."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim import transfer_matrix
from mapping import ResistorBank
from netlists import Wires, array_circuit
from netlists.circuit.wire_geometry import METALS, Film, Metal, wires_from_geometry
from netlists.layout.floorplan import drawn_wires, plan_cell
from netlists.layout.technology import XHIGH_PO


def test_published_resistance_of_cells_of_four_wire_widths():
    published = {130: 0.34, 65: 0.60, 45: 0.83, 32: 1.28, 22: 1.86, 14: 2.5, 7: 5.6}
    for node, ohm in published.items():
        metal = METALS[f"{node} nm"]
        found = wires_from_geometry(4 * metal.width, metal, metal)
        assert found.r_word == approx(ohm, rel=0.02)
        assert found.r_bit == found.r_word
    # 20 um of met3, drawn 0.5 um wide: 40 squares of 0.047 ohm.
    met3, met4 = METALS["sky130 met3"], METALS["sky130 met4"]
    wide = wires_from_geometry(20e-6, met3, met4, word_width=0.5 / 0.3)
    assert wide.r_word == approx(1.88)


def test_published_widths_and_capacitance():
    """NeuroSim's wires; SKY130's sheet resistances and its rules m1.1, m2.1, m3.1, m4.1, m5.1."""
    for node, nm in {130: 175, 65: 105, 45: 80, 32: 56, 22: 40}.items():
        assert METALS[f"{node} nm"].width == approx(nm * 1e-9)
    um = {"met1": 0.14, "met2": 0.14, "met3": 0.3, "met4": 0.3, "met5": 1.6}
    milliohm = {"met1": 125, "met2": 125, "met3": 47, "met4": 47, "met5": 28.5}
    for name in um:
        assert METALS[f"sky130 {name}"].width == approx(um[name] * 1e-6)
        assert METALS[f"sky130 {name}"].r_sheet == approx(milliohm[name] * 1e-3)
    assert all(metal.c_per_length * 1e-6 == approx(0.2e-15) for metal in METALS.values())


def test_wires_of_a_pitch():
    metal = Metal(0.05, 0.5e-6, 2e-10)
    found = wires_from_geometry(20e-6, metal, metal, bit_width=4.0, r_driver=50.0)
    wanted = Wires(2.0, 0.5, 50.0, 4e-15, 16e-15)
    assert vars(found) == approx(vars(wanted))


def test_more_branches_make_longer_wires():
    sides, ohms, errors = [], [], []
    for n in (4, 8, 12):
        cell = plan_cell(ResistorBank(n=n, r_min=20e3, ratio=1.3), XHIGH_PO, "switch")
        wires = drawn_wires(cell, XHIGH_PO)
        g = np.full((64, 8), 20e-6)
        lost = 1 - transfer_matrix(array_circuit(g, wires)) / g
        sides.append(cell.width)
        ohms.append(wires.r_word)
        errors.append(lost.max())
    assert sides == sorted(sides)
    assert ohms == sorted(ohms)
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]
    np.testing.assert_allclose(np.divide(ohms, sides), 0.125 * 1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Metal(0.0, 1e-6, 1e-10), "r_sheet must be > 0"),
        (lambda: Metal(0.1, float("inf"), 1e-10), "width must be > 0 and finite"),
        (lambda: Film(1e3, 1e-6, 1e-6, float("nan")), "end must be > 0"),
    ],
)
def test_bad_geometry(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("pitch", "options", "message"),
    [
        (0.0, {}, "pitch must be > 0"),
        (float("inf"), {}, "pitch must be > 0"),
        (20e-6, {"bit_width": -1.0}, "bit_width must be > 0"),
        (20e-6, {"word_width": 50.0}, "lower word_width"),
        (1e-6, {}, "lower bit_width or take a larger cell"),
    ],
)
def test_wires_that_do_not_fit(pitch, options, message):
    with pytest.raises(ValueError, match=message):
        wires_from_geometry(pitch, METALS["sky130 met3"], METALS["sky130 met4"], **options)


def test_lines_that_cross_on_one_layer_are_refused():
    met3 = METALS["sky130 met3"]
    with pytest.raises(ValueError, match="cannot both be of met3"):
        wires_from_geometry(30e-6, met3, met3)
