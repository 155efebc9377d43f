"""Solve every tile of a network once, and take all answers from that solution."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.energy.power import Draw, TileEnergy, drawn, tile_energy
from crossbar_sim.ngspice.verification import TileCheck, Verification, compare, held_against
from crossbar_sim.ngspice.worker import NgspiceWorker, solve_ngspice
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.readout import tile_by_curves
from crossbar_sim.pipeline.deployment import Deployment, Reads
from crossbar_sim.pipeline.kept import OnDisk
from crossbar_sim.pipeline.tile_limits import TilePhysics, settling_time, tile_physics
from crossbar_sim.solvers.balance import Balance
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.solution import Solution
from mapping.bank import Die
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit
from tinynets.files.npz import read_npz


@dataclass(frozen=True)
class Questions:
    """The questions to the tiles besides their outputs and energy.

    worker: ngspice, which solves some tiles too, or None.
    checked: names of those tiles.
    n_vector: number of vectors that ngspice solves; None for all.
    limits: whether noise, area and settling are asked for.
    """

    worker: NgspiceWorker | None = None
    checked: Collection[str] = ()
    n_vector: int | None = None
    limits: bool = False


@dataclass(frozen=True)
class TileAnswer:
    """The answers of one tile's circuit for its real inputs.

    v_out: outputs of its amplifiers (n_vector, 2 n_bit) [V].
    draw: power and charge that it draws while it conducts.
    t_settling: settling time [s]; 0 if not asked for.
    limits: noise, area and settling; None if not asked for.
    check: ngspice against the engine; None if not asked for.
    solvers: names of ngspice and of the engine.
    """

    v_out: np.ndarray
    draw: Draw
    t_settling: float
    limits: TilePhysics | None
    check: TileCheck | None
    solvers: tuple[str, str]

    def save(self, path: Path) -> None:
        """Write it as npz: the outputs, and the rest as JSON."""
        rest = json.dumps({k: v for k, v in asdict(self).items() if k != "v_out"})
        with path.open("wb") as file:
            np.savez(file, v_out=self.v_out, rest=np.array(rest))

    @classmethod
    def load(cls, path: Path) -> "TileAnswer":
        """Read what `save` wrote; ConfigError for a file that is damaged."""
        try:
            arrays = read_npz(path)
            rest = json.loads(str(arrays["rest"]))
            kinds = {"draw": Draw, "limits": TilePhysics, "check": _check}
            parts = {name: rest[name] and kind(**rest[name]) for name, kind in kinds.items()}
            first, second = rest["solvers"]
            time = float(rest["t_settling"])
            return cls(arrays["v_out"], t_settling=time, solvers=(first, second), **parts)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}); run without --resume") from error


def _check(balances: Iterable[dict[str, float] | None], **rest: Any) -> TileCheck:
    """Return a check as it was saved."""
    first, second = (None if each is None else Balance(**each) for each in balances)
    return TileCheck(**rest, balances=(first, second))


@dataclass(frozen=True)
class Simulated:
    """The results of all tiles.

    answers, energies: by tile name.
    t_read: time of one read [s].
    verification: ngspice against the engine on the checked tiles.
    """

    answers: dict[str, TileAnswer]
    energies: dict[str, TileEnergy]
    t_read: float
    verification: Verification

    @property
    def limits(self) -> dict[str, TilePhysics]:
        """The limits of the tiles for which they were asked, by name."""
        asked = {name: answer.limits for name, answer in self.answers.items()}
        return {name: limits for name, limits in asked.items() if limits}


def simulate(way: Deployment, reads: Reads, asked: Questions) -> Simulated:
    """Solve every tile for its real inputs; a run's directory keeps the finished ones."""
    config, tiles, answers = way.config, way.mapped.tiles, {}
    if way.kept.work:
        way.kept.work.path("tiles").mkdir(exist_ok=True)
    way.tell("ngspice", 0, len(tiles))
    for k, tile in enumerate(tiles):
        volts = reads.v_in[tile.layer][:, tile.rows]

        def make(tile: Tile = tile, volts: np.ndarray = volts) -> TileAnswer:
            return _answer(config, way.mapped.die, tile, volts, asked)

        file = OnDisk(f"tiles/{tile.name}.npz", TileAnswer.save, TileAnswer.load)
        answers[tile.name] = way.kept.once(f"tile {tile.name}", (config, way.weights), make, file)
        way.tell("ngspice", k + 1, len(tiles))
    return _summed(way, reads, answers)


def _summed(way: Deployment, reads: Reads, answers: Mapping[str, TileAnswer]) -> Simulated:
    """Return the results of all tiles, which are read as long as the slowest one needs."""
    config = way.config
    slowest = max(answer.t_settling for answer in answers.values())
    figures, hardware, energies = config.energy.settled(slowest), config.hardware, {}
    for tile in way.mapped.tiles:
        draw, n_pass = answers[tile.name].draw, reads.n_pass[tile.layer]
        energies[tile.name] = tile_energy(tile, draw, hardware, figures, n_pass=n_pass)
    checks = tuple(answer.check for answer in answers.values() if answer.check)
    solvers = next((answer.solvers for answer in answers.values() if answer.check), ("", ""))
    verification = Verification(checks, config.simulation.tolerance, solvers)
    return Simulated(dict(answers), energies, figures.seconds, verification)


def solve_tile(hardware: Hardware, die: Die, tile: Tile, v_in: np.ndarray) -> Solution:
    """Return a tile's solution with all nodes, its devices by their curves if they have some.

    v_in: (n_batch, n_word) [V].
    """
    devices = tile_by_curves(tile, hardware, die)
    if devices is not None:
        return devices.operating_point(v_in)
    return solve(tile_circuit(tile, hardware.wires, hardware.periphery), v_in, nodes=True)


def _answer(
    config: RunConfig, die: Die, tile: Tile, volts: np.ndarray, asked: Questions
) -> TileAnswer:
    """Build the circuit of a tile, solve it, and answer the questions.

    ngspice and the engine are compared on straight lines, also where devices have curves.
    """
    circuit = tile_circuit(tile, config.hardware.wires, config.hardware.periphery)
    solution = solve_tile(config.hardware, die, tile, volts)
    check, solvers = None, ("", solution.solver)
    if asked.worker and tile.name in asked.checked:
        lines = solve(circuit, volts, nodes=True) if config.hardware.devices else solution
        few = lines.first(asked.n_vector)
        spice = solve_ngspice(circuit, few.v_in, worker=asked.worker, nodes=True)
        check = held_against(compare(tile.name, spice, few), spice, few)
        solvers = (spice.solver, few.solver)
    timed = asked.limits or config.energy.t_read == "settling"
    time = settling_time(config, circuit, volts) if timed else 0.0
    limits = tile_physics(config, tile, circuit, volts, time) if asked.limits else None
    draw = drawn(solution, config.energy.v_dd)
    return TileAnswer(solution.v_out, draw, time, limits, check, solvers)
