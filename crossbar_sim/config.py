"""The configuration of a run: one TOML file, every key checked before anything starts."""

import hashlib
import json
import math
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossbar_sim.converters import Converters
from crossbar_sim.noise import Noise
from crossbar_sim.power import Case, Figures, adc_energy, dac_energy
from mapping.bank import Die, ResistorBank
from mapping.place import SelectionRule
from mapping.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.geometry import METALS, CellArea, cell_area, process, wires_from_geometry

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the user."""


class _Section(BaseModel):
    # JSON has no infinity; as a string it comes back as one.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class ModelConfig(_Section):
    """kind: "mlp" with the given hidden sizes, "cnn" with the given channels, or "lenet5"."""

    kind: Literal["mlp", "cnn", "lenet5"] = "mlp"
    hidden: tuple[Count, ...] = (32,)
    channels: tuple[Count, Count] = (8, 16)


class TrainConfig(_Section):
    """Training of the dense network."""

    epochs: Count = 30
    learning_rate: Positive = 0.01
    batch_size: Count = 64


class PruneConfig(_Section):
    """Pruning: share of zeros, and how it is reached.

    method: one of `tinynets.pruning.METHODS`, or "tiles": weights that share a bit line go
    together, so that fewer lines and tiles are left. A sparsity of 0 leaves the network as it is.
    bits: of the weights in the end (quantised per output), or 0 for all that they have. noise: of
    the weights while the pruned network trains for epochs_per_round more, in parts of each layer's
    largest weight; see `crossbar_sim.tune.train_noise_aware`.
    """

    method: Literal[
        "iterative_magnitude", "magnitude", "gradient", "activation", "random", "tiles"
    ] = "iterative_magnitude"
    sparsity: Share = 0.9
    rounds: Count = 10
    epochs_per_round: Count = 30
    learning_rate: Positive = 0.04
    bits: Annotated[int, Field(ge=0, le=16)] = 0
    noise: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bits == 1:
            raise ValueError("bits must be 0 (not quantised) or 2 … 16; got 1")
        return self


class BankConfig(_Section):
    """The bank of resistors; see `mapping.ResistorBank`."""

    n: Annotated[int, Field(ge=1, le=20)] = 6
    ladder: str | tuple[Positive, ...] = "geometric"
    r_min: Positive = 100e3
    ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.75
    sigma_lot: Share = 0.0
    sigma_gradient: Share = 0.0
    sigma_local: Share = 0.05
    distribution: Literal["normal", "truncated", "lognormal", "uniform", "holed"] = "normal"
    r_on: NotNegative = 1e3
    sigma_on: Share = 0.0
    r_off: Positive = 1e9
    tc1: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    tc1_sigma: Share = 0.0
    tc2: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    temperature: Positive = 300.15
    meter_error: Share = 0.001
    p_stuck_open: Annotated[float, Field(ge=0, le=1)] = 0.0
    p_stuck_closed: Annotated[float, Field(ge=0, le=1)] = 0.0
    drift: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    drift_sigma: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> ResistorBank:
        """Return the bank, new."""
        return ResistorBank(**self.model_dump())


class DieConfig(_Section):
    """Which chip of the fabrication: its seed fixes every resistor."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1


class LifeConfig(_Section):
    """What happens to the die after its switches were chosen, and whether it is mended.

    age [h]: hours of work, see `bank.drift`. temperature [K]: that it works at, or None for that
    of the bank. p_stuck_open, p_stuck_closed: switches that have failed since, on top of the
    bank's. repair: measure again, and change as few switches as bring every weight back within
    tolerance (a part of the layer's largest weight).
    """

    age: NotNegative = 0.0
    temperature: Positive | None = None
    p_stuck_open: Annotated[float, Field(ge=0, le=1)] = 0.0
    p_stuck_closed: Annotated[float, Field(ge=0, le=1)] = 0.0
    repair: bool = False
    tolerance: Positive = 0.005

    @property
    def happens(self) -> bool:
        """Whether anything happens to the die at all."""
        known = (self.age, self.temperature, self.p_stuck_open, self.p_stuck_closed)
        return any(value for value in known)

    def later(self, die: Die) -> Die:
        """Return the die as it is later."""
        bank = die.bank
        changed = replace(
            bank,
            age=self.age,
            temperature=self.temperature or bank.temperature,
            p_stuck_open=bank.p_stuck_open + self.p_stuck_open,
            p_stuck_closed=bank.p_stuck_closed + self.p_stuck_closed,
        )
        return replace(die, bank=changed)


class TilesConfig(_Section):
    """Largest tile: word lines, and pairs of bit lines; and how lines are shared out to tiles."""

    n_word: Annotated[int, Field(ge=1, le=512)] = 32
    n_bit: Annotated[int, Field(ge=1, le=512)] = 32
    tiling: Literal["in order", "clustered"] = "in order"

    def build(self) -> TileConfig:
        """Return the tile size."""
        return TileConfig(self.n_word, self.n_bit)


class SelectConfig(_Section):
    """How switches are chosen; see `mapping.SelectionRule`.

    n_calibration: training images whose inputs the "aware" objective is aware of.
    """

    objective: Literal["error", "power", "aware"] = "error"
    scale_per: Literal["layer", "output"] = "layer"
    tolerance_lsb: Positive = 0.5
    lsb_bits: Annotated[int, Field(ge=1, le=24)] = 8
    max_closed: Count | None = None
    n_candidate: Count = 1
    composite_error: Share = 0.0
    n_calibration: Count = 500

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> SelectionRule:
        """Return the rule."""
        return SelectionRule(**self.model_dump(exclude={"n_calibration"}))


class CalibrateConfig(_Section):
    """Rounds of choosing switches anew against the wires; 0 for none."""

    rounds: Annotated[int, Field(ge=0, le=100)] = 0


class TuneConfig(_Section):
    """What software does for the finished die; see `crossbar_sim.tune`.

    n_output: training images on which gain and offset of every output are fitted, 0 for none.
    epochs, learning_rate: training of all that is digital through the die, 0 epochs for none.
    """

    n_output: Annotated[int, Field(ge=0)] = 0
    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 0.003


class WiresConfig(_Section):
    """Ohm and farad per wire segment, and ohm of each driver; see `netlists.Wires`."""

    r_word: NotNegative = 1.0
    r_bit: NotNegative = 1.0
    r_driver: NotNegative = 0.0
    c_word: NotNegative = 0.0
    c_bit: NotNegative = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        Wires(**self.model_dump())
        return self


class GeometryConfig(_Section):
    """What a cell is made of; see `netlists.geometry`.

    wires: whether resistance and capacitance of the wires follow from the cell's size and the
    metals, in place of [wires] (but for r_driver); the area is stated in any case.
    """

    wires: bool = False
    film: Literal["sky130 high_po", "sky130 xhigh_po"] = "sky130 xhigh_po"
    node: Positive = 130e-9
    word_metal: str = "sky130 met3"
    bit_metal: str = "sky130 met3"
    word_width: Positive = 1.0
    bit_width: Positive = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("word_metal", "bit_metal"):
            if getattr(self, name) not in METALS:
                raise ValueError(f"{name} must be one of {', '.join(METALS)}")
        return self

    def area(self, bank: ResistorBank) -> CellArea:
        """Return the area of one weight."""
        return cell_area(bank, process(self.film, self.node))


#: Keys of [periphery] that say what the amplifiers are; the others are about converters.
_AMPLIFIERS = {"r_feedback", "tia_gain", "r_input", "v_offset_sigma", "v_swing", "gbw", "v_noise"}
_AMPLIFIERS |= {"seed"}


class PeripheryConfig(_Section):
    """TIA, DAC and ADC; see `netlists.Periphery`, `crossbar_sim.converters.Converters`."""

    r_feedback: Positive = 20e3
    tia_gain: Annotated[float, Field(gt=0)] = 1e4
    r_input: NotNegative = 0.0
    v_offset_sigma: NotNegative = 0.0
    v_swing: Annotated[float, Field(gt=0)] = math.inf
    gbw: Annotated[float, Field(gt=0)] = math.inf
    v_noise: NotNegative = 0.0
    v_read: Positive = 0.2
    dac_bits: Annotated[int, Field(ge=1, le=24)] = 8
    adc_bits: Annotated[int, Field(ge=1, le=24)] = 8
    drive: Literal["bipolar", "two-phase"] = "bipolar"
    inputs: Literal["analog", "bit-serial"] = "analog"
    auto_zero: bool = False
    dac_gain_sigma: Share = 0.0
    dac_offset_sigma: NotNegative = 0.0
    dac_inl: Share = 0.0
    adc_gain_sigma: Share = 0.0
    adc_offset_sigma: NotNegative = 0.0
    adc_inl: Share = 0.0
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        self.converters()
        return self

    def build(self) -> Periphery:
        """Return the amplifiers."""
        return Periphery(**self.model_dump(include=_AMPLIFIERS))

    def amplifiers(self) -> "PeripheryConfig":
        """Return the same amplifiers with default converters: all that circuits depend on."""
        return PeripheryConfig(**self.model_dump(include=_AMPLIFIERS))

    def converters(self) -> Converters:
        """Return the DAC and ADC."""
        amplifier = set(type(self.build()).__dataclass_fields__) - {"seed"}
        return Converters(**self.model_dump(exclude=amplifier))

    def ideal_converters(self) -> Converters:
        """Return converters without any error, driven and zeroed in the same way."""
        return Converters(self.v_read, drive=self.drive, auto_zero=self.auto_zero)


class NoiseConfig(_Section):
    """Noise of every read: bandwidth [Hz], 0 for none, and temperature [K]; see `Noise`."""

    bandwidth: NotNegative = 0.0
    temperature: Positive = 300.15
    seed: Annotated[int, Field(ge=0)] = 0

    def build(self) -> Noise | None:
        """Return the noise, or None."""
        return Noise(**self.model_dump()) if self.bandwidth else None


class EnergyConfig(_Section):
    """Figures for what is not in the circuit; see `crossbar_sim.power.Figures`.

    t_read [s], or "settling": the time in which the slowest tile settles to half a step of the ADC.
    """

    t_read: Positive | Literal["settling"] = 100e-9
    adc_case: Case = "typical"
    tia_v_dd: Positive = 1.0
    tia_v_ov: Positive = 0.15
    tia_c_load: Positive = 100e-15
    tia_factor: Positive = 4.0

    def build(self, t_settling: float) -> Figures:
        """Return the figures; t_settling [s] of the slowest tile."""
        t_read = t_settling if self.t_read == "settling" else self.t_read
        return Figures(**self.model_dump(exclude={"t_read"}), t_read=t_read)


class SimulationConfig(_Section):
    """n_image: test images that ngspice solves on every tile; tolerance: against the engine.

    check_tiles: tiles, drawn at random, that every trial of a study solves with ngspice too.
    """

    n_image: Count = 32
    check_tiles: Annotated[int, Field(ge=0)] = 0
    tolerance: Positive = 1e-9
    time_limit: Positive = 120.0


class RunConfig(_Section):
    """Everything that a run depends on."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    data: Literal["digits", "mnist5000"] = "digits"
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
        dac_energy(self.periphery.dac_bits)
        adc_energy(self.periphery.adc_bits, self.energy.adc_case)
        if not math.isfinite(self.bank.r_off):
            raise ValueError("bank.r_off must be finite for a netlist")
        wires = self.build_wires()
        quick = not (wires.c_word or wires.c_bit) and math.isinf(self.periphery.gbw)
        if self.energy.t_read == "settling" and quick:
            raise ValueError(
                "energy.t_read = 'settling', but nothing takes time; give wires.c_word, "
                "wires.c_bit or periphery.gbw, or a t_read in seconds"
            )
        return self

    def build_wires(self) -> Wires:
        """Return the wires, from geometry where the configuration says so."""
        shape = self.geometry
        if not shape.wires:
            return Wires(**self.wires.model_dump())
        return wires_from_geometry(
            shape.area(self.bank.build()).pitch,
            METALS[shape.word_metal],
            METALS[shape.bit_metal],
            word_width=shape.word_width,
            bit_width=shape.bit_width,
            r_driver=self.wires.r_driver,
        )

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

    def made_quick(self) -> "RunConfig":
        """Return the same run with little training and few images: a try-out."""
        return self.model_copy(
            update={
                "quick": True,
                "train": self.train.model_copy(update={"epochs": min(self.train.epochs, 10)}),
                "prune": self.prune.model_copy(
                    update={
                        "rounds": min(self.prune.rounds, 4),
                        "epochs_per_round": min(self.prune.epochs_per_round, 8),
                    }
                ),
                "simulation": self.simulation.model_copy(
                    update={"n_image": min(self.simulation.n_image, 4)}
                ),
            }
        )


def load_config(path: str | Path) -> RunConfig:
    """Read a TOML file; ConfigError names file, key, value and what is allowed, in one line."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    try:
        with warnings.catch_warnings():
            # The run builds the bank again and shows its warnings once.
            warnings.simplefilter("ignore")
            return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}") from error


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
