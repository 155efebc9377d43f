"""Weights as sums of random values: the tail of their errors, against enumeration."""

from itertools import product

import numpy as np
import pytest
from scipy.special import eval_laguerre

from approx import approx
from tinynets.lottery.tails import GRID_BITS, draw_values, least_rms, make, out_of_reach


def test_weights_are_the_nearest_subset_sums():
    """By enumeration of all subsets."""
    rng = np.random.default_rng(0)
    targets = rng.uniform(-1.5, 1.5, (4, 5))
    values = draw_values("products", targets.shape, 6, rng)
    made = make(targets, values)
    sums = values @ np.array(list(product((0, 1), repeat=6))).T
    error = np.abs(sums - targets[..., None]).min(axis=-1)
    np.testing.assert_allclose(np.abs(made.error), error, rtol=0, atol=1e-14)


def test_a_weight_out_of_reach_is_off_by_what_is_missing():
    values = np.array([[[0.5, 0.25, -0.3], [-0.5, -0.1, 0.2]]])
    made = make(np.array([[1.0, -0.8]]), values)
    np.testing.assert_allclose(made.short, [[0.25, 0.2]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(made.error, [[-0.25, 0.2]], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(made.kept, [[2, 2]])


def test_the_share_out_of_reach_is_of_laguerre_polynomials():
    assert out_of_reach(0.7, 9) == approx(eval_laguerre(9, -0.7) / 2**9, rel=1e-12)
    assert out_of_reach(0.0, 5) == 2.0**-5


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_closed_forms_agree_with_draws(weight):
    count, n = 40_000, 5
    values = draw_values("singles", (1, count), n, np.random.default_rng(1))
    most = np.maximum(values, 0).sum(axis=2)
    short = np.maximum(weight - most, 0)
    share = out_of_reach(weight, n)
    wide = 4 * np.sqrt(share / count)
    assert np.mean(short > 0) == approx(share, abs=wide)
    assert np.sqrt(np.mean(short**2)) == approx(least_rms(np.array(weight), n), rel=0.05)


def test_the_least_rms_never_exceeds_the_rms():
    values = draw_values("singles", (1, 20_000), 6, np.random.default_rng(2))
    made = make(np.full((1, 20_000), 0.9), values)
    rms = np.sqrt(np.mean(made.error**2))
    assert least_rms(np.array(0.9), 6) < 1.05 * rms


def test_its_bound_falls_by_less_than_the_root_of_two():
    falls = [least_rms(np.array(1.0), n) / least_rms(np.array(1.0), n + 1) for n in range(1, 120)]
    assert max(falls) < np.sqrt(2)
    assert falls[-1] > 1.33


def test_values_are_of_their_kind():
    rng = np.random.default_rng(3)
    balanced = draw_values("balanced products", (3, 4), 8, rng)
    np.testing.assert_array_equal((balanced > 0).sum(axis=2), 4)
    whole = draw_values("integers", (3, 4), 8, rng) * 2**GRID_BITS
    np.testing.assert_array_equal(whole, np.round(whole))
    shared = draw_values("products", (3, 4), 8, np.random.default_rng(4))
    first = np.random.default_rng(4)
    second = first.uniform(-1, 1, (3, 4, 8))
    np.testing.assert_allclose(
        shared / second, np.broadcast_to(shared[0] / second[0], (3, 4, 8)), rtol=1e-9
    )


def test_another_kind_of_values_is_refused():
    with pytest.raises(ValueError, match=r"kind must be 'products'.*; got 'normal'"):
        draw_values("normal", (1, 1), 2, np.random.default_rng(0))
