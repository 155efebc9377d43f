"""Intervals of shares, and pairs of networks on the same samples."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim.findings.shares import compared, exact_test, share_interval


def test_wilsons_interval_is_the_one_of_its_formula():
    n, share, z = 450, 414 / 450, 1.959963984540054
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    wide = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    found = share_interval(414, n)
    assert (found.value, found.low, found.high) == approx((share, centre - wide, centre + wide))


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected 0 <= good <= total and total >= 1; got 3 good"):
        share_interval(3, 2)


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(5, 2, 58 / 128), (2, 5, 58 / 128), (0, 6, 2 / 64), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_the_exact_test_sums_the_binomial_distribution(lost, gained, p):
    assert exact_test(lost, gained) == approx(p)


def test_samples_lost_and_gained_are_counted_on_the_same_samples():
    reference = np.array([True] * 6 + [False] * 4)
    right = np.array([True] * 3 + [False] * 3 + [True] * 2 + [False] * 2)
    row = compared(right, reference)
    assert (row["lost"], row["gained"], row["p"]) == (3, 2, 1.0)
    assert (row["low"], row["high"]) == approx(
        (share_interval(5, 10).low, share_interval(5, 10).high)
    )


def test_what_does_not_exist_is_none():
    assert set(compared(None).values()) == {None}
    alone = compared(np.array([True, False]))
    assert alone["low"] is not None
    assert (alone["lost"], alone["gained"], alone["p"]) == (None, None, None)
