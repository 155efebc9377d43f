"""Subsets that torch finds on any device are those of compiled code, to the last tie."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from elsewhere import GPU, device_named
from mapping import Die, ResistorBank
from mapping.bank import Branches, Cells
from mapping.selection.select import select, select_on_die
from tinynets.subset_sum import solve
from tinynets.subset_sum.in_torch import nearest_masks

N_PROBLEM = 80
KINDS = ("random", "integers", "equal", "decades", "zeros", "nothing", "two scales", "any unit")


@pytest.fixture(params=["cpu", "elsewhere", pytest.param("cuda", marks=GPU)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    with device_named(request.param) as found:
        yield found


def banks_of(kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return banks and targets; a third of the targets are sums, and others lie half-way."""
    rng = np.random.default_rng([KINDS.index(kind), n])
    shape, sign = (N_PROBLEM, n), rng.choice([-1.0, 1.0], (N_PROBLEM, n))
    values = {
        "random": rng.normal(size=shape),
        "integers": rng.integers(-4, 5, shape).astype(float),
        "equal": 1e-5 * sign,
        "decades": sign * 10 ** rng.uniform(-12, 0, shape),
        "zeros": rng.normal(size=shape) * (rng.random(shape) < 0.5),
        "nothing": np.zeros(shape),
        "two scales": rng.integers(1, 4, shape) * np.where(rng.random(shape) < 0.5, 1.0, 1e-9),
        "any unit": 10.0 ** rng.integers(-300, 300, (N_PROBLEM, 1)) * rng.integers(1, 5, shape),
    }[kind]
    unit = np.abs(values).max(axis=1)
    targets = unit * rng.normal(0, 2, N_PROBLEM)
    targets[::5] = unit[::5] * rng.integers(-4, 9, len(targets[::5])) / 2
    sums = (values * (rng.random(shape) < 0.5)).sum(axis=1)
    targets[1::3] = sums[1::3]
    targets[-2:] = [100, -100] * unit[-2:]
    return values, targets


@pytest.mark.parametrize("kind", KINDS)
def test_the_masks_are_the_same(kind, device):
    for n in (1, 2, 3, 8, 11, 16):
        values, targets = banks_of(kind, n)
        expected, found = solve(values, targets), solve(values, targets, device=device)
        assert np.array_equal(found.mask, expected.mask), n
        assert np.array_equal(found.error, expected.error), n


def test_there_are_ties_among_them():
    """So that the test above is one of ties: many subsets are as near as the chosen one."""
    values, targets = banks_of("integers", 8)
    subsets = np.arange(256)[:, None] >> np.arange(8) & 1
    miss = np.abs(values @ subsets.T - targets[:, None])
    assert ((miss == miss.min(axis=1, keepdims=True)).sum(axis=1) > 1).sum() > 60


@pytest.mark.parametrize("n", [5, 16])
def test_batches_of_bounded_memory_give_the_same(n):
    values, targets = banks_of("integers", n)
    expected = solve(values, targets).mask.view(np.int64)
    for memory in (1, 100_000):
        found = nearest_masks(values, targets, torch.device("cpu"), memory)
        assert np.array_equal(found, expected)


def test_one_bank_for_all_targets_and_no_problem_at_all():
    values, targets = banks_of("integers", 9)
    expected = solve(values[0], targets).mask
    assert np.array_equal(solve(values[0], targets, device="cpu").mask, expected)
    assert solve(values[:0], targets[:0], device="cpu").mask.shape == (0,)


@pytest.mark.parametrize(
    "options", [{"tolerance": 0.1}, {"max_closed": 2}, {"values": np.ones((1, 25))}]
)
def test_what_a_device_does_not_search_is_refused(options):
    given = {"values": np.ones((1, 3)), "targets": np.ones(1), "device": "cpu"} | options
    with pytest.raises(ValueError, match=r"of up to 24 values; got .* leave device out"):
        solve(**given)


def test_the_switches_of_a_die_are_the_same(device):
    die = Die(ResistorBank(n=8, sigma_local=0.02, r_off=1e8), seed=3)
    rows, columns = np.divmod(np.arange(300), 20)
    cells = Cells("fc1", rows, columns)
    target = np.random.default_rng(0).normal(0, 2e-5, 300)
    (here, *g_here), (there, *g_there) = (
        select_on_die(die, cells, target, device=where) for where in (None, device)
    )
    assert np.array_equal(here.chosen_pos, there.chosen_pos)
    assert np.array_equal(here.chosen_neg, there.chosen_neg)
    assert np.array_equal(here.predicted, there.predicted)
    assert np.array_equal(g_here, g_there)


def test_equal_branches_are_selected_alike(device):
    """Ideal resistors: every choice of as many switches is as near."""
    branches = Branches(np.full((40, 2, 6), 1e-5), np.zeros((40, 2, 6)))
    target = np.random.default_rng(1).uniform(-7e-5, 7e-5, 40)
    here, there = select(branches, target), select(branches, target, device=device)
    assert np.array_equal(here.chosen_pos, there.chosen_pos)
    assert np.array_equal(here.chosen_neg, there.chosen_neg)
