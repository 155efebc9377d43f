"""The configuration of a study: a grid, a sample, variants or a search, and the run they vary."""

import itertools
import math
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.stats import qmc

from crossbar_sim.config.foundry import without_foundry
from crossbar_sim.config.inputs import current_key
from crossbar_sim.config.problems import shortened
from crossbar_sim.config.run import ConfigError, RunConfig, checked, load_config, read_toml
from tinynets.files.checks import check_file
from tinynets.settings import LARGEST, Count, Name, Positive, Probability, Section, Seed, within

#: Number of die seeds reserved for each training, so that no two trainings share a die.
DIES_OF_A_TRAINING = 1000
#: Values of a varied key, at least one.
Choices = Annotated[list[Any], Field(min_length=1)]
#: Names, given as an array.
Names = Annotated[tuple[str, ...], Field(strict=False)]
Number = Annotated[float, within(-LARGEST, LARGEST)]
#: Largest number of trials of a study; more would never end.
MAX_TRIALS = 1_000_000


class Range(Section):
    """The range of one sampled parameter."""

    low: Number
    """Smallest value."""
    high: Number
    """Largest value."""
    log: bool = False
    """Whether values are spread evenly on a log scale."""
    integer: bool = False
    """Whether only integers are drawn."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log scale needs low > 0; got {self.low}")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"integers need integer bounds; got {self.low} and {self.high}")
        return self

    def value(self, share: float) -> float | int:
        """Return the value at a fraction of the way from low to high."""
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return round(value) if self.integer else float(value)


class Sample(Section):
    """Points drawn from the ranges of some parameters."""

    method: Literal["random", "sobol"] = "sobol"
    """"random", or "sobol" for a scrambled Sobol sequence."""
    n: Count = 16
    """Number of points."""
    seed: Seed = 0
    """Random seed of the points."""
    range: Annotated[dict[str, Range], Field(min_length=1)]
    """Range of each key."""

    def points(self) -> list[dict[str, Any]]:
        """Return the points, which the seed fixes."""
        if self.method == "sobol":
            engine = qmc.Sobol(len(self.range), rng=self.seed)
            shares = engine.random(2 ** math.ceil(math.log2(self.n)))[: self.n]
        else:
            shares = np.random.default_rng(self.seed).random((self.n, len(self.range)))
        return [
            {key: r.value(float(share)) for (key, r), share in zip(self.range.items(), row)}
            for row in shares
        ]


class Stop(Section):
    """The rule by which a point needs no more dies."""

    metric: str = "accuracy"
    """Metric whose mean must be known well enough."""
    half_width: Positive
    """Half width of the mean's 95 % interval at which the point stops."""
    min_dies: Annotated[int, within(3, 1_000_000)] = 5
    """Smallest number of dies of each training."""


class Optimise(Section):
    """A search for the settings that are best for several aims at once."""

    maximise: Names = ("accuracy_validation",)
    """Metrics to maximise, as means over the dies; not those of test images."""
    minimise: Names = ("energy",)
    """Metrics to minimise, as means over the dies; not those of test images."""
    budget: dict[str, Number] = Field(default_factory=dict)
    """Upper bounds of metrics, such as n_resistor, area [m²] or energy [J]; a point beyond one is
    never among the best."""
    range: Annotated[dict[str, Range | Choices], Field(min_length=1)]
    """Values to choose from, by key: a range or a list."""
    n: Count = 64
    """Number of points tried, in generations of population."""
    population: Annotated[int, within(2, 100_000)] = 16
    """Number of points in a generation."""
    seed: Annotated[int, within(0, 2**32 - 1)] = 0
    """Random seed of the search."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.names:
            raise ValueError("maximise and minimise are both empty; name a metric")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics to maximise and to minimise."""
        return self.maximise + self.minimise


class StudyConfig(Section):
    """A study: a run, the keys that are varied, and the number of dies. No key may be set in two
    of grid, sample and variants."""

    name: Name
    """Name of the study and of its directory."""
    base: Annotated[Path, Field(strict=False)]
    """TOML file of the run that is varied."""
    dies: Count = 10
    """Number of chips, the same ones for every point."""
    trainings: Annotated[int, within(1, 1000)] = 1
    """Number of networks trained at every point; their seeds count up from the run's. Each has its
    own dies, whose seeds are 1,000 above those of the one before."""
    first_die: Annotated[int, within(0, 2**62)] = 1
    """Seed of the first chip."""
    grid: dict[str, Choices] = Field(default_factory=dict)
    """Lists of values by key, such as "bank.n"; every combination is a point."""
    sample: Sample | None = None
    """Random points, in place of a grid or combined with it."""
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named sets of keys, each combined with every point."""
    stop: Stop | None = None
    """Rule by which a point needs no more dies."""
    optimise: Optimise | None = None
    """Search in place of all points."""
    x: str | None = None
    """Key on the x axis of the plots, the first one by default; may be "variant"."""
    panel: Names = ()
    """Keys whose values have their own panels in the plots."""
    yield_accuracy: Probability = 0.9
    """Smallest accuracy of a good die; without labels, its agreement with the digital network."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        sampled = list(self.sample.range) if self.sample else []
        own, of_variants = [*self.grid, *sampled], set[str]().union(*self.variants.values())
        if "variant" in own:
            raise ValueError("'variant' is reserved for [variants]; rename it in grid or sample")
        single, of_some = _single(own), set(_single(of_variants))
        if twice := [key for key in single if single.count(key) > 1 or key in of_some]:
            raise ValueError(f"{twice[0]!r} is set twice; keep it in one of grid, sample, variants")
        if self.trainings > 1 and "seed" in {*single, *of_some}:
            raise ValueError("trainings > 1 sets 'seed' itself; leave it out, or trainings at 1")
        if self.trainings > 1 and self.dies > DIES_OF_A_TRAINING:
            raise ValueError(
                f"dies must be at most {DIES_OF_A_TRAINING} with trainings > 1; got {self.dies}"
            )
        known = {*own, *of_variants} | ({"variant"} if self.variants else set())
        for key in (self.x, *self.panel):
            if key is not None and key not in known:
                raise ValueError(f"x or panel is {key!r}; choose from {', '.join(sorted(known))}")
        sizes = *map(len, self.grid.values()), len(self.variants) or 1, self.dies
        n_trial = math.prod(sizes) * (self.sample.n if self.sample else 1)
        if n_trial > MAX_TRIALS:
            raise ValueError(
                f"a study has at most {MAX_TRIALS:,} trials; got {n_trial:,} from grid, sample, "
                "variants and dies"
            )
        return self

    def points(self) -> list[dict[str, Any]]:
        """Return every combination of grid, sample and variants."""
        grids = [dict(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]
        samples = self.sample.points() if self.sample else [{}]
        variants = [{"variant": name} for name in self.variants] or [{}]
        return [a | b | c for c in variants for a in grids for b in samples]

    def values(self, point: dict[str, Any]) -> dict[str, Any]:
        """Return the keys of a run, such as "bank.n", that a point sets."""
        plain = {key: value for key, value in point.items() if key != "variant"}
        return self.variants.get(point.get("variant", ""), {}) | plain

    def seeds(self, seed: int) -> list[tuple[int, int]]:
        """Return the seeds of every (training, die), beginning with the first die of each training.

        seed: of the run, and so of the first training.
        """
        return [
            (seed + k, self.first_die + DIES_OF_A_TRAINING * k + die)
            for die in range(self.dies)
            for k in range(self.trainings)
        ]

    def drawn(self, point: dict[str, Any], base: RunConfig) -> dict[str, Any]:
        """Return a point with the keys of the plots, which its variant or the base may set."""
        values = self.values(point)
        asked = [key for key in (self.x, *self.panel) if key and key not in point]
        return point | {k: values[k] if k in values else _value(base, k) for k in asked}


def _single(keys: Iterable[str]) -> list[str]:
    """Split keys that are given together, such as "tile.n_word, tile.n_bit"."""
    return [key.strip() for together in keys for key in together.split(",")]


def _value(config: RunConfig, keys: str) -> Any:
    """Return the value of a key, such as "bank.n", or of the first of several."""
    return reduce(getattr, current_key(_single([keys])[0]).split("."), config)


def load_study(path: str | Path, *, trust: bool = False) -> tuple[StudyConfig, RunConfig]:
    """Read a study's TOML file and the run that it varies; see `load_config`."""
    path = Path(path)
    config = read_toml(path, StudyConfig)
    base = path.parent / config.base
    try:
        check_file(base)
    except ValueError as error:
        raise ConfigError(f"{path}: base: {error}") from error
    return config, load_config(base, trust=trust)


def with_values(base: RunConfig, values: dict[str, Any]) -> RunConfig:
    """Return a configuration with some keys, such as "bank.n", set; ConfigError for a bad value.

    Several keys, "tile.n_word, tile.n_bit", get the same value.
    """
    raw = base.model_dump()
    single = [(current_key(key), v) for keys, v in values.items() for key in _single([keys])]
    for key, value in single:
        *sections, last = key.split(".")
        place = raw
        for section in sections:
            if section == "prune" and place.get(section) is None:
                place[section] = {}  # a network of your own is not pruned until a key says so
            if section == "foundry" and place is raw:
                raw["bank"] = without_foundry(raw["bank"])  # it follows from the devices
            place = place.get(section)
            if not isinstance(place, dict):
                raise ConfigError(
                    f"the study varies {shortened(key)!r}, which is not a key of a run"
                )
        place[last] = value
        place.pop(f"{last}_sha256", None)  # that of the file before
    return checked(raw, RunConfig, f"the study sets {shortened(str(values), 200)}").like(base)
