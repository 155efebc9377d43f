"""Studies: what is kept, what is computed again, what survives a kill, and the statistics."""

import csv
import io
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approx import approx
from commands import command
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.study import Range, Sample, Stop, StudyConfig, load_study, with_values
from crossbar_sim.study import runner
from crossbar_sim.study.intervals import (
    Interval,
    clustered_share,
    geometric,
    image_half_width,
    mean_interval,
    nested_interval,
    paired_difference,
    yield_interval,
)
from crossbar_sim.study.runner import Failure, Study
from crossbar_sim.study.store import Record, Store, StoreError, StoreFault
from crossbar_sim.study.tables import summary_csv, usual_metrics
from crossbar_sim.study.trial import trained_path
from crossbar_sim.study_report import files as report_files
from crossbar_sim.study_report.charts import Drawing, design
from crossbar_sim.study_report.files import save_study
from crossbar_sim.study_report.names import Key
from crossbar_sim.system import machine
from processes import children, is_alive, needs_proc, wait
from tinynets.version import VERSION

ROOT = Path(__file__).parents[3]

RUN = """
name = "small"
[train]
epochs = 3
[prune]
sparsity = 0.8
rounds = 1
epochs_per_round = 2
"""
STUDY = """
name = "study"
base = "small.toml"
dies = 3
yield_accuracy = 0.5
[grid]
"bank.n" = [1, 4]
"""
HEAD = 'name = "a"\nbase = "none.toml"\n'
COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()", "study"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    (root / "small.toml").write_text(RUN)
    (root / "study.toml").write_text(STUDY)
    return root


@pytest.fixture(scope="module")
def done(files: Path) -> Study:
    config, base = load_study(files / "study.toml")
    return Study(config, base, Store(files / "done.sqlite")).run(n_jobs=2)


def test_every_point_and_die_is_computed_and_told(done):
    assert done.failures == []
    assert len(done.records()) == 6
    one, four = done.summary()
    assert (one.point, one.n_die) == ({"bank.n": 1}, 3)
    assert four.metrics["accuracy"].value > one.metrics["accuracy"].value + 0.1
    assert four.metrics["weight_error"].value < 0.1 * one.metrics["weight_error"].value
    assert four.yield_.value == 1.0
    assert one.metrics["power"].value > 0
    rows = list(csv.DictReader(io.StringIO(summary_csv(done, ["accuracy"]))))
    assert [row["bank.n"] for row in rows] == ["1", "4"]
    assert len(list(csv.DictReader(io.StringIO(done.to_csv())))) == 6


def test_a_study_without_power_is_shown_without_it(done, files):
    config, base = load_study(files / "study.toml")
    base = with_values(base, {"simulation.n_power": 0})
    study = Study(config.model_copy(update={"dies": 1}), base, Store(files / "no_power.sqlite"))
    assert usual_metrics(study.run(n_jobs=1)) == ["accuracy", "mvm_error"]
    assert usual_metrics(done) == ["accuracy", "mvm_error", "energy"]


def test_nothing_is_computed_twice(done, files):
    config, base = load_study(files / "study.toml")
    again = Study(config, base, Store(files / "done.sqlite"))
    seen = []
    again.run(n_jobs=1, progress=lambda *args: seen.append(args))
    assert seen == [("trials", 6, 6)]
    more = config.model_copy(update={"dies": 4})
    Study(more, base, Store(files / "done.sqlite")).run(
        n_jobs=1, progress=lambda *args: seen.append(args)
    )
    assert seen[1:] == [("trials", n, 8) for n in (6, 7, 8)]


def test_results_do_not_depend_on_the_number_of_processes(done, files):
    config, base = load_study(files / "study.toml")
    one = Study(config, base, Store(files / "one.sqlite")).run(n_jobs=1)
    assert one.to_csv() == done.to_csv()


def test_files_written(done, tmp_path):
    paths = save_study(done, tmp_path / "out" / "s", ["accuracy", "mvm_error"])
    names = ["s-accuracy.png", "s-mvm_error.png", "s.csv", "s.parquet"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    assert len(paths) == 4
    pandas = pytest.importorskip("pandas")
    assert len(pandas.read_parquet(tmp_path / "out" / "s.parquet")) == 6
    with pytest.raises(ConfigError, match="got 'nope'"):
        summary_csv(done, ["nope"])


def test_a_killed_process_is_told_and_the_next_study_goes_on(done, files, tmp_path, monkeypatch):
    config, base = load_study(files / "study.toml")
    study = Study(config, base, Store(tmp_path / "s.sqlite"))
    last, execute = study.trials[-1].key, runner._execute

    def killed(trial, network):
        if trial.key == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(trial, network)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_execute", killed)
        with pytest.raises(runner.ProcessLost, match=r"finished trials are kept, .* --jobs"):
            study.run(n_jobs=2)
    kept = study.store.keys()
    assert kept
    assert last not in kept
    assert study.run(n_jobs=1).to_csv() == done.to_csv()
    assert (len(study.store.keys()), study.failures) == (6, [])


def test_a_failing_trial_is_listed_and_the_others_go_on(files, tmp_path):
    config, base = load_study(files / "study.toml")
    base = with_values(base, {"simulation.check_tiles": 1})
    grid = {"simulation.tolerance": [1e-30, 1e-9], "bank.n": [2]}  # no solver is so near another
    config = config.model_copy(update={"grid": grid, "dies": 2})
    found = Study(config, base, Store(tmp_path / "s.sqlite")).run(n_jobs=1)
    bad = {"simulation.tolerance": 1e-30, "bank.n": 2}
    assert [(f.point, f.die) for f in found.failures] == [(bad, 1), (bad, 2)]
    assert all(f.reason.startswith("VerificationError: ") for f in found.failures)
    assert [(r.point["simulation.tolerance"], r.die) for r in found.records()] == [
        (1e-9, 1),
        (1e-9, 2),
    ]
    assert [summary.n_die for summary in found.summary()] == [2]


def test_a_die_that_failed_does_not_take_those_after_it_along(done, tmp_path):
    """Of three dies whose first failed, the two others are the point's; before, none was."""
    trials = done.by_point[0]
    store = Store(tmp_path / "two.sqlite")
    kept = {record.key: record for record in done.store.records()}
    for trial in trials[1:]:
        store.add(kept[trial.key])
    late = Study(done.config, done.base, store)
    assert late.summary() == [], "the first die may still come"
    failure = Failure(trials[0].point, 1, "VerificationError: differ", trials[0].key)
    (found,) = replace(late, failures=[failure]).summary()
    assert found.n_die == 2
    values = [kept[trial.key].metrics["accuracy"] for trial in trials[1:]]
    assert found.metric("accuracy").value == approx(np.mean(values))


@needs_proc
def test_a_killed_study_loses_only_trials_in_flight_and_resumes(files, tmp_path):
    (tmp_path / "small.toml").write_text(RUN)
    (tmp_path / "long.toml").write_text(STUDY.replace("dies = 3", "dies = 6"))
    store = tmp_path / "s.sqlite"
    arguments = [*COMMAND, str(tmp_path / "long.toml"), "--store", str(store), "--jobs", "2"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait(lambda: store.exists() and len(Store(store).keys()) >= 2)
    workers = children(process.pid)
    assert workers
    process.kill()
    process.wait()
    assert wait(lambda: not any(map(is_alive, workers)), 30)
    kept = Store(store).records()
    assert 2 <= len(kept) < 12
    resumed = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    final = {record.key: record for record in Store(store).records()}
    assert len(final) == 12
    assert all(final[record.key].seconds == record.seconds for record in kept)


def test_two_processes_on_one_store(files, tmp_path):
    (tmp_path / "small.toml").write_text(RUN)
    (tmp_path / "study.toml").write_text(STUDY)
    arguments = [*COMMAND, str(tmp_path / "study.toml"), "--store", str(tmp_path / "s.sqlite")]
    both = [
        subprocess.Popen([*arguments, "--jobs", "1"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(Store(tmp_path / "s.sqlite").records()) == 6


def _open_with_others(path: Path, k: int, start: Any) -> None:
    start.wait(60)
    Store(path).add(Record(f"{k}", "s", {}, k, {}, {}, 0.1, "v"))


def test_many_create_one_store_at_the_same_moment(tmp_path):
    context, n = multiprocessing.get_context("fork"), 32
    for turn in range(3):
        path, start = tmp_path / f"{turn}.sqlite", context.Barrier(n)
        jobs = [context.Process(target=_open_with_others, args=(path, k, start)) for k in range(n)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        assert [job.exitcode for job in jobs] == [0] * n
        assert len(Store(path).keys()) == n


def test_a_cluster_that_loses_a_worker_loses_no_result(files, tmp_path):
    distributed = pytest.importorskip("distributed")
    config, base = load_study(files / "study.toml")
    config = config.model_copy(update={"dies": 6})
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victims = [worker.pid for worker in cluster.workers.values()]
        killed = []

        def kill_one(_step, finished, _total):
            if finished >= 2 and not killed:
                killed.append(victims[0])
                os.kill(victims[0], signal.SIGKILL)

        found = Study(config, base, Store(tmp_path / "s.sqlite"))
        found.run(dask=cluster.scheduler_address, progress=kill_one)
    assert killed
    assert found.failures == []
    assert len(found.records()) == 12


def test_points_stop_when_their_interval_is_narrow(files, tmp_path):
    config, base = load_study(files / "study.toml")
    stop = Stop(metric="accuracy", half_width=0.5, min_dies=3)
    config = config.model_copy(update={"dies": 30, "stop": stop})
    found = Study(config, base, Store(tmp_path / "s.sqlite")).run(n_jobs=1)
    assert [summary.n_die for summary in found.summary()] == [3, 3]
    assert len(found.records()) < 20


def test_a_point_does_not_stop_for_a_die_that_is_only_late(done, files):
    """The second die is there before the first, which is still to come."""
    config, base = load_study(files / "study.toml")
    stop = Stop(metric="accuracy", half_width=0.5, min_dies=3)
    study = Study(config.model_copy(update={"stop": stop}), base, done.store)
    first, *_ = study.by_point[0]
    known = {record.key: record for record in done.store.records()}
    study._known = lambda: {key: record for key, record in known.items() if key != first.key}
    assert not study._settled(first)


@pytest.fixture(scope="module")
def trained_anew(files: Path) -> Study:
    config, base = load_study(files / "study.toml")
    config = config.model_copy(update={"dies": 2, "trainings": 3})
    return Study(config, base, Store(files / "trainings.sqlite")).run(n_jobs=1)


def test_trainings_have_their_own_seeds_and_dies(trained_anew):
    assert trained_anew.failures == []
    rows = list(csv.DictReader(io.StringIO(trained_anew.to_csv())))
    seeds = {(int(row["training"]), int(row["die"])) for row in rows}
    assert seeds == {(1, 1), (1, 2), (2, 1001), (2, 1002), (3, 2001), (3, 2002)}
    assert len(rows) == 2 * 6
    (_, four) = trained_anew.summary()
    assert (four.n_training, four.n_die) == (3, 2)
    scores = {key: [] for key in "123"}
    for row in rows:
        if row["bank.n"] == "4":
            scores[row["training"]].append(float(row["accuracy"]))
    means = [np.mean(score) for score in scores.values()]
    assert len(set(means)) == 3, "the networks differ"
    found, wanted = four.metric("accuracy"), mean_interval(means)
    assert (found.value, found.low) == approx((wanted.value, wanted.low), rel=1e-9)


def test_tables_and_plots_say_what_an_interval_covers(trained_anew, done, monkeypatch, tmp_path):
    rows = list(csv.DictReader(io.StringIO(summary_csv(trained_anew, ["accuracy"]))))
    assert {row["interval"] for row in rows} == {"t over 3 trainings of 2 dies"}
    for row in rows:
        share = float(row["accuracy"])
        assert float(row["images"]) == approx(1.96 * np.sqrt(share * (1 - share) / 450), rel=0.05)
    (row, _) = csv.DictReader(io.StringIO(summary_csv(done, ["accuracy"])))
    assert row["interval"] == "t over 3 dies of one training"
    figures = []
    monkeypatch.setattr(report_files, "png", lambda figure: figures.append(figure) or b"png")
    save_study(trained_anew, tmp_path / "s", ["accuracy"])
    title = figures[0].get_suptitle().replace("\n", " ")
    assert title == "Test accuracy: mean of 3 trainings of 2 dies each, 95 % intervals"
    note = figures[0].get_supxlabel().replace("\n", " ")
    assert note.startswith(
        "95 % intervals, t over 3 trainings of 2 dies; not of the 450 test images"
    )


def test_more_trainings_or_dies_compute_only_what_is_new(trained_anew, files):
    for update in ({"trainings": 4}, {"dies": 3}):
        config = trained_anew.config.model_copy(update={"dies": 2, "trainings": 3} | update)
        trials = Study(config, trained_anew.base, None).trials
        known = trained_anew.store.keys()
        assert sum(trial.key in known for trial in trials) == 12


def test_a_half_finished_die_does_not_count(trained_anew):
    """As many dies of each training are compared."""
    first = [trial.key for trial in trained_anew.by_point[0]]
    known = {record.key: record for record in trained_anew.store.records()}
    counted = trained_anew._counted(trained_anew.by_point[0], {k: known[k] for k in first[:5]})
    assert [record.key for record in counted] == first[:3]


def test_samples_are_repeatable_and_within_their_ranges():
    ranges = {"wires.r_word": Range(low=0.1, high=100, log=True), "bank.n": Range(low=2, high=6)}
    for method in ("sobol", "random"):
        points = Sample(method=method, n=7, range=ranges).points()
        assert len(points) == 7
        assert points == Sample(method=method, n=7, range=ranges).points()
        assert all(0.1 <= p["wires.r_word"] <= 100 and 2 <= p["bank.n"] <= 6 for p in points)
    whole = Range(low=2, high=6, integer=True)
    assert [whole.value(share) for share in (0.0, 0.5, 1.0)] == [2, 4, 6]


def test_bad_studies(tmp_path):
    base = RunConfig(name="a")
    for values, message in (
        ({"bank.nope": 1}, "unknown key"),
        ({"nope.n": 1}, "not a key of a run"),
        ({"bank.n": -1}, "greater than"),
    ):
        with pytest.raises(ConfigError, match=message):
            with_values(base, values)
    with pytest.raises(ValueError, match="low must be below high"):
        Range(low=2, high=1)
    with pytest.raises(ValueError, match="low > 0"):
        Range(low=-1, high=1, log=True)
    with pytest.raises(ValueError, match=r"integer bounds; got 1\.5 and 3\.0"):
        Range(low=1.5, high=3, integer=True)
    path = tmp_path / "s.toml"
    for text, message in (
        ('name = "a"', "key 'base' is missing"),
        ('name = "a"\nbase = "none.toml"', "none.toml: cannot be read"),
        ('name = "a"\nbase = "x"\ndies = 0', "dies = 0"),
        ("name =", "not valid TOML"),
        (HEAD + '[grid]\n"bank.n" = []', "grid.bank.n = .*at least 1 item"),
        (HEAD + "[grid]\nvariant = [1]", r"'variant' is reserved for \[variants\]"),
        (HEAD + "[sample.range]", "sample.range: .*at least 1 item"),
        (
            HEAD + '[grid]\n"bank.n" = [2]\n[variants.a]\n"bank.n" = 3',
            "'bank.n' is set twice; keep it in one of grid, sample, variants",
        ),
        (
            HEAD + '[grid]\n"bank.n" = [2]\n[sample.range."bank.r_on, bank.n"]\nlow=1\nhigh=2',
            "'bank.n' is set twice",
        ),
        (
            HEAD + 'x = "bank.m"\n[grid]\n"bank.n" = [2]\n[variants.a]\n"die.seed" = 1',
            "x or panel is 'bank.m'; choose from bank.n, die.seed, variant",
        ),
        (HEAD + "trainings = 2\n[grid]\nseed = [1, 2]", "trainings > 1 sets 'seed' itself"),
        (
            HEAD + "trainings = 2\ndies = 1001",
            "dies must be at most 1000 with trainings > 1; got 1001",
        ),
        (HEAD + 'panel = ["variant"]\n[grid]\n"bank.n" = [2]', "x or panel is 'variant'; choose"),
        (HEAD + "[optimise]\nrange = {}", "optimise.range: .*at least 1 item"),
        (
            HEAD + '[optimise]\nmaximise = []\nminimise = []\nrange = {"bank.n" = [1]}',
            "maximise and minimise are both empty; name a metric",
        ),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_study(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_study(tmp_path / "none.toml")


def record(key: str = "k") -> Record:
    return Record(key, "s", {"a": 1}, 1, {}, {"accuracy": 0.5}, 0.1, "v")


def test_store_keeps_what_it_is_given(tmp_path):
    store = Store(tmp_path / "new" / "s.sqlite")
    store.add(record())
    store.add(record())  # again: no error, nothing changes
    assert store.records() == [record()]
    assert store.records("other") == []
    assert Store(tmp_path / "new" / "s.sqlite").keys() == {"k"}


@pytest.mark.parametrize("kind", ["text", "foreign", "version", "damaged"])
def test_other_files_are_refused_and_not_touched(tmp_path, kind):
    path = tmp_path / "s.sqlite"
    if kind == "text":
        path.write_text("hello " * 1000)
    elif kind == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (a)")
        connection.close()
    else:
        Store(path).add(record())
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if kind == "version":
                connection.execute("PRAGMA user_version = 99")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        if kind == "damaged":
            content = bytearray(path.read_bytes())
            content[4096:8192] = os.urandom(4096)
            path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"s\.sqlite"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_schema_is_refused_by_its_number(tmp_path):
    Store(tmp_path / "s.sqlite")
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    message = rf"is a store of schema 99; crossbar-sim {re.escape(VERSION)} reads 1 and 2; use the"
    with pytest.raises(StoreError, match=message):
        Store(tmp_path / "s.sqlite")


def test_a_store_of_the_schema_before_is_brought_up_to_date(tmp_path):
    path = tmp_path / "s.sqlite"
    Store(path).add(replace(record(), machine="a; b"))
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE trial DROP COLUMN machine")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = Store(path)
    assert store.records() == [record()]
    store.add(replace(record("new"), machine="c"))
    assert {r.key: r.machine for r in Store(path).records()} == {"k": "", "new": "c"}


def test_a_place_where_no_store_can_be_is_a_fault_that_names_it(tmp_path):
    with pytest.raises(StoreFault, match=f"{tmp_path} cannot be read or written: .*--store"):
        Store(tmp_path)
    store = Store(tmp_path / "s.sqlite")
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON trial BEGIN SELECT no_function(); END"
        )
    connection.close()
    with pytest.raises(StoreFault, match=r"s.sqlite cannot be read .* its trials are safe"):
        store.add(record())


def test_every_trial_says_which_machine_made_it(done, files, monkeypatch):
    assert done.machines == [machine.summary()]
    _, base = load_study(files / "study.toml")
    (network,) = (files / "done.networks").iterdir()
    assert network.stem.endswith(machine.key())
    assert trained_path(base, files / "done.networks") == network
    here = machine.arithmetic()
    assert set(machine.described()) == {*here, "threads"}
    monkeypatch.setattr(machine, "arithmetic", lambda: here | {"processor": "another"})
    assert machine.key() != network.stem.rpartition("-")[2]


def coverage(intervals, true):
    return np.mean([found.low <= true <= found.high for found in intervals])


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_an_interval_of_95_percent_holds_the_mean_as_often(n):
    """The percentile bootstrap does 74, 84, 90, 94 times."""
    table = np.random.default_rng(n).normal(size=(3000, n))
    assert 0.935 < coverage(map(mean_interval, table), 0.0) < 0.965  # 3.7 standard errors


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.85, 0.92), (5, 0.84, 0.91), (30, 0.9, 0.95)])
def test_a_skewed_metric_gets_less_and_how_much_less_is_known(n, low, high):
    """Exponential, skewness 2, as a loss near none: 88 of 100 at small n, 93 at 30."""
    table = np.random.default_rng(n).exponential(size=(3000, n))
    assert low < coverage(map(mean_interval, table), 1.0) < high


def test_trainings_and_their_dies_are_covered_together():
    """Dies of one training are alike: taken for independent, they claim far too much."""
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(3000, 3, 1)) + rng.normal(size=(3000, 3, 5)) / 3
    assert 0.935 < coverage(map(nested_interval, tables), 0.0) < 0.965
    assert coverage((mean_interval(table.ravel()) for table in tables), 0.0) < 0.6
    one = tables[0, :1]
    assert nested_interval(one) == mean_interval(one[0]), "of one training, the dies' own"
    assert nested_interval(tables[0]).value == approx(tables[0].mean(), rel=1e-12)
    with pytest.raises(
        ValueError, match=r"same number of dies for each training; got shape \(3,\)"
    ):
        nested_interval([1.0, 2.0, 3.0])


def test_an_interval_by_hand():
    """3 values 1, 2, 3: standard error 1 / sqrt(3), t of 2 degrees 4.3027."""
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == approx((2.0, -0.48414, 4.48414), rel=1e-5)
    with pytest.raises(ValueError, match="at least one value; got none"):
        mean_interval([])


def test_intervals():
    # 1.96 sqrt(0.94 · 0.06 / 1000) = 1.47 points.
    assert image_half_width(0.94, 1000.0) == approx(0.0147, rel=0.01)
    assert mean_interval(np.array([3.0])).half_width == np.inf
    share = yield_interval(9, 10)
    assert (share.value, round(share.low, 3), round(share.high, 3)) == (0.9, 0.596, 0.982)
    with pytest.raises(ValueError, match="expected 0 <= good"):
        yield_interval(3, 2)


def test_pairing_dies_narrows_the_difference():
    rng = np.random.default_rng(0)
    die = rng.normal(size=20)
    a = dict(enumerate(die))
    b = dict(enumerate(die + 0.1 + 0.01 * rng.normal(size=20)))
    found = paired_difference(a, b)
    assert found.value == approx(0.1, abs=0.01)
    assert found.half_width < 0.01
    by_training = paired_difference(
        {(key % 4, key): value for key, value in a.items()},
        {(key % 4, key): value for key, value in b.items()},
    )
    means = [np.mean([b[key] - a[key] for key in range(k, 20, 4)]) for k in range(4)]
    assert by_training == mean_interval(means)
    with pytest.raises(ValueError, match="more dies of one training than of another"):
        paired_difference(
            {(1, 1): 0.0, (1, 2): 0.0, (2, 1): 0.0}, dict.fromkeys([(1, 1), (1, 2), (2, 1)], 1.0)
        )
    with pytest.raises(ValueError, match="no die in common"):
        paired_difference({1: 0.0}, {2: 0.0})


def test_several_keys_get_one_value():
    base = RunConfig(name="a")
    found = with_values(
        base,
        {"tile.n_word, tile.n_bit": 16, "wires.source": "given", "wires.r_word,wires.r_bit": 3.0},
    )
    assert (found.tile.n_word, found.tile.n_bit) == (16, 16)
    assert (found.wires.r_word, found.wires.r_bit) == (3.0, 3.0)
    with pytest.raises(ConfigError, match=r"unknown key 'tile\.n_bot'"):
        with_values(base, {"tile.n_word, tile.n_bot": 16})
    with pytest.raises(ConfigError, match=r"varies 'tiles\.n_bit', which is not a key of a run"):
        with_values(base, {"tile.n_word, tiles.n_bit": 16})


VARIANTS = """
name = "variants"
base = "small.toml"
dies = 2
x = "prune.sparsity"
panel = ["tile.n_word, tile.n_bit"]
[grid]
"tile.n_word, tile.n_bit" = [16, 32]
[variants.pruned]
[variants."the same again"]
"prune.sparsity" = 0.8
[variants.coarse]
"bank.n" = 1
"""


@pytest.fixture(scope="module")
def variants(files: Path) -> Study:
    (files / "variants.toml").write_text(VARIANTS)
    config, base = load_study(files / "variants.toml")
    return Study(config, base, Store(files / "variants.sqlite")).run(n_jobs=1)


def test_variants_go_with_every_point(variants):
    names = ["pruned", "the same again", "coarse"]
    assert [(p["variant"], p["tile.n_word, tile.n_bit"]) for p in variants.points] == [
        (name, size) for name in names for size in (16, 32)
    ]
    assert variants.failures == []
    found = {
        (s.point["variant"], s.point["tile.n_word, tile.n_bit"]): s for s in variants.summary()
    }
    assert found["pruned", 16].metrics["n_tile"].value > found["pruned", 32].metrics["n_tile"].value
    for size in (16, 32):
        one, other = found["pruned", size], found["the same again", size]
        assert one.metrics == other.metrics, "the base has that sparsity"
        loss = found["coarse", size].metrics["loss"].value
        assert loss > 0.15 > 0.05 > one.metrics["loss"].value


def test_trials_that_points_share_are_computed_once_and_told_of_each(variants, files):
    assert len(variants.trials) == 12
    assert len(variants.store.records()) == 8
    rows = list(csv.DictReader(io.StringIO(variants.to_csv())))
    assert sorted({(row["variant"], row["die"]) for row in rows}) == sorted(
        (name, die) for name in ("pruned", "the same again", "coarse") for die in "12"
    )
    assert len(rows) == 12
    # Another study that comes to the same trials finds them, and tells of them in its own words.
    config = StudyConfig(name="other", base=Path("x"), dies=2, grid={"tile.n_word": [32]})
    again = Study(config, variants.base, variants.store)
    told = []
    again.run(n_jobs=1, progress=lambda *step: told.append(step))
    assert told == [("trials", 2, 2)], "none is computed again"
    assert [(r.study, r.point) for r in again.records()] == [("other", {"tile.n_word": 32})] * 2


def test_what_is_drawn(variants, monkeypatch, tmp_path):
    drawn = [variants.config.drawn(point, variants.base) for point in variants.points]
    assert [point["prune.sparsity"] for point in drawn] == [0.8] * 6, "of the variant or the base"
    figures = []
    monkeypatch.setattr(report_files, "png", lambda figure: figures.append(figure) or b"png")
    save_study(variants, tmp_path / "v", ["accuracy"])
    (figure,) = figures
    assert [axes.get_title("left") for axes in figure.axes] == [
        "lines per side of a tile: 16",
        "lines per side of a tile: 32",
    ]
    for axes in figure.axes:
        assert axes.get_xlabel() == "weights pruned"
        assert sorted(text.get_text() for text in axes.texts) == [
            "coarse",
            "pruned",
            "the same again",
        ]
        values = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 1]
        assert values
        assert all(value[0][0] == 0.8 for value in values)


def test_a_plot_without_panels_has_a_line_for_each_other_value():
    points = [{"a.x": x, "b.y": y} for x in (1, 100) for y in ("s", "t")]
    intervals = [Interval(k, k - 1.0, k + 1.0) for k in range(4)]
    keys = {"a.x": Key("x"), "b.y": Key("y")}
    (axes,) = design(points, intervals, "accuracy", Drawing("a.x", keys=keys)).axes
    assert [text.get_text() for text in axes.texts] == ["s", "t", "y:"]
    data = [container.lines[0].get_xydata().tolist() for container in axes.containers]
    assert data == [[[1, 0], [100, 2]], [[1, 1], [100, 3]]]
    assert axes.get_xscale() == "log"


def test_an_unknown_metric_to_stop_at(files, tmp_path):
    config, base = load_study(files / "study.toml")
    stop = Stop(metric="acuracy", half_width=0.5, min_dies=3)
    config = config.model_copy(update={"dies": 4, "stop": stop, "grid": {"bank.n": [4]}})
    with pytest.raises(ConfigError, match=r"metric must be one of accuracy, loss.*got 'acuracy'"):
        Study(config, base, Store(files / "done.sqlite")).run(n_jobs=1).summary()


def test_a_clustered_share_counts_groups_where_nothing_varies():
    """Ten groups of ten equal outcomes say as much as ten outcomes; independent ones more."""
    whole = np.repeat([True] * 8 + [False] * 2, 10).reshape(10, 10)
    same = clustered_share(whole)
    assert same.value == 0.8
    assert (same.low, same.high) == approx((yield_interval(8, 10).low, yield_interval(8, 10).high))
    mixed = clustered_share(np.random.default_rng(0).random((400, 10)) < 0.8)
    assert mixed.half_width < 1.3 * yield_interval(3200, 4000).half_width
    sure = clustered_share(np.ones((10, 10)))
    assert (sure.low, sure.high) == approx((yield_interval(10, 10).low, 1.0))
    with pytest.raises(ValueError, match=r"expected outcomes \(n_group, n_each\) of two groups"):
        clustered_share(np.ones((1, 10)))


def test_geometric_means_have_their_interval():
    found = geometric("e", [1e-4, 1e-2])
    assert found["e"] == approx(1e-3)
    assert found["e_low"] < 1e-3 < found["e_high"]
    assert geometric("e", [0.0, 1.0]) == {"e": 0.0, "e_low": 0.0, "e_high": 1.0}


def test_converters_without_rounding_are_studied_without_energy(tmp_path):
    """The energy of such converters is not known, which is said before the first trial."""
    base = ROOT / "tests" / "networks" / "small.toml"
    study = f'name = "s"\nbase = "{base}"\ndies = 2\n[grid]\n"periphery.adc_bits" = [4, "none"]\n'
    (tmp_path / "s.toml").write_text(study)
    asked = ("study", tmp_path / "s.toml", "--store", tmp_path / "s.sqlite", "--jobs", 1, "--json")
    refused = command(*asked)
    assert refused.returncode == 2
    assert 'periphery.adc_bits = "none": the energy of a converter' in refused.stderr
    assert not Store(tmp_path / "s.sqlite").keys()
    (tmp_path / "s.toml").write_text(study + '"simulation.n_power" = [0]\n')
    done = command(*asked)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["periphery.adc_bits"] for row in rows] == [4, "none"]
    assert "energy" not in rows[0]
    assert rows[1]["accuracy"] >= rows[0]["accuracy"]


def test_a_run_of_converters_without_rounding_is_refused_before_its_work(tmp_path):
    (tmp_path / "r.toml").write_text('name = "r"\n[periphery]\ndac_bits = "none"\n')
    done = command("run", tmp_path / "r.toml", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert 'periphery.dac_bits = "none": the energy' in done.stderr
    assert not (tmp_path / "results").exists()
