"""Accuracy studies: a grid or sample of parameters × many dies, with every trial kept."""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import require_extras
from crossbar_sim.config.study import StudyConfig, with_values
from crossbar_sim.pipeline.own import write_objects
from crossbar_sim.study.intervals import Interval, nested_interval, yield_interval
from crossbar_sim.study.store import Record, Store
from crossbar_sim.study.trial import run_trial, source_digest, trained_path, training_key
from crossbar_sim.system import machine
from crossbar_sim.system.stopping import end_with
from tinynets.files.outputs import csv_text
from tinynets.progress import Progress, silent
from tinynets.version import VERSION

_PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")


@cache
def code_version() -> str:
    """Return the version and a hash of the source: trials of other code are computed again."""
    digest = source_digest(*(f"{package}/**/*.py" for package in _PACKAGES))
    return f"{VERSION}+{digest}"


class ProcessLost(RuntimeError):
    """A local process that computes trials has ended without a result."""


@dataclass(frozen=True)
class Trial:
    """One configuration, trained with one seed, on one die."""

    point: dict[str, Any]
    config: RunConfig

    @property
    def key(self) -> str:
        """Hash of everything the result depends on, which the run's name is not."""
        parts = [self.config.as_json(exclude={"name"}), code_version()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Failure:
    """A trial that raised an exception."""

    point: dict[str, Any]
    die: int
    reason: str
    key: str = ""


@dataclass(frozen=True)
class PointSummary:
    """A point over its trainings and dies.

    point: varied parameters, by key.
    n_die: number of dies of each training.
    metrics: interval of every metric.
    yield_: of all dies; its interval does not cover other trainings.
    n_training: number of trainings.
    """

    point: dict[str, Any]
    n_die: int
    metrics: dict[str, Interval]
    yield_: Interval
    n_training: int = 1

    @property
    def basis(self) -> str:
        """What the intervals of the metrics cover."""
        if self.n_training == self.n_die == 1:
            return "none of one die"
        if self.n_training == 1:
            return f"t over {self.n_die} dies of one training"
        dies = "one die" if self.n_die == 1 else f"{self.n_die} dies"
        return f"t over {self.n_training} trainings of {dies}"

    def metric(self, name: str) -> Interval:
        """Return a metric's mean; ConfigError for one that does not exist."""
        if name not in self.metrics:
            raise _no_metric(name, self.metrics)
        return self.metrics[name]


def _no_metric(name: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(f"metric must be one of {', '.join(known)}; got {name!r}")


@dataclass
class Study:
    """A study and its store; `run` computes the missing trials, `summary` returns the results.

    config: the study.
    base: the run that it varies.
    store: keeps the trials.
    points: those of the configuration by default.
    failures: trials of `run` that raised.
    """

    config: StudyConfig
    base: RunConfig
    store: Store
    points: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.points = self.points or self.config.points()
        self.base = self.base.ready()

    @cached_property
    def by_point(self) -> list[list[Trial]]:
        """The trials of every point, die by die, with all trainings of a die together."""
        return [self._of_point(point) for point in self.points]

    def _of_point(self, point: dict[str, Any]) -> list[Trial]:
        config = with_values(self.base, self.config.values(point))
        return [
            Trial(point, with_values(config, {"seed": training, "die.seed": die}))
            for training, die in self.config.seeds(config.seed)
        ]

    @property
    def trials(self) -> list[Trial]:
        """All trials, die by die, so that every point soon has a first result."""
        return [trial for of_die in zip(*self.by_point) for trial in of_die]

    def run(
        self,
        *,
        n_jobs: int = -1,
        dask: str | None = None,
        progress: Progress = silent,
    ) -> "Study":
        """Compute the trials that the store lacks; return self.

        n_jobs: number of processes, -1 for one per core.
        dask: address of a running scheduler to use instead. It gets all trials at once, so no point
            stops early.
        progress: told of the step "trials".

        A failed trial is added to `failures` and does not stop the others.
        """
        for trial in self.trials:
            trial.config.require_trust()
            require_extras(trial.config)
            if trial.config.simulation.n_power:
                trial.config.require_known_energy()
        # Points with the same configuration share its trials.
        trials = list({trial.key: trial for trial in self.trials}.values())
        networks = self._train({training_key(t.config): t.config for t in trials}, n_jobs)
        known = self.store.keys()
        todo = [trial for trial in trials if trial.key not in known]
        done = len(trials) - len(todo)
        progress("trials", done, len(trials))
        work = ((t, networks[training_key(t.config)]) for t in todo if not self._settled(t))
        for outcome in _execute_all(work, n_jobs, dask):
            done += 1
            self._keep(outcome)
            progress("trials", done, len(trials))
        return self

    def records(self) -> list[Record]:
        """Return the stored trials that belong to this study as it is configured now."""
        known = self._known()
        # A trial may be stored under the name of another study or point that computed it.
        mine = [(known[trial.key], trial.point) for trial in self.trials if trial.key in known]
        return [replace(record, study=self.config.name, point=point) for record, point in mine]

    @property
    def machines(self) -> list[str]:
        """Return the machines that computed the trials, each in one line."""
        return sorted({record.machine for record in self.records() if record.machine})

    def summary(self) -> list[PointSummary]:
        """Return every point that has a trial; dies after an early stop do not count."""
        counted = zip(self.points, self.counted())
        return [self._summarise(point, records) for point, records in counted if records]

    def counted(self) -> list[list[Record]]:
        """Return the trials of every point that count, in the order of `by_point`."""
        known = self._known()
        return [self._counted(trials, known) for trials in self.by_point]

    def to_csv(self) -> str:
        """Return all trials as CSV, one line each: point, seeds of training and die, metrics."""
        rows = [
            {**r.point, "training": r.config["seed"], "die": r.die, **r.metrics}
            for r in self.records()
        ]
        return csv_text(rows)

    def to_pandas(self) -> Any:
        """Return all trials as a pandas DataFrame; ImportError names the missing extra."""
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("pandas is missing; pip install 'crossbar-sim[study]'") from error
        return pandas.read_csv(io.StringIO(self.to_csv()))

    def _train(self, configs: dict[str, RunConfig], n_jobs: int) -> dict[str, Path]:
        """Train each network once, and keep it beside the store."""
        directory = self.store.path.with_name(f"{self.store.path.stem}.networks")
        write_objects(self.base, directory)
        calls = ((config, directory) for config in configs.values())
        return dict(zip(configs, _in_processes(trained_path, calls, n_jobs), strict=True))

    def _keep(self, outcome: "Outcome") -> None:
        trial, die = outcome.trial, outcome.trial.config.die.seed
        if outcome.metrics is None:
            self.failures.append(Failure(trial.point, die, outcome.reason, trial.key))
            return
        made = trial.config.as_json(), outcome.metrics, outcome.seconds, code_version()
        about = trial.key, self.config.name, trial.point, die
        self.store.add(Record(*about, *made, outcome.machine))

    def _known(self) -> dict[str, Record]:
        return {record.key: record for record in self.store.records()}

    def _settled(self, trial: Trial) -> bool:
        """Return whether the point of a trial needs no further die."""
        if not self.config.stop:
            return False
        known = self._known()
        trials = next(ts for ts in self.by_point if ts[0].point == trial.point)
        return self._narrow(self._counted(trials, known))

    def _counted(self, trials: list[Trial], known: dict[str, Record]) -> list[Record]:
        """Return the trials that count: those of the first dies, up to an early stop.

        Counting ends at the first die that some training still lacks. A die with a failed trial is
        left out of all trainings.
        """
        each, failed = self.config.trainings, {failure.key for failure in self.failures}
        records: list[Record] = []
        for k in range(0, len(trials), each):
            keys = [trial.key for trial in trials[k : k + each]]
            if not known.keys() | failed >= set(keys):
                break
            if known.keys() >= set(keys):
                records += [known[key] for key in keys]
            if records and self._narrow(records):
                break
        return records

    def _narrow(self, records: list[Record]) -> bool:
        """Return whether these dies are enough for the interval asked for."""
        stop = self.config.stop
        if stop is None or len(records) < stop.min_dies * self.config.trainings:
            return False
        if stop.metric not in records[0].metrics:
            raise _no_metric(stop.metric, records[0].metrics)
        return self._interval(stop.metric, records).half_width <= stop.half_width

    def _interval(self, metric: str, records: list[Record]) -> Interval:
        values = np.array([record.metrics[metric] for record in records])
        return nested_interval(values.reshape(-1, self.config.trainings).T)

    def _summarise(self, point: dict[str, Any], records: list[Record]) -> PointSummary:
        metrics = {name: self._interval(name, records) for name in records[0].metrics}
        share = "accuracy" if "accuracy" in metrics else "agreement"
        good = sum(r.metrics[share] >= self.config.yield_accuracy for r in records)
        yield_, each = yield_interval(good, len(records)), self.config.trainings
        return PointSummary(point, len(records) // each, metrics, yield_, each)


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    metrics: by name; None if it failed.
    reason: why it failed; "" if it did not.
    seconds: computing time [s].
    machine: the machine that computed it, in one line.
    """

    trial: Trial
    metrics: dict[str, float] | None
    reason: str
    seconds: float
    machine: str


def _execute_all(
    todo: Iterable[tuple[Trial, Path]], n_jobs: int, dask: str | None
) -> Iterator[Outcome]:
    """Yield outcomes as they arrive, from local processes or a Dask cluster."""
    if dask is not None:
        yield from _on_dask(todo, dask)
        return
    options = {"pre_dispatch": "n_jobs", "return_as": "generator_unordered"}
    yield from _in_processes(_execute, todo, n_jobs, **options)


def _on_dask(todo: Iterable[tuple[Trial, Path]], address: str) -> Iterator[Outcome]:
    """Yield outcomes of a cluster; if a worker dies, its trial runs again on another."""
    try:
        from distributed import (  # pyright: ignore[reportMissingImports]
            Client,
            as_completed,
        )
    except ImportError as error:
        raise ImportError("Dask is missing; pip install 'crossbar-sim[cluster]'") from error
    with Client(address, timeout="30s") as client:
        futures = [client.submit(_execute, trial, path, pure=False) for trial, path in todo]
        for future in as_completed(futures):
            yield future.result()


def _in_processes(
    function: Callable, calls: Iterable[tuple], n_jobs: int, **options: Any
) -> Iterator[Any]:
    """Yield what a function returns for the arguments of each call, by local processes.

    options: of `joblib.Parallel`.

    Raises ProcessLost if a process is killed.
    """
    parallel: Any = joblib.Parallel
    # From the start of a process, since it takes seconds to load what a trial needs.
    watch: Any = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=1, **watch):
        pool = parallel(batch_size=1, **options)
        try:
            yield from pool(joblib.delayed(function)(*call) for call in calls)
        except BrokenProcessPool as error:
            raise ProcessLost(
                "a process that computes trials was killed, or crashed; the machine may have too "
                "little memory for as many; finished trials are kept, and the same command goes on "
                "from here; give a smaller --jobs if it happens again"
            ) from error


def _execute(trial: Trial, network: Path) -> Outcome:
    """Run one trial; an exception becomes the reason of its failure."""
    start, metrics, reason = time.perf_counter(), None, ""
    try:
        metrics = run_trial(trial.config, network)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return Outcome(trial, metrics, reason, time.perf_counter() - start, machine.summary())
