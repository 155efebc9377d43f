"""The law of ladders: the rule of ratios, what common factors cost, areas."""

import warnings

import numpy as np
import pytest

from approx import approx
from crossbar_sim.foundry.films import FILMS
from crossbar_sim.laws import ladders
from crossbar_sim.laws.ladders import (
    DRAWN,
    KINDS,
    by_ratio,
    candidates,
    changed,
    corner_step,
    drawn_area,
    gaps,
    ladder_ohms,
    least_area,
    precision_of,
    rule,
    winners,
)
from crossbar_sim.laws.law import Effort
from mapping import ResistorBank
from tinynets.subset_sum import largest_gap

XHIGH = FILMS[2]


@pytest.fixture(scope="module")
def measured() -> dict:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(ladders, "N_BRANCH", range(3, 8))
        few.setattr(ladders, "N_START", 1)
        few.setattr(ladders, "FILMS", (XHIGH, FILMS[3]))
        return ladders.measure(Effort(0.02), 0)


@pytest.mark.parametrize(("ratio", "tolerance"), [(1.9, 0.1), (2.0, 0.05), (1.75, 0.3)])
def test_the_corner_has_the_step_of_the_formula(ratio, tolerance):
    """The largest branch at its most and all others at their least, by all sums."""
    g = ratio ** np.arange(10) * np.where(np.arange(10) == 9, 1 + tolerance, 1 - tolerance)
    below = g[:9].sum()
    step = largest_gap(g, below, g[9])
    assert corner_step(ratio, tolerance, 10) == approx(step / g.sum(), rel=1e-9)


@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.25])
def test_the_corner_opens_exactly_beyond_the_rule(tolerance):
    """For long ladders: below the rule its step shrinks with n, above it stays a part of FS."""
    at = 2 / (1 + tolerance)
    assert corner_step(at * 0.99, tolerance, 60) < 0
    assert corner_step(at * 1.01, tolerance, 60) > 1e-3


def test_no_bank_within_the_rule_has_a_gap():
    rows = [gaps(ratio, t, 200, 3) for t in (0.05, 0.2) for ratio in (1.4, 1.6)]
    assert [row["share_with_gap"] for row in rows] == [0, 0, 0, 0]
    assert all(row["guaranteed"] for row in rows)


def test_beyond_the_rule_banks_have_gaps():
    row = gaps(2.0, 0.05, 200, 3)
    assert not row["guaranteed"]
    assert row["share_with_gap"] > 0.9
    assert row["median_step"] <= row["worst_step"] <= row["corner_step"]


def test_common_factors_cost_nothing_once_scaled():
    lot, nothing, spread = (
        changed(name, 3, 40, 0) for name in ("lot 2.5 %", "nothing", "60 K, TCR spread 100 ppm/K")
    )
    assert lot["left_alone"] < nothing["left_alone"] - 2
    for kind in ("scaled", "chosen_anew"):
        assert lot[kind] == approx(nothing["scaled"], abs=1e-6)
    assert spread["scaled"] < nothing["scaled"] - 2


def test_the_spread_of_tcr_costs_what_a_meter_error_would():
    """Errors of 100 ppm/K * 60 K a resistor: eta sqrt(sum g^2 / 2), times sqrt(2 / pi) in mean."""
    row = changed("60 K, TCR spread 100 ppm/K", 4, 100, 0)
    g = 1.75 ** -np.arange(12.0)
    mean = 0.006 * np.sqrt(np.sum(g**2) / 2) / g.sum() * np.sqrt(2 / np.pi)
    assert row["left_alone"] == approx(-np.log2(2 * mean), abs=0.3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_ladder_asks_for_less_than_the_shortest_resistor(kind):
    ohms = ladder_ohms(kind, 6, XHIGH.ohm[0])
    assert ohms[0] >= XHIGH.ohm[0]
    assert ohms[0] < 1.8 * XHIGH.ohm[0]
    assert np.all(np.diff(ohms) >= 0)


def test_bits_are_those_of_all_sums_of_a_bank_without_spread():
    """A binary ladder of exact values has even steps: mean error a quarter, worst a half of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bank = ResistorBank(n=6, ladder=tuple(1e5 * 2.0 ** np.arange(6)))
    found = precision_of(bank, 4, 0)
    step = 1 / (2**6 - 1)
    assert found["mean"] == approx(-np.log2(2 * step / 4), abs=0.1)
    assert found["p99"] == approx(-np.log2(2 * step / 2), abs=0.1)
    assert found["sure"] == approx(-np.log2(step), rel=1e-9)


def test_without_scatter_distinct_values_are_enough():
    """A small ratio does not live on the scatter: 2^12 sums differ without any."""
    small, none = (by_ratio(ratio, sigma, 6, 0) for ratio, sigma in ((1.1, 0.05), (1.1, 0.0)))
    assert none["p99"] > 10
    assert abs(small["p99"] - none["p99"]) < 1


def test_a_cell_too_large_to_be_drawn_has_no_area():
    ohms = ladder_ohms("binary", 16, 50 * XHIGH.ohm[-1])
    technology = DRAWN[XHIGH.resistor, XHIGH.width]
    assert drawn_area(XHIGH.bank(ohms), technology) is None


def test_the_least_area_is_that_of_a_bank_that_reaches_the_bits(measured):
    rows = list(candidates(XHIGH, "geometric 1.5", 3, 1))[:6]
    found = [row for row in least_area(rows) if row["area"] is not None]
    assert len(found) > 3
    for row in found:
        enough = [r for r in rows if r[row["statistic"]] >= row["bits"]]
        assert row["area"] == min(r[f"{row['area_of']}_area"] for r in enough)


def test_the_winner_needs_the_least(measured):
    won = winners(measured["areas"])
    assert len(won) == 5 * 4 * 3
    for row in won:
        ratios = [v for k, v in row.items() if k.endswith("/ winner") and v is not None]
        assert all(ratio >= 1 for ratio in ratios)
        assert (row["winner"] is None) == (row["area_um2"] is None)


def test_the_rule_is_kept_by_what_was_measured(measured):
    assert [row["gaps_within_the_rule"] for row in rule(measured["gaps"])] == [0] * 6


def test_the_tables_and_the_figure(measured, tmp_path):
    assert len(ladders.tables(measured)) == 11
    for table in ladders.tables(measured):
        assert len({tuple(row) for row in table.rows}) == 1, table.title
    ladders.draw(measured, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000


def test_the_same_seed_gives_the_same_in_any_order():
    first = [gaps(1.9, 0.2, 50, 4), changed("lot 2.5 %", 2, 20, 4), by_ratio(1.2, 0.05, 5, 4)]
    again = [by_ratio(1.2, 0.05, 5, 4), changed("lot 2.5 %", 2, 20, 4), gaps(1.9, 0.2, 50, 4)]
    assert first == again[::-1]
    assert gaps(1.9, 0.2, 50, 5) != first[0]
