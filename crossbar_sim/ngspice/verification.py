"""Prove on real tiles that ngspice and the fast engine solve the same circuit alike."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from crossbar_sim.ngspice.pool import Task, solve_tiles
from crossbar_sim.ngspice.worker import NgspiceWorker, solve_ngspice
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.solution import Solution
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import tile_circuit

TOLERANCE = 1e-9


class VerificationError(RuntimeError):
    """The two engines disagree by more than the tolerance, or ngspice failed."""


@dataclass(frozen=True)
class TileCheck:
    """How far two solutions of one tile are apart.

    i_error: largest difference of an output current over the tile's largest output current.
    v_error: the same of the amplifiers' output voltages, with offsets, feedback and swing.
    """

    tile: str
    n_vector: int
    i_error: float
    v_error: float

    @property
    def error(self) -> float:
        """The larger of both errors; NaN counts as the larger."""
        return float(np.maximum(self.i_error, self.v_error))


@dataclass(frozen=True)
class TileFailure:
    """A tile that ngspice gave no result for, and why."""

    tile: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """ngspice against the fast engine, tile by tile."""

    checks: tuple[TileCheck, ...]
    tolerance: float
    solvers: tuple[str, str]
    failures: tuple[TileFailure, ...] = ()

    @property
    def worst(self) -> TileCheck:
        """The tile with the largest error; NaN counts as the largest."""
        return max(self.checks, key=lambda check: (np.isnan(check.error), check.error))

    @property
    def passed(self) -> bool:
        """Whether every tile was solved and is within tolerance."""
        return not self.failures and all(check.error <= self.tolerance for check in self.checks)

    def require(self) -> None:
        """Raise VerificationError, naming the tiles, unless every one is within tolerance."""
        if self.failures:
            first = self.failures[0]
            names = ", ".join(failure.tile for failure in self.failures)
            raise VerificationError(
                f"ngspice failed on {len(self.failures)} tile(s): {names}; "
                f"{first.tile}: {first.reason}"
            )
        if not self.passed:
            raise VerificationError(
                f"tile {self.worst.tile}: {self.solvers[0]} and {self.solvers[1]} differ by "
                f"{self.worst.i_error:.1e} of the largest output current and "
                f"{self.worst.v_error:.1e} of the largest output voltage "
                f"(tolerance {self.tolerance:.0e})"
            )


def verify(
    mapped: MappedNetwork,
    v_in: Mapping[str, np.ndarray],
    wires: Wires,
    periphery: Periphery,
    *,
    tiles: Iterable[Tile] | None = None,
    tolerance: float = TOLERANCE,
    n_worker: int | None = None,
    time_limit: float = 300.0,
) -> Verification:
    """Solve tiles with both engines and compare all output currents and voltages.

    v_in: for each layer (by name) the input voltages (n_batch, n_in) [V] of its whole input; each
    tile takes the columns of its own rows; see `random_inputs`. tiles: those to solve, all by
    default; see `chosen_tiles`. n_worker, time_limit [s]: as for `solve_tiles`.

    A tile that ngspice fails on is in `failures`, and the others are compared all the same.
    Raises ValueError for a layer that v_in has not.
    """
    selected = mapped.tiles if tiles is None else list(tiles)
    if missing := {tile.layer for tile in selected} - set(v_in):
        raise ValueError(
            f"v_in has layers {sorted(v_in)} but no {sorted(missing)}; pass voltages for each, "
            "as of random_inputs"
        )
    circuits = {}

    def tasks() -> Iterator[Task]:
        for tile in selected:
            circuits[tile.name] = tile_circuit(tile, wires, periphery.for_tile(tile.name))
            yield tile.name, circuits[tile.name], v_in[tile.layer][:, tile.rows]

    found, failures, solvers = {}, {}, ("", "")
    for name, spice in solve_tiles(tasks(), n_worker=n_worker, time_limit=time_limit):
        circuit = circuits.pop(name)
        if isinstance(spice, Exception):
            failures[name] = TileFailure(name, str(spice))
            continue
        fast = solve(circuit, spice.v_in)
        found[name] = compare(name, spice, fast)
        solvers = (spice.solver, fast.solver)
    names = [tile.name for tile in selected]
    return Verification(
        tuple(found[name] for name in names if name in found),
        tolerance,
        solvers,
        tuple(failures[name] for name in names if name in failures),
    )


def chosen_tiles(
    mapped: MappedNetwork, names: Iterable[str] = (), *, n_sample: int | None = None, seed: int = 0
) -> list[Tile]:
    """Return the tiles of the given names, or a random sample of n_sample, or all.

    Raises ValueError for a name that there is not, or a sample that is empty.
    """
    tiles, wanted = {tile.name: tile for tile in mapped.tiles}, list(names)
    unknown = [name for name in wanted if name not in tiles]
    if unknown:
        raise ValueError(f"no tile {unknown[0]!r}; there are {', '.join(tiles)}")
    if wanted:
        return [tiles[name] for name in wanted]
    if n_sample is None:
        return mapped.tiles
    if n_sample < 1:
        raise ValueError(f"n_sample must be >= 1; got {n_sample}")
    drawn = np.random.default_rng(seed).permutation(len(tiles))[:n_sample]
    return [mapped.tiles[k] for k in sorted(drawn)]


def random_inputs(
    mapped: MappedNetwork, *, v_read: float, n_vector: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return for each layer voltages (n_vector, n_in) [V], uniform in -v_read … v_read."""
    rng = np.random.default_rng(seed)
    return {
        layer.name: rng.uniform(-v_read, v_read, size=(n_vector, layer.source.n_in))
        for layer in mapped.layers
    }


def check_tile(
    tile: Tile, v_in: np.ndarray, wires: Wires, periphery: Periphery, worker: NgspiceWorker
) -> tuple[TileCheck, Solution, Solution]:
    """Return how far ngspice and the engine are apart on one tile, and both solutions."""
    circuit = tile_circuit(tile, wires, periphery.for_tile(tile.name))
    spice = solve_ngspice(circuit, v_in, worker=worker)
    fast = solve(circuit, v_in, nodes=True)
    return compare(tile.name, spice, fast), spice, fast


def compare(tile: str, a: Solution, b: Solution) -> TileCheck:
    """Return how far the outputs of a solution of a tile are from those of another, b."""
    return TileCheck(tile, len(b.v_in), _gap(a.i_out, b.i_out), _gap(a.v_out, b.v_out))


def difference(a: Solution, b: Solution) -> float:
    """Return how far a's outputs are from b's, as `TileCheck.error`: currents and voltages."""
    return compare("", a, b).error


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference over the largest value of b, or alone where b is zero."""
    largest, gap = float(np.abs(b).max()), float(np.abs(a - b).max())
    return gap / largest if largest else gap
