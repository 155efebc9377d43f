"""Failures of whole windows: the closed form of the edges, and splitting without bias."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from approx import approx
from crossbar_sim.laws import failure
from crossbar_sim.laws.failure import edge_probability, gap_score, split
from crossbar_sim.laws.law import Effort


@pytest.fixture(scope="module")
def measured() -> Iterator[dict]:
    """Few of its cases, which take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failure, "N_DRAW", {6: 20000, 8: 20000, 10: 4000})
        patch.setattr(failure, "SPLIT", (8,))
        yield failure.measure(Effort(0.1), 0)


def reach(values: np.ndarray) -> np.ndarray:
    """The lesser of how far the sums reach down and up."""
    return np.minimum(-values.clip(max=0).sum(axis=1), values.clip(min=0).sum(axis=1))


@pytest.mark.parametrize(("n", "eps"), [(1, 0.25), (5, 0.25), (8, 0.125)])
def test_the_closed_form_of_the_edges_is_what_banks_do(n, eps):
    values = np.random.default_rng(n).uniform(-1, 1, (40000, n))
    share = float(np.mean(reach(values) < 0.5 - eps))
    expected = edge_probability(n, eps)
    assert share == approx(expected, rel=0, abs=4 * math.sqrt(0.25 / 40000) + 1e-9)
    assert edge_probability(n, 0.5) == approx(2.0 ** (1 - n), rel=1e-12)


def test_splitting_is_unbiased_where_there_is_a_closed_form():
    """That all sums reach less far down than a: about 4e-5 for 14 values, far below one in 50."""
    n, a = 14, 0.1
    exact = sum(math.comb(n, j) * a**j / math.factorial(j) for j in range(n + 1)) / 2**n
    levels = [-2.0, -1.4, -1.0, -0.7, -0.45, -0.25, -a]
    runs = [
        split(n, lambda v: v.clip(max=0).sum(axis=1), levels, np.random.default_rng([7, k]), 150)
        for k in range(200)
    ]
    assert exact < 3e-4
    error = np.std(runs) / math.sqrt(len(runs))
    assert error < 0.15 * exact
    assert np.mean(runs) == approx(exact, rel=0, abs=3.5 * error)


def test_splitting_agrees_with_plain_draws_for_gaps():
    score = gap_score(0.125)
    plain = float(np.mean(score(np.random.default_rng(0).uniform(-1, 1, (30000, 8))) > 0.125))
    runs = failure.split_runs(8, 0.125, 3, particles=400)
    error = math.hypot(np.std(runs, ddof=1) / math.sqrt(12), math.sqrt(plain / 30000))
    assert np.mean(runs) == approx(plain, rel=0, abs=4 * error)
    assert error < 0.2 * plain


def test_an_extinct_run_estimates_zero():
    random = np.random.default_rng(0)
    assert split(3, lambda v: v.sum(axis=1), [0.0, 5.0], random, 50) == 0.0


def test_the_score_is_the_worst_target_of_a_bank_that_reaches_the_edges():
    values = np.array([[-0.6, 0.7], [0.1, 0.2]])
    np.testing.assert_allclose(gap_score(0.25)(values), [0.3, -1.0], rtol=0, atol=1e-12)


def test_constants_of_exact_bounds_are_found_again():
    rows = [
        {"n": n, "eps_bits": bits, "failure": p, "failure_high": p}
        for n in (10, 14, 18)
        for bits in (2, 3)
        for p in [2 * math.exp(-((n - 1.5 * bits) ** 2) / (2.5 * n))]
    ]
    found = {row["constant"]: row for row in failure.constants(rows, 0)}
    assert found["C"]["value"] == approx(1.5, rel=1e-9)
    assert found["kappa"]["value"] == approx(2.5, rel=1e-9)


def test_failures_fall_with_n_and_keep_their_edges(measured):
    own = [row for row in measured["rows"] if row["eps_bits"] == 3]
    assert [row["n"] for row in own] == [6, 8, 10]
    assert own[0]["failure"] > own[1]["failure"] > own[2]["failure"]
    for row in own:
        assert row["failure"] >= row["edge"]
        assert row["failure_low"] <= row["failure"] <= row["failure_high"]


def test_the_same_seed_gives_the_same_figures(measured):
    assert failure.measure(Effort(0.1), 0) == measured
    assert failure.measure(Effort(0.1), 1) != measured
