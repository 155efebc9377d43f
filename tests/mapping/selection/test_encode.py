"""Scales and bands."""

import math
from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from mapping.bank import Die, ResistorBank
from mapping.selection.encode import dense_fraction, g_band, g_lsb, g_per_weight

LADDER = ResistorBank(n=8, r_min=10e3)
WEIGHT = np.array([[0.5, -2.0, 0.0], [0.25, 0.1, -0.1], [0.0, 0.0, 0.0]])


def test_the_largest_weight_of_the_layer_sits_at_the_edge_of_the_band():
    scale = g_per_weight(WEIGHT, LADDER)
    assert isinstance(scale, float)
    assert scale * 2.0 == approx(0.95 * LADDER.g_full)


def test_each_output_may_have_its_own_scale_and_zeros_have_one_too():
    scale = g_per_weight(WEIGHT, LADDER, per="output")
    assert np.allclose(scale * [2.0, 0.25, 1.0], g_band(LADDER), atol=0)


def test_a_die_without_spread_has_the_nominal_scale():
    die = Die(LADDER, 1)
    assert g_per_weight(WEIGHT, die) == g_per_weight(WEIGHT, LADDER)
    assert g_per_weight(WEIGHT, die, layer="fc1") == approx(g_per_weight(WEIGHT, LADDER))


@pytest.mark.parametrize("per", ["layer", "output"])
def test_on_a_die_every_weight_fits_its_own_measured_bank(per):
    die = Die(ResistorBank(n=8, r_min=10e3, sigma_local=0.05, sigma_lot=0.05, r_off=1e7), 3)
    weight = np.random.default_rng(0).uniform(-1, 1, (20, 30))
    scale = g_per_weight(weight, die, per, layer="fc1")
    columns, rows = np.nonzero(weight)
    branches = die.branches("fc1", rows, columns, measured=True)
    full, leak = branches.g_closed.sum(axis=-1), branches.g_open.sum(axis=-1)
    reach = np.where(weight > 0, full[:, 0].reshape(20, 30), full[:, 1].reshape(20, 30))
    reach -= np.where(weight > 0, leak[:, 1].reshape(20, 30), leak[:, 0].reshape(20, 30))
    used = np.abs(weight) * np.broadcast_to(scale, 20)[:, None] / reach
    assert used.max() == approx(0.95)
    if per == "output":
        assert np.allclose(used.max(axis=1), 0.95, atol=0)


def test_a_defective_cell_is_not_followed():
    die = Die(replace(LADDER, r_off=1e9, p_stuck_open=0.5), 1)
    weight = np.ones((4, 50))
    nominal = g_per_weight(weight, LADDER)
    assert g_per_weight(weight, die, layer="fc1") == approx(0.8 * nominal)


@pytest.mark.parametrize(
    ("bank", "expected"),
    [
        (ResistorBank(n=12), 0.95),
        (ResistorBank(n=1), 0.95),
        (ResistorBank(n=2, ladder="equal"), 0.95),
        (ResistorBank(n=8, ladder="equal"), 0.5),
        (ResistorBank(n=16, ladder="equal", r_on=1e3), math.sqrt(2) / 4),
    ],
)
def test_equal_branches_are_dense_only_in_the_middle(bank, expected):
    assert dense_fraction(bank) == approx(expected)


def test_a_step_is_the_band_over_the_number_of_levels():
    assert g_lsb(LADDER, 8) * 256 == approx(2 * g_band(LADDER))


def test_unknown_choices_are_errors():
    with pytest.raises(ValueError, match='"layer" or "output"; got'):
        g_per_weight(WEIGHT, LADDER, per="column")
