"""Points compared on the same dies: by hand, and how often a wrong difference is shown."""

import numpy as np
import pytest
from scipy import stats

from approx import approx
from crossbar_sim.study.intervals import paired_difference
from crossbar_sim.study_report.comparison import compare, holm


def test_holm_by_hand():
    """Of 0.01, 0.04, 0.03: 3 · 0.01, then 2 · 0.03, then at least as much."""
    assert holm(np.array([0.01, 0.04, 0.03])) == approx([0.03, 0.06, 0.06], rel=1e-12)
    np.testing.assert_allclose(
        holm(np.array([0.5, np.nan, 0.9])), [1, np.nan, 1], rtol=1e-12, atol=0
    )
    assert holm(np.array([])).shape == (0,)


def test_two_points_are_compared_as_scipy_does():
    a, b = np.random.default_rng(0).normal([[0.0], [1.0]], size=(2, 6))
    pairs = compare(np.stack([a, b])[:, None, :])
    wanted = stats.ttest_rel(b, a)
    assert pairs.n_test == 1
    assert pairs.p[0, 1] == approx(float(wanted.pvalue), rel=1e-9)
    found, interval = pairs.interval(0, 1), wanted.confidence_interval(0.95)
    assert (found.low, found.high) == approx((interval.low, interval.high), rel=1e-9)
    assert pairs.interval(1, 0).value == approx(-found.value, rel=1e-12)


@pytest.mark.parametrize("n_training", [1, 3])
def test_the_interval_is_that_of_the_paired_difference(n_training):
    a, b = np.random.default_rng(1).normal(size=(2, n_training, 4))
    found = compare(np.stack([a, b])).interval(0, 1)
    keys = [(t, d) for t in range(n_training) for d in range(4)]
    wanted = paired_difference({k: a[k] for k in keys}, {k: b[k] for k in keys})
    assert (found.value, found.low, found.high) == approx((wanted.value, wanted.low, wanted.high))


def test_only_dies_that_both_points_have_are_compared():
    a = np.array([[1.0, 2.0, 3.0, np.nan]])
    b = np.array([[1.5, np.nan, 3.7, 9.0]])
    pairs = compare(np.stack([a, b]))
    assert pairs.mean[0, 1] == approx(0.6, rel=1e-12)
    assert pairs.freedom[0, 1] == 1
    none = compare(np.stack([a, np.full_like(a, np.nan)]))
    assert np.isnan(none.p[0, 1])
    assert none.n_test == 0


def test_one_die_shows_nothing_and_equal_points_do_not_differ():
    alone = compare(np.array([[[0.9]], [[0.8]]]))
    assert (alone.n_test, alone.differs(0, 1), alone.differs_alone(0, 1)) == (0, False, False)
    assert alone.interval(0, 1).half_width == np.inf
    same = compare(np.array([[[0.9, 0.8, 0.7]]] * 2))
    assert same.p[0, 1] == 1.0
    always = compare(np.array([[[1.0, 1.0, 1.0]], [[2.0, 2.0, 2.0]]]))
    assert always.p[0, 1] == 0.0
    assert always.differs(0, 1)


def test_a_wrong_difference_is_shown_seldom_whichever_point_is_best():
    """Of ten equal points, the best differs from another one in less than 5 % of all studies."""
    rng = np.random.default_rng(2)
    wrong = alone = 0
    for _ in range(400):
        values = rng.normal(size=(10, 1, 8)) + 3 * rng.normal(size=8)
        pairs, best = compare(values), int(values.mean(axis=(1, 2)).argmax())
        wrong += any(pairs.differs(best, k) for k in range(10))
        alone += any(pairs.differs_alone(best, k) for k in range(10) if k != best)
    assert wrong < 0.08 * 400  # 5 % and 2.8 standard errors
    assert alone > 0.3 * 400, "without the adjustment, most studies would show one"


def test_how_far_points_must_be_apart_is_where_the_smallest_p_is_shown():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, 1, 5)) * 1e-3
    values[0] += 1.0
    pairs = compare(values)
    needed = pairs.needed(5)
    assert needed == approx(float(stats.t.isf(0.05 / 12, 4)), rel=1e-9)
    assert pairs.differs(0, 1)
    assert abs(pairs.mean[0, 1]) > needed * pairs.error[0, 1]
