"""The configuration of a run: one TOML file, every key checked before anything starts."""

import hashlib
import json
import math
import re
import tomllib
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from crossbar_sim.sections import (
    BankConfig,
    CalibrateConfig,
    DieConfig,
    EnergyConfig,
    GeometryConfig,
    LifeConfig,
    ModelConfig,
    NoiseConfig,
    PeripheryConfig,
    PruneConfig,
    Section,
    SelectConfig,
    SimulationConfig,
    TilesConfig,
    TrainConfig,
    TuneConfig,
    WiresConfig,
)
from mapping.bank import Die
from netlists.circuit import Wires
from netlists.floorplan import CellPlan

_Kind = TypeVar("_Kind", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the user."""


class RunConfig(Section):
    """Everything that a run depends on.

    validation: share of the training images that nothing is trained on, by which settings may be
    chosen; the test images then only report.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    data: Literal["digits", "mnist5000"] = "digits"
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    prune: PruneConfig = PruneConfig()
    bank: BankConfig = BankConfig()
    die: DieConfig = DieConfig()
    tile: TilesConfig = TilesConfig()
    select: SelectConfig = SelectConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    life: LifeConfig = LifeConfig()
    tune: TuneConfig = TuneConfig()
    wires: WiresConfig = WiresConfig()
    geometry: GeometryConfig = GeometryConfig()
    periphery: PeripheryConfig = PeripheryConfig()
    noise: NoiseConfig = NoiseConfig()
    energy: EnergyConfig = EnergyConfig()
    simulation: SimulationConfig = SimulationConfig()
    quick: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.kind == "lenet5" and self.data != "mnist5000":
            raise ValueError(f"model.kind = 'lenet5' takes 28 × 28 images; got data {self.data!r}")
        self.life.later(Die(self.bank.build()))
        if not math.isfinite(self.bank.r_off):
            raise ValueError("bank.r_off must be finite for a netlist")
        wires = self._checked_wires()
        quick = not (wires.c_word or wires.c_bit) and math.isinf(self.periphery.gbw)
        if self.energy.t_read == "settling" and quick:
            raise ValueError(
                "energy.t_read = 'settling', but nothing takes time; give wires.c_word, "
                "wires.c_bit or periphery.gbw, or a t_read in seconds"
            )
        return self

    def _checked_wires(self) -> Wires:
        try:
            return self.build_wires()
        except ValueError as error:
            raise ValueError(
                f'wires.source = "drawn", but this bank cannot be drawn: {error}; or state the '
                'wires, with wires.source = "given"'
            ) from error

    def build_wires(self) -> Wires:
        """Return the wires: those of the drawn cell, or those that the configuration states."""
        if self.wires.source != "drawn":
            return self.wires.stated()
        return self.geometry.wires(self.bank.build(), self.wires.r_driver)

    def cell(self) -> CellPlan | None:
        """Return the drawn cell of one weight; None where wires are stated for one that cannot be.

        Such a bank, of discrete parts for instance, has no area here.
        """
        try:
            return self.geometry.cell(self.bank.build())
        except ValueError:
            if self.wires.source == "drawn":
                raise
            return None

    def as_json(self, **options: Any) -> dict[str, Any]:
        """Return all settings as plain JSON values, infinity as a string; options: of pydantic."""
        return json.loads(self.model_dump_json(**options))

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any setting."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def with_weights(self, path: Path | None) -> "RunConfig":
        """Return the same run of a network that a file holds, or, with None, that it trains."""
        update: dict[str, str | None] = {"weights": None, "weights_sha256": None}
        if path is not None:
            update = {"weights": str(path.resolve()), "weights_sha256": _sha256(path)}
            if self.model.weights_sha256 not in (None, update["weights_sha256"]):
                raise ConfigError(
                    f"{path} has changed: its SHA-256 is {update['weights_sha256']}, but "
                    f"model.weights_sha256 is {self.model.weights_sha256}"
                )
        return self.model_copy(update={"model": self.model.model_copy(update=update)})

    def made_quick(self) -> "RunConfig":
        """Return the same run with few images and, where it trains, little training."""
        few = {"n_image": min(self.simulation.n_image, 4)}
        update = {"quick": True, "simulation": self.simulation.model_copy(update=few)}
        if self.model.weights is None:
            rounds, epochs = self.prune.rounds, self.prune.epochs_per_round
            short = {"rounds": min(rounds, 4), "epochs_per_round": min(epochs, 8)}
            update["train"] = self.train.model_copy(update={"epochs": min(self.train.epochs, 10)})
            update["prune"] = self.prune.model_copy(update=short)
        return self.model_copy(update=update)


def load_config(path: str | Path) -> RunConfig:
    """Read a run's TOML file; see `read_toml`. A file of weights is looked for beside it."""
    config = read_toml(Path(path), RunConfig)
    if config.model.weights is None:
        return config
    return config.with_weights(Path(path).parent / config.model.weights)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"model.weights: {path} cannot be read ({error.strerror})") from error


def read_toml(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a TOML file; ConfigError names file, key, value and what is allowed, in one line."""
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    return checked(raw, kind, f"{path}")


def checked(raw: dict[str, Any], kind: type[_Kind], where: str) -> _Kind:
    """Return settings as a configuration; ConfigError says where the first problem is."""
    try:
        with warnings.catch_warnings():
            # Whoever works with a bank builds it again and shows its warnings once.
            warnings.simplefilter("ignore")
            return kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """Say the first problem in one line: key, what is allowed, value given."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"] if part != "str")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{more}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing{more}"
    message = problem["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input should be", "must be", message) + more
    if isinstance(problem["input"], dict | BaseModel):  # a rule about several keys together
        return f"{key}: {message}" if key else message
    return f"{key} = {problem['input']!r}: {message}"
