"""Studies whose trials are made up, so that a page of any kind is there in no time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.config.study import Optimise, Range, StudyConfig
from crossbar_sim.study.runner import Failure, Study
from crossbar_sim.study.search import Search, _judged
from crossbar_sim.study.store import Record, Store

BASE = RunConfig.model_validate({"name": "small", "validation": 0.0})
Made = Callable[[dict[str, Any], np.random.Generator], dict[str, float] | None]


def accuracies(point: dict[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Return metrics of a trial: one more branch is worth less and less, and costs 5 nJ."""
    n = point.get("bank.n", 4)
    return {
        "accuracy": 0.96 - 0.3 * 2.0 ** -(2 * n) + 0.004 * rng.normal(),
        "agreement": 0.97,
        "mvm_error": 0.2 * 2.0**-n * (1 + 0.05 * rng.normal()),
        "energy": 5e-9 * n * (1 + 0.02 * rng.normal()),
        "n_resistor": 1000.0 * n,
        "n_test": 450.0,
    }


def made_study(root: Path, made: Made = accuracies, base: RunConfig = BASE, **keys: Any) -> Study:
    """Return a study all of whose trials are kept in a store in a folder.

    made: the metrics of a trial, from its point and a generator; None for one that fails. keys: of
        the study.
    """
    config = StudyConfig(**({"name": "made", "base": "small.toml", "dies": 4} | keys))
    study = Study(config, base, Store(root / "made.sqlite"))
    for k, trial in enumerate(study.trials):
        metrics = made(trial.point, np.random.default_rng([k, trial.config.die.seed]))
        die = trial.config.die.seed
        if metrics is None:
            study.failures.append(Failure(trial.point, die, "ValueError: made to fail", trial.key))
            continue
        about = trial.key, config.name, trial.point, die
        study.store.add(Record(*about, trial.config.as_json(), metrics, 1.5, "v", "a machine"))
    return study


def validated(point: dict[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Return metrics of a trial with images held out."""
    found = accuracies(point, rng)
    return found | {"accuracy_validation": found["accuracy"] - 0.01}


def made_search(root: Path) -> tuple[Search, Study]:
    """Return a search of seven numbers of branches, at most 5,000 resistors, and its study."""
    aims = Optimise(
        maximise=("accuracy_validation",),
        minimise=("energy",),
        budget={"n_resistor": 5000},
        range={"bank.n": Range(low=1, high=7, integer=True)},
        n=8,
        population=4,
    )
    grid = {"bank.n": [3, 1, 6, 2, 7, 4, 5]}
    study = made_study(root, validated, dies=2, trainings=2, grid=grid, optimise=aims)
    return Search(study.config, aims, _judged(study.summary(), aims), []), study
