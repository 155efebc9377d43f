"""Readings of several branches at once, with gaps, contradictions and stuck switches."""

import numpy as np
import pytest

from approx import approx
from mapping import ResistorBank
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan, best_plan, estimate, one_at_a_time, weighing_plan
from mapping.wafer.readings import solve_banks, told_apart

BANK = ResistorBank(n=5, sigma_local=0.05, r_on=1e3, r_off=1e9)
METER = Meter(absolute=1e-8)


def banks(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return what branches conduct closed and open, (count, 5) each."""
    r = BANK.r_nominal * (1 + 0.05 * np.random.default_rng(seed).standard_normal((count, 5)))
    return 1 / (r + BANK.r_on), 1 / (r + BANK.r_off)


def read(
    plan: Plan, g_closed: np.ndarray, g_open: np.ndarray, meter: Meter = METER, seed: int = 1
) -> np.ndarray:
    exact = (g_closed - g_open) @ plan.closed.T + g_open.sum(axis=1, keepdims=True)
    return exact + meter.sigma(exact) * np.random.default_rng(seed).standard_normal(exact.shape)


PLANS = pytest.mark.parametrize("plan", [one_at_a_time(5), weighing_plan(5)], ids=["one", "many"])


@PLANS
def test_branches_come_out_whatever_reading_is_missing(plan):
    g, g_open = banks()
    meter = Meter(absolute=1e-15)
    readings = read(plan, g, g_open, meter)
    np.testing.assert_allclose(solve_banks(plan, readings, BANK, meter).g, g, rtol=1e-6)
    lost = np.arange(len(g)) % len(plan.closed)
    readings[np.arange(len(g)), lost] = np.nan
    found = solve_banks(plan, readings, BANK, meter)
    told = ~np.isnan(found.g)
    np.testing.assert_allclose(found.g[told], g[told], rtol=1e-6)
    # One at a time, a reading is its branch's only one; the last closes none.
    alone = plan.closed.sum(axis=1) == 1
    np.testing.assert_array_equal((~told).sum(axis=1), alone[lost])


def test_a_plan_without_a_spare_reading_tells_nothing_without_one():
    bank = ResistorBank(n=7)
    readings = weighing_plan(7).closed.sum(axis=1) * np.ones((2, 1)) * 1e-5
    readings[1, 2] = np.nan
    found = solve_banks(weighing_plan(7), readings, bank, METER)
    np.testing.assert_allclose(found.g[0], 1e-5)
    assert np.isnan(found.g[1]).all()
    twice = Plan(np.repeat(weighing_plan(7).closed, 2, axis=0))
    found = solve_banks(twice, np.repeat(readings, 2, axis=1)[:1], bank, METER)
    again = np.repeat(readings[:1], 2, axis=1)
    again[0, 5] = np.nan
    np.testing.assert_allclose(solve_banks(twice, again, bank, METER).g, 1e-5)
    assert found.covariance[0, 0, 0] == approx(METER.absolute**2 * 7 / 32)


def test_too_few_readings_tell_some_branches_or_none():
    closed = np.zeros((3, 5), bool)
    closed[0, 0] = closed[1, 1:3] = closed[2, [0, 1, 2, 3]] = True
    np.testing.assert_array_equal(np.flatnonzero(told_apart(closed)), [0, 3])
    g, g_open = banks()
    found = solve_banks(Plan(closed), read(Plan(closed), g, g_open), BANK, METER)
    np.testing.assert_allclose(found.g[:, [0, 3]], g[:, [0, 3]], atol=1e-7)
    assert np.isnan(found.g[:, [1, 2, 4]]).all()
    nothing = solve_banks(Plan(closed), np.full((2, 3), np.nan), BANK, METER)
    assert np.isnan(nothing.g).all()
    assert not nothing.covariance.any()


@pytest.mark.parametrize("lost", [None, 7, 2])
def test_the_stated_uncertainty_is_what_the_errors_are(lost):
    g, g_open = banks(4000)
    readings = read(weighing_plan(5), g, g_open)
    if lost is not None:
        readings[:, lost] = np.nan
    found = solve_banks(weighing_plan(5), readings, BANK, METER)
    wrong = found.g - g
    spread = np.einsum("bi,bj->ij", wrong, wrong) / len(wrong)
    stated = found.covariance.mean(axis=0)
    np.testing.assert_allclose(spread, stated, atol=0.1 * stated.max())


def test_knowing_the_leakage_is_worth_something():
    g, g_open = banks(2000)
    readings = read(weighing_plan(5), g, g_open)
    free = estimate(weighing_plan(5), readings, Meter(absolute=METER.absolute))
    found = solve_banks(weighing_plan(5), readings, BANK, METER)
    known = np.sqrt(np.mean(np.square(found.g - g)))
    assert known < 0.95 * np.sqrt(np.mean(np.square(free.g + g_open - g)))


@pytest.mark.parametrize("meter", [METER, Meter(relative=1e-3)], ids=["fixed", "relative"])
def test_sound_banks_agree_and_a_wrong_reading_does_not(meter):
    g, g_open = banks()
    plan = weighing_plan(5)
    readings = read(plan, g, g_open, meter)
    assert solve_banks(plan, readings, BANK, meter).agrees.all()
    readings[3, 2] *= 1.5
    found = solve_banks(plan, readings, BANK, meter)
    assert np.flatnonzero(~found.agrees).tolist() == [3]
    assert np.isnan(found.g[3]).all()
    assert not found.covariance[3].any()


@PLANS
def test_switches_that_are_stuck_closed_are_found(plan):
    g, g_open = banks()
    g_open[5, 2] = g[5, 2]
    g_open[6, 0] = g[6, 0]
    g[6, 4] = g_open[6, 4]  # and one that never closes
    found = solve_banks(plan, read(plan, g, g_open), BANK, METER)
    assert found.agrees.all()
    assert np.argwhere(found.stuck).tolist() == [[5, 2], [6, 0]]
    np.testing.assert_allclose(found.g[[5, 6]], g[[5, 6]], atol=6e-8)


def test_the_best_plan_for_a_meter():
    assert best_plan(BANK, METER).closed.sum() > 8
    for meter in (Meter(), Meter(relative=1e-3)):
        assert best_plan(BANK, meter).closed.sum() == 5


def test_what_cannot_be_solved():
    plan = weighing_plan(5)
    for call, message in (
        (lambda: solve_banks(weighing_plan(6), np.ones((2, 8)), BANK, METER), "banks of 5"),
        (lambda: solve_banks(plan, np.ones((2, 7)), BANK, METER), r"shape \(2, 7\)"),
        (lambda: solve_banks(plan, np.ones((2, 8)), BANK, Meter()), "give the meter's error"),
        (lambda: Meter(relative=-1e-3), "relative error must be finite and >= 0; got -0.001"),
        (lambda: Meter(absolute=np.inf), "absolute error must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
