"""Geometry: longer wires for more branches."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim import transfer_matrix
from mapping import ResistorBank
from netlists import array_circuit
from netlists.circuit.wire_geometry import METALS, Film, Metal
from netlists.layout.floorplan import drawn_wires, plan_cell
from netlists.layout.technology import XHIGH_PO


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


def test_the_metals_of_the_process():
    """SKY130's sheets and least widths; 0.2 fF for each micrometre of either."""
    drawn = {name: list(vars(metal).values()) for name, metal in METALS.items()}
    assert drawn == {
        "met1": approx([0.125, 0.14e-6, 2e-10], rel=1e-12),
        "met3": approx([0.047, 0.3e-6, 2e-10], rel=1e-12),
    }
