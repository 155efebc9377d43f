"""The law of residual banks: what a second bank gains where meters, switches, factors err."""

from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from crossbar_sim.laws import residual_banks
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.residual_banks import Chain, best_shift, errors, row_of
from mapping.selection.bits import worst_case_bits
from mapping.selection.precision import draw_from, meter_curve

PERFECT = Chain(n_bank=2, n=6, shift=5, meter_error=0.0, meter="difference")


@pytest.fixture
def exact(monkeypatch):
    """A scale that is known and a meter of differences without a floor."""
    monkeypatch.setattr(residual_banks, "SIGMA_SCALE", 0.0)
    monkeypatch.setattr(residual_banks, "NULL_FLOOR", 0.0)


@pytest.mark.parametrize("meter", ["sum", "difference"])
def test_without_errors_both_meters_do_the_same(exact, meter):
    found = errors(replace(PERFECT, meter=meter), 50, 0)
    np.testing.assert_allclose(found.made, errors(PERFECT, 50, 0).made, rtol=0, atol=1e-12)


def test_without_errors_the_second_bank_does_all_it_can(exact):
    """Of all 2^6 choices of the second bank, none is nearer, by enumeration."""
    n_cell = 4
    found = errors(PERFECT, n_cell, 0)
    first, second = residual_banks._branches(PERFECT, n_cell, 0, "true")
    full = first.sum(axis=1)
    target = full * np.random.default_rng([0, n_cell]).uniform(0.25, 0.75, n_cell)
    bits = np.array([[mask >> k & 1 for k in range(6)] for mask in range(64)])
    for cell in range(n_cell):
        own, fine = bits @ first[cell], bits @ second[cell] / 32
        aim = target[cell] - second[cell].sum() / 64
        base = own[np.argmin(np.abs(own - aim))]
        best = np.abs(base + fine - target[cell]).min() / full[cell]
        assert found.made[cell] == approx(best, rel=1e-6, abs=1e-12)


def test_one_bank_is_at_the_floor_of_its_meter():
    """As `meter_curve` has it, whose bits are of the rms error."""
    chain = Chain(n_bank=1, n=12, shift=0, meter_error=1e-2, meter="sum")
    rms = np.sqrt(np.mean(errors(chain, 1500, 0).made ** 2))
    floor = meter_curve(draw_from(lambda n: chain.bank), [12], 1e-2, n_instance=1500).floor[0]
    assert -np.log2(np.sqrt(12) * rms) == approx(floor, abs=0.15)


def test_a_meter_of_the_difference_lets_banks_add_up():
    one = Chain(n_bank=1, n=12, shift=0, meter_error=1e-2, meter="difference")
    two = Chain(n_bank=2, n=6, shift=5, meter_error=1e-2, meter="difference")
    assert errors(two, 400, 0).made.mean() < errors(one, 400, 0).made.mean() / 4


def test_a_meter_of_the_sum_does_not():
    one = Chain(n_bank=1, n=12, shift=0, meter_error=1e-2, meter="sum")
    two = Chain(n_bank=2, n=6, shift=5, meter_error=1e-2, meter="sum")
    assert errors(two, 400, 0).made.mean() > 0.8 * errors(one, 400, 0).made.mean()


def test_warm_switches_cost_what_their_share_of_the_branch_says():
    """A branch of r + r_on loses 0.1 r_on / r of its conductance; about half are closed."""
    chain = Chain(n_bank=1, n=12, shift=0, meter_error=0.0, meter="sum")
    found = errors(chain, 400, 0)
    g = 1.75 ** -np.arange(12.0)
    loss = 0.1 * 1e3 / 100e3 * 0.5 * np.sum(g**2) / g.sum()
    assert found.warm.mean() == approx(loss, rel=0.25)
    assert found.made.mean() < loss / 3


def test_the_best_factor_is_that_of_the_least_error():
    best = best_shift(replace(PERFECT, meter_error=1e-3), 40, 3)
    tried = [errors(replace(best, shift=s), 40, 3).made.mean() for s in residual_banks.SHIFTS]
    assert best.shift == residual_banks.SHIFTS[int(np.argmin(tried))]
    one = Chain(n_bank=1, n=5, shift=0, meter_error=0.0, meter="sum")
    assert best_shift(one, 40, 3) is one


def test_a_row_states_bits_with_their_interval():
    row = row_of(PERFECT, 60, 1)
    mean = errors(PERFECT, 60, 1).made.mean()
    assert row["bits"] == approx(float(worst_case_bits(mean, 1.0)))
    assert row["bits_low"] < row["bits"] < row["bits_high"]
    assert row["bits_p99"] < row["bits"]
    assert row["bits_p99_low"] is None, "60 chains give no bound of their worst 1 %"


def test_measured_tables_and_figure(tmp_path):
    found = residual_banks.measure(Effort(0.01), 0)
    assert found == residual_banks.measure(Effort(0.01), 0)
    (table,) = residual_banks.tables(found)
    assert len(table.rows) == 2 * 3 * 2 * 4
    residual_banks.draw(found, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000
