"""The law of a fixed number of closed resistors: its constant, and the chart of n."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from approx import approx
from crossbar_sim.laws import fixed_size
from crossbar_sim.laws.fixed_size import BANKS, Chart, constant, counting_eps, entropy, errors
from crossbar_sim.laws.law import Effort

TINY = Effort(0.03)


@pytest.fixture(scope="module")
def measured() -> Iterator[dict]:
    """Few of its cases, which take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixed_size, "N_BANK", {8: 100, 12: 100, 20: 100})
        patch.setattr(fixed_size, "CLOSED", (3, 6))
        patch.setattr(fixed_size, "EPS_BITS", (4, 7, 10))
        yield fixed_size.measure(TINY, 0)


def test_entropy_counts_subsets():
    assert entropy(0.5) == 1
    assert entropy(0.0) == entropy(1.0) == 0
    assert 1000 * entropy(0.3) == approx(math.log2(math.comb(1000, 300)), rel=0.01)


def test_errors_are_those_of_enumeration():
    """Of every subset of 7 values, one by one."""
    found = errors("normal", 7, 3, n_bank=2, seed=5, largest=7)
    kind = list(BANKS).index("normal")
    for bank in range(2):
        random = np.random.default_rng([5, kind, 7, 3, bank])
        values = BANKS["normal"].draw(random, 7)
        targets = BANKS["normal"].targets(random, 7, 3, fixed_size.N_TARGET)
        for k in range(8):
            sums = np.array([sum(s) for s in itertools.combinations(values, k)])
            nearest = np.abs(sums - targets[:, None]).min(axis=1)
            np.testing.assert_allclose(found[bank, :, k], nearest, rtol=1e-9, atol=1e-13)


def test_no_bank_beats_counting_on_the_whole_window():
    """At a share of 1 the bound holds for each bank alone: its sums must cover the window."""
    k, n = 2, 4
    window = BANKS["uniform [-1, 1]"].targets(np.random.default_rng(0), n, k, 4000)
    values = np.random.default_rng(1).uniform(-1, 1, n)
    sums = np.array([sum(s) for s in itertools.combinations(values, k)])
    worst = np.abs(sums - window[:, None]).min(axis=1).max()
    assert worst > 0.99 * counting_eps(n, k, 1.0)


def test_the_constant_solves_its_formula():
    c = constant(20, 5, 1e-3)
    assert c * math.log2(5 / 1e-3) / entropy(5 / 20) == approx(20, rel=1e-12)


def test_equal_resistors_are_normal_values_moved_and_scaled():
    """With k closed they differ by the curvature of 1/r alone, a few percent of an error."""
    pairs = [(errors(kind, 12, 4, n_bank=60, seed=1, largest=4)[..., 4]) for kind in BANKS]
    normal, equal = (np.median(pairs[list(BANKS).index(kind)]) for kind in ("normal", "equal, 5 %"))
    assert 0.6 < equal / normal < 1.6


def test_fewer_restrictions_come_nearer(measured):
    rows = measured["constants"]
    assert len(rows) > 20
    for row in rows:
        assert 0 <= row["gain_at_most"] <= row["gain_free"]
        assert row["c_low"] <= row["c"] <= row["c_high"]


def test_the_chart_grows_with_precision(measured):
    own = [r["n"] for r in measured["least"] if r["bank"] == "normal" and r["k"] == 3]
    assert own == sorted(own)
    assert own[-1] > 3 * own[0]


def test_the_least_n_of_the_chart_is_the_first_that_is_enough():
    chart = Chart("normal", 3, 10, 2)
    least = chart._least(2.0**-6, "value")
    assert chart._reaches(least, 2.0**-6, "value")
    assert not chart._reaches(least - 1, 2.0**-6, "value")


def test_counting_and_the_theorem_by_hand():
    """At eps = 2^-9: 12 H2(1/2) = 12 >= log2(6 · 512) = 11.6; 15 H2(1/5) = 10.8 >= 10.6."""
    assert fixed_size.theorem_n(6, 2.0**-9) == 12
    assert fixed_size.theorem_n(3, 2.0**-9) == 15
    n = fixed_size.counting_n(3, 2.0**-9)
    assert math.comb(n, 3) >= 0.9 * math.sqrt(3) * 2**9 > math.comb(n - 1, 3)


def test_the_same_seed_gives_the_same_figures(measured):
    again = fixed_size.measure(TINY, 0)
    assert again == measured
    assert fixed_size.measure(TINY, 1) != measured
