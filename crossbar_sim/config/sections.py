"""The tables of a run's configuration, each key with its bounds."""

import itertools
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from crossbar_sim.periphery.converters import Converters
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import SelectionRule, Tiling
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.layout.floorplan import CellPlan, Programming, drawn_wires, plan_cell
from netlists.layout.technology import TECHNOLOGIES, Technology
from tinynets.settings import (
    LARGEST,
    Count,
    Kelvin,
    LearningRate,
    NotNegative,
    Positive,
    Probability,
    Section,
    Seed,
    Share,
    within,
)

#: Weights of the largest network that is trained here: 400 MB, and three times that in training.
MAX_WEIGHTS = 100_000_000
_Part = TypeVar("_Part", Periphery, Converters)

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


#: The bank of a run that says nothing else: scatter, a meter's error and real switches.
BANK = ResistorBank(n=6, sigma_local=0.05, r_on=1e3, r_off=1e9, meter_error=0.001)


class DieConfig(Section):
    """Which chip of the fabrication: its seed fixes every resistor."""

    seed: Seed = 1


class LifeConfig(Section):
    """What happens to the die after its switches were chosen, and whether it is repaired.

    age [h]: hours of work, on top of `bank.age`; see `bank.drift`.
    temperature [K]: that it works at, or None for that of the bank.
    p_stuck_open, p_stuck_closed: switches that have failed since, on top of the bank's.
    repair: measure again, and change as few switches as bring every weight back within tolerance
        (a fraction of the layer's largest weight).
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
            age=bank.age + self.age,
            temperature=self.temperature or bank.temperature,
            p_stuck_open=bank.p_stuck_open + self.p_stuck_open,
            p_stuck_closed=bank.p_stuck_closed + self.p_stuck_closed,
        )
        return replace(die, bank=changed)


@dataclass(frozen=True)
class TileTable(TileConfig):
    """Largest tile: word lines, and pairs of bit lines; and how lines are shared out to tiles."""

    tiling: Tiling = "in order"

    @property
    def size(self) -> TileConfig:
        """The tile size alone."""
        return TileConfig(self.n_word, self.n_bit)


@dataclass(frozen=True)
class SelectTable(SelectionRule):
    """How switches are chosen; see `mapping.SelectionRule`.

    fit_scale: with the "error" objective, try several scales and take the one that errs least on
    the outputs; "aware" always does.
    n_calibration: training images whose inputs the "aware" objective, and the fit of a scale, are
    aware of.
    """

    n_calibration: Count = 500


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


@dataclass(frozen=True)
class PeripheryTable(Periphery, Converters):
    """TIA, DAC and ADC; see `netlists.Periphery` and `crossbar_sim.Converters`.

    They share one seed.
    """

    def __post_init__(self) -> None:
        Periphery.__post_init__(self)
        Converters.__post_init__(self)

    @property
    def amplifiers(self) -> Periphery:
        """The amplifiers alone: all that circuits depend on."""
        return _part_of(self, Periphery)

    @property
    def converters(self) -> Converters:
        """The DAC and ADC alone."""
        return _part_of(self, Converters)

    @property
    def without_converters(self) -> "PeripheryTable":
        """The same amplifiers with a run's converters, which no circuit depends on."""
        return replace(PERIPHERY, **vars(self.amplifiers))

    @property
    def ideal_converters(self) -> Converters:
        """Converters without any error, driven and zeroed in the same way."""
        return Converters(self.v_read, drive=self.drive, auto_zero=self.auto_zero)


def _part_of(table: PeripheryTable, kind: type[_Part]) -> _Part:
    return kind(**{field.name: getattr(table, field.name) for field in fields(kind)})


#: The periphery of a run that says nothing else.
PERIPHERY = PeripheryTable(tia_gain=1e4, dac_bits=8, adc_bits=8)


class SimulationConfig(Section):
    """n_image: test images that ngspice solves on every tile; tolerance: against the engine.

    check_tiles: tiles, drawn at random, that every trial of a study solves with ngspice too.
    """

    n_image: Count = 32
    check_tiles: Annotated[int, within(0, 1_000_000)] = 0
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 1e-9
    time_limit: Annotated[float, within(0.1, 1e6)] = 120.0
