"""Prove on real tiles that ngspice and the fast engine solve the same circuit alike."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crossbar_sim.ngspice import NgspiceWorker, solve_ngspice
from crossbar_sim.nodal import solve
from crossbar_sim.solution import Solution
from mapping.design import MappedNetwork
from mapping.tiles import Tile
from netlists.build import tile_circuit
from netlists.circuit import Periphery, Wires

TOLERANCE = 1e-9


class VerificationError(RuntimeError):
    """The two engines disagree by more than the tolerance."""


@dataclass(frozen=True)
class TileCheck:
    """How far two solutions of one tile are apart.

    error: largest difference of an output current over the tile's largest output current.
    """

    tile: str
    n_vector: int
    error: float


@dataclass(frozen=True)
class Verification:
    """ngspice against the fast engine, tile by tile."""

    checks: tuple[TileCheck, ...]
    tolerance: float
    solvers: tuple[str, str]

    @property
    def worst(self) -> TileCheck:
        """The tile with the largest error."""
        return max(self.checks, key=lambda check: check.error)

    @property
    def passed(self) -> bool:
        """Whether every tile is within tolerance."""
        return all(check.error <= self.tolerance for check in self.checks)

    def require(self) -> None:
        """Raise VerificationError unless every tile is within tolerance."""
        if not self.passed:
            raise VerificationError(
                f"tile {self.worst.tile}: {self.solvers[0]} and {self.solvers[1]} differ by "
                f"{self.worst.error:.1e} of the largest current (tolerance {self.tolerance:.0e})"
            )


def verify(
    mapped: MappedNetwork,
    v_in: Mapping[str, np.ndarray],
    wires: Wires,
    periphery: Periphery,
    *,
    worker: NgspiceWorker,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Solve every tile with both engines and compare all output currents.

    v_in: for each layer (by name) the input voltages (n_batch, n_in) [V] of its whole input;
    each tile takes the columns of its own rows.
    """
    checks, solvers = [], ("", "")
    for tile in mapped.tiles:
        volts = v_in[tile.layer][:, tile.rows]
        check, spice, fast = check_tile(tile, volts, wires, periphery, worker)
        checks.append(check)
        solvers = (spice.solver, fast.solver)
    return Verification(tuple(checks), tolerance, solvers)


def check_tile(
    tile: Tile, v_in: np.ndarray, wires: Wires, periphery: Periphery, worker: NgspiceWorker
) -> tuple[TileCheck, Solution, Solution]:
    """Return how far ngspice and the engine are apart on one tile, and both solutions."""
    circuit = tile_circuit(tile, wires, periphery)
    spice = solve_ngspice(circuit, v_in, worker=worker)
    fast = solve(circuit, v_in, nodes=True)
    return TileCheck(tile.name, len(fast.v_in), difference(spice, fast)), spice, fast


def difference(a: Solution, b: Solution) -> float:
    """Return the largest difference of an output current over the largest output current."""
    largest = float(np.abs(b.i_out).max())
    gap = float(np.abs(a.i_out - b.i_out).max())
    return gap / largest if largest else gap
