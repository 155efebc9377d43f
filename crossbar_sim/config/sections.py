"""The tables of a run's configuration, each key with its bounds."""

import itertools
import math
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from crossbar_sim.config.bounds import (
    LARGEST,
    Count,
    Kelvin,
    LearningRate,
    NotNegative,
    Ohm,
    Positive,
    Probability,
    Section,
    Seed,
    Share,
    within,
    within_or_inf,
)
from crossbar_sim.energy.power import Case, Figures
from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import SelectionRule
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.layout.floorplan import CellPlan, Programming, drawn_wires, plan_cell
from netlists.layout.technology import TECHNOLOGIES, Technology

#: Weights of the largest network that is trained here: 400 MB, and three times that in training.
MAX_WEIGHTS = 100_000_000
#: Resistance of a branch [ohm]; more is an open circuit to every solver, and to every meter.
MAX_BRANCH = 1e15


Width = Annotated[int, within(1, 100_000)]


class ModelConfig(Section):
    """kind: "mlp" with the given hidden sizes, "cnn" with the given channels, or "lenet5".

    weights: a file of `crossbar_sim.pipeline.trained` that holds the network already trained and
    pruned as [train] and [prune] say, beside the configuration's own file; None to train it now.
    weights_sha256: of that file; filled in when the configuration is read, or a check of it.
    """

    kind: Literal["mlp", "cnn", "lenet5"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=100)] = (32,)
    channels: Annotated[tuple[Width, Width], Field(strict=False)] = (8, 16)
    weights: str | None = None
    weights_sha256: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights_sha256 and not self.weights:
            raise ValueError("weights_sha256 is that of weights, which is not given")
        # As many as MNIST needs; nine weights link two channels, and images are 28 × 28 at most.
        dense = sum(a * b for a, b in itertools.pairwise((784, *self.hidden, 10)))
        first, second = self.channels
        n_weight = {"mlp": dense, "cnn": 9 * first * second + 1960 * second}.get(self.kind, 0)
        if n_weight > MAX_WEIGHTS:
            raise ValueError(
                f"hidden or channels make up to {n_weight:,} weights; choose at most "
                f"{MAX_WEIGHTS:,}"
            )
        return self


class TrainConfig(Section):
    """Training of the dense network."""

    epochs: Annotated[int, within(1, 100_000)] = 30
    learning_rate: LearningRate = 0.01
    batch_size: Count = 64


class PruneConfig(Section):
    """Pruning: share of zeros, and how it is reached.

    method: one of `tinynets.pruning.METHODS`, or "tiles": weights that share a bit line go
    together, so that fewer lines and tiles are left. A sparsity of 0 removes no weight and trains
    for the same rounds, so that dense and pruned networks have had as many epochs.
    bits: of the weights in the end (quantised per output), or 0 for all that they have. noise: of
    the weights while the pruned network trains for epochs_per_round more, in parts of each layer's
    largest weight; see `crossbar_sim.calibration.tune.train_noise_aware`.
    """

    method: Literal[
        "iterative_magnitude", "magnitude", "gradient", "activation", "random", "tiles"
    ] = "iterative_magnitude"
    sparsity: Share = 0.9
    rounds: Annotated[int, within(1, 1000)] = 10
    epochs_per_round: Annotated[int, within(1, 100_000)] = 30
    learning_rate: LearningRate = 0.04
    bits: Annotated[int, within(0, 16)] = 0
    noise: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bits == 1:
            raise ValueError("bits must be 0 (not quantised) or 2 … 16; got 1")
        return self


class BankConfig(Section):
    """The bank of resistors; see `mapping.ResistorBank`."""

    n: Annotated[int, within(1, 20)] = 6
    ladder: str | Annotated[tuple[Ohm, ...], Field(strict=False)] = "geometric"
    r_min: Ohm = 100e3
    ratio: Annotated[float, Field(gt=1, le=1000)] = 1.75
    sigma_lot: Share = 0.0
    sigma_gradient: Share = 0.0
    sigma_local: Share = 0.05
    distribution: Literal["normal", "truncated", "lognormal", "uniform", "holed"] = "normal"
    r_on: Annotated[float, within(0, 1e12)] = 1e3
    sigma_on: Share = 0.0
    r_off: Ohm = 1e9
    tc1: Annotated[float, within(-1, 1)] = 0.0
    tc1_sigma: Share = 0.0
    tc2: Annotated[float, within(-1, 1)] = 0.0
    temperature: Kelvin = 300.15
    meter_error: Share = 0.001
    p_stuck_open: Probability = 0.0
    p_stuck_closed: Probability = 0.0
    drift: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    drift_sigma: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        largest = float(self.build().r_nominal.max())
        if largest > MAX_BRANCH:
            raise ValueError(
                f"the largest resistor of the ladder would have {largest:g} ohm, more than "
                f"{MAX_BRANCH:g}; lower r_min, ratio or n"
            )
        return self

    def build(self) -> ResistorBank:
        """Return the bank, new."""
        return ResistorBank(**self.model_dump())


class DieConfig(Section):
    """Which chip of the fabrication: its seed fixes every resistor."""

    seed: Seed = 1


class LifeConfig(Section):
    """What happens to the die after its switches were chosen, and whether it is mended.

    age [h]: hours of work, see `bank.drift`. temperature [K]: that it works at, or None for that
    of the bank. p_stuck_open, p_stuck_closed: switches that have failed since, on top of the
    bank's. repair: measure again, and change as few switches as bring every weight back within
    tolerance (a part of the layer's largest weight).
    """

    age: Annotated[float, within(0, 1e8)] = 0.0
    temperature: Kelvin | None = None
    p_stuck_open: Probability = 0.0
    p_stuck_closed: Probability = 0.0
    repair: bool = False
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 0.005

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


class TilesConfig(Section):
    """Largest tile: word lines, and pairs of bit lines; and how lines are shared out to tiles."""

    n_word: Annotated[int, within(1, 512)] = 32
    n_bit: Annotated[int, within(1, 512)] = 32
    tiling: Literal["in order", "clustered"] = "in order"

    def build(self) -> TileConfig:
        """Return the tile size."""
        return TileConfig(self.n_word, self.n_bit)


class SelectConfig(Section):
    """How switches are chosen; see `mapping.SelectionRule`.

    fit_scale: with the "error" objective, try several scales and take the one that errs least on
    the outputs; "aware" always does. n_calibration: training images whose inputs the "aware"
    objective, and the fit of a scale, are aware of.
    """

    objective: Literal["error", "power", "aware"] = "error"
    scale_per: Literal["layer", "output"] = "layer"
    tolerance_lsb: Annotated[float, within(1 / LARGEST, 1e9)] = 0.5
    lsb_bits: Annotated[int, within(1, 24)] = 8
    max_closed: Annotated[int, within(1, 40)] | None = None
    n_candidate: Annotated[int, within(1, 100_000)] = 1
    composite_error: Share = 0.0
    fit_scale: bool = False
    n_calibration: Count = 500

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> SelectionRule:
        """Return the rule."""
        return SelectionRule(**self.model_dump(exclude={"n_calibration"}))


class CalibrateConfig(Section):
    """Rounds of choosing switches anew against the wires; 0 for none."""

    rounds: Annotated[int, within(0, 100)] = 0


class TuneConfig(Section):
    """What software does for the finished die; see `crossbar_sim.calibration.tune`.

    n_output: training images on which gain and offset of every output are fitted, 0 for none.
    epochs, learning_rate: training of all that is digital through the die, 0 epochs for none.
    """

    n_output: Annotated[int, within(0, 1_000_000)] = 0
    epochs: Annotated[int, within(0, 100_000)] = 0
    learning_rate: LearningRate = 0.003


#: What [wires] may state in place of the drawn cell.
_SEGMENT = ("r_word", "r_bit", "c_word", "c_bit")

#: Wires of no cell that is drawn here, for comparison: 1 ohm and 7 fF cannot be had together.
_THIN = {"r_word": 1.0, "r_bit": 1.0, "c_word": 7e-15, "c_bit": 7e-15}


class WiresConfig(Section):
    """Where the ohm and farad of a wire segment come from, and the ohm of each driver.

    source: "drawn", of the cell of [geometry], whose area is stated too; "given", as r_word and
    r_bit, c_word and c_bit (0 where left out) say here; "thin", 1 ohm and 7 fF of either line, for
    comparison with work that assumes so. See `netlists.Wires`.
    """

    source: Literal["drawn", "given", "thin"] = "drawn"
    r_word: NotNegative | None = None
    r_bit: NotNegative | None = None
    r_driver: NotNegative = 0.0
    c_word: NotNegative | None = None
    c_bit: NotNegative | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        stated = [name for name in _SEGMENT if getattr(self, name) is not None]
        if self.source != "given" and stated:
            raise ValueError(
                f'{", ".join(stated)} given, but source is {self.source!r}; set source = "given" '
                "or leave them out"
            )
        if self.source == "given" and not {"r_word", "r_bit"} <= set(stated):
            raise ValueError('source = "given" needs r_word and r_bit, 0 for ideal wires')
        if self.source != "drawn":
            self.stated()
        return self

    def stated(self) -> Wires:
        """Return the wires of a source other than "drawn"."""
        given = {name: getattr(self, name) or 0.0 for name in _SEGMENT}
        return Wires(r_driver=self.r_driver, **(_THIN if self.source == "thin" else given))


class GeometryConfig(Section):
    """What a cell is drawn in; see `netlists.layout.floorplan`.

    film: the technology, by its film. programming: "switch", transistors driven by a memory that is
    not drawn, or "via". word_width, bit_width: of the lines, met1 and met3 [m].
    """

    film: Literal["sky130_high_po", "sky130_xhigh_po"] = "sky130_xhigh_po"
    programming: Programming = "switch"
    word_width: Positive = 1e-6
    bit_width: Positive = 1e-6

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.technology()
        return self

    def technology(self) -> Technology:
        """Return the film's technology with lines of these widths."""
        return replace(
            TECHNOLOGIES[self.film], word_width=self.word_width, bit_width=self.bit_width
        )

    def cell(self, bank: ResistorBank) -> CellPlan:
        """Return the cell of one weight; ValueError where its resistors cannot be drawn."""
        return plan_cell(bank, self.technology(), self.programming)

    def wires(self, bank: ResistorBank, r_driver: float) -> Wires:
        """Return the wires of an array of such cells."""
        return drawn_wires(self.cell(bank), self.technology(), r_driver)


#: Keys of [periphery] that say what the amplifiers are; the others are about converters.
_AMPLIFIERS = {"r_feedback", "tia_gain", "r_input", "v_offset_sigma", "v_swing", "gbw", "v_noise"}
_AMPLIFIERS |= {"seed"}


class PeripheryConfig(Section):
    """TIA, DAC and ADC; see `netlists.Periphery` and `crossbar_sim.Converters`."""

    r_feedback: Annotated[float, within(1, 1e12)] = 20e3
    tia_gain: Annotated[float, within_or_inf(1e-3, 1e12)] = 1e4
    r_input: Annotated[float, within(0, 1e12)] = 0.0
    v_offset_sigma: Annotated[float, within(0, 100)] = 0.0
    v_swing: Annotated[float, within_or_inf(1e-6, 1e4)] = math.inf
    gbw: Annotated[float, within_or_inf(1, 1e15)] = math.inf
    v_noise: Annotated[float, within(0, 1)] = 0.0
    v_read: Annotated[float, within(1e-6, 1000)] = 0.2
    dac_bits: Annotated[int, within(1, 24)] = 8
    adc_bits: Annotated[int, within(1, 24)] = 8
    drive: Literal["bipolar", "two-phase"] = "bipolar"
    inputs: Literal["analog", "bit-serial"] = "analog"
    auto_zero: bool = False
    dac_gain_sigma: Share = 0.0
    dac_offset_sigma: NotNegative = 0.0
    dac_inl: Share = 0.0
    adc_gain_sigma: Share = 0.0
    adc_offset_sigma: NotNegative = 0.0
    adc_inl: Share = 0.0
    seed: Seed = 0

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


class NoiseConfig(Section):
    """Noise of every read: bandwidth [Hz], 0 for none, and temperature [K]; see `Noise`."""

    bandwidth: Annotated[float, within(0, 1e15)] = 0.0
    temperature: Kelvin = 300.15
    seed: Seed = 0

    def build(self) -> Noise | None:
        """Return the noise, or None."""
        return Noise(**self.model_dump()) if self.bandwidth else None


class EnergyConfig(Section):
    """Figures for what is not in the circuit; see `crossbar_sim.energy.power.Figures`.

    t_read [s], or "settling": the time in which the slowest tile settles to half a step of the ADC.
    adc_case: which published designs count. v_dd: supply of drivers and amplifiers [V].
    """

    t_read: Positive | Literal["settling"] = 100e-9
    adc_case: Case = "median"
    v_dd: Positive = 1.0
    tia_v_ov: Positive = 0.15
    tia_c_load: Positive = 100e-15
    tia_factor: Positive = 4.0

    def build(self, t_settling: float) -> Figures:
        """Return the figures; t_settling [s] of the slowest tile."""
        t_read = t_settling if self.t_read == "settling" else self.t_read
        return Figures(**self.model_dump(exclude={"t_read"}), t_read=t_read)


class SimulationConfig(Section):
    """n_image: test images that ngspice solves on every tile; tolerance: against the engine.

    check_tiles: tiles, drawn at random, that every trial of a study solves with ngspice too.
    """

    n_image: Count = 32
    check_tiles: Annotated[int, within(0, 1_000_000)] = 0
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 1e-9
    time_limit: Annotated[float, within(0.1, 1e6)] = 120.0
