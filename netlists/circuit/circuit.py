"""The one circuit, as arrays, that the SPICE writer and the fast engine both read."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict

from netlists.circuit.array_topology import expand, grid_names
from netlists.circuit.elements import MAX_OHM, MIN_OHM, Elements, check_ohm
from netlists.circuit.wires import Wires
from tinynets.settings import TABLE, Seed, check_fields, within, within_or_inf


@dataclass(frozen=True)
class Periphery:
    """The transimpedance amplifiers (TIA) at the ends of the bit lines; ideal by default."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    r_feedback: Annotated[float, within(1, 1e12)] = 20e3
    """Feedback resistor of each TIA [ohm]."""
    tia_gain: Annotated[float, within_or_inf(1e-3, 1e12)] = math.inf
    """Open-loop gain of the amplifier; inf for a true virtual ground."""
    r_input: Annotated[float, within(0, 1e12)] = 0.0
    """Resistance between a bit line and its amplifier [ohm]."""
    v_offset: Annotated[float, within(-100, 100)] = 0.0
    """Mean input offset voltage of the amplifiers [V]."""
    v_offset_sigma: Annotated[float, within(0, 100)] = 0.0
    """Spread of the input offset voltage over amplifiers [V]."""
    v_swing: Annotated[float, within_or_inf(1e-6, 1e4)] = math.inf
    """Largest output voltage of either sign [V]. Only the output stage clips: the loop keeps
    holding the virtual ground. A real loop would release it, which other lines would notice
    through shared wires."""
    gbw: Annotated[float, within_or_inf(1, 1e15)] = math.inf
    """Gain-bandwidth product of the amplifier [Hz]."""
    v_noise: Annotated[float, within(0, 1)] = 0.0
    """White input noise of the amplifier [V/sqrt(Hz)]."""
    seed: Seed = 0
    """Random seed of the errors that are drawn for each amplifier."""
    tile: str = ""
    """Name of the tile that the amplifiers belong to; with the seed, it fixes their offsets."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_ohm("r_input", self.r_input)

    def for_tile(self, name: str) -> "Periphery":
        """Return the same kind of amplifiers for another tile, with their own offsets."""
        return replace(self, tile=name)

    @property
    def r_tia_input(self) -> float:
        """Input resistance of a TIA [ohm]: r_input + r_feedback / (1 + gain)."""
        return self.r_input + self.r_feedback / (1.0 + self.tia_gain)

    @property
    def share(self) -> float:
        """Closed-loop gain of an amplifier as a fraction of the ideal one: gain / (1 + gain)."""
        return 1.0 / (1.0 + 1.0 / self.tia_gain)

    def offsets(self, n_line: int) -> np.ndarray:
        """Return the input offset voltages (n_line,) [V] of the amplifiers, in output order."""
        if not self.v_offset_sigma:
            return np.full(n_line, self.v_offset)
        rng = np.random.default_rng([self.seed, *self.tile.encode()])
        return self.v_offset + self.v_offset_sigma * rng.standard_normal(n_line)

    def outputs(self, i_out: np.ndarray) -> np.ndarray:
        """Return the output voltages [V] for currents (…, n_line) [A] into the amplifiers.

        They are share * (v_offset - i_out * r_feedback), up to the swing.
        """
        v_out = self.share * (self.offsets(i_out.shape[-1]) - i_out * self.r_feedback)
        return v_out.clip(-self.v_swing, self.v_swing)

    def noise_gain(self, g_line: np.ndarray) -> np.ndarray:
        """Return the noise gain of each amplifier, which also multiplies its offset.

        g_line: total conductance of each line [S]: all branches in all rows, with ideal wires.

        The noise gain is 1 + r_feedback * G, where G is g_line in series with r_input.
        """
        return 1.0 + self.r_feedback * g_line / (1.0 + self.r_input * g_line)

    def bandwidth(self, g_line: np.ndarray) -> np.ndarray:
        """Return the closed-loop bandwidth [Hz]: gain-bandwidth product over noise gain."""
        return self.gbw / self.noise_gain(g_line)


@dataclass(frozen=True)
class Grid:
    """A regular array of cells and its wires.

    g: conductances (n_side, n_word, n_bit) [S]; 0 means no device.
    sides: suffix of the bit-line names of each side; the sides of a cell share its word-line node.
    wires: wires of the array.

    Raises ValueError for a shape without cells, or a conductance that is negative, NaN, infinite or
    outside 1 / MAX_OHM … 1 / MIN_OHM.
    """

    g: np.ndarray
    sides: tuple[str, ...]
    wires: Wires

    def __post_init__(self) -> None:
        if self.g.ndim != 3 or 0 in self.g.shape or len(self.g) != len(self.sides):
            raise ValueError(f"an array needs at least 1 × 1 cells; got shape {self.g.shape[1:]}")
        low, high = self.g.min(), self.g.max()
        if not (low >= 0 and high <= 1 / MIN_OHM):  # NaN fails too
            raise ValueError(
                "conductances must be finite and >= 0: 0 for no device, else "
                f"{1 / MAX_OHM:g} … {1 / MIN_OHM:g} S; got {low} … {high}"
            )
        if low < 1 / MAX_OHM and ((self.g > 0) & (self.g < 1 / MAX_OHM)).any():
            raise ValueError(f"a conductance is below {1 / MAX_OHM:g} S; use 0 for no device")


@dataclass(frozen=True)
class Circuit:
    """The input of every solver and writer: a network between driven word lines and TIAs.

    source: explicit `Elements`, or a regular `Grid` that is expanded into them on demand.
    periphery: the TIAs.

    The SPICE writer and the general solver read `elements`. A solver may read `grid` instead: it
    describes the same circuit.
    """

    source: Elements | Grid
    periphery: Periphery

    @property
    def grid(self) -> Grid | None:
        """The regular array that this circuit was made from, or None."""
        return self.source if isinstance(self.source, Grid) else None

    @cached_property
    def elements(self) -> Elements:
        """The circuit as explicit arrays."""
        grid = self.source
        return expand(grid.g, grid.wires) if isinstance(grid, Grid) else grid

    @property
    def n_word(self) -> int:
        """Number of driven word lines."""
        return self.grid.g.shape[1] if self.grid else len(self.elements.input_nodes)

    @property
    def n_line(self) -> int:
        """Number of bit lines; each has a TIA."""
        grid = self.grid
        return len(grid.sides) * grid.g.shape[2] if grid else len(self.elements.tia_nodes)

    @cached_property
    def names(self) -> tuple[list[str], list[str]]:
        """Names of the nodes (`0` for ground) and of the branches in a netlist."""
        grid = self.source
        return grid_names(grid.g, grid.sides, grid.wires) if isinstance(grid, Grid) else grid.names

    def check_inputs(self, v_in: np.ndarray) -> np.ndarray:
        """Return v_in as float64 (n_batch, n_word) [V]; raises ValueError if it does not fit."""
        v_in = np.asarray(v_in, dtype=np.float64)
        if v_in.ndim == 1:
            v_in = v_in[None]
        if v_in.ndim != 2 or v_in.shape[1] != self.n_word:
            raise ValueError(
                f"v_in has shape {v_in.shape} but the circuit has {self.n_word} word lines; "
                f"pass (n_batch, {self.n_word})"
            )
        if not np.isfinite(v_in).all():
            raise ValueError("v_in has NaN or inf; every input voltage must be finite")
        return v_in
