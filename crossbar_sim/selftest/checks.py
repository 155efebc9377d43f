"""The checks of a case; a new one is a function of a case and the tools, and an entry below."""

import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossbar_sim.certificates import checker, selection_checker
from crossbar_sim.certificates.certify import certify
from crossbar_sim.ngspice.verification import verify_selections
from crossbar_sim.ngspice.worker import NgspiceWorker, solve_ngspice
from crossbar_sim.selftest.case import Case
from crossbar_sim.selftest.studies import compared_studies
from crossbar_sim.solvers.balance import LIMIT, balance
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.registry import Solver
from crossbar_sim.solvers.solution import Solution, SolverError
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit
from netlists.fabrication.pack import write_pack
from netlists.fabrication.pack_reader import read_pack
from netlists.spice.deck_directory import write_network
from netlists.spice.inputs import V_ALONE, random_inputs

#: Largest difference that passes, as a fraction of an array's largest current or voltage.
TOLERANCE = 1e-9
#: Of how many cases one has a study.
EVERY_STUDY = 100
#: Most time for a deck [s].
_DECK_LIMIT = 120.0


class Disagreement(RuntimeError):
    """Two ways to the same answer differ, or a proof is refused."""


class LeftOut(Exception):
    """A check that a case, or this machine, is not made for."""


@dataclass(frozen=True)
class Tools:
    """What the checks work with.

    worker: a running ngspice.
    folder: an empty one for files; it is emptied after each check.
    engine: the solver under test.
    """

    worker: NgspiceWorker
    folder: Path
    engine: Solver = solve


def _tiles(case: Case, tools: Tools) -> Iterator[tuple[Tile, Solution]]:
    """Yield every tile with what the engine finds for its part of the layer's inputs."""
    how = {"v_read": case.v_read, "n_vector": case.n_vector, "seed": case.seed}
    v_in = random_inputs(case.mapped, **how)
    for tile in case.mapped.tiles:
        circuit = tile_circuit(tile, case.wires, case.periphery)
        yield tile, tools.engine(circuit, v_in[tile.layer][:, tile.rows], nodes=True)  # pyright: ignore[reportCallIssue]


def _compare(tile: Tile, what: str, found: np.ndarray, engine: Solution) -> None:
    """Raise Disagreement where currents differ by more than the tolerance and rounding [A]."""
    gap, largest = _largest(found - engine.i_out), _largest(engine.i_out)
    if not gap <= TOLERANCE * largest + _rounding(engine):
        raise Disagreement(f"{tile.name}: {what} differ by {gap / (largest or 1.0):.1e}")


def _rounding(solution: Solution) -> float:
    """Return the current that voltages rounded to doubles drive through a small resistance [A].

    A tile may have no current but that of leaking switches, while amplifiers have an offset.
    """
    circuit = solution.circuit
    ends = circuit.periphery
    volts = max(_largest(solution.v_in), _largest(ends.offsets(circuit.n_line)))
    ohms = [*circuit.elements.branch_ohm.tolist(), ends.r_tia_input or math.inf]
    return 2.0**-50 * volts / min(ohms)


def _largest(values: np.ndarray) -> float:
    """Return the largest magnitude, 0 of nothing: a tile may be without a cell."""
    return float(np.abs(values).max(initial=0.0))


def _both(case: Case, tools: Tools) -> Iterator[tuple[Tile, Solution, Solution]]:
    """Yield every tile with what the engine and what ngspice finds for it."""
    for tile, ours in _tiles(case, tools):
        yield tile, ours, solve_ngspice(ours.circuit, ours.v_in, worker=tools.worker, nodes=True)


def _hold_to_kirchhoff(tile: Tile, solution: Solution, more: float = 0.0) -> None:
    """Raise Disagreement where currents or power do not add up by a solution's own voltages.

    more: fraction of the largest current that is allowed beside what `balance` allows.
    """
    off = balance(solution)
    worst = max(off.current, off.power)
    if not (off.holds or worst <= LIMIT + more):
        raise Disagreement(f"{tile.name}: {solution.solver} does not add up by {worst:.1e}")


def _last_places(solution: Solution) -> float:
    """Return the current, over the largest, when voltages are off by last places of the largest.

    That is what elimination with pivots off the diagonal, as in ngspice, keeps to: it is backward
    stable by norm, not voltage by voltage. Roundings add up like a random walk over the unknowns.
    Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 9.3;
    N. J. Higham, T. Mary, SIAM J. Sci. Comput. 41 (2019) A2815, for the square root.
    """
    parts = solution.circuit.elements
    ends, siemens = np.concatenate([parts.branch_from, parts.branch_to]), 1.0 / parts.branch_ohm
    stiffest = np.bincount(ends, np.tile(siemens, 2)).max(initial=0.0)
    place = 2.0**-52 * _largest(solution.nodes) * np.sqrt(parts.n_node)
    return float(place * stiffest / (_largest(solution.amps) or 1.0))


def solvers_agree(case: Case, tools: Tools) -> None:
    """Ask ngspice for the currents of each tile; hold the engine's to Kirchhoff's law."""
    for tile, ours, theirs in _both(case, tools):
        _compare(tile, "ngspice and the engine", theirs.i_out, ours)
        _hold_to_kirchhoff(tile, ours)


def outputs_agree(case: Case, tools: Tools) -> None:
    """Ask ngspice for the output voltages of each tile."""
    for tile, ours, theirs in _both(case, tools):
        gap = _largest(theirs.v_out - ours.v_out)
        floor = _rounding(ours) * case.periphery.r_feedback
        if not gap <= TOLERANCE * _largest(ours.v_out) + floor:
            own = _largest(ours.circuit.periphery.outputs(theirs.i_out) - theirs.v_out)
            raise Disagreement(
                f"{tile.name}: output voltages of ngspice and the engine differ by {gap:.1e} V; "
                f"ngspice's own by {own:.1e} V from what its currents make"
            )


def ngspice_adds_up(case: Case, tools: Tools) -> None:
    """Hold what ngspice finds, which the engine is measured by, to Kirchhoff's law."""
    for tile, _, theirs in _both(case, tools):
        _hold_to_kirchhoff(tile, theirs, _last_places(theirs))


def currents_are_certified(case: Case, tools: Tools) -> None:
    """Make a certificate of each tile's currents, have it checked, and look for them in it."""
    for tile, ours in _tiles(case, tools):
        path = tools.folder / f"{tile.name}.npz"
        certificate = certify(ours)
        certificate.save(path)
        checker.check(path)
        inside = np.clip(ours.i_out, certificate.low, certificate.high)
        _compare(tile, "certified currents and the engine", inside, ours)


def selections_are_certified(case: Case, tools: Tools) -> None:
    """Make the certificate of all selections and have it checked."""
    verify_selections(case.mapped, tools.folder)


def decks_agree(case: Case, tools: Tools) -> None:
    """Run the netlist of each tile, branch by branch, with stock ngspice."""
    program = shutil.which("ngspice")
    if program is None:
        raise LeftOut("there is no program ngspice")
    if not np.isfinite(case.bank.r_off):
        raise LeftOut("netlists need a finite r_off")
    decks = write_network(case.mapped, case.wires, case.periphery, tools.folder / "decks")
    for tile in case.mapped.tiles:
        deck = decks / tile.layer / f"{tile.name}.cir"
        words = [program, "-b", deck.name]
        how = {"cwd": deck.parent, "capture_output": True, "text": True, "timeout": _DECK_LIMIT}
        done = subprocess.run(words, check=False, encoding="utf-8", errors="replace", **how)
        if done.returncode or not deck.with_suffix(".txt").exists():
            raise Disagreement(f"{tile.name}: ngspice -b ends with {done.stderr.strip()[-200:]}")
        found = np.loadtxt(deck.with_suffix(".txt"), skiprows=1, ndmin=2)[:, 1:]
        circuit = tile_circuit(tile, case.wires, case.periphery)
        _compare(tile, "its deck and the engine", found, tools.engine(circuit, _unit_inputs(tile)))


def _unit_inputs(tile: Tile) -> np.ndarray:
    """Return the vectors of a tile's deck: each word line alone (n_word, n_word) [V]."""
    return V_ALONE * np.eye(tile.n_word)


def packs_come_back(case: Case, tools: Tools) -> None:
    """Write the fabrication pack and read it back, with the proof of its selections."""
    parts = {"wires": case.wires, "periphery": case.periphery}
    path = tools.folder / "pack"
    write_pack(case.mapped, path, **parts, pictures=False, tables=False)
    back = read_pack(path, die=case.mapped.die, certificates=selection_checker.check)
    for tile, again in zip(case.mapped.tiles, back.tiles, strict=True):
        for name in ("rows", "columns", "present", "chosen_pos", "chosen_neg", "g_pos", "g_neg"):
            if not np.array_equal(getattr(tile, name), getattr(again, name)):
                raise Disagreement(f"{tile.name}: {name} comes back from the pack changed")


def studies_resume(case: Case, tools: Tools) -> None:
    """Kill a study on its way and begin it again, for one case in many since it takes long."""
    if case.seed % EVERY_STUDY:
        raise LeftOut(f"studies are run for one case in {EVERY_STUDY}")
    whole, again = compared_studies(case, tools.folder)
    if whole != again:
        raise Disagreement("a study that was killed and begun again prints another table")


#: In the order in which a case goes through them.
CHECKS: dict[str, Callable[[Case, Tools], None]] = {
    "solvers": solvers_agree,
    "outputs": outputs_agree,
    "ngspice": ngspice_adds_up,
    "currents": currents_are_certified,
    "selections": selections_are_certified,
    "decks": decks_agree,
    "packs": packs_come_back,
    "studies": studies_resume,
}


@dataclass(frozen=True)
class Failure:
    """A case that failed: the check, the type of the exception and what it says."""

    case: Case
    check: str
    kind: str
    message: str


def failure(name: str, case: Case, tools: Tools) -> Failure | None:
    """Return how a case fails a check, or None. Raises LeftOut."""
    try:
        case.mapped  # noqa: B018
    except Exception as error:
        return Failure(case, "mapping", type(error).__name__, str(error))
    try:
        CHECKS[name](case, tools)
    except LeftOut:
        raise
    except SolverError as error:  # a refusal, which says why, is no wrong answer
        raise LeftOut(str(error)) from error
    except Exception as error:
        return Failure(case, name, type(error).__name__, str(error))
    finally:
        shutil.rmtree(tools.folder)
        tools.folder.mkdir()
    return None
