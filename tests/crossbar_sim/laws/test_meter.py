"""Bits by resistors and closed switches with a meter, and the designs read off them."""

import csv
import itertools
import json

import numpy as np
import pytest

from approx import approx
from benchmarks.common import RESULTS
from commands import command
from crossbar_sim.laws import meter
from crossbar_sim.laws.fixed_size import constant
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.meter import (
    BANKS,
    LAW_CONSTANT,
    chart,
    designs,
    designs_by_law,
    designs_for,
    floor_bits,
    least_by_law,
    meter_error,
    realised_errors,
)
from mapping.selection import precision
from mapping.selection.precision import side_by_side


@pytest.fixture
def few(monkeypatch):
    """Few banks by which a design of the law is confirmed, and larger steps."""
    monkeypatch.setattr(meter, "N_CONFIRM", 50)
    monkeypatch.setattr(meter, "SPARE", 0.2)


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


def test_no_small_bank_has_bits_that_its_meter_does_not_leave():
    """4 ** (8 - floor of one branch) = 71 closed branches for 1 %."""
    assert floor_bits(70, 0.01) < 8 < floor_bits(71, 0.01)
    assert designs_for(BANKS["equal, 5 %"], 8, 0.01) == []


def test_a_bank_that_can_hardly_be_set_is_no_design():
    row = {"n": 8, "k": 7, "bits_low": 5.0, "window": 0.02}
    assert designs([row], 4) == []
    assert len(designs([row], 5)) == 3
    assert designs([row], 5, 0.021) == []


def test_the_law_gives_room_window_and_search_by_hand():
    """From k = 72, since 1.645 % sqrt(1.0025 / 71) is above 2^-9; and 72 of 81 are set by 2^-9."""
    rows = least_by_law(8, 0.01, 0.05, 2.0**-9)
    assert rows[0] == {"n": 81, "k": 72}
    assert meter_error(71, 0.01, 0.05) > 2.0**-9 > meter_error(72, 0.01, 0.05)
    for n, enough in ((80, False), (81, True)):
        assert (0.05 * np.sqrt((n - 72) / (72 * (n - 1))) >= 2.0**-9) == enough
    fine = least_by_law(20, 0.0, 0.05, 0.0)
    three = next(row["n"] for row in fine if row["k"] == 3)
    assert constant(three, 3, 3 * 2.0**-21 / 0.05) >= LAW_CONSTANT
    assert constant(three - 1, 3, 3 * 2.0**-21 / 0.05) < LAW_CONSTANT


def test_the_constant_of_the_law_is_above_what_was_measured():
    kept = json.loads((RESULTS / "law_fixed_size.json").read_text())["constants"]
    own = [r for r in kept if r["n"] >= 36 and r["share"] == 0.9]
    own = [r for r in own if r["bank"] in ("normal", "equal, 5 %")]
    assert len(own) == 8
    assert all(r["n_bank"] >= 8 and r["c_high"] <= 1.24 < LAW_CONSTANT for r in own)


def test_designs_of_the_law_reach_the_bits_of_other_banks(few):
    draw = side_by_side(BANKS["equal, 5 %"])
    found = designs_by_law(draw, 6.5, 0.01, 0.012, seed=1)
    assert [row["aim"] for row in found] == list(meter.AIMS)
    for row in found:
        assert 0 < row["k"] < row["n"] <= meter.LARGEST
        assert row["window"] >= 0.012
        assert row["bits_low"] >= 6.5
    (n, k), *_ = {(row["n"], row["k"]) for row in found}
    errors = realised_errors(draw(n, 100, 77), k, 0.01, 5)
    assert np.mean(errors <= 2.0**-7.5) > 0.86


def test_a_window_wider_than_any_of_these_branches_is_refused():
    draw = side_by_side(BANKS["equal, 5 %"])
    with pytest.raises(ValueError, match=r"asks for 72 closed branches, .* ± 0.59 % at the most"):
        designs_by_law(draw, 8, 0.01, 0.01)


def test_banks_side_by_side_are_as_many_branches():
    draw = BANKS["equal, 5 %"]
    np.testing.assert_array_equal(side_by_side(draw)(20, 3, 1), draw(20, 3, 1))
    wide = side_by_side(draw)(70, 40, 1)
    assert wide.shape == (40, 70)
    assert len(np.unique(wide)) == wide.size
    assert wide.std() / wide.mean() == approx(0.05, rel=0.1)


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


def test_the_command_answers_where_sixteen_branches_are_too_few(few):
    """The ladder's own answer, for true values, comes first; the law's is for equal resistors."""
    done = command("precision", "--bits", 7, "--yield", 0.9, "--meter", 0.01, "--window", 0.006)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.partition("\n\n")[2].splitlines()))
    assert [row["aim"] for row in rows] == list(meter.AIMS)
    for row in rows:
        assert 16 < int(row["n"]) < 200
        assert float(row["bits_low"]) >= 7
        assert float(row["window"]) >= 0.006
    assert "With equal" in done.stderr
    assert "extrapolation" in done.stderr


def test_without_the_bits_for_true_values_a_meter_has_its_answer(few, monkeypatch):
    def none(*_: object, **__: object) -> None:
        raise ValueError("no bank of up to 16 branches has them")

    monkeypatch.setattr(precision, "branches_for", none)
    asked = "precision", "--bits", 6, "--ladder", "equal"
    with pytest.raises(ValueError, match=r"no bank of up to 16"):
        command(*asked)
    done = command(*asked, "--meter", 0.02)
    assert done.returncode == 0, done.stderr
    assert "For true values: no bank" in done.stderr
    assert done.stdout.startswith("\naim,")


def test_a_near_subset_costs_nothing_that_a_meter_leaves(monkeypatch):
    monkeypatch.setattr(meter, "COMPARED", (18, (6, 12)))
    rows = meter._compared(Effort(0.5), 0)
    assert len(rows) == 4
    for row in rows:
        if row["meter"]:
            assert row["near"] == approx(row["nearest"], rel=0, abs=0.5)
        else:
            assert 10 < row["near"] <= row["nearest"]


def test_the_same_seed_gives_the_same_figures(few, monkeypatch):
    monkeypatch.setattr(meter, "SIZES", (4, 6))
    monkeypatch.setattr(meter, "BEYOND", ((6, 1e-2),))
    monkeypatch.setattr(meter, "COMPARED", (10, (3,)))
    found = meter.measure(Effort(0.1), 0)
    assert len(found["rows"]) == 3 * 4 * 8
    assert meter.measure(Effort(0.1), 0) == found
    assert [len(table.rows) for table in meter.tables(found)][2:] == [6, 2]
    assert meter.measure(Effort(0.1), 1) != found
