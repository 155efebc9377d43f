"""Prove on real tiles that two solvers agree: ngspice and the fast engine, or any other pair."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossbar_sim.certificates import checker, selection_checker
from crossbar_sim.certificates.certify import certify
from crossbar_sim.ngspice.errors import NgspiceError
from crossbar_sim.ngspice.pool import Outcome, Task, solve_tiles
from crossbar_sim.solvers.balance import LIMIT, Balance, balance
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.registry import FAST, NGSPICE, TELL_NODES, solver
from crossbar_sim.solvers.solution import Solution, SolverError
from mapping.network.certified import certify_selections
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.certificate import SelectionCertificate
from mapping.tiling.tiles import Tile
from netlists.circuit import Circuit, Periphery, Wires
from netlists.circuit.build import tile_circuit
from netlists.circuit.size import NetlistTooLarge
from netlists.spice.inputs import random_inputs as random_inputs

#: What a solver raises for a circuit that it cannot solve.
_FAILED = (SolverError, NgspiceError, NetlistTooLarge)
#: Numbers above which the node voltages of a tile are not kept, so that its balance is not told.
_ROOM = 2**25
#: Largest accepted difference of two solvers, as a fraction of the largest output.
TOLERANCE = 1e-9


class VerificationError(RuntimeError):
    """Two solvers differ by more than the tolerance, one failed, or its currents do not add up."""


@dataclass(frozen=True)
class TileCheck:
    """The difference of two solutions of one tile.

    i_error: largest difference of an output current, as a fraction of the largest output current.
    v_error: the same for the amplifiers' output voltages, with offsets, feedback and swing.
    balances: of the currents and the power of either solution; None without its node voltages.
    width: of the widest interval that provably holds an output current, as a fraction of the
        largest one; None unless certificates were asked for.
    outside: how far the first solver's currents are from these intervals, as such a fraction.
    """

    tile: str
    n_vector: int
    i_error: float
    v_error: float
    balances: tuple[Balance | None, Balance | None] = (None, None)
    width: float | None = None
    outside: float | None = None

    @property
    def error(self) -> float:
        """The larger of both errors; NaN counts as the larger."""
        return float(np.maximum(self.i_error, self.v_error))

    @property
    def balanced(self) -> bool:
        """Whether the currents and the power of both solutions add up, as far as they are told."""
        return all(each is None or each.holds for each in self.balances)


@dataclass(frozen=True)
class TileFailure:
    """A tile that a solver failed on, and why.

    by: 0 for the first of the two solvers, 1 for the second.
    """

    tile: str
    reason: str
    by: int = 0


@dataclass(frozen=True)
class Verification:
    """Two solvers compared, tile by tile.

    solvers: their names and versions.
    failures: tiles without a comparison.
    """

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
        """Whether every tile was solved, is balanced, and has errors within the tolerance."""
        within = (check.balanced and check.error <= self.tolerance for check in self.checks)
        return not self.failures and all(within)

    def require(self) -> None:
        """Raise VerificationError that names the tiles, unless all passed."""
        if self.failures:
            first = self.failures[0]
            names = [failure.tile for failure in self.failures if failure.by == first.by]
            raise VerificationError(
                f"{self.solvers[first.by]} failed on {len(names)} tile(s): {', '.join(names)}; "
                f"{first.tile}: {first.reason}"
            )
        if self.checks and not self.worst.error <= self.tolerance:
            raise VerificationError(
                f"tile {self.worst.tile}: {self.solvers[0]} and {self.solvers[1]} differ by "
                f"{self.worst.i_error:.1e} of the largest output current and "
                f"{self.worst.v_error:.1e} of the largest output voltage "
                f"(tolerance {self.tolerance:.0e})"
            )
        for check in self.checks:
            self._require_balance(check)

    def _require_balance(self, check: TileCheck) -> None:
        """Raise VerificationError if the currents or the power of a solution do not add up."""
        for name, each in zip(self.solvers, check.balances):
            if each is not None and not each.holds:
                raise VerificationError(
                    f"tile {check.tile}: in the solution of {name} the currents at a node are off "
                    f"by {each.current:.1e} of the largest current, and the power by "
                    f"{each.power:.1e} (limit {LIMIT + each.rounding:.0e})"
                )


@dataclass(frozen=True)
class Comparison:
    """How `verify` compares solvers.

    solvers: names of two of `crossbar_sim.solvers.registry`; errors are relative to the second.
    tolerance: largest accepted error.
    n_worker, time_limit [s]: of ngspice as the first solver, as for `solve_tiles`.
    certificates: folder that gets the certificate of each tile's currents, TILE.npz; None for none.

    Raises ValueError for a solver that does not exist.
    """

    solvers: tuple[str, str] = (NGSPICE, FAST)
    tolerance: float = TOLERANCE
    n_worker: int | None = None
    time_limit: float = 300.0
    certificates: Path | None = None

    def __post_init__(self) -> None:
        for name in self.solvers:
            solver(name)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield what the first solver makes of each task; ngspice solves several at once."""
        if self.solvers[0] == NGSPICE:
            limits = {"n_worker": self.n_worker, "time_limit": self.time_limit}
            yield from solve_tiles(tasks, **limits, most_nodes=_ROOM)
            return
        for name, circuit, v_in in tasks:
            yield name, _solved(self.solvers[0], circuit, v_in)


def _solved(name: str, circuit: Circuit, v_in: np.ndarray) -> Solution | Exception:
    """Return what a solver finds, with its node voltages if there is room, or why it fails."""
    told = name in TELL_NODES and circuit.elements.n_node * len(v_in) <= _ROOM
    try:
        return solver(name)(circuit, v_in, **({"nodes": True} if told else {}))
    except _FAILED as error:
        return error


def verify(
    mapped: MappedNetwork,
    v_in: Mapping[str, np.ndarray],
    wires: Wires,
    periphery: Periphery,
    *,
    tiles: Iterable[Tile] | None = None,
    **comparison: Any,
) -> Verification:
    """Solve tiles with two solvers and compare all output currents and voltages.

    v_in: for each layer (by name) the input voltages (n_batch, n_in) [V] of its whole input; each
    tile takes the columns of its own rows; see `random_inputs`.
    tiles: those to solve, all by default; see `chosen_tiles`.
    comparison: the fields of `Comparison`: solvers, tolerance, n_worker, time_limit, certificates.

    A tile that a solver fails on is in `failures`; the others are compared all the same.
    Raises ValueError for a layer without voltages, or as `Comparison` does.
    """
    how = Comparison(**comparison)
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

    checks, failures, solvers = {}, {}, how.solvers
    for name, first in how.outcomes(tasks()):
        circuit = circuits.pop(name)
        if isinstance(first, Exception):
            failures[name] = TileFailure(name, str(first))
            continue
        second = _solved(how.solvers[1], circuit, first.v_in)
        if isinstance(second, Exception):
            failures[name] = TileFailure(name, str(second), by=1)
            continue
        checks[name] = compare(name, first, second)
        if how.certificates:
            checks[name] = _certified(checks[name], first, second, how.certificates)
        solvers = (first.solver, second.solver)
    names = [tile.name for tile in selected]
    return Verification(
        tuple(checks[name] for name in names if name in checks),
        how.tolerance,
        solvers,
        tuple(failures[name] for name in names if name in failures),
    )


def _certified(check: TileCheck, first: Solution, second: Solution, folder: Path) -> TileCheck:
    """Write the certificate of a tile, have it checked, and hold the first solver against it."""
    told = next((each for each in (second, first) if each.v_node is not None), None)
    told = solve(first.circuit, first.v_in, nodes=True) if told is None else told
    certificate, path = certify(told), folder / f"{check.tile}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    certificate.save(path)
    try:
        checker.check(path)
    except checker.Refused as error:
        raise VerificationError(f"the certificate {path} is refused: {error}") from error
    return replace(check, width=certificate.width, outside=certificate.outside(first.i_out))


def verify_selections(mapped: MappedNetwork, folder: Path) -> SelectionCertificate:
    """Write the certificate of all selections, FOLDER/selections.npz, have it checked, return it.

    Raises VerificationError if it is refused.
    """
    certificate, path = certify_selections(mapped), folder / "selections.npz"
    folder.mkdir(parents=True, exist_ok=True)
    certificate.save(path)
    try:
        selection_checker.check(path)
    except selection_checker.Refused as error:
        raise VerificationError(f"the certificate {path} is refused: {error}") from error
    return certificate


def chosen_tiles(
    mapped: MappedNetwork,
    names: Iterable[str] = (),
    *,
    layers: Iterable[str] = (),
    n_sample: int | None = None,
    seed: int = 0,
) -> list[Tile]:
    """Return the tiles of the given names and all of the given layers, or all; or a sample of them.

    n_sample: number of tiles drawn at random; None for all.

    Raises ValueError for a name that does not exist, or a sample that is empty.
    """
    tiles = {tile.name: tile for tile in mapped.tiles}
    inside = {layer.name: layer.tiles for layer in mapped.layers}
    wanted = {name: tiles[name] for name in _known(names, tiles, "tile")}
    for layer in _known(layers, inside, "layer"):
        wanted |= {tile.name: tile for tile in inside[layer]}
    chosen = list(wanted.values()) or mapped.tiles
    if n_sample is None:
        return chosen
    if n_sample < 1:
        raise ValueError(f"n_sample must be >= 1; got {n_sample}")
    drawn = np.random.default_rng(seed).permutation(len(chosen))[:n_sample]
    return [chosen[k] for k in sorted(drawn)]


def _known(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """Return the names; ValueError for one that is not known."""
    names, known = list(names), list(known)
    if unknown := [name for name in names if name not in known]:
        shown = ", ".join(known[:20]) + (f" … ({len(known)} in all)" if len(known) > 20 else "")
        raise ValueError(f"expected a {what} of {shown}; got {unknown[0]!r}")
    return names


def compare(tile: str, a: Solution, b: Solution) -> TileCheck:
    """Return how far a's outputs of a tile are from b's, relative to b's largest."""
    balances = _balance(a), _balance(b)
    return TileCheck(tile, len(b.v_in), _gap(a.i_out, b.i_out), _gap(a.v_out, b.v_out), balances)


def _balance(solution: Solution) -> Balance | None:
    return None if solution.v_node is None else balance(solution)


def held_against(check: TileCheck, first: Solution, nodes: Solution) -> TileCheck:
    """Return a check with the intervals of the exact currents; without them if none are found.

    first: the first solver's solution. nodes: one of the same circuit with its node voltages.
    """
    try:
        certificate = certify(nodes)
    except SolverError:
        return check
    return replace(check, width=certificate.width, outside=certificate.outside(first.i_out))


def difference(a: Solution, b: Solution) -> float:
    """Return the `TileCheck.error` of two solutions, over currents and voltages."""
    return compare("", a, b).error


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference over the largest value of b; undivided where b is zero."""
    largest, gap = float(np.abs(b).max()), float(np.abs(a - b).max())
    return gap / largest if largest else gap
