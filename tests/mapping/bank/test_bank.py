"""Banks, dies and their random streams."""

import math
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from banks import bank_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from approx import approx
from mapping.bank import Die, LadderGapWarning, NoEffectWarning, ResistorBank
from mapping.bank.ladders import e_series
from mapping.bank.streams import Term, normals, stream_key, uniforms

N_CELL = 20_000
ROWS = np.arange(N_CELL) % 200
COLUMNS = np.arange(N_CELL) // 200
WORDS = st.integers(0, 2**64 - 2)


def factors(die: Die, layer: str = "fc1") -> np.ndarray:
    """Return the ratio of true to nominal resistance, (N_CELL, 2, n)."""
    return die.resistances(layer, ROWS, COLUMNS) / die.bank.r_nominal


# --- streams ---------------------------------------------------------------------------------


@given(WORDS, WORDS, WORDS, WORDS, st.integers(0, 3))
def test_uniforms_are_numpys_philox_of_row_column_term_and_block(seed, row, column, term, block):
    counter = np.array([row, column, term, block], np.uint64)
    words = np.random.Philox(counter=counter, key=stream_key(seed, "fc1")).random_raw(4)
    # numpy counts up before it draws
    cell = np.array([row + 1], np.uint64), np.array([column], np.uint64)
    drawn = uniforms(seed, "fc1", term, *cell, 4 * block + 4)[0, 4 * block :]
    assert np.array_equal(drawn, ((words >> np.uint64(12)) + 0.5) * 2.0**-52)


def test_uniforms_are_uniform_and_never_zero_or_one():
    drawn = uniforms(1, "layer", Term.LOCAL, ROWS, COLUMNS, 10).ravel()
    assert 0 < drawn.min() < 1e-4
    assert 1 - 1e-4 < drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


def test_normals_of_other_cells_terms_layers_and_seeds_are_independent():
    drawn = [
        normals(seed, label, term, rows, COLUMNS, 1)[:, 0]
        for seed, label, term, rows in [
            (1, "a", Term.LOCAL, ROWS),
            (2, "a", Term.LOCAL, ROWS),
            (1, "b", Term.LOCAL, ROWS),
            (1, "a", Term.METER, ROWS),
            (1, "a", Term.LOCAL, ROWS + 200),
        ]
    ]
    correlation = np.corrcoef(drawn) - np.eye(5)
    assert np.abs(correlation).max() < 5 / math.sqrt(N_CELL)
    assert np.allclose(np.std(drawn, axis=1), 1, atol=0.03)


# --- ladders ---------------------------------------------------------------------------------


def test_ladders_ascend_from_r_min():
    assert np.allclose(ResistorBank(3, "geometric", 1e3, 1.5).r_nominal, [1000, 1500, 2250], atol=0)
    assert np.allclose(ResistorBank(3, "equal", 1e3).r_nominal, [1000, 1000, 1000], atol=0)
    with pytest.warns(LadderGapWarning):
        binary = ResistorBank(3, "binary", 1e3, sigma_local=0.01)
    assert np.allclose(binary.r_nominal, [1000, 2000, 4000], atol=0)


def test_preferred_values_are_nearest_to_the_geometric_ladder():
    bank = ResistorBank(n=6, ladder="E24", r_min=10e3, ratio=1.75)
    assert np.allclose(bank.r_nominal, [10e3, 18e3, 30e3, 56e3, 91e3, 160e3], atol=0)
    assert np.allclose(
        ResistorBank(n=3, ladder="E6", r_min=950.0).r_nominal, [1e3, 1500, 3300], atol=0
    )


@pytest.mark.parametrize("n_per_decade", [6, 12, 24, 48, 96, 192])
def test_each_series_has_its_number_of_values(n_per_decade):
    values = e_series(n_per_decade)
    assert len(np.unique(values)) == n_per_decade
    assert values[0] == 1
    assert values[-1] < 10


def test_series_hold_their_known_values():
    assert np.array_equal(e_series(6), [1.0, 1.5, 2.2, 3.3, 4.7, 6.8])
    assert {9.20, 9.31, 9.42} <= set(e_series(192))
    assert {1.02, 4.99, 9.76} <= set(e_series(96))


def test_a_list_of_ohms_is_sorted_and_sets_r_min():
    bank = bank_of(3e3, 1e3, 2e3)
    assert bank.n == 3
    assert bank.r_min == 1e3
    assert np.array_equal(bank.r_nominal, [1e3, 2e3, 3e3])
    assert hash(bank) == hash(bank_of(*np.array([1e3, 2e3, 3e3])))


def test_full_scale_is_the_sum_through_the_switches():
    bank = bank_of(1e3, 2e3, r_on=1e3)
    assert bank.g_full == approx(1 / 2e3 + 1 / 3e3)


@pytest.mark.parametrize(
    ("ratio", "sigma", "warned"), [(1.75, 0.05, False), (1.8, 0.05, True), (2.0, 0.001, True)]
)
def test_a_ladder_with_gaps_is_warned_about(ratio, sigma, warned, recwarn):
    bank = ResistorBank(ratio=ratio, sigma_local=sigma)
    assert len(recwarn) == warned
    if warned:
        advised = float(str(recwarn.pop(LadderGapWarning).message).split("ratio=")[1].split()[0])
        assert advised <= 2 / (1 + bank.tolerance)
        replace(bank, ratio=advised)
        assert not recwarn


def test_a_scatter_that_no_ratio_survives_advises_equal_branches():
    with pytest.warns(LadderGapWarning, match='ladder="equal"'):
        ResistorBank(sigma_local=0.3, distribution="lognormal")


def test_one_branch_has_no_gaps_to_warn_about(recwarn):
    ResistorBank(n=1, ratio=3.0)
    assert not recwarn


def test_binary_is_exactly_at_the_edge_without_scatter(recwarn):
    ResistorBank(ladder="binary")
    assert not recwarn


# --- distributions ---------------------------------------------------------------------------

STANDARD = [
    ("normal", stats.norm()),
    ("truncated", stats.truncnorm(-3, 3)),
    ("uniform", stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))),
]


@pytest.mark.parametrize(("distribution", "law"), STANDARD)
def test_local_scatter_follows_its_distribution(distribution, law):
    bank = ResistorBank(n=2, sigma_local=0.04, distribution=distribution)
    deviation = (factors(Die(bank, 5)) - 1).ravel() / 0.04
    assert stats.kstest(deviation, law.cdf).pvalue > 1e-3
    assert np.std(deviation) == approx(law.std(), rel=0.02)


def test_lognormal_scatter_has_its_median_at_nominal():
    bank = ResistorBank(n=2, ladder="equal", sigma_local=0.3, distribution="lognormal")
    logs = np.log(factors(Die(bank, 5))).ravel()
    assert stats.kstest(logs / 0.3, "norm").pvalue > 1e-3


def test_holed_parts_lack_the_middle_and_stay_within_the_bound():
    options = {"local_bound": 2.5, "local_hole": 0.5}
    bank = ResistorBank(n=2, sigma_local=0.02, distribution="holed", **options)
    deviation = np.abs(factors(Die(bank, 5)) - 1).ravel() / 0.02
    assert deviation.min() == approx(0.5, abs=1e-3)
    assert deviation.max() == approx(2.5, abs=1e-2)
    law = stats.truncnorm(0.5, 2.5)
    assert stats.kstest(deviation, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("normal", 0.05),
        ("truncated", 0.06),
        ("holed", 0.06),
        ("uniform", math.sqrt(3) * 0.02),
        ("lognormal", math.expm1(0.05)),
    ],
)
def test_tolerance_of_each_distribution(distribution, expected):
    bank = ResistorBank(sigma_local=0.02, distribution=distribution)
    assert bank.tolerance == approx(expected)


def test_a_resistance_is_always_positive():
    bank = ResistorBank(n=4, ladder="equal", sigma_local=0.6)
    assert factors(Die(bank, 1)).min() == approx(0.05)


def test_each_branch_may_have_its_own_spread():
    bank = ResistorBank(n=2, sigma_local=(0.01, 0.05))
    spread = factors(Die(bank, 1)).std(axis=(0, 1))
    assert np.allclose(spread, [0.01, 0.05], rtol=0.03, atol=0)


def test_pelgroms_spread_falls_with_the_root_of_the_area():
    bank = ResistorBank.pelgrom(n=3, r_min=1e3, r_sheet=320, a_r=3.5e-8, width=0.35e-6)
    length = 0.35e-6 * 1e3 / 320
    assert bank.sigma_local[0] == approx(3.5e-8 / math.sqrt(0.35e-6 * length))
    assert bank.sigma_local[0] / bank.sigma_local[2] == approx(1.75)


# --- the other terms -------------------------------------------------------------------------


def test_without_any_spread_every_resistor_is_nominal():
    assert np.all(factors(Die(ResistorBank(), 1)) == 1)


def test_the_lot_moves_a_whole_die_together():
    bank = ResistorBank(n=2, sigma_lot=0.025)
    shifts = []
    for seed in range(400):
        r = Die(bank, seed).resistances("fc1", ROWS[:3], COLUMNS[:3]) / bank.r_nominal
        assert np.ptp(r) < 1e-15
        shifts.append(r[0, 0, 0] - 1)
    assert np.std(shifts) == approx(0.025, rel=0.1)
    assert Die(bank, 3).resistances("fc2", [9], [9])[0, 0, 0] == approx(
        bank.r_nominal[0] * (1 + shifts[3])
    )


def test_the_gradient_is_linear_in_a_random_direction():
    bank = ResistorBank(n=1, sigma_gradient=0.01)
    slopes = []
    for seed in range(400):
        die = Die(bank, seed)
        r = die.resistances("fc1", [0, 1024, 0, 512], [0, 0, 1024, 512])[:, 0, 0] / bank.r_nominal
        assert r[0] == 1
        assert r[3] - 1 == approx((r[1] + r[2] - 2) / 2)
        slopes.append(r[1:3] - 1)
    assert np.allclose(np.std(slopes, axis=0), 0.01, rtol=0.15, atol=0)
    assert abs(np.corrcoef(np.transpose(slopes))[0, 1]) < 0.2


def test_temperature_moves_the_ohms_of_the_same_chip():
    bank = ResistorBank(n=2, tc1=500e-6, tc1_sigma=50e-6, sigma_local=0.02)
    die = Die(bank, 4)
    hot = Die(replace(bank, temperature=bank.temperature + 100), 4)
    drift = factors(hot) / factors(die) - 1
    assert drift.mean() == approx(0.05, rel=0.01)
    assert drift.std() == approx(0.005, rel=0.02)
    same = ResistorBank(n=2, tc1=500e-6, temperature=400.15)
    assert np.allclose(factors(Die(same, 4)), 1.05, atol=0)


def test_age_moves_the_ohms_of_the_same_chip_by_the_cube_root_of_time():
    die = Die(ResistorBank(n=2, sigma_local=0.02, drift=0.01, drift_sigma=0.002), 4)
    assert np.array_equal(factors(die.aged(0.0)), factors(die))
    for hours, times in ((1000.0, 1.0), (8000.0, 2.0)):
        moved = factors(die.aged(hours)) / factors(die) - 1
        assert moved.mean() == approx(0.01 * times, rel=0.01)
        assert moved.std() == approx(0.002 * times, rel=0.02)
    assert Die(ResistorBank(n=2), 4).id == Die(ResistorBank(n=2, age=0.0), 4).id
    assert die.aged(10.0).id != die.id


@pytest.mark.parametrize("wrong", [{"age": -1.0}, {"drift": 1.5}, {"drift_sigma": -0.1}])
def test_ageing_that_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ResistorBank(n=2, **wrong)


def test_the_meter_errs_relatively_and_reads_through_the_switch():
    bank = ResistorBank(n=2, r_min=1e3, r_on=100.0, meter_error=0.01)
    die = Die(bank, 4)
    path = die.resistances("fc1", ROWS, COLUMNS) + 100
    error = die.measured("fc1", ROWS, COLUMNS) / path - 1
    assert error.mean() == approx(0, abs=3e-4)
    assert error.std() == approx(0.01, rel=0.02)
    exact = Die(replace(bank, meter_error=0.0), 4)
    assert np.array_equal(exact.measured("fc1", ROWS, COLUMNS), path)


def test_branches_conduct_through_the_switch_and_leak_when_open():
    bank = ResistorBank(n=2, r_min=1e3, r_on=100.0, r_off=1e6)
    branches = Die(bank, 1).branches("fc1", [0], [0], measured=False)
    assert np.allclose(branches.g_closed, 1 / (bank.r_nominal + 100), atol=0)
    assert np.allclose(branches.g_open, 1 / (bank.r_nominal + 1e6), atol=0)
    closed_only = Die(replace(bank, r_off=math.inf), 1).branches("fc1", [0], [0], measured=False)
    assert np.all(closed_only.g_open == 0)


def test_the_spread_of_the_switches_is_seen_by_the_meter():
    bank = ResistorBank(n=2, r_min=1e3, r_on=100.0, sigma_on=0.1)
    die = Die(bank, 1)
    true = die.branches("fc1", ROWS, COLUMNS, measured=False)
    seen = die.branches("fc1", ROWS, COLUMNS, measured=True)
    r_on = 1 / true.g_closed - die.resistances("fc1", ROWS, COLUMNS)
    assert r_on.std() == approx(10, rel=0.02)
    assert np.array_equal(seen.g_closed, true.g_closed)


@pytest.mark.parametrize("measured", [False, True])
def test_stuck_switches_are_as_many_as_stated_and_the_meter_sees_them(measured):
    bank = ResistorBank(n=2, r_off=1e9, p_stuck_open=0.02, p_stuck_closed=0.05, meter_error=0.01)
    sound = replace(bank, p_stuck_open=0.0, p_stuck_closed=0.0)
    got = Die(bank, 1).branches("fc1", ROWS, COLUMNS, measured=measured)
    free = Die(sound, 1).branches("fc1", ROWS, COLUMNS, measured=measured)
    open_for_ever = (got.g_closed == free.g_open) & (got.g_open == free.g_open)
    closed_for_ever = (got.g_open == free.g_closed) & (got.g_closed == free.g_closed)
    assert open_for_ever.mean() == approx(0.02, rel=0.1)
    assert closed_for_ever.mean() == approx(0.05, rel=0.1)
    sound_here = ~(open_for_ever | closed_for_ever)
    assert np.array_equal(got.g_closed[sound_here], free.g_closed[sound_here])


ALL_TERMS = {
    "sigma_lot": 0.02,
    "sigma_gradient": 0.01,
    "sigma_local": 0.05,
    "r_on": 1e3,
    "sigma_on": 0.1,
    "r_off": 1e9,
    "tc1": 5e-4,
    "tc1_sigma": 5e-5,
    "temperature": 350.0,
    "meter_error": 0.003,
    "p_stuck_open": 0.01,
    "p_stuck_closed": 0.01,
}


def test_switching_one_term_on_never_changes_another():
    full = ResistorBank(n=3, **ALL_TERMS)
    local_only = factors(Die(ResistorBank(n=3, sigma_local=0.05), 8))
    for off in ("sigma_lot", "sigma_gradient", "tc1_sigma", "meter_error", "sigma_on"):
        kept = {"sigma_local": 0.05} | {off: ALL_TERMS[off], "r_on": 1e3}
        if off == "tc1_sigma":
            kept["temperature"] = 350.0
        changed = factors(Die(ResistorBank(n=3, **kept), 8))
        removed = factors(Die(ResistorBank(n=3, **(kept | {"sigma_local": 0.0})), 8))
        assert np.allclose(changed, local_only * removed, rtol=1e-14, atol=0)
    stuck = Die(full, 8).branches("fc1", ROWS, COLUMNS, measured=False)
    sound = Die(replace(full, p_stuck_open=0.0, p_stuck_closed=0.0), 8)
    free = sound.branches("fc1", ROWS, COLUMNS, measured=False)
    assert np.mean(stuck.g_closed == free.g_closed) == approx(0.99, abs=2e-3)


# --- the same numbers for ever ---------------------------------------------------------------


def test_order_and_chunks_do_not_matter():
    die = Die(ResistorBank(n=3, **ALL_TERMS), 8)
    whole = die.branches("fc1", ROWS, COLUMNS, measured=True)
    order = np.random.default_rng(0).permutation(N_CELL)
    parts = [
        die.branches("fc1", ROWS[part], COLUMNS[part], measured=True)
        for part in np.array_split(order, 7)
    ]
    assert np.array_equal(np.concatenate([p.g_closed for p in parts]), whole.g_closed[order])
    assert np.array_equal(np.concatenate([p.g_open for p in parts]), whole.g_open[order])


GOLDEN = """
from mapping.bank import Die, ResistorBank
die = Die(ResistorBank(n=2, sigma_lot=0.02, sigma_gradient=0.01, sigma_local=0.05, r_on=1e3,
          sigma_on=0.1, tc1=5e-4, tc1_sigma=5e-5, temperature=350.0, meter_error=0.003), 2**63 + 5)
cells = "conv1.0", [0, 4095], [9, 70000]
print([float(r).hex() for r in die.measured(*cells).ravel()], die.id)
"""
GOLDEN_OHMS = [
    *(101346.93317463934, 180788.22054673237, 98221.03896823605, 197005.47167052186),
    *(129467.02918636965, 243507.60171209287, 127034.57070997074, 237924.81718896577),
]
GOLDEN_ID = "c8f0cdb12e25"


def test_golden_ohms_and_another_process_agree():
    done = subprocess.run(
        [sys.executable, "-c", GOLDEN], capture_output=True, text=True, check=True
    )
    listed, die_id = done.stdout.strip().rsplit(" ", 1)
    ohms = [float.fromhex(text) for text in listed.strip("[]").replace("'", "").split(", ")]
    assert np.allclose(ohms, GOLDEN_OHMS, rtol=1e-13, atol=0)
    assert die_id == GOLDEN_ID


def test_golden_normals():
    drawn = normals(3, "fc1", Term.LOCAL, np.array([1]), np.array([2]), 3)[0]
    assert np.allclose(
        drawn, [0.634180546198381, 0.16640216413151315, -1.586323595132516], rtol=1e-13, atol=0
    )


def test_the_id_names_the_bank_the_seed_and_the_table():
    bank = ResistorBank(n=2)
    table = {"fc1": np.full((1, 1, 2, 2), 1e3)}
    dies = [
        Die(bank, 1),
        Die(bank, 2),
        Die(replace(bank, r_on=1.0), 1),
        Die(bank, 1, table),
        Die(bank, 1, {"fc2": table["fc1"]}),
        Die(bank, 1, {"fc1": table["fc1"] * 2}),
    ]
    assert len({die.id for die in dies}) == len(dies) == len(set(dies))
    assert Die(bank, 1) == Die(ResistorBank(**asdict(bank)), 1)
    assert Die(bank, 1) != "a die"


def test_a_die_of_known_resistors_keeps_the_rest_of_the_circuit():
    table = {"fc1": np.arange(1, 25).reshape(3, 2, 2, 2) * 1e3}
    die = Die(ResistorBank(n=2, r_on=100.0, sigma_local=0.05), table=table)
    assert np.array_equal(die.resistances("fc1", [2, 0], [1, 1]), table["fc1"][[2, 0], [1, 1]])
    branches = die.branches("fc1", [0], [0], measured=False)
    assert np.allclose(branches.g_closed.ravel(), 1 / (np.arange(1, 5) * 1e3 + 100), atol=0)
    with pytest.raises(KeyError):
        die.resistances("fc2", [0], [0])


# --- presets ---------------------------------------------------------------------------------


def test_presets_are_banks_that_options_may_change():
    board = ResistorBank.discrete_e24(n=5, distribution="holed", local_hole=0.6)
    assert board.tolerance == approx(0.05)
    decades = board.r_nominal / 10 ** np.floor(np.log10(board.r_nominal))
    assert np.allclose(np.min(np.abs(decades[:, None] - e_series(24)), axis=1), 0, atol=0)
    chip = ResistorBank.sky130_high_po(n=4, r_min=20e3, r_on=500.0)
    assert chip.r_on == 500.0
    assert chip.sigma_lot == 0.025
    squares = 20e3 / 319.8
    assert chip.sigma_local[0] == approx(0.035 / (0.35 * math.sqrt(squares)))
    assert np.all(np.isfinite(factors(Die(chip, 1))))


# --- errors ----------------------------------------------------------------------------------

BAD_BANKS = [
    {"n": 0},
    {"n": 33},
    {"n": 2.5},
    {"r_min": 0.0},
    {"r_min": math.inf},
    {"ratio": 1.0},
    {"ladder": "E7"},
    {"ladder": [1e3, 2e3], "n": 3},
    {"ladder": [1e3, -2e3], "n": 2},
    {"distribution": "cauchy"},
    {"sigma_lot": -0.1},
    {"sigma_gradient": 1.0},
    {"sigma_on": math.nan},
    {"meter_error": 1.5},
    {"tc1_sigma": -1.0},
    {"sigma_local": (0.1, 0.2)},
    {"sigma_local": -0.1},
    {"local_bound": 0.0},
    {"distribution": "holed", "local_hole": 3.0},
    {"distribution": "truncated", "sigma_local": 0.34},
    {"r_on": -1.0},
    {"r_on": 10.0, "r_off": 10.0},
    {"tc1": math.nan},
    {"temperature": 400.0, "tc1": -0.02},
    {"temperature": 0.0},
    {"p_stuck_open": 1.1},
    {"p_stuck_closed": -0.1},
    {"p_stuck_open": 0.6, "p_stuck_closed": 0.6},
]


@pytest.mark.parametrize("options", BAD_BANKS)
def test_a_value_out_of_range_is_named(options):
    with pytest.raises(ValueError, match=str(next(reversed(options))).split("_")[0]):
        ResistorBank(**options)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5])
def test_a_seed_out_of_range_is_an_error(seed):
    with pytest.raises(ValueError, match="seed"):
        Die(ResistorBank(), seed)


@pytest.mark.parametrize(
    ("rows", "columns"), [([0, 1], [0]), ([[0]], [[0]]), ([-1], [0]), ([0.5], [0]), (["a"], [0])]
)
def test_cells_must_be_pairs_of_natural_numbers(rows, columns):
    with pytest.raises(ValueError, match="rows"):
        Die(ResistorBank()).resistances("fc1", rows, columns)


@pytest.mark.parametrize("ohms", [np.ones((1, 1, 2, 3)), np.zeros((1, 1, 2, 2)), np.ones(4)])
def test_a_table_of_another_shape_or_without_ohms_is_an_error(ohms):
    with pytest.raises(ValueError, match="fc1"):
        Die(ResistorBank(n=2), table={"fc1": ohms})


def test_a_series_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="48"):
        e_series(20)


def test_arrays_are_copies_that_nobody_writes_to():
    ohms = np.full((1, 1, 2, 2), 1000)
    die = Die(ResistorBank(n=2), table={"fc1": ohms})
    ohms[:] = 1
    assert np.all(die.resistances("fc1", [0], [0]) == 1e3)
    for array in (die.table["fc1"], die.bank.r_nominal, bank_of(1e3).r_nominal):
        assert not array.flags.writeable


def test_no_cells_give_no_branches():
    branches = Die(ResistorBank(n=2, **ALL_TERMS)).branches("fc1", [], [], measured=True)
    assert branches.g_closed.shape == (0, 2, 2)


@pytest.mark.parametrize("tc1_sigma", [0.0, 1e-12])
def test_both_temperature_coefficients_act_by_their_signs(tc1_sigma):
    """100 K above the reference: 1 + 1e-3 * 100 + 2e-6 * 100**2, with and without a spread."""
    bank = bank_of(1e5, 2e5, tc1=1e-3, tc2=2e-6, tc1_sigma=tc1_sigma, temperature=400.15)
    ohm = Die(bank, seed=1).resistances("fc", np.zeros(1, int), np.zeros(1, int))
    assert ohm[0, 0] / bank.r_nominal == approx(np.full(bank.n, 1.12), rel=1e-9)


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_switches_stick_one_way_where_the_other_is_excluded(kind):
    die = Die(bank_of(1e5, 2e5, **{f"p_stuck_{kind}": 0.5}), seed=1)
    cells = np.arange(50), np.zeros(50, int)
    branches = die.branches("fc", *cells, measured=False)
    stuck = branches.g_closed == branches.g_open
    assert 0.2 < stuck.mean() < 0.8


def test_the_film_of_sky130():
    bank = ResistorBank.sky130_high_po()
    assert (bank.sigma_lot, bank.tc1, bank.tc2, bank.meter_error) == (0.025, 514e-6, 1.2e-6, 1e-3)
    assert (bank.r_on, bank.sigma_on, bank.r_off) == (1e3, 0.05, 1e12)


def test_the_parts_of_a_board_and_the_default_size():
    bank = ResistorBank.discrete_e24()
    assert (bank.r_on, bank.sigma_on, bank.r_off) == (70.0, 0.1, 1e9)
    assert (bank.tc1_sigma, bank.meter_error) == (100e-6, 1e-3)
    assert bank.r_nominal[0] == 10e3
    assert ResistorBank().n == 12


def test_a_ladder_of_two_may_have_a_gap_and_one_of_one_cannot(recwarn):
    ResistorBank(1, "geometric", 1e3, ratio=3.0, sigma_local=0.01)
    assert not recwarn.list
    with pytest.warns(LadderGapWarning):
        ResistorBank(2, "geometric", 1e3, ratio=3.0, sigma_local=0.01)


def test_the_mean_resistance_follows_both_temperature_coefficients():
    bank = bank_of(1e5, 2e5, tc1=1e-3, tc2=2e-6, temperature=400.15)
    assert bank.temperature_factor == approx(1.12, rel=1e-12)


def test_every_switch_may_be_stuck_but_not_twice():
    assert bank_of(1e5, p_stuck_open=0.5, p_stuck_closed=0.5).p_stuck_open == 0.5
    with pytest.raises(ValueError, match="at most 1"):
        bank_of(1e5, p_stuck_open=0.6, p_stuck_closed=0.5)


@pytest.mark.parametrize(
    ("options", "needed"),
    [({"age": 8760.0}, "drift or drift_sigma"), ({"temperature": 398.15}, "tc1, tc1_sigma or tc2")],
)
def test_what_changes_no_resistor_is_said(options, needed):
    with pytest.warns(NoEffectWarning, match=f"changes no resistor; give the bank {needed}"):
        ResistorBank(n=2, **options)
    ResistorBank(n=2, drift=0.01, tc2=1e-6, **options)  # warns of nothing


@pytest.mark.parametrize("name", [field.name for field in fields(ResistorBank)])
def test_dies_of_a_bank_without_spread_are_all_alike(name):
    """Whatever is set: a random field that is not marked as a spread would tell two dies apart."""
    others = {"n": 4, "r_on": 1e3, "r_off": 1e9, "sigma_on": 0.1, "age": 10.0, "tc1": 1e-4}
    banks = []
    for value in (0.3, 3, 350.0, 1e8, "uniform", "equal"):
        with suppress(ValueError, TypeError), warnings.catch_warnings(action="ignore"):
            banks.append(ResistorBank(**(others | {name: value})).without_spread)
    assert banks, f"no value suits {name}; add one"
    cells = np.arange(6), np.arange(6)
    for bank in banks:
        one, other = (Die(bank, seed).branches("fc", *cells, measured=True) for seed in (1, 2))
        np.testing.assert_array_equal(one.g_closed, other.g_closed)
        np.testing.assert_array_equal(one.g_open, other.g_open)
