"""Exact sums of integer resistors: counting, the formula of independent subsets, exponents."""

from collections.abc import Iterator

import numpy as np
import pytest

from approx import approx
from crossbar_sim.laws import transition
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.transition import critical_bits, half_point, levels_at, poisson_share


@pytest.fixture(scope="module")
def measured() -> Iterator[dict]:
    """Few of its cases, which take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transition, "N_BANK", {8: 100, 12: 100, 16: 100})
        patch.setattr(transition, "BOOTSTRAP", 10)
        yield transition.measure(Effort(0.1), 0)


@pytest.mark.parametrize("n", [6, 11])
def test_represented_targets_are_those_of_dynamic_programming(n):
    random = np.random.default_rng(n)
    values = random.integers(1, 60, n)
    reached = 1
    for value in values.tolist():
        reached |= reached << value
    targets = np.arange(-2, values.sum() + 3)
    expected = [t >= 0 and bool(reached >> t & 1) for t in targets.tolist()]
    assert transition.represented(values, targets).tolist() == expected


def test_targets_lie_within_a_standard_deviation_of_the_mean():
    values = np.array([3, 4, 12])  # sums: mean 9.5, standard deviation 6.5
    targets = transition.targets_of(values, np.random.default_rng(0))
    assert targets.min() >= 3
    assert targets.max() <= 16


def test_one_subset_on_average_at_the_critical_point():
    """Counted over every subset of many banks, for targets at the mean."""
    n, levels = 14, levels_at(14, 0.0)
    random, counts = np.random.default_rng(1), []
    for _ in range(400):
        sums = np.zeros(1, np.int64)
        for value in random.integers(1, levels, n, endpoint=True):
            sums = np.concatenate([sums, sums + value])
        counts.append(np.mean(np.abs(sums - sums.mean()) < 50) * 2**n / 100)
    assert np.mean(counts) == approx(1.0, rel=0.1)


def test_the_formula_has_its_limits():
    far = poisson_share(np.array([-30.0, 30.0]))
    np.testing.assert_allclose(far, [1.0, 0.0], rtol=0, atol=1e-8)
    assert poisson_share(np.array([half_point()]))[0] == approx(0.5, rel=1e-4)


def test_place_and_width_are_found_in_an_exact_curve():
    """A curve that is moved by 0.3 bits and twice as steep."""
    x = np.array([np.log2(levels_at(20, at)) for at in transition.X]) - critical_bits(20)
    kappa, width = transition.place(20, poisson_share(x, 0.3, 2.0))
    assert width == approx(1 / 40, rel=1e-6)
    assert kappa == approx((critical_bits(20) + 0.3 + half_point() / 2) / 20, rel=1e-9)


def test_exponents_of_the_limit():
    n = np.array([8.0, 16.0, 32.0])
    places = np.stack([1 - 0.5 * np.log2(n) / n + 0.7 / n, 1 / n], axis=1)
    np.testing.assert_allclose(transition.exponents(n, places), [-1, 0.5, -0.7], rtol=1e-9)


def test_the_transition_is_sharp_and_where_it_is_expected(measured):
    rows = [r for r in measured["rows"] if r["n"] == 16]
    assert rows[0]["share_low"] > 0.7
    assert rows[0]["share"] > 0.97
    assert rows[-1]["share"] < 0.2
    (half,) = (f["kappa_half"] for f in measured["fits"] if f["n"] == 16)
    assert half == approx((critical_bits(16) + half_point()) / 16, rel=0.03)


def test_the_same_seed_gives_the_same_figures(measured):
    assert transition.measure(Effort(0.1), 0) == measured
    few = transition.outcomes(12, 3, 0)
    np.testing.assert_array_equal(few, transition.outcomes(12, 5, 0)[:3])
    assert not np.array_equal(few, transition.outcomes(12, 3, 1))
