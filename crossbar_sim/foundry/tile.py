"""A tile of a foundry's devices, solved by the nonlinear engine and by ngspice with the models."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossbar_sim.foundry.bank import tile_devices
from crossbar_sim.foundry.decks import deck
from crossbar_sim.foundry.laws import BIT_SHARE, cell_laws
from crossbar_sim.foundry.measured import Measured
from crossbar_sim.ngspice.batch import run_deck
from crossbar_sim.nonlinear.cell_laws import CellLaws
from crossbar_sim.nonlinear.newton import NonlinearSolution, solve_nonlinear
from crossbar_sim.nonlinear.operating_point import OperatingPoint, operating_point
from mapping.bank import Die
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import tile_circuit
from netlists.foundry.models import find_models
from netlists.foundry.tile_deck import foundry_elements
from netlists.spice.text import MAX_VECTORS, input_tables

#: Most devices of a tile, transistors and resistors, that ngspice is given; about 4 kB each.
MAX_DEVICES = 200_000


@dataclass(frozen=True)
class FoundryTile:
    """A tile whose branches are a foundry's devices.

    tile: its cells and their switches.
    die: the chip that it is on, with a bank of `foundry_bank`.
    measured: the branches by their foundry's models.
    wires, periphery: what is around the cells.
    """

    tile: Tile
    die: Die
    measured: Measured
    wires: Wires
    periphery: Periphery

    @property
    def ends(self) -> Periphery:
        """The amplifiers of this tile, with their own offsets."""
        return self.periphery.for_tile(self.tile.name)

    def solve(
        self, v_in: np.ndarray, *, bit_share: float = BIT_SHARE, nodes: bool = False
    ) -> NonlinearSolution:
        """Return the outputs for inputs (n_batch, n_word) [V], by the fast engine.

        bit_share: how far bit nodes may be from the signals' ground, over v_max.

        Raises SolverError for a node outside the voltages of the models, and as `solve_nonlinear`
        does.
        """
        laws = self._laws if bit_share == BIT_SHARE else self._laws_of(bit_share)
        return solve_nonlinear(laws, self.wires, self.ends, v_in, nodes=nodes)

    def operating_point(self, v_in: np.ndarray) -> OperatingPoint:
        """Return the same with all node voltages, as a solution of the tile's circuit.

        Raises as `solve` does.
        """
        circuit = tile_circuit(self.tile, self.wires, self.periphery)
        return operating_point(self._laws, circuit, v_in)

    @cached_property
    def _laws(self) -> CellLaws:
        return self._laws_of(BIT_SHARE)

    def _laws_of(self, bit_share: float) -> CellLaws:
        devices = tile_devices(self.tile, self.die, self.measured)
        return cell_laws(devices, self.tile.present, self.measured, bit_share=bit_share)

    def deck(self, v_in: np.ndarray) -> str:
        """Return a deck that stock `ngspice -b` runs where the models are, for v_in [V].

        It writes the currents into the TIAs, in the order of the outputs, as `out.txt`. Raises
        ValueError for more vectors or devices than ngspice can take.
        """
        branch = self.measured.branch
        circuit = tile_circuit(self.tile, self.wires, self.periphery)
        v_in = circuit.check_inputs(v_in)
        devices = tile_devices(self.tile, self.die, self.measured)
        n_device = devices.closed.size * (3 if branch.switch == "gate" else 2)
        if len(v_in) > MAX_VECTORS or n_device > MAX_DEVICES:
            raise ValueError(
                f"ngspice is given at most {MAX_VECTORS} vectors and {MAX_DEVICES:,} devices; got "
                f"{len(v_in)} and {n_device:,}; take fewer vectors, or a smaller tile"
            )
        lines, inputs = foundry_elements(circuit, branch, devices.multiplied(self.measured))
        sources = [*input_tables(inputs, v_in), "vsel sel 0 0"]
        saved = [f"i(vtia_{j})" for j in range(circuit.n_line)]
        sweep = f"dc vsel 0 {len(v_in) - 1} 1"
        return deck(branch, find_models(branch.technology), [*lines, *sources], sweep, saved)

    def by_ngspice(self, v_in: np.ndarray, *, time_limit: float = 600.0) -> np.ndarray:
        """Return the currents (n_batch, n_line) [A] by ngspice with the foundry's own models.

        Raises NgspiceError where it fails or takes longer than time_limit [s].
        """
        v_in = np.atleast_2d(v_in)
        n_line = 2 * self.tile.n_bit
        return run_deck(self.deck(v_in), len(v_in), n_line, time_limit=time_limit)
