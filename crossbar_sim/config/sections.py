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
    """The network."""

    kind: Literal["mlp", "cnn", "lenet5"] = "mlp"
    """Architecture: "mlp" with the sizes of hidden, "cnn" with channels, or "lenet5"."""
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=100)] = (32,)
    """Sizes of the hidden layers of an mlp."""
    channels: Annotated[tuple[Width, Width], Field(strict=False)] = (8, 16)
    """Channels of the two convolutions of a cnn."""
    weights: str | None = None
    """A file that holds the network already trained and pruned as [train] and [prune] say, beside
    the configuration's own file; none to train it in the run."""
    weights_sha256: str | None = None
    """Of that file; filled in when the configuration is read, or a check of it."""

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
    """Passes over the training images."""
    learning_rate: LearningRate = 0.01
    """Of the optimiser."""
    batch_size: Count = 64
    """Images for each step of the optimiser."""


class PruneConfig(Section):
    """Pruning: the fraction of zeros, and how it is reached."""

    method: Literal[
        "iterative_magnitude", "magnitude", "gradient", "activation", "random", "tiles"
    ] = "iterative_magnitude"
    """A method of `tinynets.pruning`, or "tiles": weights that share a bit line go together, so
    that fewer lines and tiles are left."""
    sparsity: Share = 0.9
    """Fraction of weights that are removed. With 0 none is, but training takes as many rounds, so
    that dense and pruned networks have had as many epochs."""
    rounds: Annotated[int, within(1, 1000)] = 10
    """Rounds of pruning and training."""
    epochs_per_round: Annotated[int, within(1, 100_000)] = 30
    """Passes over the training images in each round."""
    learning_rate: LearningRate = 0.04
    """Of the optimiser in these rounds."""
    bits: Annotated[int, within(0, 16)] = 0
    """Bits of the weights in the end, quantised for each output; 0 for no quantisation."""
    noise: Share = 0.0
    """Noise on the weights while the pruned network trains for epochs_per_round more, as a fraction
    of each layer's largest weight."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bits == 1:
            raise ValueError("bits must be 0 (not quantised) or 2 … 16; got 1")
        return self


#: The bank of a run that says nothing else: scatter, a meter's error and real switches.
BANK = ResistorBank(n=6, sigma_local=0.05, r_on=1e3, r_off=1e9, meter_error=0.001)


class DieConfig(Section):
    """The chip, out of all that the fabrication makes."""

    seed: Seed = 1
    """Fixes every resistor."""


class LifeConfig(Section):
    """What happens to the die after its switches were chosen, and whether it is repaired."""

    age: Annotated[float, within(0, 1e8)] = 0.0
    """Hours of work, on top of bank.age; see bank.drift."""
    temperature: Kelvin | None = None
    """At work [K]; none for that of the bank."""
    p_stuck_open: Probability = 0.0
    """Probability that a switch has failed open since, on top of the bank's."""
    p_stuck_closed: Probability = 0.0
    """Probability that a switch has failed closed since, on top of the bank's."""
    repair: bool = False
    """Measure again, and change as few switches as bring every weight back within tolerance."""
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 0.005
    """Of the repair, as a fraction of the layer's largest weight."""

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
    """Largest tile, and how lines are shared out to tiles."""

    tiling: Tiling = "in order"
    """"in order", or "clustered", lines with similar patterns of zeros together."""

    @property
    def size(self) -> TileConfig:
        """The tile size alone."""
        return TileConfig(self.n_word, self.n_bit)


@dataclass(frozen=True)
class SelectTable(SelectionRule):
    """How switches are chosen."""

    n_calibration: Count = 500
    """Training images whose inputs the "aware" objective, and the fit of a scale, are aware of."""


class CalibrateConfig(Section):
    """Choice of switches against the wires."""

    rounds: Annotated[int, within(0, 100)] = 0
    """Rounds of it; 0 for none."""


class TuneConfig(Section):
    """What software does for the finished die."""

    n_output: Annotated[int, within(0, 1_000_000)] = 0
    """Training images on which gain and offset of every output are fitted; 0 for none."""
    epochs: Annotated[int, within(0, 100_000)] = 0
    """Passes of training, through the die, of all that is digital; 0 for none."""
    learning_rate: LearningRate = 0.003
    """Of that training."""


#: What [wires] may state in place of the drawn cell.
_SEGMENT = ("r_word", "r_bit", "c_word", "c_bit")

#: Wires of no cell that is drawn here, for comparison: 1 ohm and 7 fF cannot be had together.
_THIN = {"r_word": 1.0, "r_bit": 1.0, "c_word": 7e-15, "c_bit": 7e-15}


class WiresConfig(Section):
    """Where the ohm and farad of a wire segment come from, and the ohm of each driver."""

    source: Literal["drawn", "given", "thin"] = "drawn"
    """"drawn": of the cell of [geometry], whose area is stated too; "given": as r_word, r_bit,
    c_word and c_bit say; "thin": 1 ohm and 7 fF for either line, for comparison with work that
    assumes so."""
    r_word: NotNegative | None = None
    """Word-line segment [ohm]."""
    r_bit: NotNegative | None = None
    """Bit-line segment [ohm]."""
    r_driver: NotNegative = 0.0
    """Output resistance of each driver [ohm]."""
    c_word: NotNegative | None = None
    """Word-line segment [F]; 0 where left out."""
    c_bit: NotNegative | None = None
    """Bit-line segment [F]; 0 where left out."""

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
    """What a cell is drawn in; see `netlists.layout.floorplan`."""

    film: Literal["sky130_high_po", "sky130_xhigh_po"] = "sky130_xhigh_po"
    """The technology, by its film."""
    programming: Programming = "switch"
    """"switch": transistors driven by a memory that is not drawn; "via": the selection is in the
    mask."""
    word_width: Positive = 1e-6
    """Width of a word line, on met1 [m]."""
    bit_width: Positive = 1e-6
    """Width of a bit line, on met3 [m]."""

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
    """How circuits are solved and compared."""

    n_image: Count = 32
    """Test images that ngspice solves on every tile."""
    check_tiles: Annotated[int, within(0, 1_000_000)] = 0
    """Tiles, drawn at random, that every trial of a study solves with ngspice too."""
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 1e-9
    """Largest difference between ngspice and the engine, relative to the largest output."""
    time_limit: Annotated[float, within(0.1, 1e6)] = 120.0
    """For ngspice on one tile [s]."""
