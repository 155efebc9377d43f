"""Which random units are kept: exactly a quarter of them."""

import numpy as np

from approx import approx
from tinynets.lottery import gadgets
from tinynets.lottery.gadgets import quarter, subset


def test_exactly_a_quarter_of_the_units_is_kept():
    rng = np.random.default_rng(2)
    values, targets = rng.uniform(-1, 1, (2, 3, 8)), rng.uniform(-1, 1, (2, 3))
    kept = quarter(values, targets)
    np.testing.assert_array_equal(kept.sum(axis=2), 2)
    pairs = [v[a] + v[b] for v in [values[1, 2]] for a in range(8) for b in range(a)]
    error = abs(values[1, 2][kept[1, 2]].sum() - targets[1, 2])
    assert error == approx(np.abs(np.array(pairs) - targets[1, 2]).min(), abs=1e-14)
    free = subset(values, targets)
    far = [np.abs((values * chosen).sum(axis=2) - targets) for chosen in (kept, free)]
    assert (far[1] <= far[0] + 1e-14).all()


def test_many_subsets_are_searched_as_few_are_listed(monkeypatch):
    rng = np.random.default_rng(3)
    values, targets = rng.uniform(-1, 1, (4, 5, 12)), rng.uniform(-1, 1, (4, 5))
    listed = quarter(values, targets)
    monkeypatch.setattr(gadgets, "LISTED", 0)
    np.testing.assert_array_equal(quarter(values, targets), listed)
    np.testing.assert_array_equal(listed.sum(axis=2), 3)
