"""Search for the settings of a run that are best for several aims at once, under a budget."""

from dataclasses import dataclass, field
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.study import Optimise, Range, StudyConfig
from crossbar_sim.study.metrics import OF_TESTS
from crossbar_sim.study.runner import Failure, PointSummary, Study
from crossbar_sim.study.store import Store
from tinynets.files.outputs import csv_text
from tinynets.progress import Progress, silent


@dataclass(frozen=True)
class Tried:
    """One point of a search.

    summary: its means and intervals.
    feasible: whether it is within budget.
    best: whether it is within budget, and no other such point is at least as good in every aim and
        better in one.
    """

    summary: PointSummary
    feasible: bool
    best: bool


@dataclass
class Search:
    """A search and its results.

    config: the study.
    aims: its [optimise] table.
    tried: every point.
    failures: trials that raised.
    machines: the machines that computed the trials, each in one line.
    """

    config: StudyConfig
    aims: Optimise
    tried: list[Tried]
    failures: list[Failure]
    machines: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per point: settings, aims and budgets with intervals, and verdict.

        The best points also have their accuracy on the test images, by which nothing was chosen.
        """
        rows = []
        for tried in self.tried:
            row: dict[str, Any] = {**tried.summary.point, "n_die": tried.summary.n_die}
            for name in dict.fromkeys([*self.aims.names, *self.aims.budget]):
                row |= tried.summary.metrics[name].columns(name)
            row |= {"within_budget": tried.feasible, "best": tried.best}
            shown = tried.summary.metrics.get("accuracy") if tried.best else None
            row |= {"accuracy": shown.value} if shown else {}
            rows.append(row)
        return rows

    def to_csv(self) -> str:
        """Return `rows` as CSV."""
        return csv_text(self.rows(), digits=6)


def optimise(
    config: StudyConfig,
    base: RunConfig,
    store: Store,
    *,
    n_jobs: int = -1,
    dask: str | None = None,
    progress: Progress = silent,
) -> Search:
    """Run the search of `config.optimise`, with every point on all dies.

    base: run whose settings are varied.
    store: keeps the trials, so that the same call continues an interrupted search.
    n_jobs, dask: as for `Study.run`.
    progress: told of the step "points".

    The same seed gives the same search. Raises ConfigError for a study without [optimise] and for
    metrics that do not exist or that are of test images; ImportError without Optuna.
    Source: NSGA-II, Deb et al., IEEE Trans. Evol. Comput. 6 (2002) 182, in Optuna's version.
    """
    aims = config.optimise
    if aims is None:
        raise ConfigError("the study has no [optimise] table; see examples/studies/design.toml")
    _check_aims(aims, base)
    search = _sampled_search(aims)
    summaries: list[PointSummary] = []
    failures: list[Failure] = []
    machines: set[str] = set()
    for start in range(0, aims.n, aims.population):
        asked = [search.ask() for _ in range(min(aims.population, aims.n - start))]
        points = {_key(point): point for point in (_point(trial, aims) for trial in asked)}
        study = Study(config, base, store, list(points.values()))

        def tell(_step: str, n: int, _total: int, start: int = start) -> None:
            progress("points", start + n // (config.dies * config.trainings), aims.n)

        study.run(n_jobs=n_jobs, dask=dask, progress=tell)
        failures += study.failures
        machines |= set(study.machines)
        summaries += _tell_sampler(search, asked, study, aims)
        progress("points", start + len(asked), aims.n)
    return Search(config, aims, _judged(summaries, aims), failures, sorted(machines))


def _sampled_search(aims: Optimise) -> Any:
    """Return an empty search of Optuna with the aims' sampler."""
    try:
        import optuna  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("Optuna is missing; pip install 'crossbar-sim[optimise]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=aims.population, seed=aims.seed)
    up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    directions = [up] * len(aims.maximise) + [down] * len(aims.minimise)
    return optuna.create_study(directions=directions, sampler=sampler)


def _tell_sampler(
    search: Any, asked: list[Any], study: Study, aims: Optimise
) -> list[PointSummary]:
    """Tell the sampler the results of the points that it asked for, and return them."""
    from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

    known = {_key(summary.point): summary for summary in study.summary()}
    summaries = []
    for trial in asked:
        summary = known.get(_key(trial.params))
        if summary is None:
            search.tell(trial, state=TrialState.FAIL)
            continue
        for name, over in _over(summary, aims).items():
            trial.set_constraint(name, over)
        search.tell(trial, [summary.metric(name).value for name in aims.names])
        summaries.append(summary)
    return summaries


def _check_aims(aims: Optimise, base: RunConfig) -> None:
    """Raise ConfigError for aims at test images, which must only judge the choice afterwards."""
    names = [*aims.names, *aims.budget]
    if wrong := [name for name in names if name in OF_TESTS]:
        raise ConfigError(
            f"the search would choose by {wrong[0]!r}, a metric of test images; name "
            "'accuracy_validation' instead"
        )
    if "accuracy_validation" in names and not base.validation:
        raise ConfigError(
            "the search aims at 'accuracy_validation', but the run holds out no images for it; set "
            "validation = 0.2 in the run, before its tables"
        )


def _point(trial: Any, aims: Optimise) -> dict[str, Any]:
    """Let the sampler choose every key of a point."""
    point = {}
    for key, choice in aims.range.items():
        if not isinstance(choice, Range):
            point[key] = trial.suggest_categorical(key, choice)
        elif choice.integer:
            point[key] = trial.suggest_int(
                key, round(choice.low), round(choice.high), log=choice.log
            )
        else:
            point[key] = trial.suggest_float(key, choice.low, choice.high, log=choice.log)
    return point


def _over(summary: PointSummary, aims: Optimise) -> dict[str, float]:
    """Return the excess over each budget as a fraction of it; at most 0 within the budget."""
    return {
        name: (summary.metric(name).value - bound) / (abs(bound) or 1.0)
        for name, bound in aims.budget.items()
    }


def _judged(summaries: list[PointSummary], aims: Optimise) -> list[Tried]:
    """Return every different point with its verdicts: within budget, among the best."""
    different = list({_key(summary.point): summary for summary in summaries}.values())
    feasible = [all(over <= 0 for over in _over(summary, aims).values()) for summary in different]
    signs = [(name, -1) for name in aims.maximise] + [(name, 1) for name in aims.minimise]
    costs = [[sign * s.metric(name).value for name, sign in signs] for s in different]
    rivals = [cost for cost, fits in zip(costs, feasible) if fits]
    return [
        Tried(summary, fits, fits and not any(_dominates(rival, cost) for rival in rivals))
        for summary, fits, cost in zip(different, feasible, costs)
    ]


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b))


def _key(point: dict[str, Any]) -> str:
    return repr(sorted(point.items()))
