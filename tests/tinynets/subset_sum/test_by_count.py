"""The nearest sum of exactly k values."""

import itertools

import numpy as np
import pytest

from tinynets.subset_sum import by_count, nearest_by_count, solve, solve_by_count


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_each_count_is_that_of_enumeration(n):
    random = np.random.default_rng(n)
    values, targets = random.normal(size=n), random.normal(size=6)
    found = solve_by_count(values, targets, n)
    for k in range(n + 1):
        sums = np.array([sum(s) for s in itertools.combinations(values, k)])
        nearest = np.abs(sums - targets[:, None]).min(axis=1)
        np.testing.assert_allclose(np.abs(found.error[:, k]), nearest, rtol=1e-9, atol=1e-14)
        assert np.all(found.chosen[:, k].sum(axis=1) == k)
    realised = found.chosen @ values - targets[:, None]
    np.testing.assert_allclose(realised, found.error, rtol=1e-9, atol=1e-14)


def test_the_best_count_is_what_the_solver_finds():
    random = np.random.default_rng(0)
    values, targets = random.uniform(size=24), random.uniform(3, 9, size=5)
    nearest = nearest_by_count(values, targets, 24).min(axis=1)
    np.testing.assert_allclose(nearest, np.abs(solve(values, targets).error), rtol=0, atol=1e-13)


def test_a_limit_leaves_the_other_counts_as_they_are():
    random = np.random.default_rng(1)
    values, targets = random.normal(size=11), random.normal(size=4)
    all_counts = nearest_by_count(values, targets, 11)
    np.testing.assert_array_equal(nearest_by_count(values, targets, 3), all_counts[:, :4])


def test_lists_in_halves_are_those_one_by_one(monkeypatch):
    random = np.random.default_rng(2)
    values, targets = random.normal(size=17), random.normal(size=4)
    whole = solve_by_count(values, targets, 5)
    monkeypatch.setattr(by_count, "ONE_BY_ONE", 2)
    halved = solve_by_count(values, targets, 5)
    np.testing.assert_array_equal(halved.chosen, whole.chosen)
    np.testing.assert_allclose(halved.error, whole.error, rtol=0, atol=1e-14)


def test_few_of_many_values():
    values = np.arange(1.0, 301.0)
    np.testing.assert_array_equal(
        nearest_by_count(values, [599.0, 600.0, 2.5], 2)[:, 2], [0.0, 1.0, 0.5]
    )


def test_wrong_shapes_and_limits_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"pass one bank at a time"):
        nearest_by_count(np.ones((2, 3)), [1.0], 1)
    with pytest.raises(ValueError, match=r"largest must lie in 0 … 3, the values; got 4"):
        nearest_by_count(np.ones(3), [1.0], 4)
    monkeypatch.setattr(by_count, "LARGEST_LISTS", 100)
    with pytest.raises(ValueError, match=r"has 512 subsets of up to 9 of 9 values, over 100"):
        nearest_by_count(np.ones(18), [1.0], 9)
