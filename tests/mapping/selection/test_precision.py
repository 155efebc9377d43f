"""Bits against branches: the centre law, the bounds, the inverse and the meter's floor."""

from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from mapping.bank import ResistorBank
from mapping.selection.precision import (
    branches_for,
    draw_from,
    full_scale,
    meter_curve,
    precision_curve,
    to_bits,
    useful_branches,
)
from tinynets.subset_sum import band_error


def uniform(n: int, n_instance: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, n]).uniform(0, 1e-5, (n_instance, n))


def differential(n: int, n_instance: int, seed: int) -> np.ndarray:
    values = uniform(2 * n, n_instance, seed)
    values[:, n:] *= -1
    return values


LADDER = ResistorBank(n=4, ratio=1.75, sigma_local=0.05)


@pytest.mark.parametrize("n", [12, 16])
def test_mean_error_at_the_centre_follows_the_law(n):
    values = uniform(n, 300, 0)
    centre, norm = values.sum(axis=1) / 2, np.sqrt(np.sum(values**2, axis=1))
    mean, _ = band_error(values, centre - 0.1 * norm, centre + 0.1 * norm)
    law = np.sqrt(np.pi / 8) * norm * 2.0**-n
    assert np.mean(mean / law) == approx(1, abs=0.15)


def test_a_uniform_bank_gains_about_a_bit_per_resistor():
    curve = precision_curve(uniform, (6, 8, 10, 12), n_instance=1000)
    for statistic in ("mean", "median"):
        slope, low, high = curve.slope(statistic)
        assert low < slope < high
        assert slope == approx(1, abs=0.3)
    assert curve.mean.bits[-1] == approx(12.6, abs=0.1)
    assert curve.median.bits[-1] == approx(9.5, abs=0.1)


def test_statistics_and_bounds_are_in_order():
    curve = precision_curve(uniform, (5, 9), n_instance=400)
    assert np.all(curve.mean.bits > curve.median.bits)
    assert np.all(curve.median.bits > curve.p999.bits)
    assert np.all(curve.p999.bits >= curve.worst.bits)
    for estimate in (curve.mean, curve.median, curve.p999, curve.worst):
        assert np.all((estimate.low <= estimate.bits) & (estimate.bits <= estimate.high))
    assert np.all(curve.worst.low == -np.inf)
    rows = curve.rows()
    assert [row["n"] for row in rows] == [5, 9]
    assert rows[1]["median_low"] == curve.median.low[1]


def test_bounds_cover_the_true_median():
    reference = precision_curve(uniform, [6], n_instance=20_000, seed=1).median.bits[0]
    curves = [precision_curve(uniform, [6], n_instance=100, seed=s).median for s in range(2, 82)]
    covered = np.mean([curve.low[0] <= reference <= curve.high[0] for curve in curves])
    assert covered > 0.87


def test_the_curve_depends_on_the_seed_alone():
    first, again = (precision_curve(uniform, [6], n_instance=50, seed=3) for _ in range(2))
    assert first.rows() == again.rows()
    assert first.rows() != precision_curve(uniform, [6], n_instance=50, seed=4).rows()


def test_bits_and_full_scale():
    assert to_bits(np.array([1 / 512]), 1.0) == 8
    assert to_bits(np.array([0.0]), 1.0) == np.inf
    assert full_scale(np.array([[1.0, 2.0, -4.0]])) == 7


def test_banks_of_dies_include_switch_and_leakage():
    bank = replace(LADDER, sigma_local=0.0, r_on=1e4, r_off=1e9)
    single = draw_from(lambda n: replace(bank, n=n))(5, 3, 0)
    r = replace(bank, n=5).r_nominal
    np.testing.assert_allclose(single, np.tile(1 / (r + 1e4) - 1 / (r + 1e9), (3, 1)))
    pair = draw_from(lambda n: replace(bank, n=n), differential=True)(5, 3, 0)
    np.testing.assert_allclose(pair, np.concatenate([single, -single], axis=1))


def test_a_sub_radix_2_ladder_has_no_gap_where_radix_2_has():
    wide = {"n_instance": 200, "band": (0.1, 0.9)}
    narrow = precision_curve(draw_from(lambda n: replace(LADDER, n=n)), [12], **wide)

    def radix_2(n, n_instance, seed):
        noise = np.random.default_rng([seed, n]).normal(0, 0.05, (n_instance, n))
        return 2.0 ** -np.arange(n) * (1 + noise)

    binary = precision_curve(radix_2, [12], **wide)
    assert narrow.worst.bits[0] > 9
    assert binary.worst.bits[0] < 5


@pytest.mark.parametrize(
    ("draw", "bits"), [(draw_from(lambda n: replace(LADDER, n=n)), 6.0), (differential, 3.0)]
)
def test_the_fewest_branches_that_are_enough(draw, bits):
    answer = branches_for(bits, 0.99, draw)
    assert answer.yield_low >= 0.99
    assert answer.yield_ >= answer.yield_low
    fewer = precision_curve(draw, [answer.n - 1], n_instance=2500)
    assert fewer.worst.bits[0] < bits


@pytest.mark.parametrize("meter_error", [1e-2, 1e-3])
def test_the_meter_sets_a_floor(meter_error):
    curve = meter_curve(uniform, (4, 16), meter_error)
    np.testing.assert_allclose(curve.realised[0], curve.search[0], atol=0.2)
    np.testing.assert_allclose(curve.realised[1], curve.floor[1], atol=0.14)  # within 10 %
    assert curve.search[1] > curve.realised[1] + 2
    # Effective bits: the rms of a sum of 8 of 16 uniform values, over the sum of all, by hand.
    rms = meter_error * np.sqrt(16 / 6) / 8
    assert curve.floor[1] == approx(-np.log2(np.sqrt(12) * rms), abs=0.1)


def test_a_perfect_meter_costs_nothing():
    curve = meter_curve(differential, (3, 5), 0.0, n_instance=200)
    np.testing.assert_allclose(curve.realised, curve.search)
    assert np.all(curve.floor == np.inf)


def test_useful_branches_follow_the_meter():
    useful = [useful_branches(uniform, 10.0**-digits) for digits in (1, 2, 3)]
    expected = np.log2(10.0 ** np.arange(1, 4))
    assert useful == sorted(useful)
    assert np.all(np.abs(useful - expected) <= 2)
    assert useful_branches(uniform, 0.0, n_max=6) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: precision_curve(uniform, []), "expected one n or more and n_instance >= 2"),
        (lambda: precision_curve(uniform, [4], n_instance=1), "n_instance >= 2; got n = .4., 1"),
        (lambda: precision_curve(uniform, [4], confidence=1.0), "confidence .* got 1.0"),
        (lambda: precision_curve(uniform, [4], band=(0.5, 0.5)), "expected a band .* got"),
        (lambda: precision_curve(uniform, [4], band=(0.5, 1.5)), "expected a band .* got"),
        (lambda: precision_curve(uniform, [4, 5], n_instance=9).slope("mean"), "3 values of n"),
        (
            lambda: branches_for(8, 1.0, uniform),
            "yield_ must lie between 0 and 1, such as 0.999; got 1.0",
        ),
        (lambda: branches_for(8, 0.9, uniform, n_max=3), "no bank of up to 3 branches has 8 bits"),
        (lambda: meter_curve(uniform, [4], -0.1), "meter_error must be >= 0, .* got -0.1"),
        (lambda: meter_curve(uniform, [4], 0.1, band=(-0.5, 1)), "expected a band .* got"),
        (lambda: precision_curve(uniform, [27], n_instance=2), "expected 1 to 26 values per bank"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
