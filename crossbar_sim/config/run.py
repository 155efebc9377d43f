"""The configuration of a run: one TOML file, every key checked before anything starts."""

import difflib
import hashlib
import json
import math
import re
import tomllib
import warnings
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator

from crossbar_sim.config.sections import (
    BANK,
    PERIPHERY,
    CalibrateConfig,
    DieConfig,
    GeometryConfig,
    LifeConfig,
    ModelConfig,
    PeripheryTable,
    PruneConfig,
    SelectTable,
    SimulationConfig,
    TileTable,
    TrainConfig,
    TuneConfig,
    WiresConfig,
)
from crossbar_sim.energy.power import Figures
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.noise import Noise
from mapping.bank import Die, ResistorBank
from netlists.circuit import Periphery
from netlists.layout.floorplan import CellPlan
from tinynets.settings import Name, Section, must_be, within

_Kind = TypeVar("_Kind", bound=BaseModel)

#: Limits of a file that is parsed: its size, and the number of parts of a dotted key.
MAX_BYTES, MAX_PARTS = 1_000_000, 40
_TYPES = {"str", "int", "float", "bool", "nullable", "constrained-int", "constrained-float"}
#: Largest resistance of a branch [ohm]; more is an open circuit to every solver and every meter.
MAX_BRANCH = 1e15
#: Largest number of branches of a bank, since both banks of a cell are searched together.
MAX_BANK = 20
#: Largest number of lines of a tile; the time to solve one grows with their third power.
MAX_LINES = 512


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the user."""


class RunConfig(Section):
    """Everything that a run depends on."""

    name: Name
    """Name of the run and of its directory."""
    seed: Annotated[int, within(0, 2**31 - 1)] = 1
    """Random seed of the data split, of training and of pruning."""
    data: Literal["digits", "mnist5000"] = "digits"
    """Data set."""
    validation: Annotated[float, within(0, 0.5)] = 0.0
    """Fraction of the training images held out, by which settings may be chosen; the test images
    then only judge the result."""
    model: ModelConfig = ModelConfig()
    """The network."""
    train: TrainConfig = TrainConfig()
    """Its training."""
    prune: PruneConfig = PruneConfig()
    """Its pruning."""
    bank: ResistorBank = BANK
    """The bank of resistors of each weight."""
    die: DieConfig = DieConfig()
    """Which chip."""
    tile: TileTable = TileTable()
    """Size of the arrays."""
    select: SelectTable = SelectTable()
    """Choice of switches."""
    calibrate: CalibrateConfig = CalibrateConfig()
    """Re-selection of the switches against the wires."""
    life: LifeConfig = LifeConfig()
    """The die after selection."""
    tune: TuneConfig = TuneConfig()
    """Digital correction of the finished die."""
    wires: WiresConfig = WiresConfig()
    """Resistance and capacitance of the wires."""
    geometry: GeometryConfig = GeometryConfig()
    """The drawn cell."""
    periphery: PeripheryTable = PERIPHERY
    """Amplifiers and converters."""
    noise: Noise = Noise()
    """Noise of reads."""
    energy: Figures = Figures()
    """Figures for the energy of everything that is not in the circuit."""
    simulation: SimulationConfig = SimulationConfig()
    """Solvers."""
    quick: bool = False
    """Whether this is a try-out with little training; set by --quick."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        """Give a table the defaults of a run's part, not of an ideal part, for missing keys."""
        if not isinstance(raw, dict):
            return raw
        parts = {"bank": asdict(BANK), "periphery": asdict(PERIPHERY)}
        tables = {key: parts[key] | raw[key] for key in parts if isinstance(raw.get(key), dict)}
        return raw | tables

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.kind == "lenet5" and self.data != "mnist5000":
            raise ValueError(f"model.kind = 'lenet5' takes 28 × 28 images; got data {self.data!r}")
        self.life.later(Die(self.bank))
        self._check_sizes()
        self._check_wires()
        if self.energy.t_read == "settling" and not self.is_slow:
            raise ValueError(
                "energy.t_read = 'settling', but nothing takes time to settle; give wires.c_word, "
                "wires.c_bit or periphery.gbw, or a t_read in seconds"
            )
        return self

    def _check_sizes(self) -> None:
        """Raise ValueError for possible parts that are too large for this program."""
        largest = float(self.bank.r_nominal.max())
        if largest > MAX_BRANCH:
            raise ValueError(
                f"bank: the largest resistor of the ladder must have at most {MAX_BRANCH:g} ohm; "
                f"got {largest:g}; lower r_min, ratio or n"
            )
        if self.bank.n > MAX_BANK:
            raise ValueError(f"bank.n must be at most {MAX_BANK}; got {self.bank.n}")
        if self.periphery.tile:
            raise ValueError(
                "periphery.tile is set for every tile of a run; leave it out, and give "
                "periphery.seed for other amplifiers"
            )
        for name in ("n_word", "n_bit"):
            if getattr(self.tile, name) > MAX_LINES:
                raise ValueError(
                    f"tile.{name} must be at most {MAX_LINES}; got {getattr(self.tile, name)}"
                )

    def _check_wires(self) -> None:
        """Raise ValueError for wires to be drawn of a bank that cannot be."""
        try:
            _ = self.hardware
        except ValueError as error:
            raise ValueError(
                f'wires.source = "drawn", but this bank cannot be drawn: {error}; or state the '
                'wires, with wires.source = "given"'
            ) from error

    @property
    def hardware(self) -> Hardware:
        """Everything around the cells, as real as the configuration says."""
        ends, wires = self.periphery, self.wires
        drawn = wires.source == "drawn"
        built = self.geometry.wires(self.bank, wires.r_driver) if drawn else wires.stated()
        noise = self.noise if self.noise.bandwidth else None
        return Hardware(built, ends.amplifiers, ends.converters, noise)

    @property
    def is_slow(self) -> bool:
        """Whether anything in a circuit takes time: capacitance, or an amplifier's pole."""
        wires = self.hardware.wires
        return bool(wires.c_word or wires.c_bit or math.isfinite(self.periphery.gbw))

    @property
    def ideal_hardware(self) -> Hardware:
        """The same without any non-ideality, but with the run's read voltage and way of driving."""
        ends = self.periphery
        return Hardware(periphery=Periphery(ends.r_feedback), converters=ends.ideal_converters)

    @property
    def chip(self) -> Die:
        """The new die."""
        return Die(self.bank, seed=self.die.seed)

    def cell(self) -> CellPlan | None:
        """Return the drawn cell of one weight, or None for stated wires of a cell without drawing.

        A bank that cannot be drawn, such as one of discrete parts, has no area.
        """
        try:
            return self.geometry.cell(self.bank)
        except ValueError:
            if self.wires.source == "drawn":
                raise
            return None

    def as_json(self, **options: Any) -> dict[str, Any]:
        """Return all settings as plain JSON values, infinity as a string.

        options: of pydantic's `model_dump_json`.
        """
        return json.loads(self.model_dump_json(**options))

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any setting."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def with_weights(self, path: Path | None) -> "RunConfig":
        """Return the same run with the network of a file, or, for None, with one that it trains."""
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


def bank_of(options: dict[str, Any]) -> ResistorBank:
    """Return the bank of a run with some keys of [bank] set; ConfigError for a bad value."""
    raw = asdict(BANK) | options
    try:
        return TypeAdapter(ResistorBank).validate_python(raw)
    except ValidationError as error:
        raise ConfigError(f"bank: {first_problem(error, ResistorBank)}") from error


def load_config(path: str | Path) -> RunConfig:
    """Read a run's TOML file; see `read_toml`. The file of weights is relative to its folder."""
    config = read_toml(Path(path), RunConfig)
    config.life.later(config.chip)  # shows the bank's warnings, which `checked` has suppressed
    if config.model.weights is None:
        return config
    return config.with_weights(Path(path).parent / config.model.weights)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"model.weights: {path} cannot be read ({error.strerror})") from error


def read_toml(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a TOML file; a ConfigError names file, key, value and bounds in one line."""
    try:
        raw = tomllib.loads(_text(path))
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)") from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not valid TOML ({shortened(str(error), 200)})") from error
    _refuse_other_kind(path, raw, kind)
    return checked(raw, kind, f"{path}")


def _text(path: Path) -> str:
    """Return the text of a TOML file that can be parsed in reasonable time and memory."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: a configuration has at most {MAX_BYTES:,} bytes; got more")
    text = content.decode().replace("\r\n", "\n")
    # The time and memory of tomllib grow as the square of the number of parts of a dotted key.
    if max(part.count(".") for part in re.split(r"[][,=#{}\n]", text)) > MAX_PARTS:
        raise ConfigError(f"{path}: not valid TOML (a key of more than {MAX_PARTS} parts)")
    return text


def _refuse_other_kind(path: Path, raw: dict[str, Any], kind: type[BaseModel]) -> None:
    """Raise ConfigError for a study in place of a run, or the other way round."""
    is_study, of_runs = "base" in raw, set(RunConfig.model_fields) - {"name"}
    if is_study and kind is RunConfig:
        raise ConfigError(
            f"{path}: expected a run; got a study, since it has a key 'base'; use "
            "`crossbar-sim study`, or give a run"
        )
    if not is_study and kind is not RunConfig and of_runs & set(raw):
        raise ConfigError(
            f"{path}: expected a study, which has a key 'base'; got a run; use `crossbar-sim run`, "
            "or give a study"
        )


def checked(raw: dict[str, Any], kind: type[_Kind], where: str) -> _Kind:
    """Return settings as a configuration; a ConfigError names the place of the first problem."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `load_config` shows those of the bank, once
            return kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problem(error, kind)}") from error


def first_problem(error: ValidationError, kind: type) -> str:
    """Return the first problem in one line: the key, its value and its bounds.

    kind: type of the configuration, whose fields are the known keys.
    """
    problem = error.errors()[0]
    # For a key with several types, pydantic also names the type, such as "str" or "tuple[…]".
    place = [str(x) for x in problem["loc"] if x not in _TYPES and "[" not in str(x)]
    key = shortened(".".join(place))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {key!r}{_instead(place, kind)}{more}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing{more}"
    message = shortened(must_be(error), 400) + more
    if isinstance(problem["input"], dict | BaseModel):  # a rule about several keys together
        return f"{key}: {message}" if key else message
    return f"{key} = {_shown(problem['input'])}: {message}"


def _instead(place: list[str], kind: type) -> str:
    """Return the alternatives to an unknown key: the nearest known key, and all known keys."""
    for part in place[:-1]:
        kind = _table(_keys(kind).get(part)) or kind
    known = list(_keys(kind))
    near = difflib.get_close_matches(place[-1][:60], known, n=1)
    guess = f"; did you mean {'.'.join([*place[:-1], near[0]])!r}?" if near else ""
    return f"{guess}; known here: {', '.join(known)}"


def _keys(kind: type) -> dict[str, Any]:
    """Return the keys of a table and their types."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {field.name: field.type for field in fields(kind)}


def _table(annotation: Any) -> type | None:
    """Return the type of the table that a key is, or contains; None for a plain value."""
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or is_dataclass(annotation)
    ):
        return annotation
    return next(filter(None, map(_table, get_args(annotation))), None)


def shortened(text: str, length: int = 60) -> str:
    """Return a text cut to a length, with an ellipsis if it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _shown(value: Any) -> str:
    try:
        return shortened(repr(value))
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"
