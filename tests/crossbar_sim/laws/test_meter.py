"""Bits by resistors and closed switches with a meter, and the designs read off them."""

import csv
import itertools

import numpy as np
import pytest

from approx import approx
from commands import command
from crossbar_sim.laws import meter
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.meter import BANKS, chart, designs, designs_for, floor_bits, realised_errors


@pytest.mark.parametrize("k", [1, 3, 4, 6])
def test_a_perfect_meter_leaves_the_error_of_enumeration(k):
    values = np.random.default_rng(3).uniform(1, 2, (2, 7))
    found = realised_errors(values, k, 0.0, 4)
    for bank in range(2):
        random = np.random.default_rng([4, 1, 7, k, bank])
        random.standard_normal(7)
        sums = np.array([sum(s) for s in itertools.combinations(values[bank], k)])
        targets = sums.mean() + sums.std() * random.uniform(-1, 1, meter.N_TARGET)
        nearest = np.abs(sums - targets[:, None]).min(axis=1)
        np.testing.assert_allclose(found[bank], nearest / sums.mean(), rtol=1e-9, atol=1e-14)


def test_the_meter_leaves_its_floor():
    """With many subsets nothing else is left: the rms is eta / sqrt(k) of equal branches."""
    values = BANKS["equal, 5 %"](16, 150, 0)
    errors = realised_errors(values, 8, 0.01, 0)
    per_bank = np.sqrt(np.mean(errors**2))
    assert per_bank == approx(0.01 / np.sqrt(8), rel=0.12)
    level = np.quantile(errors, meter.SHARE)
    assert -np.log2(2 * level) == approx(floor_bits(8, 0.01), abs=0.25, rel=0)


def test_four_times_the_branches_give_a_bit():
    assert floor_bits(8, 0.01) - floor_bits(2, 0.01) == approx(1.0, rel=1e-12)
    assert floor_bits(4, 0.0) == np.inf


def test_the_window_is_the_spread_of_the_sums_of_k():
    values = np.random.default_rng(0).uniform(1, 2, (3, 6))
    (row,) = (r for r in chart(lambda *_: values, 0.0, [6], n_bank=3) if r["k"] == 2)
    sums = np.array([[sum(s) for s in itertools.combinations(bank, 2)] for bank in values])
    assert row["window"] == approx(np.mean(sums.std(axis=1) / sums.mean(axis=1)), rel=1e-9)


def test_designs_are_least_in_what_they_aim_at():
    rows = chart(BANKS["equal, 5 %"], 1e-3, (6, 8, 12, 16), n_bank=20)
    enough = [(r["n"], r["k"]) for r in rows if r["bits_low"] >= 7]
    found = {row["aim"]: (row["n"], row["k"]) for row in designs(rows, 7)}
    assert len(found) == 3
    assert found["least n"][0] == min(n for n, _ in enough)
    assert found["least k"][1] == min(k for _, k in enough)
    assert np.prod(found["least n k"]) == min(n * k for n, k in enough)
    assert designs(rows, 40) == []


def test_too_many_bits_are_refused_with_the_closed_branches_needed():
    """4 ** (8 - floor of one branch) = 71 for 1 %."""
    with pytest.raises(ValueError, match=r"no bank of up to 16 .* asks for 71 closed branches"):
        designs_for(BANKS["equal, 5 %"], 8, 0.01, n_bank=4)


def test_the_command_answers_with_branches_and_closed_ones():
    done = command("precision", "--bits", 6, "--yield", 0.99, "--meter", 0.001)
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n\n")
    plain = command("precision", "--bits", 6, "--yield", 0.99)
    assert first == plain.stdout.strip()
    rows = list(csv.DictReader(rest.splitlines()))
    assert [row["aim"] for row in rows] == list(meter.AIMS)
    for row in rows:
        assert 0 < int(row["k"]) < int(row["n"]) <= 16
        assert float(row["bits_low"]) >= 6


def test_the_same_seed_gives_the_same_figures(monkeypatch):
    monkeypatch.setattr(meter, "SIZES", (4, 6))
    found = meter.measure(Effort(0.1), 0)
    assert len(found["rows"]) == 3 * 4 * 8
    assert meter.measure(Effort(0.1), 0) == found
    assert meter.measure(Effort(0.1), 1) != found
