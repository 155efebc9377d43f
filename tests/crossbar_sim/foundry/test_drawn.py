"""A foundry's resistor as drawn and read back has the ohms of its model, by the model's terms."""

import numpy as np
import pytest
from banks import full_tile
from foundry_models import models_of

from approx import approx
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import measured
from netlists.foundry.branch import FoundryBranch
from netlists.layout.drawing import tile_layout
from netlists.layout.drc import check_rules
from netlists.layout.foundry_technology import foundry_technology
from netlists.layout.lvs import compare_layout, extract_branches

pytest.importorskip("klayout.db")

#: Lengths that the models are asked for by other tests too.
LENGTHS = {"sky130": (1e-6, 7e-6), "ihp-sg13g2": (0.96e-6, 9.6e-6)}


def sky130_high_po(width, length):
    """models_resistors.spice: one head, a body 0.247 um longer and narrower than drawn."""
    effective = width - 0.001 - 0.0672 * max(0.69 - width, 0)
    warm = 1 - 3 * 514e-6 + 9 * 1.22e-6
    return 345.8312 / (effective + 0.1558) + 325 * (length + 0.247) / effective * warm


def sky130_xhigh_po(width, length):
    """models_resistors.spice: two heads, a body 59 nm shorter and 56 nm narrower than drawn.

    Its body is an expression, to which ngspice does not apply the coefficients of temperature.
    """
    crowded = width - 0.056 - 0.0672 * max(0.69 - width, 0)
    return 2 * 188.2 / (crowded + 1.41) + 2000 * (length - 0.0592) / crowded


def ihp(sheet, narrower, sigma, end):
    """Return r3_cmc's ohms: twice a bias of width, two ends, and mismatch one sigma off."""

    def ohms(width, length):
        stated = width + narrower
        w = stated + narrower + 0.01 / np.sqrt(length)
        body = sheet * (length + 0.01 / np.sqrt(stated)) / w
        return 2 * end / width + body * np.exp(sigma / np.sqrt(stated * length))

    return ohms


BY_HAND = {
    ("sky130", "high_po"): sky130_high_po,
    ("sky130", "xhigh_po"): sky130_xhigh_po,
    ("ihp-sg13g2", "rhigh"): ihp(1360, -0.04, 0.05, 80),
    ("ihp-sg13g2", "rppd"): ihp(260, 0.006, 0.015, 35),
    ("ihp-sg13g2", "rsil"): ihp(7, 0.01, 0.012, 4.5),
}


@pytest.mark.parametrize(("process", "resistor"), BY_HAND)
def test_a_drawn_resistor_has_the_ohms_of_its_model(process, resistor):
    models_of(process)
    branch = FoundryBranch(process, resistor, lengths=LENGTHS[process], v_max=0.2)
    found = measured(branch)
    bank = foundry_bank(found)
    technology = foundry_technology(branch, found.r)
    tile = full_tile(bank, 1, 1)
    layout = tile_layout(tile, bank, technology)
    assert check_rules(layout, technology) == []
    assert compare_layout(layout, tile, bank, technology, programming="switch").clean
    drawn = sorted(extract_branches(layout, technology).branches, key=lambda part: part.ohm)
    sizes = [1e-3 * np.array(size) for part in drawn for size in part.strips]
    ohms = np.array([BY_HAND[process, resistor](*size) for size in sizes])
    assert ohms == approx(np.repeat(found.r, 2), rel=2e-4)
    assert np.array([part.ohm for part in drawn]) == approx(np.repeat(found.r, 2), rel=1e-9)
