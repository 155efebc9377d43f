"""Searches: what they find is best, within budget, the same again, and computed only once."""

import csv
import io
import sys
from typing import Any

import numpy as np
import pytest

from approx import approx
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.study import Optimise, Range, StudyConfig, with_values
from crossbar_sim.study.intervals import Interval
from crossbar_sim.study.runner import PointSummary, Study
from crossbar_sim.study.search import Search, _judged, optimise
from crossbar_sim.study.store import Store
from crossbar_sim.study_report.files import save_search

optuna = pytest.importorskip("optuna")

BASE = RunConfig.model_validate(
    {
        "name": "small",
        "validation": 0.2,
        "train": {"epochs": 3},
        "prune": {"sparsity": 0.8, "rounds": 1, "epochs_per_round": 2},
    }
)
AIMS = Optimise(
    maximise=("accuracy_validation",),
    minimise=("energy",),
    budget={"n_resistor": 3800},  # 474 weights: at most 4 branches a side
    range={
        "bank.n": Range(low=1, high=6, integer=True),
        "periphery.adc_bits": [5, 6, 8],
        "tile.n_word, tile.n_bit": [16, 32],
    },
    n=14,
    population=5,
    seed=3,
)
AIM = "accuracy_validation"
CONFIG = StudyConfig(name="search", base="small.toml", dies=1, optimise=AIMS)


def with_aims(**values: Any) -> StudyConfig:
    return CONFIG.model_copy(update={"optimise": AIMS.model_copy(update=values)})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("search") / "s.sqlite")


@pytest.fixture(scope="module")
def told() -> list[tuple[int, ...]]:
    return []


@pytest.fixture(scope="module")
def found(store, told):
    return optimise(CONFIG, BASE, store, n_jobs=1, progress=lambda *done: told.append(done))


def values(tried, name):
    return tried.summary.metrics[name].value


def test_the_search_is_told_and_ends(found, told):
    assert found.failures == []
    assert 6 <= len(found.tried) <= 14
    assert told[-1] == ("points", 14, 14)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    keys = [repr(tried.summary.point) for tried in found.tried]
    assert len(set(keys)) == len(keys), "every point is told of once"
    assert all(list(tried.summary.point) == list(AIMS.range) for tried in found.tried)


def test_the_best_are_those_that_none_dominates(found):
    """By brute force over all pairs."""
    fits = [tried for tried in found.tried if values(tried, "n_resistor") <= 3800]
    assert 0 < len(fits) < len(found.tried), "the budget takes some points away"
    assert [tried.feasible for tried in found.tried] == [tried in fits for tried in found.tried]
    for tried in found.tried:
        better = [
            other
            for other in fits
            if values(other, AIM) >= values(tried, AIM)
            and values(other, "energy") <= values(tried, "energy")
            and (values(other, AIM), values(other, "energy"))
            != (values(tried, AIM), values(tried, "energy"))
        ]
        assert tried.best == (tried in fits and not better)
    assert 1 <= sum(tried.best for tried in found.tried) < len(fits)


def test_a_second_run_computes_nothing_and_finds_the_same(found, store):
    before = store.records()
    again = optimise(CONFIG, BASE, store, n_jobs=1)
    assert store.records() == before
    assert again.tried == found.tried


def test_the_number_of_processes_changes_nothing(found, tmp_path):
    short = with_aims(n=7)
    parallel = optimise(short, BASE, Store(tmp_path / "s.sqlite"), n_jobs=2)
    points = [tried.summary for tried in parallel.tried]
    assert points == [tried.summary for tried in found.tried][: len(points)]
    assert len(points) > 4


def test_another_seed_searches_elsewhere(found, store):
    other = optimise(with_aims(seed=4, n=5), BASE, store, n_jobs=1)
    points = [tried.summary.point for tried in found.tried[:5]]
    assert [tried.summary.point for tried in other.tried] != points


@pytest.fixture(scope="module")
def study(found, store):
    return Study(CONFIG, BASE, store, [tried.summary.point for tried in found.tried])


def test_files_written(found, study, tmp_path):
    paths = save_search(found, study, tmp_path / "out" / "a")
    assert [path.name for path in paths] == ["a-search.csv", "a-search.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [p.name for p in paths]
    rows = list(csv.DictReader(io.StringIO(paths[0].read_text())))
    assert len(rows) == len(found.tried)
    for row, tried in zip(rows, found.tried):
        assert row["best"] == str(tried.best)
        assert row["within_budget"] == str(tried.feasible)
        assert float(row[AIM]) == approx(values(tried, AIM), rel=1e-5)
        if tried.best:  # and of these alone, what the test images say
            assert float(row["accuracy"]) == approx(values(tried, "accuracy"), rel=1e-5)
        else:
            assert row["accuracy"] == ""
        assert float(row["n_resistor"]) == approx(values(tried, "n_resistor"), rel=1e-5)
        assert int(row["bank.n"]) == tried.summary.point["bank.n"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_one_aim_has_no_picture_and_nothing_found_an_empty_table(found, study, tmp_path):
    alone = Search(CONFIG, AIMS.model_copy(update={"minimise": ()}), found.tried, [])
    assert [path.name for path in save_search(alone, study, tmp_path / "a")] == ["a-search.csv"]
    nothing = Search(CONFIG, AIMS, [], [])
    assert [path.name for path in save_search(nothing, study, tmp_path / "b")] == ["b-search.csv"]
    assert nothing.to_csv().strip() == ""


def test_points_that_fail_are_listed_and_the_search_goes_on(tmp_path):
    """No solver is within 1e-30 of another."""
    checked = with_values(BASE, {"simulation.check_tiles": 1})
    tolerances = {"simulation.tolerance": [1e-9, 1e-30], "bank.n": [1, 2, 3]}
    aims = {"range": tolerances, "budget": {}, "n": 8, "population": 4}
    search = optimise(with_aims(**aims), checked, Store(tmp_path / "s.sqlite"), n_jobs=1)
    assert {tried.summary.point["simulation.tolerance"] for tried in search.tried} == {1e-9}
    assert {failure.point["simulation.tolerance"] for failure in search.failures} == {1e-30}
    assert all("VerificationError" in failure.reason for failure in search.failures)


def summary(k: int, accuracy: float, energy: float, size: float) -> PointSummary:
    metrics = {AIM: accuracy, "energy": energy, "n_resistor": size}
    found = {name: Interval(value, value, value) for name, value in metrics.items()}
    return PointSummary({"k": k}, 1, found, Interval(1, 1, 1))


def test_judging_by_brute_force_over_many_points():
    """Against the definition, with many equals, and budgets of zero and below."""
    rng = np.random.default_rng(0)
    points = [summary(k, *map(float, rng.integers(-4, 5, size=3))) for k in range(150)]
    for bound in (0.0, 2.0, -1.0):
        aims = AIMS.model_copy(update={"budget": {"n_resistor": bound}})
        judged = _judged(points, aims)
        table = [[p.metrics[n].value for n in (AIM, "energy", "n_resistor")] for p in points]
        for tried, (accuracy, energy, size) in zip(judged, table):
            rivals = [row for row in table if row[2] <= bound]
            dominated = any(
                a >= accuracy and e <= energy and (a > accuracy or e < energy) for a, e, _ in rivals
            )
            assert tried.feasible == (size <= bound)
            assert tried.best == (size <= bound and not dominated)
        assert 0 < sum(tried.best for tried in judged) < 40


def test_a_metric_that_there_is_not(store):
    for values in ({"maximise": ("speed",)}, {"budget": {"speed": 1.0}}):
        with pytest.raises(ConfigError, match=r"metric must be one of accuracy, loss.*got 'speed'"):
            optimise(with_aims(n=2, population=2, **values), BASE, store, n_jobs=1)


@pytest.mark.parametrize("values", [{"maximise": ("accuracy",)}, {"budget": {"n_saturated": 0}}])
def test_a_search_by_test_images_is_refused(store, values):
    with pytest.raises(ConfigError, match="a metric of test images; name 'accuracy_validation'"):
        optimise(with_aims(**values), BASE, store)


def test_a_search_needs_images_held_out(store):
    with pytest.raises(ConfigError, match=r"no images for it; set validation = 0\.2 in the run"):
        optimise(CONFIG, with_values(BASE, {"validation": 0.0}), store)


def test_a_study_without_a_search(store):
    with pytest.raises(ConfigError, match=r"no \[optimise\] table; see examples/studies/design"):
        optimise(CONFIG.model_copy(update={"optimise": None}), BASE, store)


def test_without_optuna_it_says_how_to_get_it(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'crossbar-sim\[optimise\]'"):
        optimise(CONFIG, BASE, store)
