"""Studies: what is kept, what is computed again, what survives a kill, and the statistics."""

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.statistics import mean_interval, paired_difference, yield_interval
from crossbar_sim.store import Record, Store, StoreError
from crossbar_sim.study import Study
from crossbar_sim.study_config import Range, Sample, Stop, StudyConfig, load_study, with_values
from crossbar_sim.study_report import save_study, summary_csv

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
COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()", "study"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    (root / "small.toml").write_text(RUN)
    (root / "study.toml").write_text(STUDY)
    return root


@pytest.fixture(scope="module")
def done(files):
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


def test_nothing_is_computed_twice(done, files):
    config, base = load_study(files / "study.toml")
    again = Study(config, base, Store(files / "done.sqlite"))
    seen = []
    again.run(n_jobs=1, progress=lambda *args: seen.append(args))
    assert seen == []
    more = config.model_copy(update={"dies": 4})
    Study(more, base, Store(files / "done.sqlite")).run(
        n_jobs=1, progress=lambda *args: seen.append(args)
    )
    assert seen == [(7, 8), (8, 8)]


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
    with pytest.raises(ConfigError, match="no metric 'nope'"):
        summary_csv(done, ["nope"])


def test_a_failing_trial_is_listed_and_the_others_go_on(files, tmp_path):
    config, base = load_study(files / "study.toml")
    config = config.model_copy(
        update={"grid": {"wires.r_word": [1.0, 1e12], "bank.n": [2]}, "dies": 1}
    )
    found = Study(config, base, Store(tmp_path / "s.sqlite")).run(n_jobs=1)
    assert len(found.records()) + len(found.failures) == 2


def test_a_killed_study_loses_only_trials_in_flight_and_resumes(files, tmp_path):
    (tmp_path / "small.toml").write_text(RUN)
    (tmp_path / "long.toml").write_text(STUDY.replace("dies = 3", "dies = 40"))
    store = tmp_path / "s.sqlite"
    arguments = [*COMMAND, str(tmp_path / "long.toml"), "--store", str(store), "--jobs", "2"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (store.exists() and len(Store(store).keys()) >= 4):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = Store(store).records()
    assert 4 <= len(kept) < 80
    resumed = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    final = {record.key: record for record in Store(store).records()}
    assert len(final) == 80
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


def test_a_cluster_that_loses_a_worker_loses_no_result(files, tmp_path):
    distributed = pytest.importorskip("distributed")
    config, base = load_study(files / "study.toml")
    config = config.model_copy(update={"dies": 12})
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victims = [worker.pid for worker in cluster.workers.values()]
        killed = []

        def kill_one(finished, _total):
            if finished >= 3 and not killed:
                killed.append(victims[0])
                os.kill(victims[0], signal.SIGKILL)

        found = Study(config, base, Store(tmp_path / "s.sqlite"))
        found.run(dask=cluster.scheduler_address, progress=kill_one)
    assert killed
    assert found.failures == []
    assert len(found.records()) == 24


def test_points_stop_when_their_interval_is_narrow(files, tmp_path):
    config, base = load_study(files / "study.toml")
    stop = Stop(metric="accuracy", half_width=0.5, min_dies=3)
    config = config.model_copy(update={"dies": 30, "stop": stop})
    found = Study(config, base, Store(tmp_path / "s.sqlite")).run(n_jobs=1)
    assert [summary.n_die for summary in found.summary()] == [3, 3]
    assert len(found.records()) < 20


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
        ({"nope.n": 1}, "no key of a run"),
        ({"bank.n": -1}, "greater than"),
    ):
        with pytest.raises(ConfigError, match=message):
            with_values(base, values)
    with pytest.raises(ValueError, match="low must be below high"):
        Range(low=2, high=1)
    with pytest.raises(ValueError, match="low > 0"):
        Range(low=-1, high=1, log=True)
    path = tmp_path / "s.toml"
    for text, message in (
        ('name = "a"', "key 'base' is missing"),
        ('name = "a"\nbase = "none.toml"', "none.toml: cannot be read"),
        ('name = "a"\nbase = "x"\ndies = 0', "dies = 0"),
        ("name =", "not valid TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_study(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_study(tmp_path / "none.toml")


def record(key="k"):
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


def test_intervals():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = mean_interval(rng.normal(size=30))
        inside += found.low <= 0 <= found.high
    assert 170 <= inside <= 199
    assert mean_interval(np.array([3.0])).half_width == np.inf
    share = yield_interval(9, 10)
    assert (share.value, round(share.low, 3), round(share.high, 3)) == (0.9, 0.596, 0.982)
    with pytest.raises(ValueError, match="makes no share"):
        yield_interval(3, 2)


def test_pairing_dies_narrows_the_difference():
    rng = np.random.default_rng(0)
    die = rng.normal(size=20)
    a = dict(enumerate(die))
    b = dict(enumerate(die + 0.1 + 0.01 * rng.normal(size=20)))
    found = paired_difference(a, b)
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert found.half_width < 0.01
    with pytest.raises(ValueError, match="no die in common"):
        paired_difference({1: 0.0}, {2: 0.0})


def test_the_example_study_is_valid():
    config, base = load_study(Path(__file__).parent.parent / "examples" / "study.toml")
    assert all(trial.config.name == base.name for trial in Study(config, base, None).trials)
    assert isinstance(config, StudyConfig)
