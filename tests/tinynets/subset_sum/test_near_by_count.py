"""A near sum of exactly k of many values."""

import numpy as np
import pytest

from tinynets.subset_sum import near_by_count, solve_by_count


@pytest.mark.parametrize("k", [1, 3, 8, 13, 16])
def test_of_few_values_it_is_the_nearest(k):
    random = np.random.default_rng(k)
    values = random.uniform(1, 2, 16)
    targets = k * values.mean() + random.uniform(-0.3, 0.3, 5)
    chosen = near_by_count(values, targets, k, random)
    assert np.all(chosen.sum(axis=1) == k)
    nearest = np.abs(solve_by_count(values, targets, k).error[:, k])
    np.testing.assert_allclose(np.abs(chosen @ values - targets), nearest, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "k"), [(200, 3), (200, 100), (200, 198), (90, 82)])
def test_of_many_values_it_has_exactly_k_and_is_near(n, k):
    random = np.random.default_rng(n + k)
    values = random.normal(1, 0.05, n)
    spread = 0.05 * np.sqrt(k * (n - k) / (n - 1))
    targets = k * values.mean() + spread * random.uniform(-1, 1, 20)
    chosen = near_by_count(values, targets, k, random)
    assert np.all(chosen.sum(axis=1) == k)
    assert np.median(np.abs(chosen @ values - targets)) < 0.01 * spread


def test_wrong_shapes_and_counts_are_refused():
    random = np.random.default_rng(0)
    for values, k in ((np.ones((2, 3)), 1), (np.ones(3), 0), (np.ones(3), 4)):
        with pytest.raises(ValueError, match=r"k in 1 … n; .* pass one bank at a time"):
            near_by_count(values, [1.0], k, random)
