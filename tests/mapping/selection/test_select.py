"""Selections against exhaustive search, and what knowing the circuit is worth."""

from dataclasses import replace
from itertools import product

import numba
import numpy as np
import pytest

import mapping.selection.select as selection
from approx import approx
from mapping.bank import Branches, Cells, Die, ResistorBank
from mapping.bank.switches import realise
from mapping.selection.activation_aware import Compensation, choose_together
from mapping.selection.encode import g_band, g_lsb, g_per_weight
from mapping.selection.program_verify import program_verify
from mapping.selection.select import (
    SCALE_FACTORS,
    layer_aware_scale,
    select,
    select_layer_aware,
    select_on_die,
)
from tinynets.networks.layers import PrunedLayer

BANK = ResistorBank(
    n=3, r_min=10e3, sigma_local=0.05, r_on=500.0, sigma_on=0.1, r_off=1e6, meter_error=1e-3
)
ROWS, COLUMNS = (index.ravel() for index in np.indices((20, 10)))

CELLS = Cells("fc1", ROWS, COLUMNS)


def cells(bank: ResistorBank = BANK, seed: int = 1, *, measured: bool = True) -> Branches:
    return Die(bank, seed).branches("fc1", ROWS, COLUMNS, measured=measured)


def targets(bank: ResistorBank = BANK, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, len(ROWS)) * g_band(bank)


def every_choice(branches):
    """Return all (chosen_pos, chosen_neg) and what they give, (n_choice, n_cell)."""
    n = branches.g_closed.shape[-1]
    masks = np.array(list(product(range(2**n), repeat=2)), np.uint32)
    g = [realise(branches, *np.repeat(mask[:, None], len(ROWS), axis=1)) for mask in masks]
    return masks, np.array([pos for pos, _ in g]), np.array([neg for _, neg in g])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


# --- the exact choice ------------------------------------------------------------------------


def test_realise_adds_closed_and_open_branches():
    branches = Branches(
        np.array([[[4.0, 2.0, 1.0], [8.0, 4.0, 2.0]]]), np.array([[[0.4, 0.2, 0.1]] * 2])
    )
    pos, neg = realise(branches, np.array([0b101], np.uint32), np.array([0b010], np.uint32))
    assert pos == approx([4 + 0.2 + 1])
    assert neg == approx([0.4 + 4 + 0.1])


def test_the_choice_is_the_best_of_all_and_predicts_what_it_gives():
    branches, target = cells(), targets()
    chosen = select(branches, target)
    pos, neg = realise(branches, chosen.chosen_pos, chosen.chosen_neg)
    _, all_pos, all_neg = every_choice(branches)
    least = np.abs(all_pos - all_neg - target).min(axis=0)
    assert np.allclose(np.abs(pos - neg - target), least, rtol=1e-9, atol=1e-18)
    assert np.allclose(chosen.predicted, pos - neg, rtol=1e-12, atol=1e-18)
    assert chosen.chosen_pos.dtype == chosen.chosen_neg.dtype == np.uint32


def test_of_at_most_k_closed_switches_the_best_choice_is_found():
    branches, target = cells(), targets()
    chosen = select(branches, target, max_closed=2)
    masks, all_pos, all_neg = every_choice(branches)
    few = np.bitwise_count(masks).sum(axis=1) <= 2
    least = np.abs((all_pos - all_neg)[few] - target).min(axis=0)
    assert np.allclose(np.abs(chosen.predicted - target), least, rtol=1e-9, atol=1e-18)


def test_least_power_within_a_tolerance_is_the_least_and_saves_power():
    bank = replace(BANK, n=4)
    branches, target = cells(bank), targets(bank)
    tolerance = 0.5 * g_lsb(bank, 4)
    exact = select(branches, target)
    light = select(branches, target, objective="power", tolerance=tolerance)
    within = np.abs(exact.predicted - target) < tolerance
    assert within.mean() > 0.9
    assert np.all(np.abs(light.predicted - target)[within] <= tolerance)
    assert np.array_equal(light.predicted[~within], exact.predicted[~within])
    _, all_pos, all_neg = every_choice(branches)
    power = np.where(
        np.abs(all_pos - all_neg - target) <= tolerance, all_pos + all_neg, np.inf
    ).min(axis=0)
    pos, neg = realise(branches, light.chosen_pos, light.chosen_neg)
    assert np.allclose((pos + neg)[within], power[within], rtol=1e-9, atol=0)

    before = realise(branches, exact.chosen_pos, exact.chosen_neg)
    assert np.sum(pos + neg) < 0.9 * np.sum(before)
    n_before, n_after = (
        np.bitwise_count([found.chosen_pos, found.chosen_neg]).sum() for found in (exact, light)
    )
    assert n_after < n_before


def test_a_die_is_selected_in_chunks_with_the_same_result(monkeypatch):
    die, target = Die(BANK, 1), targets()
    whole, g_pos, g_neg = select_on_die(die, CELLS, target)
    assert np.array_equal(whole.predicted, select(cells(), target).predicted)
    true = realise(cells(measured=False), whole.chosen_pos, whole.chosen_neg)
    assert np.array_equal([g_pos, g_neg], true)
    monkeypatch.setattr(selection, "_CHUNK", 7)
    chunks, *_ = select_on_die(die, CELLS, target)
    assert np.array_equal(chunks.chosen_pos, whole.chosen_pos)
    nothing, *_ = select_on_die(die, CELLS[:0], target[:0])
    assert len(nothing.predicted) == 0


# --- what knowing the circuit is worth -------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "at_least"),
    [({"r_on": 0.0, "sigma_on": 0.0}, 10), ({"r_off": np.inf}, 10), ({"sigma_on": 0.0}, 2)],
)
def test_selecting_with_the_switches_in_mind_beats_selecting_without(ignored, at_least):
    bank = replace(BANK, n=8, meter_error=0.0)
    true, target = cells(bank, measured=False), targets(bank)
    errors = []
    for believed in (bank, replace(bank, **ignored)):
        chosen = select(cells(believed), target)
        pos, neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
        errors.append(rms(pos - neg - target))
    assert at_least * errors[0] < errors[1]


def test_selecting_by_measured_values_beats_selecting_by_ordered_ones():
    bank = replace(BANK, n=8)
    true, target = cells(bank, measured=False), targets(bank)
    errors = []
    for believed in (cells(bank), cells(replace(bank, sigma_local=0.0))):
        chosen = select(believed, target)
        pos, neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
        errors.append(rms(pos - neg - target))
    assert 10 * errors[0] < errors[1]


def test_the_error_floor_is_the_meters():
    """Source: the error of independent readings adds up as eta * sqrt(sum of closed g**2)."""
    bank = replace(BANK, n=10, r_off=np.inf, meter_error=3e-3)
    seen, true, target = cells(bank), cells(bank, measured=False), targets(bank)
    chosen = select(seen, target)
    pos, neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
    squares = realise(Branches(true.g_closed**2, true.g_open), chosen.chosen_pos, chosen.chosen_neg)
    floor = 3e-3 * np.sqrt(np.mean(sum(squares)))
    assert rms(pos - neg - target) == approx(floor, rel=0.1)


def test_stuck_switches_are_worked_around():
    bank = replace(BANK, n=8, p_stuck_open=0.02, p_stuck_closed=0.02, meter_error=0.0)
    true, target = cells(bank, measured=False), 0.5 * targets(bank)
    sound = replace(bank, p_stuck_open=0.0, p_stuck_closed=0.0)
    errors = []
    for believed in (bank, sound):
        chosen = select(cells(believed), target)
        pos, neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
        errors.append(rms(pos - neg - target))
    assert 10 * errors[0] < errors[1]


# --- measured once more ----------------------------------------------------------------------


def verify_errors(n_candidate, composite_error):
    """Return the selection, what it gives, and its mean absolute error."""
    die = Die(replace(BANK, n=8), 1)
    target = 0.5 * targets(die.bank)
    true = die.branches("fc1", ROWS, COLUMNS, measured=False)
    options = {"n_candidate": n_candidate, "composite_error": composite_error}
    chosen = program_verify(die, CELLS, target, **options)
    pos, neg = realise(true, chosen.chosen_pos, chosen.chosen_neg)
    return chosen, pos - neg, np.mean(np.abs(pos - neg - target))


def test_more_candidates_are_nearer_on_an_ideal_composite_meter():
    errors = [verify_errors(n_candidate, 0.0)[2] for n_candidate in (1, 4, 16)]
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 2 * errors[2]


def test_an_ideal_composite_meter_reads_what_is_there():
    chosen, realised, _ = verify_errors(4, 0.0)
    assert np.allclose(chosen.predicted, realised, atol=0)


def test_a_composite_meter_as_good_helps_and_a_hopeless_one_does_no_harm():
    calculated, alike, hopeless = (
        verify_errors(n_candidate, error)[2]
        for n_candidate, error in [(1, 0.0), (8, 1e-3), (8, 10)]
    )
    assert alike < 0.95 * calculated
    assert hopeless < 1.1 * calculated


def test_verification_repeats_and_takes_no_more_than_there_are():
    one, two = verify_errors(4, 1e-4)[0], verify_errors(4, 1e-4)[0]
    assert np.array_equal(one.predicted, two.predicted)
    die = Die(replace(BANK, n=1), 1)
    few = program_verify(die, CELLS, targets(die.bank), n_candidate=100)
    assert len(few.predicted) == len(ROWS)
    with pytest.raises(ValueError, match="top"):
        program_verify(die, CELLS, targets(die.bank), n_candidate=0)


# --- activation-aware ------------------------------------------------------------------------


def correlated_layer(n_in=60, n_out=12, density=0.5, seed=0):
    """Return a pruned weight, its mask, and the second moment of inputs of low rank."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(400, 8)) @ rng.normal(size=(8, n_in)), 0)
    mask = rng.random((n_out, n_in)) < density
    return np.where(mask, rng.normal(size=mask.shape), 0.0), mask, x.T @ x / len(x)


def line_errors(weight, mask, h, found, scale):
    """Return the mean square error of each output, (n_out,)."""
    miss = np.zeros(weight.shape)
    miss[mask] = found.predicted / np.broadcast_to(scale, len(weight))[np.nonzero(mask)[0]]
    miss -= weight
    return np.einsum("ij,jk,ik->i", miss, h, miss)


def on_die(weight, mask, n, seed=1):
    bank = ResistorBank(n=n, r_min=10e3, sigma_local=0.05)
    columns, rows = np.nonzero(mask)
    scale = g_per_weight(weight, bank)
    branches = Die(bank, seed).branches("fc1", rows, columns, measured=True)
    return branches, scale * weight[mask], rows, columns, scale


@pytest.mark.parametrize("n", [1, 2, 4])
def test_errors_cancel_on_correlated_inputs(n):
    weight, mask, h = correlated_layer()
    branches, target, rows, columns, scale = on_die(weight, mask, n)
    alone = line_errors(weight, mask, h, select(branches, target), scale)
    together = select_layer_aware(branches, target, rows, columns, h)
    errors = line_errors(weight, mask, h, together, scale)
    assert errors.sum() < 0.35 * alone.sum()
    pos, neg = realise(branches, together.chosen_pos, together.chosen_neg)
    assert np.allclose(pos - neg, together.predicted, rtol=1e-12, atol=1e-18)


def test_the_choice_is_close_to_the_best_of_all():
    weight, mask, h = correlated_layer(n_in=6, n_out=40, density=1.0)
    branches, target, rows, columns, scale = on_die(weight, mask, 1)
    errors = line_errors(
        weight, mask, h, select_layer_aware(branches, target, rows, columns, h), scale
    )
    pos, neg = branches.g_closed[:, 0, 0], branches.g_closed[:, 1, 0]
    reach = np.stack([0 * pos, pos, -neg, pos - neg]).reshape(4, 40, 6)
    picks = np.array(list(product(range(4), repeat=6)))
    miss = reach[picks, :, np.arange(6)].transpose(2, 0, 1) / scale - weight[:, None]
    best = np.einsum("lpi,ij,lpj->lp", miss, h, miss, optimize=True).min(axis=1)
    assert np.all(errors > best * (1 - 1e-9))
    assert errors.sum() < 1.3 * best.sum()


@pytest.mark.parametrize("h", [np.zeros((60, 60)), np.eye(60)])
def test_inputs_without_correlation_leave_nothing_to_cancel(h):
    weight, mask, _ = correlated_layer()
    branches, target, rows, columns, _ = on_die(weight, mask, 3)
    together = select_layer_aware(branches, target, rows, columns, h)
    assert np.allclose(together.predicted, select(branches, target).predicted, atol=0)


def test_the_order_of_cells_the_blocks_and_the_threads_do_not_matter():
    weight, mask, h = correlated_layer(n_in=90)
    branches, target, rows, columns, _ = on_die(weight, mask, 2)
    whole = select_layer_aware(branches, target, rows, columns, h)
    order = np.random.default_rng(1).permutation(len(target))
    shuffled = Branches(branches.g_closed[order], branches.g_open[order])
    again = select_layer_aware(shuffled, target[order], rows[order], columns[order], h)
    assert np.array_equal(again.chosen_pos, whole.chosen_pos[order])
    n_thread = numba.get_num_threads()
    numba.set_num_threads(1)
    single = select_layer_aware(branches, target, rows, columns, h)
    numba.set_num_threads(n_thread)
    assert np.array_equal(single.chosen_neg, whole.chosen_neg)


@pytest.mark.parametrize("window", [4, 16, 1000])
def test_small_windows_cancel_nearly_as_well_and_sweeps_help(window):
    weight, mask, h = correlated_layer(n_in=200)
    branches, target, rows, columns, scale = on_die(weight, mask, 2)
    alone = line_errors(weight, mask, h, select(branches, target), scale).sum()
    errors = []
    for sweeps in (0, 3):
        options = {"window": window, "sweeps": sweeps}
        found = select_layer_aware(branches, target, rows, columns, h, Compensation(**options))
        errors.append(line_errors(weight, mask, h, found, scale).sum())
    assert errors[1] < errors[0] < 0.35 * alone


def test_outputs_without_a_cell_and_with_one_are_fine():
    weight, mask, h = correlated_layer()
    mask[3] = False
    mask[4] = np.arange(60) == 7
    weight = np.where(mask, weight, 0.0)
    branches, target, rows, columns, scale = on_die(weight, mask, 2)
    found = select_layer_aware(branches, target, rows, columns, h)
    errors = line_errors(weight, mask, h, found, scale)
    assert errors[3] == 0
    assert np.isfinite(errors).all()


def test_a_layer_without_cells_has_nothing_to_choose():
    _, _, h = correlated_layer()
    none = np.zeros(0, int)
    branches = Die(BANK).branches("fc1", none, none, measured=True)
    assert len(select_layer_aware(branches, none, none, none, h).predicted) == 0


@pytest.mark.parametrize("per", ["layer", "output"])
def test_the_scale_is_fitted_to_the_errors_that_remain(per):
    weight, mask, h = correlated_layer()
    bank = ResistorBank(n=1, r_min=10e3, sigma_local=0.05)
    die = Die(bank, 1)
    columns, rows = np.nonzero(mask)
    branches = die.branches("fc1", rows, columns, measured=True)
    errors = []
    for scale in (
        g_per_weight(weight, die, per, layer="fc1"),
        layer_aware_scale(PrunedLayer("fc1", weight, mask), die, h, per=per),
    ):
        each = np.broadcast_to(scale, len(weight))
        found = select_layer_aware(branches, each[columns] * weight[mask], rows, columns, h)
        errors.append(line_errors(weight, mask, h, found, each).sum())
    assert np.shape(scale) == (() if per == "layer" else (12,))
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("meter_error", [0.0, 0.05])
@pytest.mark.parametrize("per", ["layer", "output"])
def test_the_aware_scale_is_the_best_of_those_tried(per, meter_error, aware):
    """Errors of the choice, and of the meter on average, over all factors, one by one."""
    weight, mask, h = correlated_layer()
    bank = ResistorBank(n=2, r_min=10e3, sigma_local=0.05, meter_error=meter_error, r_off=1e6)
    die = Die(bank, 1)
    columns, rows = np.nonzero(mask)
    branches = die.branches("fc1", rows, columns, measured=True)
    least = np.broadcast_to(g_per_weight(weight, die, per, layer="fc1"), 12)
    table = []
    for factor in SCALE_FACTORS:
        each = factor * least
        target = each[columns] * weight[mask]
        if aware:
            found = select_layer_aware(branches, target, rows, columns, h)
        else:
            found = select(branches, target)
        error = line_errors(weight, mask, h, found, each)
        for k, (i, j) in enumerate(zip(rows, columns)):
            for b in range(2):
                closed = (found.chosen_pos[k] >> b & 1, found.chosen_neg[k] >> b & 1)
                doubt = sum(c * branches.g_closed[k, s, b] ** 2 for s, c in enumerate(closed))
                error[j] += meter_error**2 * doubt * h[i, i] / each[j] ** 2
        table.append(error)
    best = np.argmin(table if per == "output" else np.sum(table, axis=1), axis=0)
    wanted = np.array(SCALE_FACTORS)[best] * (least if per == "output" else least[0])
    layer = PrunedLayer("fc1", weight, mask)
    assert layer_aware_scale(layer, die, h, per=per, aware=aware) == approx(wanted, rel=1e-12)


def test_the_scale_of_cells_alone_is_tried_and_defaults_are_stated():
    """Dies that were selected before come out the same."""
    assert SCALE_FACTORS == (0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4)
    weight, mask, h = correlated_layer(n_in=200, n_out=3, density=0.9)  # more than a window each
    branches, target, rows, columns, _ = on_die(weight, mask, 2)
    cells = branches, target, rows, columns, h
    usual = select_layer_aware(*cells)
    stated = {"damping": 0.01, "window": 64, "sweeps": 1}
    same = select_layer_aware(*cells, Compensation(**stated))
    np.testing.assert_array_equal(usual.chosen_pos, same.chosen_pos)
    np.testing.assert_array_equal(usual.chosen_neg, same.chosen_neg)
    for change in ({"damping": 0.05}, {"window": 32}, {"sweeps": 2}):
        other = select_layer_aware(*cells, Compensation(**(stated | change)))
        assert (other.chosen_pos != usual.chosen_pos).any(), change


def nearest_plane(values, targets, h, window, sweeps):
    """Return the misses (n_in,) of one dense line, by the textbook, in as few words as possible.

    Babai's nearest plane over blocks of `window` inputs, the strongest first, then each cell of
    the block again with all others held; then `sweeps` more such rounds over all blocks.
    """
    misses, strength = np.zeros(len(targets)), np.argsort(np.diagonal(h))
    sums = values @ np.array(list(product((0, 1), repeat=values.shape[1]))).T

    def choose(cell, aim):
        misses[cell] = targets[cell] - sums[cell][np.argmin(np.abs(sums[cell] - aim))]

    for sweep, stop in product(range(1 + sweeps), range(len(targets), 0, -window)):
        block = strength[max(stop - window, 0) : stop]
        part = h[np.ix_(block, block)]
        if sweep == 0:
            factor, outside = np.linalg.cholesky(part), h[block] @ misses
            shift = np.linalg.solve(part, outside)
            for k in reversed(range(len(block))):
                done = factor[k + 1 :, k] @ (misses[block] + shift)[k + 1 :]
                choose(block[k], targets[block[k]] + shift[k] + done / factor[k, k])
        for cell in block[::-1]:
            others = h[cell] @ misses - h[cell, cell] * misses[cell]
            choose(cell, targets[cell] + others / h[cell, cell])
    return misses


@pytest.mark.parametrize("sweeps", [0, 1, 2])
@pytest.mark.parametrize("window", [8, 24])
def test_cells_are_chosen_as_the_nearest_plane_and_as_often_as_asked(window, sweeps):
    rng = np.random.default_rng(2)
    for _ in range(5):
        x = rng.normal(size=(100, 6)) @ rng.normal(size=(6, 24)) + 0.1 * rng.normal(size=(100, 24))
        h, values = x.T @ x / 100, rng.uniform(-1, 1, (24, 3))
        targets, line = rng.uniform(-1, 1, 24), np.zeros(24, np.int64)
        rule = Compensation(damping=0.0, window=window, sweeps=sweeps)
        masks = choose_together(values, targets, line, np.arange(24), h[None], rule)
        chosen = (masks[:, None] >> np.arange(3) & 1) @ values.T
        misses = targets - np.diagonal(chosen)
        wanted = nearest_plane(values, targets, h, window, sweeps)
        np.testing.assert_allclose(misses, wanted, rtol=0, atol=1e-12)


def test_inputs_of_equal_strength_are_taken_in_their_order():
    """The last first, so that every machine chooses alike; every other input is twice as strong."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 60))
    strength = 1.0 + np.arange(60) % 2
    h = np.corrcoef(x.T) * np.sqrt(np.outer(strength, strength))
    np.fill_diagonal(h, strength)
    values, targets = rng.uniform(-1, 1, (60, 2)), rng.uniform(-1, 1, 60)
    cells = values, targets, np.zeros(60, np.int64), np.arange(60)
    rule = Compensation(damping=0.05, window=64, sweeps=0)
    step = np.diag(1e-9 * np.arange(60))
    wanted = choose_together(*cells, (h + step)[None], rule)
    np.testing.assert_array_equal(choose_together(*cells, h[None], rule), wanted)
    falling = choose_together(*cells, (h - step)[None], rule)
    assert (falling != wanted).any(), "the order tells"


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "speed"}, "error, power"),
        ({"objective": "power"}, "positive tolerance"),
        ({"tolerance": 1e-9}, "positive tolerance"),
    ],
)
def test_an_objective_and_its_tolerance_belong_together(options, message):
    with pytest.raises(ValueError, match=message):
        select(cells(), targets(), **options)


def test_cells_that_disagree_and_false_second_moments_are_errors():
    weight, mask, h = correlated_layer()
    branches, target, rows, columns, _ = on_die(weight, mask, 1)
    with pytest.raises(ValueError, match="pass as many targets"):
        select_layer_aware(branches, target[1:], rows, columns, h)
    for wrong in (h[:, 1:], h[1:, 1:]):
        with pytest.raises(ValueError, match="of all n_in inputs"):
            select_layer_aware(branches, target, rows, columns, wrong)
    for wrong in (h + np.triu(h, 1), np.where(h > 0, np.nan, h)):
        with pytest.raises(ValueError, match="symmetric and finite"):
            select_layer_aware(branches, target, rows, columns, wrong)
    with pytest.raises(ValueError, match="positive definite"):
        select_layer_aware(branches, target, rows, columns, -h)


def test_too_many_switches_and_endless_targets_are_errors_first():
    weight, mask, h = correlated_layer()
    branches, target, rows, columns, _ = on_die(weight, mask, 21)
    with pytest.raises(ValueError, match="42 switches"):
        select_layer_aware(branches, target, rows, columns, h)
    branches, target, rows, columns, _ = on_die(weight, mask, 1)
    with pytest.raises(ValueError, match="finite"):
        select_layer_aware(branches, np.full(len(target), np.nan), rows, columns, h)


def test_a_second_moment_without_damping_must_be_definite_by_itself():
    weight, mask, _ = correlated_layer()
    branches, target, rows, columns, _ = on_die(weight, mask, 1)
    with pytest.raises(ValueError, match="larger damping"):
        select_layer_aware(
            branches, target, rows, columns, np.ones((60, 60)), Compensation(damping=0.0)
        )


def test_choosing_together_takes_any_bank_of_values():
    values = np.array([[1.0], [1.0]])
    h = np.array([[1.0, 0.9], [0.9, 1.0]])
    options = {"damping": 0.0, "window": 8, "sweeps": 0}
    nobody, both = np.zeros(2, np.int64), np.arange(2)
    masks = choose_together(
        values, np.array([0.4, 0.4]), nobody, both, h[None], Compensation(**options)
    )
    assert masks.sum() == 1  # each alone would round down, and the line would miss 0.8
