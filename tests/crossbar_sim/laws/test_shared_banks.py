"""The law of shared banks: exact errors, the prediction, and what sharing costs."""

import itertools

import numpy as np
import pytest

from approx import approx
from crossbar_sim.laws import shared_banks
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.shared_banks import (
    KINDS,
    compare,
    counting_n,
    ladder_errors,
    least,
    of_banks,
    predicted_error,
    separate_errors,
    shared_errors,
    slopes,
    theorem_n,
)


@pytest.fixture(scope="module")
def measured() -> dict:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(shared_banks, "N_VECTOR", range(2, 15))
        return shared_banks.measure(Effort(0.2), 0)


def all_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of all subsets of vectors (n, d), (2^n, d)."""
    choices = np.array(list(itertools.product((0, 1), repeat=len(values))))
    return choices @ values


@pytest.mark.parametrize("d", [1, 2, 3])
def test_shared_errors_are_those_of_enumeration(d):
    found = shared_errors(d, 9, 2, 7)
    for k in range(2):
        values, targets = shared_banks._drawn(d, 9, [7, 0, d, 9, k])
        misses = np.abs(all_sums(values)[:, None] - targets).max(axis=2)
        np.testing.assert_allclose(found[k], misses.min(axis=0), rtol=1e-9, atol=1e-12)


def test_separate_errors_are_the_worst_of_each_weights_own():
    found = separate_errors(2, 8, 1, 7)
    values, targets = shared_banks._drawn(2, 8, [7, 1, 2, 8, 0])
    own = [np.abs(all_sums(values[:, [j]]) - targets[:, j]).min(axis=0) for j in range(2)]
    np.testing.assert_allclose(found[0], np.maximum(*own), rtol=1e-9, atol=1e-12)


def test_one_weight_shares_nothing():
    """The same law, from other draws."""
    shared, separate = (
        np.median(errors(1, 10, 40, 0)) for errors in (shared_errors, separate_errors)
    )
    assert 0.5 < shared / separate < 2


def test_a_ladder_of_few_branches_is_better_than_random_values():
    assert np.quantile(ladder_errors(1, 7, 20, 0), 0.9) < np.quantile(
        separate_errors(1, 7, 20, 0), 0.9
    )


@pytest.mark.parametrize(("d", "n"), [(1, 14), (2, 14), (3, 15)])
def test_the_median_is_near_the_prediction(d, n):
    assert 0.6 < np.median(shared_errors(d, n, 30, 0)) / predicted_error(n, d) < 1.3


def test_no_bank_covers_more_than_counting_allows():
    """2^n cubes of half width eps have no more than 2^n (2 eps)^d of the volume 2^d."""
    d, n = 2, 6
    values, _ = shared_banks._drawn(d, n, [0])
    targets = np.random.default_rng(1).uniform(-1, 1, (4000, d))
    errors = np.abs(all_sums(values)[:, None] - targets).max(axis=2).min(axis=0)
    eps = np.quantile(errors, 0.9)
    assert counting_n(d, float(eps)) <= n
    assert theorem_n(1, 2.0**-5) == 25


def test_bounds_over_banks_hold_the_estimate():
    errors = np.random.default_rng(0).uniform(size=(12, 5))
    row = of_banks(errors, 0)
    assert row["median"] == approx(np.median(errors))
    assert row["median_low"] < row["median"] < row["median_high"]
    assert row == of_banks(errors, 0)


def test_the_least_n_is_that_from_which_all_are_enough():
    curve = [{"n": n, "p90": error} for n, error in ((2, 0.3), (3, 0.1), (4, 0.2), (5, 0.1))]
    assert least(curve, 0.15) == 5
    assert least(curve, 0.5) == 2
    assert least(curve, 0.01) is None


def test_costs_follow_from_the_least_numbers():
    curves = {
        kind: {d: [{"n": n, "p90": 2.0**-n} for n in range(first, 12)] for d in (2, 3, 4)}
        for kind, first in zip(KINDS, (6, 4, 3))
    }
    row = next(row for row in compare(curves) if (row["weights"], row["eps_bits"]) == (2, 1))
    assert (row["n_shared"], row["m_separate"], row["m_ladder"]) == (6, 4, 3)
    assert row["switches_over_separate"] == 6 / 8
    assert row["resistors_over_ladder"] == 2


def test_a_vector_adds_less_than_counting_or_as_much(measured):
    rows = slopes(measured["shared"])
    assert [row["weights"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row["bits_a_vector"] < 2 * row["counting"]


def test_the_tables_and_the_figure(measured, tmp_path):
    assert [len(table.rows) > 0 for table in shared_banks.tables(measured)] == [True, True]
    shared_banks.draw(measured, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000


@pytest.mark.parametrize("errors", KINDS.values(), ids=list(KINDS))
def test_the_same_seed_gives_the_same_and_more_banks_begin_alike(errors):
    few, more, other = errors(2, 7, 3, 1), errors(2, 7, 5, 1), errors(2, 7, 3, 2)
    np.testing.assert_allclose(few, more[:3], rtol=0, atol=0)
    assert np.all(few != other)
