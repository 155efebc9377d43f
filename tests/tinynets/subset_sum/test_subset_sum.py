"""The subset-sum solver against brute force, dynamic programming and its own stated rules."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approx import approx
from tinynets.subset_sum import band_error, largest_gap, solve, solve_top, solve_vectors


def membership(n: int) -> np.ndarray:
    """(2^n, n), row m the bits of mask m."""
    return np.arange(2**n)[:, None] >> np.arange(n) & 1


def ranking(values: np.ndarray, target: float, allowed: np.ndarray | None = None) -> np.ndarray:
    """All masks from best to worst by the documented rule; exact for multiples of 1/8."""
    bits = membership(len(values))
    miss, heavy, closed = abs(bits @ values - target), bits @ abs(values), bits.sum(axis=1)
    masks = np.arange(len(bits)) if allowed is None else np.flatnonzero(allowed)
    return masks[np.lexsort((masks, heavy[masks], closed[masks], miss[masks]))]


def lightest_within(values: np.ndarray, target: float, tolerance: float, most: int) -> int | None:
    bits = membership(len(values))
    allowed = (abs(bits @ values - target) <= tolerance) & (bits.sum(axis=1) <= most)
    masks = np.flatnonzero(allowed)
    heavy, closed = (bits @ abs(values))[masks], bits.sum(axis=1)[masks]
    return masks[np.lexsort((masks, closed, heavy))][0] if masks.size else None


def eighths(
    random: np.random.Generator, shape: int | tuple[int, ...], high: int = 40
) -> np.ndarray:
    """Values that float64 adds exactly and that tie often."""
    return random.integers(-high, high + 1, shape) / 8


# ---- against brute force and other algorithms ---------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 11, 16])
def test_random_banks_reach_the_brute_force_minimum(n):
    random = np.random.default_rng(n)
    values, targets = random.uniform(-1, 1, (20, n)), random.uniform(-2, 2, 20)
    found = solve(values, targets)
    sums = values @ membership(n).T
    assert found.mask.tolist() == abs(sums - targets[:, None]).argmin(axis=1).tolist()
    np.testing.assert_allclose(found.error, found.value - targets, atol=0)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12])
@pytest.mark.parametrize("high", [1, 6, 400])
def test_ties_follow_the_rule(n, high):
    random = np.random.default_rng(n)
    values, targets = eighths(random, (20, n), high), eighths(random, 20, 2 * high)
    expected = [ranking(v, t)[0] for v, t in zip(values, targets)]
    assert solve(values, targets).mask.tolist() == expected


@pytest.mark.parametrize("n", [1, 5, 10])
def test_candidates_come_in_the_order_of_the_rule(n):
    random = np.random.default_rng(n)
    values, targets = eighths(random, (20, n), 6), eighths(random, 20, 10)
    top = min(7, 2**n)
    found = solve_top(values, targets, top)
    assert found.mask.tolist() == [ranking(v, t)[:top].tolist() for v, t in zip(values, targets)]
    assert found.value.shape == found.error.shape == (20, top)
    assert np.all(np.diff(abs(found.error), axis=1) >= 0)


@pytest.mark.parametrize("n", [1, 5, 10])
@pytest.mark.parametrize("most", [0, 2, 4, None])
def test_the_lightest_within_the_tolerance(n, most):
    random = np.random.default_rng(n)
    values, targets = eighths(random, (30, n)), eighths(random, 30, 80)
    found = solve(values, targets, tolerance=0.5, max_closed=most)
    closed = membership(n).sum(axis=1)
    assert len(found.mask) == 30
    for v, t, mask in zip(values, targets, found.mask):
        light = lightest_within(v, t, 0.5, n if most is None else most)
        allowed = closed <= (n if most is None else most)
        assert mask == (ranking(v, t, allowed)[0] if light is None else light)


@pytest.mark.parametrize("most", [0, 1, 3, 6, 9, 20])
def test_at_most_so_many_closed(most):
    random = np.random.default_rng(most)
    values, targets = eighths(random, (20, 9), 9), eighths(random, 20, 30)
    allowed = membership(9).sum(axis=1) <= most
    expected = [ranking(v, t, allowed)[0] for v, t in zip(values, targets)]
    assert solve(values, targets, max_closed=most).mask.tolist() == expected


def reachable(values: np.ndarray) -> np.ndarray:
    """All subset sums of positive integers, by dynamic programming."""
    possible = np.zeros(values.sum() + 1, bool)
    possible[0] = True
    for value in values:
        possible[value:] |= possible[:-value].copy()
    return np.flatnonzero(possible)


@pytest.mark.parametrize("n", [17, 24, 31, 36])
def test_integers_reach_the_dynamic_programming_minimum(n):
    random = np.random.default_rng(n)
    values = random.integers(1, 50, (10, n)) * random.integers(1, 20_000, (10, n))
    targets = random.integers(-10, values.sum(axis=1) + 10)
    expected = [abs(reachable(v) - t).min() for v, t in zip(values, targets)]
    assert abs(solve(values, targets).error).tolist() == expected


def test_forty_values_hide_a_subset():
    random = np.random.default_rng(0)
    values = random.uniform(0, 1, (1, 40))
    hidden = random.integers(0, 2, 40).astype(bool)
    found = solve(values, [values[0, hidden].sum()])
    assert abs(found.error[0]) < 1e-11


def test_the_same_bank_for_all_targets_as_one_bank_each():
    random = np.random.default_rng(0)
    for n, count in [(1, 5), (6, 3), (6, 500), (12, 500), (23, 4)]:
        values, targets = eighths(random, n, 50), eighths(random, count, 200)
        each = solve(np.tile(values, (count, 1)), targets)
        for options in ({}, {"max_closed": n - 1}):
            shared = solve(values, targets, **options)
            limited = solve(np.tile(values, (count, 1)), targets, **options)
            assert shared.mask.tolist() == limited.mask.tolist()
        assert solve(values, targets).mask.tolist() == each.mask.tolist()
        assert solve_top(values, targets, 2).mask[:, 0].tolist() == each.mask.tolist()


# ---- properties ---------------------------------------------------------------------------------

finite = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x * 8) / 8)
banks = st.lists(finite, min_size=1, max_size=9)


@given(banks, finite)
def test_any_bank_is_solved_by_the_rule(values, target):
    assert solve([values], [target]).mask[0] == ranking(np.array(values), target)[0]


@given(banks, finite, st.integers(-200, 200))
def test_a_power_of_two_scales_everything(values, target, exponent):
    plain = solve([values], [target])
    scaled = solve([np.ldexp(values, exponent)], [np.ldexp(target, exponent)])
    assert scaled.mask[0] == plain.mask[0]
    assert scaled.value[0] == np.ldexp(plain.value[0], exponent)


@given(banks, finite, st.randoms(use_true_random=False))
def test_order_of_the_values_does_not_change_the_optimum(values, target, random):
    shuffled = random.sample(values, len(values))
    assert abs(solve([shuffled], [target]).error[0]) == abs(solve([values], [target]).error[0])


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9), st.floats(-1e300, 1e300))
def test_huge_ratios_are_as_good_as_float64_brute_force(values, target):
    values = np.array(values)
    sums = membership(len(values)) @ values
    best = abs(sums - target).min()
    error = abs(solve([values], [target]).error[0])
    assert error <= best + 1e-14 * (abs(target) + best)


@pytest.mark.parametrize(
    ("values", "target", "mask"),
    [
        ([1e12, -1e12, 1e-12], 2e-12, 4),
        ([1e-12, 1e12], 1.5e-12, 1),
        ([1.0, 1e-30, 1e-200], 3e-200, 4),
        ([5e-324, 1.0], 5e-324, 1),
    ],
)
def test_small_values_beside_large_ones(values, target, mask):
    assert solve([values], [target]).mask[0] == mask
    assert solve(values, [target]).mask[0] == mask
    assert solve([values], [target], max_closed=1).mask[0] == mask


@pytest.mark.parametrize("n", [2, 9, 16, 40])
def test_equal_values_tie_to_the_lowest_bits(n):
    for closed in (0, 1, n // 2, n):
        found = solve(np.full((1, n), 0.1), [0.1 * closed])
        assert found.mask[0] == 2**closed - 1
        assert solve_top(np.full(n, 0.1), [0.1 * closed], 2).mask[0, 0] == 2**closed - 1


def test_zeros_are_never_chosen():
    assert solve(np.zeros((1, 12)), [0.3]).mask[0] == 0
    assert solve(np.zeros(12), [0.0]).mask[0] == 0
    assert solve([[0.0, 1.0, 0.0, 1.0]], [1.0]).mask[0] == 2


def test_unreachable_targets_take_the_extreme_sum():
    values = np.array([1.0, 2.0, -4.0])
    for target, mask in [(1e6, 3), (np.finfo(float).max, 3), (-1e300, 4), (3.1, 3), (-4.1, 4)]:
        assert solve([values], [target]).mask[0] == mask
        assert solve(values, [target]).mask[0] == mask
    assert solve([values], [1e6], tolerance=1e6 - 2).mask[0] == 2
    assert solve([values], [1e6], tolerance=2.0).mask[0] == 3


def test_a_tolerance_for_each_problem():
    values, targets = np.tile([1.0, 3.0, 4.0, -2.0], (3, 1)), np.full(3, 4.5)
    found = solve(values, targets, tolerance=[0.0, 2.0, 5.0])
    assert found.mask.tolist() == [4, 2, 0]


# ---- determinism --------------------------------------------------------------------------------


def test_threads_and_order_do_not_change_the_result():
    random = np.random.default_rng(0)
    values, targets = random.choice([0.1, 0.2, 0.3], (3001, 14)), random.uniform(0, 3, 3001)
    expected = solve(values, targets)
    before = numba.get_num_threads()
    try:
        for threads in range(1, before + 1):
            numba.set_num_threads(threads)
            np.testing.assert_array_equal(solve(values, targets).mask, expected.mask)
    finally:
        numba.set_num_threads(before)
    reverse = solve(values[::-1], targets[::-1])
    np.testing.assert_array_equal(reverse.mask[::-1], expected.mask)
    np.testing.assert_array_equal(reverse.value[::-1], expected.value)


def test_calls_from_several_threads():
    random = np.random.default_rng(0)
    values, targets = random.uniform(-1, 1, (5000, 12)), random.uniform(-1, 1, 5000)
    expected = solve(values, targets).mask
    with ThreadPoolExecutor(4) as pool:
        found = [s.mask for s in pool.map(lambda _: solve(values, targets), range(8))]
    np.testing.assert_array_equal(found, [expected] * 8)


def test_inputs_stay_as_they_are():
    values, targets = np.arange(1.0, 7.0).reshape(2, 3), np.array([3.0, 9.0])
    values.setflags(write=False)
    solve(values, targets, tolerance=0.5)
    assert values.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_no_problems_give_empty_arrays():
    for found in (solve(np.empty((0, 5)), []), solve(np.ones(5), [], tolerance=1.0)):
        assert found.mask.shape == found.value.shape == found.error.shape == (0,)
        assert found.mask.dtype == np.uint64
    assert solve_top(np.empty((0, 5)), [], 3).mask.shape == (0, 3)
    assert largest_gap(np.empty((0, 5)), 0.0, 1.0).shape == (0,)
    assert solve_vectors(np.ones((3, 2)), np.empty((0, 2))).error.shape == (0, 2)


# ---- gaps ---------------------------------------------------------------------------------------


def test_largest_gap_within_a_band():
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, (6, 10))
    low, high = -0.3, random.uniform(-0.2, 0.4, 6)
    gaps = largest_gap(values, low, high)
    for bank, upper, gap in zip(values, high, gaps):
        sums = np.sort(membership(10) @ bank)
        inside = (sums[:-1] < upper) & (sums[1:] > low)
        assert gap == approx(np.diff(sums)[inside].max(), abs=1e-14)
    assert largest_gap(values[0], low, high[0]) == gaps[0]


def test_a_band_beyond_the_sums_has_an_infinite_gap():
    assert largest_gap([1.0, 1.0], -0.1, 1.0) == np.inf
    assert largest_gap([1.0, 1.0], 1.0, 2.1) == np.inf
    assert largest_gap([1.0, 1.0], 0.0, 2.0) == 1.0
    values = np.random.default_rng(0).uniform(0, 1, (50, 9))
    assert np.all(np.isfinite(largest_gap(values, 0.0, values.sum(axis=1))))


def test_error_over_a_band():
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, (5, 4))
    low, high = random.uniform(-3, 0, 5), random.uniform(0.1, 3, 5)
    mean, worst = band_error(values, low, high)
    for bank, start, stop, average, most in zip(values, low, high, mean, worst):
        targets = np.linspace(start, stop, 20_001)
        error = abs(solve(bank, targets).error)
        assert average == approx(np.trapezoid(error, targets) / (stop - start), rel=1e-3)
        assert most == approx(error.max(), rel=1e-3)
    assert band_error(values[0], low[0], high[0]) == (mean[0], worst[0])


# ---- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 2), (10, 3), (11, 1), (12, 5)])
def test_vectors_reach_the_brute_force_minimum(n, d):
    random = np.random.default_rng(n)
    values, targets = random.uniform(-1, 1, (n, d)), random.uniform(-1, 1, (5, d))
    found = solve_vectors(values, targets)
    miss = abs(membership(n) @ values - targets[:, None]).max(axis=2).min(axis=1)
    assert found.exact
    np.testing.assert_allclose(abs(found.error).max(axis=1), miss, atol=1e-12)
    np.testing.assert_allclose(found.value, found.chosen @ values, atol=1e-12)
    np.testing.assert_allclose(found.error, found.value - targets, atol=1e-12)


def test_many_vectors_use_the_heuristic_and_say_so():
    random = np.random.default_rng(0)
    values, targets = random.uniform(-1, 1, (60, 2)), random.uniform(-1, 1, (2, 2))
    greedy = solve_vectors(values, targets, rounds=0)
    found = solve_vectors(values, targets, rounds=20)
    assert not found.exact
    assert abs(found.error).max() < 1e-2 < abs(greedy.error).max() + 1e-2
    again = solve_vectors(values, targets, rounds=20)
    np.testing.assert_array_equal(found.chosen, again.chosen)


# ---- errors -------------------------------------------------------------------------------------

ONE = np.ones((1, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: solve([[1.0, np.nan]], [0.0]),
            r"values must be finite; got nan at index \(0, 1\)",
        ),
        (lambda: solve(ONE, [np.inf]), r"targets must be finite; got inf at index \(0,\)"),
        (lambda: solve(np.ones((1, 1, 3)), [0.0]), r"values must have shape .* got \(1, 1, 3\)"),
        (lambda: solve(1.0, [0.0]), r"values must have shape .* got \(\)"),
        (lambda: solve(ONE, 0.0), r"targets must have shape \(n_problem,\); got \(\)"),
        (lambda: solve(ONE, [[0.0]]), r"targets must have shape \(n_problem,\); got \(1, 1\)"),
        (lambda: solve(ONE, [0.0, 1.0]), "values has 1 banks but targets has 2 entries"),
        (lambda: solve(np.ones((2, 0)), [0.0, 0.0]), "expected 1 to 40 values per bank; got 0"),
        (lambda: solve(np.ones(41), [0.0]), "expected 1 to 40 values per bank; got 41"),
        (lambda: solve([[1e308, 1e308]], [0.0]), r"sum of \|values\| .* exceeds the largest"),
        (lambda: solve(ONE, [0.0], tolerance=-1.0), "tolerance must be >= 0; got -1.0"),
        (lambda: solve(ONE, [0.0], tolerance=np.nan), "tolerance must be finite; got nan"),
        (lambda: solve(ONE, [0.0], tolerance=[1.0, 2.0]), r"tolerance must .* got \(2,\)"),
        (lambda: solve(ONE, [0.0], max_closed=-1), "max_closed must be >= 0; got -1"),
        (lambda: solve_top(ONE, [0.0], 0), r"top must lie in 1\.\.8, .* got 0"),
        (lambda: solve_top(ONE, [0.0], 9), r"top must lie in 1\.\.8, .* got 9"),
        (lambda: largest_gap(ONE, 1.0, 0.5), "expected a band with low <= high; got low = 1.0"),
        (lambda: largest_gap(ONE, np.nan, 0.5), "low must be finite; got nan"),
        (lambda: band_error(ONE, 0.5, 0.5), "expected a band with low < high; got 0.5 for both"),
        (lambda: largest_gap(np.ones(27), 0.0, 1.0), "expected 1 to 26 values per bank; got 27"),
        (lambda: solve_vectors(ONE[0], ONE), r"values must have shape \(n, d\).* got \(3,\)"),
        (lambda: solve_vectors(ONE, ONE[:, :2]), r"targets must have shape \(n_target, 3\)"),
        (lambda: solve_vectors(ONE, ONE, rounds=-1), "rounds must be >= 0; got -1"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
