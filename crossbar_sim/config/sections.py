"""The tables of a run's configuration, with the bounds of every key."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import model_validator

from crossbar_sim.periphery.converters import Converters
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import SelectionRule, Tiling
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.foundry.branch import FoundryBranch
from netlists.layout.floorplan import CellPlan, Programming, drawn_wires, plan_cell
from netlists.layout.foundry_technology import foundry_technology
from netlists.layout.technology import TECHNOLOGIES, Technology
from tinynets.pruning.methods import METHODS
from tinynets.settings import (
    LARGEST,
    Count,
    Kelvin,
    LearningRate,
    NotNegative,
    OneOf,
    Positive,
    Probability,
    Section,
    Seed,
    Share,
    within,
)

_Part = TypeVar("_Part", Periphery, Converters)


class TrainConfig(Section):
    """Training of the dense network."""

    epochs: Annotated[int, within(1, 100_000)] = 30
    """Number of passes over the training images."""
    learning_rate: LearningRate = 0.01
    """Learning rate of the optimiser."""
    batch_size: Count = 64
    """Number of images in each step of the optimiser."""


class PruneConfig(Section):
    """Pruning: the fraction of zeros, and the way to it."""

    # "filters" would change the shapes that [network] states.
    method: Annotated[str, OneOf((*METHODS, "tiles"))] = "iterative_magnitude"
    """A method of `tinynets.pruning`, or "tiles", which removes weights that share a bit line
    together, so that fewer lines and tiles remain."""
    sparsity: Share = 0.9
    """Fraction of the weights to remove. With 0 none is removed, but the rounds of training stay,
    so that dense and pruned networks are trained for the same number of epochs."""
    rounds: Annotated[int, within(1, 1000)] = 10
    """Number of rounds of pruning and training."""
    epochs_per_round: Annotated[int, within(1, 100_000)] = 30
    """Number of passes over the training images in each round."""
    learning_rate: LearningRate = 0.04
    """Learning rate of the optimiser in these rounds."""
    bits: Annotated[int, within(0, 16)] = 0
    """Bits of the weights after pruning, quantised for each output; 0 for no quantisation."""
    noise: Share = 0.0
    """Noise on the weights, as a fraction of each layer's largest weight, while the pruned network
    trains for another epochs_per_round; 0 for no such training."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bits == 1:
            raise ValueError("bits must be 0 (not quantised) or 2 … 16; got 1")
        return self


#: The default bank of a run, with scatter, meter error and real switches.
BANK = ResistorBank(n=6, sigma_local=0.05, r_on=1e3, r_off=1e9, meter_error=0.001)


class DieConfig(Section):
    """The chip, one of all that are manufactured."""

    seed: Seed = 1
    """Random seed of the chip, which fixes every resistor."""


class LifeConfig(Section):
    """The life of the die after selection, and whether it is repaired."""

    age: Annotated[float, within(0, 1e8)] = 0.0
    """Operating time in addition to bank.age [h]; see bank.drift."""
    temperature: Kelvin | None = None
    """Operating temperature [K]; "none" for that of the bank."""
    p_stuck_open: Probability = 0.0
    """Probability that a switch fails open after selection, in addition to the bank's."""
    p_stuck_closed: Probability = 0.0
    """Probability that a switch fails closed after selection, in addition to the bank's."""
    repair: bool = False
    """Whether to measure again, and change as few switches as put all weights within tolerance."""
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 0.005
    """Tolerance of the repair, as a fraction of the layer's largest weight."""

    @property
    def happens(self) -> bool:
        """Whether the die changes at all."""
        known = (self.age, self.temperature, self.p_stuck_open, self.p_stuck_closed)
        return any(value for value in known)

    def later(self, die: Die) -> Die:
        """Return the die after this life."""
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
    """Size of the largest tile, and the assignment of lines to tiles."""

    tiling: Tiling = "in order"
    """"in order", or "clustered" to put lines with similar patterns of zeros together."""

    @property
    def size(self) -> TileConfig:
        """The tile size alone."""
        return TileConfig(self.n_word, self.n_bit)


@dataclass(frozen=True)
class SelectTable(SelectionRule):
    """The rule by which switches are chosen."""

    n_calibration: Count = 500
    """Number of training images that show a layer's inputs to the "aware" objective and to the fit
    of a scale."""


class CalibrateConfig(Section):
    """Re-selection of the switches against the wires."""

    rounds: Annotated[int, within(0, 100)] = 0
    """Number of rounds; 0 for no re-selection."""


class TuneConfig(Section):
    """Digital correction of the finished die."""

    n_output: Annotated[int, within(0, 1_000_000)] = 0
    """Number of training images on which gain and offset of every output are fitted; 0 for none."""
    epochs: Annotated[int, within(0, 100_000)] = 0
    """Epochs of training all digital parameters through the die; 0 for none."""
    learning_rate: LearningRate = 0.003
    """Learning rate of that training."""


#: Wires for comparison only: no drawn cell has both 1 ohm and 7 fF. A drawn cell has its own.
_THIN = {"r_word": 1.0, "r_bit": 1.0, "c_word": 7e-15, "c_bit": 7e-15}


class WiresConfig(Section):
    """Resistance and capacitance of wire segments, and the resistance of drivers."""

    source: Literal["drawn", "given", "thin"] = "drawn"
    """"drawn" for the cell of [geometry], whose area is stated too; "given" for r_word, r_bit,
    c_word and c_bit; "thin" for 1 ohm and 7 fF on both lines, to compare with work that assumes
    these values."""
    r_word: NotNegative | None = None
    """Resistance of a word-line segment [ohm]."""
    r_bit: NotNegative | None = None
    """Resistance of a bit-line segment [ohm]."""
    r_driver: NotNegative = 0.0
    """Output resistance of each driver [ohm]."""
    c_word: NotNegative | None = None
    """Capacitance of a word-line segment [F]; 0 by default."""
    c_bit: NotNegative | None = None
    """Capacitance of a bit-line segment [F]; 0 by default."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        stated = [name for name in _THIN if getattr(self, name) is not None]
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
        given = {name: getattr(self, name) or 0.0 for name in _THIN}
        return Wires(**(_THIN if self.source == "thin" else given), **self.beyond_cell)

    @property
    def beyond_cell(self) -> dict[str, Any]:
        """The fields of `Wires` that no drawing of a cell states, such as r_driver."""
        return {f.name: getattr(self, f.name) for f in fields(Wires) if f.name not in _THIN}


class GeometryConfig(Section):
    """The drawing of a cell; see `netlists.layout.floorplan`."""

    film: Literal["sky130_high_po", "sky130_xhigh_po"] = "sky130_xhigh_po"
    """Resistor film of the technology; with a table [foundry], its own resistor is drawn."""
    programming: Programming = "switch"
    """"switch" for transistors driven by a memory that is not drawn; "via" for a selection in the
    mask."""
    word_width: Positive = 1e-6
    """Width of a word line, on met1 [m]."""
    bit_width: Positive = 1e-6
    """Width of a bit line, on met3 [m]."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.technology()
        return self

    def technology(
        self, foundry: FoundryBranch | None = None, ohms: Iterable[float] = ()
    ) -> Technology:
        """Return the film's technology, or that of a foundry's branch, with lines of these widths.

        ohms: of each length of the branch [ohm].

        Raises what `foundry_technology` does.
        """
        film = foundry_technology(foundry, ohms) if foundry else TECHNOLOGIES[self.film]
        return replace(film, word_width=self.word_width, bit_width=self.bit_width)

    def cell(self, bank: ResistorBank, foundry: FoundryBranch | None = None) -> CellPlan:
        """Return the cell of one weight; ValueError if its resistors cannot be drawn."""
        return plan_cell(bank, self.technology(foundry, bank.r_nominal), self.programming)

    def wires(
        self, bank: ResistorBank, foundry: FoundryBranch | None = None, **beyond_cell: Any
    ) -> Wires:
        """Return the wires of an array of such cells, with other fields of `Wires` as given."""
        technology = self.technology(foundry, bank.r_nominal)
        return replace(drawn_wires(self.cell(bank, foundry), technology), **beyond_cell)


@dataclass(frozen=True)
class PeripheryTable(Periphery, Converters):
    """TIAs, DACs and ADCs, which share one seed.

    See `netlists.Periphery` and `crossbar_sim.Converters`.
    """

    def __post_init__(self) -> None:
        Periphery.__post_init__(self)
        Converters.__post_init__(self)

    @property
    def amplifiers(self) -> Periphery:
        """The amplifiers alone, on which circuits depend."""
        return _part_of(self, Periphery)

    @property
    def converters(self) -> Converters:
        """The DACs and ADCs alone."""
        return _part_of(self, Converters)

    @property
    def ideal_converters(self) -> Converters:
        """Converters without errors, driven and zeroed in the same way."""
        return Converters(self.v_read, drive=self.drive, auto_zero=self.auto_zero)


def _part_of(table: PeripheryTable, kind: type[_Part]) -> _Part:
    return kind(**{field.name: getattr(table, field.name) for field in fields(kind)})


#: The default periphery of a run.
PERIPHERY = PeripheryTable(tia_gain=1e4, dac_bits=8, adc_bits=8)


class SimulationConfig(Section):
    """The solution of circuits and the comparison of solvers."""

    n_image: Count = 32
    """Number of test images that ngspice solves on every tile."""
    check_tiles: Annotated[int, within(0, 1_000_000)] = 0
    """Number of tiles, drawn at random, that every trial of a study solves with ngspice too."""
    n_power: Annotated[int, within(0, 1_000_000)] = 8
    """Number of test samples whose currents give every trial of a study its power and energy; 0
    leaves both out, which saves most of the time of a network of many tiles."""
    tolerance: Annotated[float, within(1 / LARGEST, 1)] = 1e-9
    """Largest difference between ngspice and the engine, relative to the largest output."""
    time_limit: Annotated[float, within(0.1, 1e6)] = 120.0
    """Time limit for ngspice on one tile [s]."""
    devices: Literal["curves", "lines"] = "curves"
    """How the devices of [foundry] conduct in accuracy, error and energy: "curves" as its models
    say, by Newton's method for every vector, or "lines", as resistors and switches of constant
    resistance, which takes far less time."""

    @model_validator(mode="after")
    def _check_samples(self):
        if self.check_tiles and not self.n_power:
            raise ValueError(
                "check_tiles solves tiles for the samples of n_power, which must be above 0; got "
                f"check_tiles = {self.check_tiles} and n_power = 0"
            )
        return self
