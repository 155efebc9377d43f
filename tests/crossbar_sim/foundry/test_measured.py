"""What is measured of a foundry's devices, against its model files by hand and decks by hand."""

from dataclasses import replace

import numpy as np
import pytest
from foundry_models import IHP, SKY130, models_of
from scipy.optimize import brentq

from approx import approx
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import COPIES, Measured, measured
from crossbar_sim.ngspice.batch import run_deck
from crossbar_sim.ngspice.errors import NgspiceError
from mapping import Die
from netlists.foundry.branch import FoundryBranch

#: Four standard errors of a standard deviation of so many copies.
SPREAD = 4 / np.sqrt(2 * COPIES[0])


@pytest.fixture(scope="module")
def sky130() -> Measured:
    models_of("sky130")
    return measured(FoundryBranch(**SKY130, lengths=(1e-6, 7e-6), v_max=0.2))


@pytest.fixture(scope="module")
def ihp() -> Measured:
    models_of("ihp-sg13g2")
    return measured(FoundryBranch(**IHP, lengths=(0.96e-6, 9.6e-6), v_max=0.2))


def test_sky130_resistors_are_as_the_model_file_computes(sky130):
    # models_resistors.spice: a head of 345.8312 ohm, a body of 325 ohm per square at 30 degrees.
    length, width = np.array([1.0, 7.0]), 0.35
    effective = width - 0.001 - 0.0672 * (0.69 - width)
    head = 345.8312 / (effective + 0.1558)
    body = 325 * (length + 0.247) / effective
    tc1, tc2 = 514e-6, 1.2e-6
    at_27 = body * (1 - 3 * tc1 + 9 * tc2)
    assert sky130.r == approx(head + at_27, rel=1e-4)
    assert sky130.tc1 == approx(tc1 * body / (head + at_27), rel=0.02)
    # Mismatch: 2.06 % um of the body and 6.3 % um^0.5 of the head.
    body_sigma = 0.0206 / np.sqrt(width * length) * at_27
    sigma = np.hypot(body_sigma, 0.063 / np.sqrt(width) * head) / (head + at_27)
    assert sky130.sigma == approx(sigma, rel=SPREAD)


def test_ihp_resistors_have_the_coefficients_of_the_model_file(ihp):
    assert ihp.tc1 == approx(np.full(2, -2300e-6), rel=1e-3)
    assert ihp.tc2 == approx(np.full(2, 2.1e-6), rel=1e-2)
    # smm_rsh of 5 % um, and 0.01 um of width and of length: 5 % / sqrt(w l), w = 0.46 um.
    width, length = 0.46, np.array([0.96, 9.6])
    sheet = 0.05 / np.sqrt(width * length)
    assert ihp.sigma[1] == approx(np.hypot(sheet[1], 0.01 / 0.46), rel=0.15 + SPREAD)
    assert 0.06 < ihp.sigma[0] < 0.1
    assert ihp.r[1] == approx(31_960, rel=1e-3)


HAND_WRITTEN = """* a transistor and a resistor
{libraries}
.options klu reltol=1e-9 abstol=1e-15 vntol=1e-9 gmin=1e-15
vgate gate 0 {high}
vbulk bulk 0 -0.2
vr r 0 0.13
xr r sr bulk {resistor}
vsr sr 0 0
va a 0 0.11
vb b 0 -0.04
xm a gate sb bulk {transistor}
vsb sb b 0
.control
{compiled}
set wr_singlescale
set numdgt=15
dc vr 0.13 0.13 1
wrdata out.txt i(vsr) i(vsb)
quit
.endc
.end
"""


@pytest.mark.parametrize("name", ["sky130", "ihp"])
def test_curves_are_those_of_a_deck_by_hand(name, request):
    found: Measured = request.getfixturevalue(name)
    models = models_of(found.branch.technology)
    of = {
        "sky130": (
            "sky130_fd_pr__res_high_po w=0.35 l=7",
            "sky130_fd_pr__nfet_01v8 w=1 l=0.15",
            1.6,
        ),
        "ihp": ("rhigh w=0.5e-6 l=9.6e-6", "sg13_lv_nmos w=1e-6 l=0.13e-6", 1.0),
    }
    resistor, transistor, high = of[name]
    deck = HAND_WRITTEN.format(
        libraries="\n".join(models.cards("typical")),
        compiled="\n".join(models.commands),
        resistor=resistor,
        transistor=transistor,
        high=high,
    )
    amps = run_deck(deck, 1, 2, time_limit=60)[0]
    assert found.resistor_current(1, np.array([0.13]))[0] == approx(amps[:1], rel=1e-6)
    switch = found.switch_current(np.array([0.11]), np.array([-0.04]), closed=True)[0]
    assert switch == approx(amps[1:], rel=1e-6)


@pytest.mark.parametrize("name", ["sky130", "ihp"])
def test_derivatives_are_those_of_the_currents(name, request):
    found: Measured = request.getfixturevalue(name)
    rng, step = np.random.default_rng(0), 1e-6
    v = rng.uniform(-0.3, 0.3, 20)
    slope = (found.resistor_current(0, v + step)[0] - found.resistor_current(0, v - step)[0]) / 2
    assert found.resistor_current(0, v)[1] == approx(slope / step, rel=1e-7)
    a, b = rng.uniform(-0.1, 0.1, (2, 40))
    for closed in (True, False):
        current, by_a, by_b = found.switch_current(a, b, closed=closed)
        for k, by in enumerate((by_a, by_b)):
            up, down = ([a, b], [a, b])
            up[k], down[k] = up[k] + step, down[k] - step
            higher, lower = (found.switch_current(*ends, closed=closed)[0] for ends in (up, down))
            scale = np.abs(by).max()
            assert by / scale == approx((higher - lower) / (2 * step * scale), abs=1e-6)
        back = found.switch_current(b, a, closed=closed)[0]
        assert back == approx(-current, rel=1e-12)


def test_multiplicities_conduct_what_they_are_for(ihp, sky130):
    factors = np.array([0.7, 1.0, 1.4])
    assert sky130.multiplicity(0, factors) == approx(factors, rel=1e-9)
    # These models shift with the multiplicity, since their typical device is one sigma off.
    m = ihp.multiplicity(0, factors)
    assert np.abs(m - factors).max() > 0.005
    assert m[1] == approx(1.0, rel=1e-7)
    with pytest.raises(ValueError, match=r"the models were asked for 0\.5 … 2"):
        ihp.multiplicity(0, np.array([1.0, 2.5]))


def test_the_bank_has_the_values_of_the_foundry(sky130):
    bank = foundry_bank(sky130, meter_error=1e-3)
    assert bank.r_nominal == approx(sky130.r, rel=1e-15)
    assert bank.sigma_local == approx(tuple(sky130.sigma), rel=1e-15)
    assert (bank.r_on, bank.r_off) == (sky130.r_on, sky130.r_off)
    assert 800 < bank.r_on < 1100
    assert bank.r_off > 1e9
    with pytest.raises(ValueError, match="n, r_on of the bank come from the foundry's models"):
        foundry_bank(sky130, n=3, r_on=10.0)


def test_a_chip_is_the_same_at_another_corner_and_temperature(sky130):
    branch = FoundryBranch(
        **SKY130, lengths=(1e-6, 7e-6), v_max=0.2, corner="high", temperature=398.15
    )
    hot = measured(branch)
    cells = ("fc", np.arange(5), np.arange(5))
    here, there = (Die(foundry_bank(m), seed=4).resistances(*cells) / m.r for m in (sky130, hot))
    assert (hot.r > 1.1 * sky130.r).all()
    deviations = (here - 1) / sky130.sigma, (there - 1) / hot.sigma
    assert deviations[0] == approx(deviations[1], rel=1e-9)


def test_what_is_measured_is_kept(sky130, monkeypatch):
    monkeypatch.setattr("crossbar_sim.foundry.measured.run_deck", None)
    again = measured(sky130.branch)
    assert again.models == sky130.models
    arrays = {k: value for k, value in vars(sky130).items() if isinstance(value, np.ndarray)}
    assert {"resistor", "on", "off", "multiple", "sigma", "tc1", "tc2"} <= arrays.keys()
    for name, value in arrays.items():
        assert np.array_equal(getattr(again, name), value), name
    assert again.error == sky130.error
    assert again.error < 1e-6
    assert again.lost < 1e-6


def test_voltages_that_the_fit_cannot_follow_are_refused():
    models_of("ihp-sg13g2")
    with pytest.raises(ValueError, match=r"are fitted to .* lower v_max"):
        measured(FoundryBranch(**IHP, lengths=(0.96e-6,), v_max=0.55, switch="gate"))


@pytest.mark.parametrize(
    ("deck", "told"),
    [
        ("* empty\n.end\n", "wrote no results"),
        ("* no model\nv1 a 0 1\nx1 a 0 nothing\n.control\ndc v1 1 1 1\n.endc\n.end\n", "ngspice"),
    ],
)
def test_a_deck_that_ngspice_cannot_run_says_what_it_said(deck, told):
    with pytest.raises(NgspiceError, match=told):
        run_deck(deck, 1, 1, time_limit=30)


def test_a_deck_that_does_not_end_is_ended():
    deck = "* slow\nv1 a 0 1\nr1 a 0 1\n.control\nwhile 1 > 0\nlet x = 1\nend\n.endc\n.end\n"
    with pytest.raises(NgspiceError, match="did not end within 1 s"):
        run_deck(deck, 1, 1, time_limit=1)


def test_a_selection_takes_what_branches_conduct_at_its_voltage(ihp):
    v = 0.15
    g = ihp.conductances(v)
    for k in range(2):
        sides = [current_through(ihp, k, s * v) / (s * v) for s in (1, -1)]
        assert g[k] == approx(float(np.mean(sides)), rel=1e-9)
    chosen = measured(replace(ihp.branch, v_select=v))
    assert 1 / (chosen.r + chosen.r_on) == approx(g, rel=1e-12)
    # Nothing else of it depends on that voltage, and at 0 V it is the slope there.
    assert np.array_equal(chosen.resistor, ihp.resistor)
    assert np.abs(chosen.r / ihp.r - 1).max() > 1e-5
    assert 1 / ihp.conductances(1e-6) - ihp.r_on == approx(ihp.r, rel=1e-6)


def current_through(found: Measured, k: int, v: float) -> float:
    """Return the current of a branch of v [V] with its bit line at ground, by a root finder."""

    def left(inner: float) -> float:
        through = found.resistor_current(k, np.array(v - inner))[0]
        return float(through - found.switch_current(np.array(inner), np.zeros(()), closed=True)[0])

    inner = brentq(left, min(0.0, v), max(0.0, v), xtol=1e-16, rtol=1e-14)
    return float(found.resistor_current(k, np.array(v - inner))[0])
