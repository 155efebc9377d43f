"""Choices of switches are proved nearest, or not claimed to be; the checker refuses the rest."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from approx import approx
from crossbar_sim.certificates import selection_checker
from crossbar_sim.certificates.selection_checker import Refused, check
from mapping import Die, MappedNetwork, ResistorBank, SelectionRule, TileConfig, map_network
from mapping.bank import Branches
from mapping.network.certified import certify_selections, check_certificate
from mapping.selection.certificate import SelectionCertificate, claims_of
from tinynets import PrunedLayer, PrunedNetwork

#: Number of corruptions that must all be refused.
N_CORRUPTED = 1000
BANK = ResistorBank(n=4, ratio=1.75, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e8)


def mapped(bank: ResistorBank = BANK, rule: SelectionRule | None = None) -> MappedNetwork:
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(6, 5)) * (rng.random((6, 5)) < 0.7)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(bank, seed=2), TileConfig(3, 4), rule=rule)


@pytest.fixture(scope="module")
def right() -> SelectionCertificate:
    return certify_selections(mapped())


def accepted(certificate: SelectionCertificate, path: Path, *, exact: bool = False) -> bool:
    certificate.save(path)
    try:
        check(path, exact=exact)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_nearest_choices_are_proved_and_both_ways_agree(n, tmp_path):
    bank = replace(BANK, n=n, p_stuck_open=0.05, p_stuck_closed=0.05)
    found = certify_selections(mapped(bank))
    assert found.optimal.all()
    assert 0 < found.width < 1e-13
    assert accepted(found, tmp_path / "c.npz")
    assert accepted(found, tmp_path / "c.npz", exact=True)


def test_the_claims_hold_for_every_choice_in_rational_numbers(right):
    """All 256 choices of each pair, one by one."""
    ends = []
    for k in range(len(right.target)):
        on, off = (
            [[Fraction(float(g)) for g in side] for side in values[k]]
            for values in (right.g_closed, right.g_open)
        )
        sums = [
            [sum(b[j] if bits >> j & 1 else a[j] for j in range(4)) for bits in range(16)]
            for a, b in zip(off, on)
        ]
        banks = [sums[side][int(right.closed[k, side])] for side in (0, 1)]
        inside = [right.low[k, s] <= banks[s] <= right.high[k, s] for s in (0, 1)]
        target = Fraction(float(right.target[k]))
        least = min(abs(a - b - target) for a, b in product(*sums))
        own = abs(banks[0] - banks[1] - target)
        ends.append(all(inside) and own == least >= right.least[k] > 0)
        assert float(own) - right.least[k] < 1e-13 * right.g_closed[k].sum()
    assert len(ends) == right.n_cell.sum() > 15
    assert all(ends)


@pytest.mark.parametrize(
    "rule",
    [
        SelectionRule(objective="power", tolerance_lsb=20.0),
        SelectionRule(max_closed=1),
        SelectionRule(n_candidate=8),
    ],
)
def test_other_choices_are_stated_but_not_claimed_nearest(rule, tmp_path):
    found = certify_selections(mapped(rule=rule))
    assert not found.optimal.all()
    assert accepted(found, tmp_path / "c.npz")
    other = np.flatnonzero(~found.optimal)
    for k in other:
        wrong = found.optimal.copy()
        wrong[k] = True
        assert not accepted(replace(found, optimal=wrong), tmp_path / "c.npz")
    assert len(other)


def moved(name: str, least: float, most: float) -> Callable:
    """Multiply an entry by a factor away from 1."""

    def corrupt(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
        values = getattr(c, name).copy()
        values.flat[rng.integers(values.size)] *= 1 + rng.uniform(least, most) * rng.choice([-1, 1])
        return replace(c, **{name: values})

    return corrupt


def other_switch(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    closed = c.closed.copy()
    closed.flat[rng.integers(closed.size)] ^= np.uint32(1 << rng.integers(4))
    return replace(c, closed=closed)


def other_branch(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    """Change what a branch conducts in the state that it is in."""
    k, side, j = (int(rng.integers(n)) for n in c.g_closed.shape)
    name = "g_closed" if int(c.closed[k, side]) >> j & 1 else "g_open"
    values = getattr(c, name).copy()
    values[k, side, j] *= 1 + rng.uniform(1e-6, 0.9) * rng.choice([-1, 1])
    return replace(c, **{name: values})


def second_best(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    """Put another choice in place of the nearest, with its own interval, and claim the same."""
    wrong = other_switch(c, rng)
    branches = Branches(wrong.g_closed, wrong.g_open)
    claims = claims_of(branches, wrong.closed, wrong.target)
    assert not claims.optimal.all()
    optimal = np.ones_like(claims.optimal)
    # What would make the choice the nearest: its own error.
    least = np.where(claims.optimal, claims.least, rng.choice([1.0, 1.5]) * claims.least)
    return replace(wrong, low=claims.low, high=claims.high, least=least, optimal=optimal)


def too_good(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    least = c.least.copy()
    least[rng.integers(len(least))] *= 1 + rng.uniform(1e-6, 1)
    return replace(c, least=least)


def shifted(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    """Move the interval of a bank by its width."""
    low, high = c.low.copy(), c.high.copy()
    k = rng.integers(low.size)
    by = (high.flat[k] - low.flat[k]) * rng.choice([-1, 1])
    low.flat[k] += by
    high.flat[k] += by
    return replace(c, low=low, high=high)


def without_a_cell(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    k = rng.integers(len(c.target))
    names = ("place", "g_closed", "g_open", "closed", "target", "low", "high", "least", "optimal")
    return replace(c, **{name: np.delete(getattr(c, name), k, axis=0) for name in names})


def stated_twice(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    """State a cell at the place of the one before it on its tile."""
    place = c.place.copy()
    inner = np.setdiff1d(np.arange(len(place)), np.cumsum(c.n_cell))
    k = rng.choice(inner[1:])
    place[k] = place[k - 1]
    return replace(c, place=place)


def cells_exchanged(c: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    a, b = rng.permutation(len(c.target))[:2]
    name = rng.choice(["g_closed", "closed", "target", "low"])
    values = getattr(c, name).copy()
    values[[a, b]] = values[[b, a]]
    same = bool((values == getattr(c, name)).all())
    return other_switch(c, rng) if same else replace(c, **{str(name): values})


CORRUPTIONS = {
    "switch": other_switch,
    "branch": other_branch,
    "target": moved("target", 1e-6, 0.9),
    "interval": shifted,
    "least": too_good,
    "second best": second_best,
    "cell missing": without_a_cell,
    "cells exchanged": cells_exchanged,
    "cell stated twice": stated_twice,
    "number of cells": moved("n_cell", 1.0, 1.0),
    "negative least": lambda c, rng: replace(c, least=c.least - rng.uniform(1, 2) * c.least.max()),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corrupted_certificate_is_refused(kind, right, tmp_path):
    assert accepted(right, tmp_path / "c.npz")
    rng = np.random.default_rng([5, *kind.encode()])
    wrong = [CORRUPTIONS[kind](right, rng) for _ in range(1 + N_CORRUPTED // len(CORRUPTIONS))]
    assert [c for c in wrong if accepted(c, tmp_path / "c.npz")] == []
    assert [c for c in wrong[:3] if accepted(c, tmp_path / "c.npz", exact=True)] == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tiles": np.array(["a", "a"])}, "tiles are not as stated"),
        ({"closed": np.zeros((3, 2), np.uint32)}, "closed is not of two numbers a cell"),
        ({"least": np.zeros(2)}, "claims are missing"),
        ({"target": np.array([np.nan])}, "target is not of finite doubles"),
        ({"low": np.zeros((3, 2), np.float32)}, "low is not of finite doubles"),
        ({"optimal": np.zeros(3)}, "optimal is of another type"),
        ({"g_open": np.zeros((3, 2, 4))}, "no banks"),
    ],
)
def test_what_is_not_a_certificate_is_refused(change, reason, right, tmp_path):
    replace(right, **change).save(tmp_path / "c.npz")
    with pytest.raises(Refused, match=reason):
        check(tmp_path / "c.npz")


def test_a_file_that_would_run_code_or_is_none_is_refused(right, tmp_path):
    np.savez(tmp_path / "c.npz", version=np.array([print], dtype=object))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "d.npz", version=np.array(1))
    for name in ("c.npz", "text.npz", "none.npz", "d.npz"):
        with pytest.raises(Refused):
            check(tmp_path / name)
    with pytest.raises(ValueError, match="certificate of selections of version 1"):
        SelectionCertificate.load(tmp_path / "d.npz")
    beyond = right.closed.copy()
    beyond[0, 0] |= np.uint32(16)
    replace(right, closed=beyond).save(tmp_path / "e.npz")
    with pytest.raises(Refused, match="a switch is not there"):
        check(tmp_path / "e.npz")


def test_a_sample_sees_some_cells_only(right, tmp_path):
    wrong = too_good(right, np.random.default_rng(0))
    wrong.save(tmp_path / "c.npz")
    seen = 0
    for seed in range(40):
        try:
            check(tmp_path / "c.npz", sample=5, seed=seed)
        except Refused:
            seen += 1
    assert 0 < seen < 40


def test_a_certificate_of_another_network_is_told(right):
    check_certificate(right, mapped())
    with pytest.raises(ValueError, match="other closed than the network"):
        check_certificate(other_switch(right, np.random.default_rng(0)), mapped())
    with pytest.raises(ValueError, match=r"other (g_closed|g_open|closed|target) than"):
        check_certificate(right, mapped(replace(BANK, meter_error=2e-3)))


def test_a_certificate_comes_back_from_its_file(right, tmp_path):
    right.save(tmp_path / "c.npz")
    again = SelectionCertificate.load(tmp_path / "c.npz")
    for name, value in vars(right).items():
        assert np.array_equal(getattr(again, name), value), name
    arrays = dict(np.load(tmp_path / "c.npz"))
    assert arrays.keys() - {"version"} == vars(right).keys()
    for change in ({"version": np.array(99)}, {"more": np.zeros(1)}):
        np.savez(tmp_path / "other.npz", **arrays | change)
        with pytest.raises(ValueError, match="is not a certificate of selections of version"):
            SelectionCertificate.load(tmp_path / "other.npz")
    for name in ("optimal", "low", "closed"):
        np.savez(tmp_path / "other.npz", **arrays | {name: arrays[name].astype("S2")})
        with pytest.raises(ValueError, match=rf"other.npz: {name} is of \|S2; expected kind"):
            SelectionCertificate.load(tmp_path / "other.npz")


def test_an_interval_leaves_room_for_a_rounding_of_every_branch():
    found = certify_selections(mapped(replace(BANK, n=9)))
    size = np.abs(found.g_closed).sum(axis=(1, 2)) + np.abs(found.g_open).sum(axis=(1, 2))
    size += np.abs(found.target)
    half = (found.high - found.low) / 2
    assert half == approx(np.broadcast_to((9 + 8) * 2.0**-53 * size[:, None], half.shape), rel=0.15)


def test_a_certificate_without_cells_has_no_width(right):
    none = {name: value[:0] for name, value in vars(right).items()}
    assert SelectionCertificate(**none).width == 0.0


def test_conductances_a_little_off_are_of_another_network(right):
    for factor, same in ((1 + 1e-12, True), (1 + 1e-7, False)):
        near = replace(right, g_closed=right.g_closed * factor)
        if same:
            check_certificate(near, mapped())
            continue
        with pytest.raises(ValueError, match="other g_closed than"):
            check_certificate(near, mapped())


def test_the_checker_of_selections_stands_alone(right, tmp_path):
    """It is one file of at most 150 lines, and runs where nothing of this project is."""
    source = Path(selection_checker.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    (tmp_path / "alone.py").write_text(source, encoding="utf-8")
    right.save(tmp_path / "right.npz")
    other_switch(right, np.random.default_rng(0)).save(tmp_path / "wrong.npz")
    command = [sys.executable, "-I", "alone.py"]
    runs = [
        subprocess.run(
            [*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for words in (["right.npz", "--exact"], ["wrong.npz", "--sample", "1000"])
    ]
    assert [run.returncode for run in runs] == [0, 1]
    count = len(right.target)
    assert runs[0].stdout == f"accepted: {count} pairs, {count} nearest, 0 not claimed optimal\n"
    assert runs[1].stderr.startswith("refused: tile fc_")
