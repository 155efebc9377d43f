"""The configuration of a run: one TOML file, every key checked before anything starts."""

import hashlib
import json
import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, PrivateAttr, TypeAdapter, ValidationError, model_validator

from crossbar_sim.config.foundry import with_foundry
from crossbar_sim.config.inputs import (
    BUILT_IN,
    DATA_SETS,
    DataConfig,
    MeasureConfig,
    NetworkConfig,
    current,
    located,
    named_files,
    require_extras,
)
from crossbar_sim.config.no_value import without_none
from crossbar_sim.config.problems import ConfigError, config_error
from crossbar_sim.config.sections import (
    BANK,
    PERIPHERY,
    CalibrateConfig,
    DieConfig,
    GeometryConfig,
    LifeConfig,
    PeripheryTable,
    PruneConfig,
    SelectTable,
    SimulationConfig,
    TileTable,
    TrainConfig,
    TuneConfig,
    WiresConfig,
)
from crossbar_sim.config.toml_file import parsed
from crossbar_sim.energy.power import Figures
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.noise import Noise
from mapping.bank import Die, ResistorBank
from mapping.bank.checks import T_REFERENCE
from netlists.circuit import Periphery
from netlists.foundry.branch import FoundryBranch
from netlists.layout.floorplan import CellPlan
from tinynets.settings import Name, Section, within

_Kind = TypeVar("_Kind", bound=BaseModel)

#: Largest resistance of a branch [ohm]; more is an open circuit to every solver and every meter.
MAX_BRANCH = 1e15
#: Largest number of branches of a bank, since both banks of a cell are searched together.
MAX_BANK = 20
#: Largest number of lines of a tile; the time to solve one grows with their third power.
MAX_LINES = 512


class RunConfig(Section):
    """Everything that a run depends on."""

    name: Name
    """Name of the run and of its directory."""
    seed: Annotated[int, within(0, 2**31 - 1)] = 1
    """Random seed of the data split, of training and of pruning."""
    data: DataConfig = DataConfig()
    """The data."""
    validation: Annotated[float, within(0, 0.5)] = 0.0
    """Fraction of the training images held out, by which settings may be chosen; the test images
    then only judge the result."""
    network: NetworkConfig = NetworkConfig()
    """The network."""
    measure: MeasureConfig = MeasureConfig()
    """The measure of how well it works."""
    train: TrainConfig = TrainConfig()
    """Its training."""
    prune: PruneConfig | None = None
    """Its pruning; without this table, a network of your own is not pruned."""
    bank: ResistorBank = BANK
    """The bank of resistors of each weight."""
    foundry: FoundryBranch | None = None
    """The foundry's devices that the bank is made of; without this table it is as [bank] says."""
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
    """Whether this is a trial with little training; set by --quick."""

    # What is not part of the settings: relative files begin at the folder, and no file can say
    # that the user's Python may run.
    _folder: Path | None = PrivateAttr(default=None)
    _trusted: bool = PrivateAttr(default=False)
    # Objects given in Python, which live as long as this; other processes read them from files.
    _objects: tuple[Any, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        """Give a table the defaults of a run's part, not of an ideal part, for missing keys.

        The program's own networks are pruned by default.
        """
        if not isinstance(raw, dict):
            return raw
        raw = with_foundry(without_none(current(raw), cls))
        network = raw.get("network", {})
        source = network.get("source", "mlp") if isinstance(network, dict) else network
        if getattr(source, "source", source) in BUILT_IN:
            raw = raw | {"prune": {} if raw.get("prune") is None else raw["prune"]}
        parts = {"bank": asdict(BANK), "periphery": asdict(PERIPHERY)}
        tables = {key: parts[key] | raw[key] for key in parts if isinstance(raw.get(key), dict)}
        return raw | tables

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_inputs()
        self.life.later(Die(self.bank))
        self._check_sizes()
        self._check_foundry()
        self._check_wires()
        if self.energy.t_read == "settling" and not self.is_slow:
            raise ValueError(
                "energy.t_read = 'settling', but nothing takes time to settle; give wires.c_word, "
                "wires.c_bit or periphery.gbw, or a t_read in seconds"
            )
        return self

    def _check_inputs(self) -> None:
        """Raise ValueError for a network of the program and data that it does not fit."""
        network, data = self.network.source, self.data.source
        if network == "lenet5" and data not in ("mnist", "mnist5000"):
            raise ValueError(
                f"network.source = 'lenet5' takes 28 × 28 images; got data {data!r}; give it "
                "mnist or mnist5000"
            )
        if network == "cnn" and data not in DATA_SETS:
            raise ValueError(
                f"network.source = 'cnn' takes digits, mnist or mnist5000; got data {data!r}; give "
                "an mlp, or your own network"
            )

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

    def _check_foundry(self) -> None:
        """Raise ValueError for a bank that is not of the foundry's devices."""
        if self.foundry is None:
            if self.simulation.devices != "curves":
                raise ValueError(
                    f'simulation.devices = "{self.simulation.devices}" is about the devices of '
                    "[foundry], which is not there; leave it out"
                )
            return
        if self.periphery.v_read > self.foundry.v_max:
            raise ValueError(
                f"foundry.v_max, {self.foundry.v_max:g} V, must be at least periphery.v_read, "
                f"{self.periphery.v_read:g} V; the devices are asked no further"
            )
        if self.bank.n != len(self.foundry.lengths):
            raise ValueError(
                f"foundry.lengths has {len(self.foundry.lengths)} lengths, but bank.n is "
                f"{self.bank.n}; leave bank.n out"
            )
        if self.bank.temperature != T_REFERENCE or self.life.temperature is not None:
            raise ValueError(
                "bank.temperature and life.temperature change nothing of a foundry's devices; give "
                "foundry.temperature"
            )
        if self.geometry.programming == "via":
            raise ValueError(
                'geometry.programming = "via" draws no transistors, but each branch of [foundry] '
                'has one; leave it out, or give "switch"'
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
        cell = (self.bank, self.foundry)
        built = self.geometry.wires(*cell, **wires.beyond_cell) if drawn else wires.stated()
        noise = self.noise if self.noise.bandwidth else None
        devices = self.foundry if self.simulation.devices == "curves" else None
        return Hardware(built, ends.amplifiers, ends.converters, noise, devices)

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

        A bank that cannot be drawn, such as one of discrete parts, has no area, nor has one of a
        foundry whose design rules are not on this machine or whose switch is not drawn.
        """
        try:
            return self.geometry.cell(self.bank, self.foundry)
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunConfig) and self.model_dump() == other.model_dump()

    def with_weights(self, path: Path | None) -> "RunConfig":
        """Return the same run with the network of a file, or, for None, with one that it trains."""
        stated = self.network.weights_sha256 if path else None
        update = {"weights": path and str(path.resolve()), "weights_sha256": stated}
        changed = self.model_copy(update={"network": self.network.model_copy(update=update)})
        return changed.located(self._folder) if path else changed

    def located(self, folder: Path | None) -> "RunConfig":
        """Return the same run with absolute paths and the SHA-256 of all files it names.

        folder: that relative paths begin at; None for the present one.

        Raises ConfigError for a file that is missing or that has changed.
        """
        tables = {
            table: getattr(self, table).model_copy(update=update)
            for table, update in located(self, folder or Path()).items()
        }
        found = self.model_copy(update=tables)
        found._folder = folder
        return found

    def trusting(self) -> "RunConfig":
        """Return the same run, whose files of Python may run."""
        trusting = self.model_copy()
        trusting._trusted = True
        return trusting

    def like(self, other: "RunConfig") -> "RunConfig":
        """Return this run with its files at the places of another's, as far trusted."""
        found = self.located(other._folder) if self._has_new_files else self.model_copy()
        found._folder, found._trusted = other._folder, other._trusted
        found._objects = other._objects
        return found

    @property
    def is_trusted(self) -> bool:
        """Whether the Python that the configuration names may run."""
        return self._trusted

    @property
    def objects(self) -> tuple[Any, ...]:
        """The network and the data, if they were given in Python."""
        return self._objects

    def holding(self, objects: tuple[Any, ...]) -> "RunConfig":
        """Return the same run, trusted, which keeps its network and data."""
        found = self.trusting()
        found._objects = objects
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        private = (state["__pydantic_private__"] or {}) | {"_objects": ()}
        return state | {"__pydantic_private__": private}

    def ready(self) -> "RunConfig":
        """Return this run as it can start: its files are there, and its Python may run.

        Raises ConfigError otherwise, and ImportError for an optional package that is missing.
        """
        self.require_trust()
        require_extras(self)
        return self.like(self)

    def require_known_energy(self) -> None:
        """Raise ConfigError for converters without rounding, whose energy is not known."""
        ideal = [k for k in ("dac_bits", "adc_bits") if getattr(self.periphery, k) is None]
        if ideal:
            raise ConfigError(
                f'periphery.{ideal[0]} = "none": the energy of a converter without rounding is not '
                "known; give bits (at most 24); a study may leave energy out, with "
                "simulation.n_power = 0"
            )

    @property
    def _has_new_files(self) -> bool:
        return any(
            getattr(getattr(self, table), f"{key}_sha256") is None
            for table, key, _, _ in named_files(self)
        )

    def require_trust(self) -> None:
        """Raise ConfigError if a key names the user's Python, which nobody has allowed to run."""
        python = [
            f"{table}.{key} = '{file}:{function}'"
            for table, key, file, function in named_files(self)
            if function
        ]
        if python and not self._trusted:
            raise ConfigError(
                f"{', '.join(python)} would run Python code; if you trust it, say so with "
                "--trust (in Python: trust=True)"
            )

    def made_quick(self) -> "RunConfig":
        """Return the same run with few images and, where it trains, little training."""
        few = {"n_image": min(self.simulation.n_image, 4)}
        update = {"quick": True, "simulation": self.simulation.model_copy(update=few)}
        if self.network.weights is None:
            update["train"] = self.train.model_copy(update={"epochs": min(self.train.epochs, 10)})
        if self.network.weights is None and self.prune:
            rounds, epochs = self.prune.rounds, self.prune.epochs_per_round
            short = {"rounds": min(rounds, 4), "epochs_per_round": min(epochs, 8)}
            update["prune"] = self.prune.model_copy(update=short)
        return self.model_copy(update=update)


def bank_of(options: dict[str, Any]) -> ResistorBank:
    """Return the bank of a run with some keys of [bank] set; ConfigError for a bad value."""
    raw = asdict(BANK) | options
    try:
        return TypeAdapter(ResistorBank).validate_python(raw)
    except ValidationError as error:
        raise config_error(error, ResistorBank, "bank") from error


def load_config(path: str | Path, *, trust: bool = False) -> RunConfig:
    """Read a run's TOML file; see `read_toml`. The files it names are relative to its folder.

    trust: whether the Python that it names may run.
    """
    config = read_toml(Path(path), RunConfig)
    config.life.later(config.chip)  # shows the bank's warnings, which `checked` has suppressed
    try:
        config = config.located(Path(path).parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config.trusting() if trust else config


def read_toml(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a TOML file; a ConfigError names file, key, value and bounds, a line for a mistake."""
    raw = parsed(path)
    _refuse_other_kind(path, raw, kind)
    return checked(raw, kind, f"{path}")


def _refuse_other_kind(path: Path, raw: dict[str, Any], kind: type[BaseModel]) -> None:
    """Raise ConfigError for a study in place of a run, or the other way round."""
    is_study, of_runs = "base" in raw, {*RunConfig.model_fields, "model"} - {"name"}
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
    """Return settings as a configuration; a ConfigError names the place of every problem."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `load_config` shows those of the bank, once
            return kind.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, kind, where) from error
