"""Geometry: areas by hand, published ohms per cell, and longer wires for more branches."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim import transfer_matrix
from mapping import ResistorBank
from netlists import Wires, array_circuit
from netlists.geometry import (
    FILMS,
    METALS,
    CellArea,
    Film,
    Metal,
    Process,
    cell_area,
    process,
    tile_area,
    wires_from_geometry,
)

SKY130 = process("sky130 xhigh_po", 130e-9)


def test_area_of_a_resistor_by_hand():
    # 20 squares of 0.35 um: a strip of 7 um, with ends 8.2 um, and 0.48 um of space around.
    film = FILMS["sky130 high_po"]
    assert film.area(20 * 319.8) == approx((7 + 1.2 + 0.48) * (0.35 + 0.48) * 1e-12)


def test_area_of_a_cell_and_a_tile_by_hand():
    bank = ResistorBank.from_ohms([100e3, 200e3])
    film = Film(1e3, 1e-6, 1e-6, 1e-6)
    found = cell_area(bank, Process(film, 3e-12, 2e-12))
    assert found.resistors == approx(2 * ((103 + 203) * 2e-12))
    assert found.switches == approx(4 * 3e-12)
    assert found.bits == approx(4 * 2e-12)
    assert found.total == approx((1224 + 12 + 8) * 1e-12)
    assert tile_area(found, 32, 16) == approx(512 * found.total)


def test_published_resistance_of_cells_of_four_wire_widths():
    published = {130: 0.34, 65: 0.60, 45: 0.83, 32: 1.28, 22: 1.86, 14: 2.5, 7: 5.6}
    for node, ohm in published.items():
        metal = METALS[f"{node} nm"]
        found = wires_from_geometry(4 * metal.width, metal, metal)
        assert found.r_word == approx(ohm, rel=0.02)
        assert found.r_bit == found.r_word
    # 20 um of met3, drawn 0.5 um wide: 40 squares of 0.047 ohm.
    met3 = METALS["sky130 met3"]
    wide = wires_from_geometry(20e-6, met3, met3, word_width=0.5 / 0.3)
    assert wide.r_word == approx(1.88)


def test_wires_of_a_pitch():
    metal = Metal(0.05, 0.5e-6, 2e-10)
    found = wires_from_geometry(20e-6, metal, metal, bit_width=4.0, r_driver=50.0)
    wanted = Wires(2.0, 0.5, 50.0, 4e-15, 16e-15)
    assert vars(found) == approx(vars(wanted))


def test_more_branches_make_longer_wires():
    metal = METALS["sky130 met3"]
    pitches, ohms, errors = [], [], []
    for n in (4, 8, 12):
        bank = ResistorBank(n=n, r_min=20e3, ratio=1.3)
        area = cell_area(bank, SKY130)
        wires = wires_from_geometry(area.pitch, metal, metal)
        g = np.full((64, 8), 20e-6)
        lost = 1 - transfer_matrix(array_circuit(g, wires)) / g
        pitches.append(area.pitch)
        ohms.append(wires.r_word)
        errors.append(lost.max())
    assert pitches == sorted(pitches)
    assert ohms == sorted(ohms)
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]
    np.testing.assert_allclose(np.divide(ohms, pitches), metal.r_per_length)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Metal(0.0, 1e-6, 1e-10), "r_sheet must be > 0"),
        (lambda: Film(1e3, 1e-6, 1e-6, float("nan")), "end must be > 0"),
        (lambda: Process(FILMS["sky130 high_po"], 1e-12, -1.0), "bit_area must be > 0"),
        (lambda: process("gold", 1e-7), "no film 'gold' is known; choose one of"),
    ],
)
def test_bad_geometry(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("pitch", "options", "message"),
    [
        (0.0, {}, "pitch must be > 0"),
        (20e-6, {"bit_width": -1.0}, "bit_width must be > 0"),
        (20e-6, {"word_width": 50.0}, "lower word_width"),
        (1e-6, {}, "lower bit_width or take a larger cell"),
    ],
)
def test_wires_that_do_not_fit(pitch, options, message):
    metal = METALS["sky130 met3"]
    with pytest.raises(ValueError, match=message):
        wires_from_geometry(pitch, metal, metal, **options)


def test_pitch_is_the_side_of_the_square_cell():
    assert CellArea(4e-12, 3e-12, 2e-12).pitch == approx(3e-6)
