"""What a measurement plan tells of branches, and selection that minds how uncertain it is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from approx import approx
from mapping import Branches, Die, ResistorBank, SelectionRule, TileConfig, map_network
from mapping.bank import Cells
from mapping.bank.switches import closed_switches, realise
from mapping.selection.select import CellSelection, select
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import (
    Estimate,
    Plan,
    best_plan,
    estimate,
    one_at_a_time,
    weighing_plan,
)
from mapping.wafer.survey import Survey, select_estimated, select_surveyed, survey_cells
from tinynets.networks.layers import PrunedLayer, PrunedNetwork


def sigma_of(found: Estimate) -> np.ndarray:
    """Return the standard error (..., n) of each branch [S]."""
    return np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1)[..., :-1])


def readings(
    plan: Plan, g: np.ndarray, g_open: Any, relative: float, absolute: float, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    exact = g @ plan.closed.T + g_open
    return exact * (1 + relative * rng.normal(size=exact.shape)) + absolute * rng.normal(
        size=exact.shape
    )


@pytest.mark.parametrize("n", [1, 6, 7, 12])
def test_plans_find_the_branches(n):
    g = np.random.default_rng(n).uniform(1e-6, 1e-5, size=(50, n))
    for plan in (one_at_a_time(n), weighing_plan(n)):
        found = estimate(plan, readings(plan, g, 2e-8, 0, 1e-12), Meter(absolute=1e-12))
        np.testing.assert_allclose(found.g, g, atol=1e-11)
        np.testing.assert_allclose(found.g_open, 2e-8, atol=1e-11)


def test_weighing_helps_with_an_absolute_error_and_sigma_is_honest():
    n, absolute = 12, 1e-8
    g = np.random.default_rng(0).uniform(1e-6, 1e-5, size=(2000, n))
    errors = []
    for plan in (one_at_a_time(n), weighing_plan(n)):
        found = estimate(plan, readings(plan, g, 0.0, 0, absolute), Meter(absolute=absolute))
        rms = float(np.sqrt(np.mean((found.g - g) ** 2)))
        assert rms == approx(float(np.sqrt(np.mean(sigma_of(found) ** 2))), rel=0.05)
        errors.append(rms)
    assert errors[1] < 0.6 * errors[0]


def test_with_a_relative_error_one_at_a_time_is_best():
    g = np.random.default_rng(0).uniform(1e-6, 1e-5, size=(500, 8))
    sigma = []
    for plan in (one_at_a_time(8), weighing_plan(8)):
        found = estimate(plan, readings(plan, g, 0.0, 1e-3, 0), Meter(1e-3))
        sigma.append(float(np.median(sigma_of(found) / g)))
    assert sigma[0] < sigma[1]


def test_bad_readings():
    plan = one_at_a_time(3)
    good = np.ones((2, 4))
    for call, message in (
        (lambda: estimate(plan, np.ones((2, 3)), Meter(1e-3)), r"pass \(n_bank, 4\)"),
        (lambda: estimate(plan, good * np.nan, Meter(1e-3)), "NaN or inf"),
        (lambda: estimate(plan, good, Meter()), "give the meter's error"),
        (lambda: estimate(Plan(plan.closed[:2]), good[:, :2], Meter(1e-3)), "tell its branches"),
        (lambda: one_at_a_time(0), "1 … 32 branches"),
        (lambda: weighing_plan(40), "1 … 32 branches"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# ---- selection that minds uncertainty ---------------------------------------------------------

BANK = ResistorBank(n=7, sigma_local=0.05, r_on=1e3, r_off=1e9)
METER = 1e-8  # siemens, of one reading: a thousandth of the largest branch
ROWS, COLUMNS = (a.ravel() for a in np.meshgrid(range(40), range(25)))
CELLS = Cells("fc", ROWS, COLUMNS)
TARGET = np.random.default_rng(5).uniform(-2e-5, 2e-5, size=len(ROWS))


def mean_square(die: Die, chosen: CellSelection) -> float:
    """Return the true mean-square error of a selection, in units of the meter's variance."""
    true = die.branches("fc", ROWS, COLUMNS, measured=False)
    g_pos, g_neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
    return float(np.mean((g_pos - g_neg - TARGET) ** 2)) / METER**2


def plain(die: Die, seed: int) -> CellSelection:
    """Select by single readings of the same meter, the leakage of open switches known."""
    true = die.branches("fc", ROWS, COLUMNS, measured=False)
    noise = METER * np.random.default_rng(seed).normal(size=true.g_closed.shape)
    return select(Branches(true.g_closed + noise, true.g_open), TARGET)


def test_estimates_select_better_than_as_many_single_readings():
    one, weighing = one_at_a_time(7), weighing_plan(7)
    assert len(one.closed) == len(weighing.closed) == 8
    rules = {
        "one": Survey(one, Meter(absolute=METER), n_candidate=1),
        "one, minded": Survey(one, Meter(absolute=METER)),
        "weighing": Survey(weighing, Meter(absolute=METER), n_candidate=1),
        "weighing, minded": Survey(weighing, Meter(absolute=METER)),
    }
    dies = [Die(BANK, seed=seed) for seed in range(4)]
    found = {"plain": np.mean([mean_square(die, plain(die, die.seed)) for die in dies])}
    for name, survey in rules.items():
        chosen = [select_surveyed(die, CELLS, TARGET, survey) for die in dies]
        found[name] = np.mean([mean_square(d, c) for d, c in zip(dies, chosen)])
    assert found["one, minded"] < 0.6 * found["one"]
    assert found["weighing"] < 0.4 * found["plain"]
    assert found["weighing, minded"] <= found["weighing"] < found["one, minded"]


@pytest.mark.parametrize("relative", [1e-3, 1e-2])
def test_minding_uncertainty_also_helps_with_a_relative_error(relative):
    found = []
    for n_candidate in (1, 32):
        survey = Survey(one_at_a_time(7), Meter(relative), n_candidate=n_candidate)
        dies = [Die(BANK, seed=seed) for seed in range(4)]
        chosen = [select_surveyed(die, CELLS, TARGET, survey) for die in dies]
        found.append(np.mean([mean_square(d, c) for d, c in zip(dies, chosen)]))
    assert found[1] < 0.85 * found[0]


def test_the_choice_is_the_subset_of_least_expected_error():
    """Against every subset of small banks, one by one."""
    die = Die(replace(BANK, n=3), seed=2)
    survey = Survey(weighing_plan(3), Meter(1e-2, METER))
    few = slice(0, 30)
    found = survey_cells(die, CELLS[few], survey)
    chosen = select_estimated(found, TARGET[few], n_candidate=64)
    for cell in range(30):
        expected = []
        for mask in range(64):
            closed = closed_switches(np.uint64(mask), 6).reshape(2, 3)
            x = np.append(closed.astype(float), np.ones((2, 1)), axis=1)
            values = np.append(found.g[cell], found.g_open[cell][:, None], axis=1)
            sums = (x * values).sum(axis=1)
            variance = sum(x[s] @ found.covariance[cell, s] @ x[s] for s in range(2))
            expected.append((sums[0] - sums[1] - TARGET[cell]) ** 2 + variance)
        mine = int(chosen.chosen_pos[cell]) | int(chosen.chosen_neg[cell]) << 3
        assert expected[mine] == approx(min(expected), rel=1e-9)


def test_one_candidate_is_the_nearest_subset():
    survey = Survey(weighing_plan(7), Meter(absolute=METER))
    found = survey_cells(Die(BANK, seed=1), CELLS, survey)
    n = found.g.shape[-1]
    open_each = np.repeat(found.g_open[..., None] / n, n, axis=-1)
    nearest = select(Branches(found.g + open_each, open_each), TARGET)
    chosen = select_estimated(found, TARGET, n_candidate=1)
    np.testing.assert_allclose(
        np.abs(chosen.predicted - TARGET), np.abs(nearest.predicted - TARGET), atol=1e-16
    )


def test_a_survey_finds_broken_switches_and_is_the_same_again():
    die = Die(replace(BANK, p_stuck_open=0.1), seed=4)
    survey = Survey(weighing_plan(7), Meter(absolute=METER))
    found = survey_cells(die, CELLS, survey)
    true = die.branches("fc", ROWS, COLUMNS, measured=False)
    broken = true.g_closed == true.g_open
    assert 0.05 < broken.mean() < 0.15
    assert np.abs(found.g[broken]).max() < 6 * METER
    error = (found.g - (true.g_closed - true.g_open)) / sigma_of(found)
    assert np.std(error) == approx(1.0, rel=0.03)
    again = survey_cells(die, CELLS[7:9], survey)
    np.testing.assert_allclose(again.g, found.g[7:9], rtol=1e-12)


def test_networks_are_mapped_by_a_survey():
    weight = np.random.default_rng(0).normal(size=(6, 9))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    rule = SelectionRule(survey=Survey(weighing_plan(7), Meter(absolute=METER)))
    found = map_network(network, Die(BANK, seed=1), TileConfig(4, 4), rule=rule)
    assert np.abs(found.layers[0].error).max() < 0.02
    believed = found.layers[0].predicted / found.layers[0].g_per_weight[:, None]
    assert 0 < np.abs(believed - found.layers[0].weight).max() < 0.02


def test_the_plan_that_suits_a_meter():
    assert len(best_plan(BANK, Meter(absolute=METER)).closed) == 8
    assert best_plan(BANK, Meter(absolute=METER)).closed.sum() == weighing_plan(7).closed.sum()
    assert best_plan(BANK, Meter(1e-3)).closed.sum() == one_at_a_time(7).closed.sum()


def test_bad_surveys():
    good = Survey(one_at_a_time(7), Meter(absolute=METER))
    for call, message in (
        (lambda: Survey(one_at_a_time(7), Meter()), "give the meter's error"),
        (lambda: Meter(absolute=-1.0), "absolute error must be finite and >= 0; got -1.0"),
        (lambda: Survey(one_at_a_time(7), Meter(1e-3), n_candidate=0), "at least 1; got 0"),
        (
            lambda: survey_cells(Die(replace(BANK, n=6)), CELLS, good),
            "banks of 7 branches; the die has 6",
        ),
        (lambda: SelectionRule(survey=good, n_candidate=8), "survey goes with"),
        (lambda: SelectionRule(survey=good, objective="power"), "survey goes with"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
