"""Published chips as ordinary runs: their figures beside ours, and what cannot be reproduced."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.study.intervals import mean_interval
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study.trial import run_trial, trained_path
from tinynets.progress import Progress, silent
from tinynets.settings import NotNegative, Section

#: Numbers of dies of one trained network.
N_DIE = 3
#: What is found here beyond the metrics of studies.
PER_JOULE = "tera_operations_per_joule"


class Figure(Section):
    """A published figure."""

    what: str
    """What it is, with its unit."""
    published: Annotated[tuple[float, float] | None, Field(strict=False)] = None
    """Lowest and highest value stated; none if no figure was read."""
    sure: Literal["paper", "abstract", "second hand"]
    """What was read of it."""
    metric: str | None = None
    """What is found here: a metric of studies, or PER_JOULE."""
    tolerance: NotNegative | None = None
    """Largest distance of ours from what is published, stated before the run."""
    missing: str | None = None
    """Why nothing is found here."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metric is not None and self.metric not in (*METRICS, PER_JOULE):
            raise ValueError(f"metric must be one of studies, or {PER_JOULE}; got {self.metric!r}")
        stated = [self.published, self.tolerance]
        if (self.metric is None) == (self.missing is None) or (self.metric and None in stated):
            raise ValueError(
                "expected a metric with a tolerance and a published figure, or why it is missing; "
                f"got metric {self.metric!r} and missing {self.missing!r}"
            )
        return self

    def verdict(self, ours: float) -> str:
        """Return whether a figure found here is within the tolerance."""
        assert self.published is not None
        assert self.tolerance is not None
        low, high = self.published
        return "within" if low - self.tolerance <= ours <= high + self.tolerance else "outside"


class Chip(Section):
    """A published chip."""

    title: str
    """What it is."""
    source: str
    """Where it is published."""
    configuration: bool = False
    """Whether there is a configuration of a run."""
    why: str
    """Why ours may differ, or what is found elsewhere."""
    figures: Annotated[tuple[Figure, ...], Field(strict=False, min_length=1)]
    """The figures."""


class _Claims(Section):
    """The list of all chips."""

    chips: dict[str, Chip]


def chips() -> dict[str, Chip]:
    """Return the chips by name."""
    import tomllib

    with (_folder() / "claims.toml").open("rb") as file:
        return _Claims.model_validate({"chips": tomllib.load(file)}).chips


def _folder() -> Traversable:
    return resources.files("crossbar_sim.jobs") / "published_chips"


def chip_named(name: str) -> Chip:
    """Return a chip. Raises ConfigError for an unknown name."""
    known = chips()
    if name not in known:
        raise ConfigError(f"there is no published chip {name!r}; choose one of {', '.join(known)}")
    return known[name]


def configuration_of(name: str) -> RunConfig:
    """Return the run of a chip that has one. Raises ConfigError if it has none."""
    if not chip_named(name).configuration:
        raise ConfigError(f"{name} is not run here; `crossbar-sim reproduce {name}` says why")
    with resources.as_file(_folder() / f"{name}.toml") as path:
        return load_config(path)


def reproduce(
    name: str, cache: Path, *, n_die: int = N_DIE, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Return a row for each figure of a chip: published, ours with its interval, and a verdict.

    cache: directory that keeps the trained network.
    n_die: number of dies of the one trained network, over which the interval is.
    progress: told of the step "dies", after training.

    Raises ConfigError for an unknown name, ValueError if the data are not here.
    """
    chip, found = chip_named(name), {}
    if chip.configuration:
        found = found_on_dies(configuration_of(name), cache, n_die=n_die, progress=progress)
    return [_row(name, chip, figure, found) for figure in chip.figures]


def found_on_dies(
    config: RunConfig, cache: Path, *, n_die: int = N_DIE, progress: Progress = silent
) -> dict[str, list[float]]:
    """Return the metrics of every die, and PER_JOULE of a perceptron; see `reproduce`."""
    progress("dies", 0, n_die)
    network, found = trained_path(config.ready(), cache), []
    for k in range(n_die):
        metrics = run_trial(with_values(config, {"die.seed": config.die.seed + k}), network)
        if config.network.source == "mlp":  # each weight multiplies and adds once
            operations = 2 * metrics["n_resistor"] / (2 * config.bank.n)
            metrics[PER_JOULE] = operations / metrics["energy"] / 1e12
        found.append(metrics)
        progress("dies", k + 1, n_die)
    return {key: [metrics[key] for metrics in found] for key in found[0]}


def _row(name: str, chip: Chip, figure: Figure, found: dict[str, list[float]]) -> dict[str, Any]:
    low, high = figure.published or (None, None)
    row: dict[str, Any] = {"chip": name, "what": figure.what}
    row |= {"published_low": low, "published_high": high, "sure": figure.sure}
    ends = dict.fromkeys(("ours", "ours_low", "ours_high", "tolerance"))
    if figure.metric is None:
        return row | ends | {"verdict": "not reproduced", "why": f"{figure.missing}. {chip.why}"}
    ours = mean_interval(np.array(found[figure.metric]))
    row |= ours.columns("ours") | {"tolerance": figure.tolerance}
    return row | {"verdict": figure.verdict(ours.value), "why": chip.why}
