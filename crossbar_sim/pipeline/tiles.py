"""Solve every tile of a network with both engines; what they say, and what limits the tiles."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.power import TileEnergy, tile_energy
from crossbar_sim.ngspice.verification import TileCheck, Verification, check_tile
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.pipeline.steps import Progress
from crossbar_sim.pipeline.tile_limits import TilePhysics, tile_physics
from crossbar_sim.pipeline.workspace import Workspace, write_json
from crossbar_sim.solvers.nodal import solve
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit


@dataclass(frozen=True)
class Simulated:
    """All tiles, by name: ngspice against the engine, limits, energies; and the read time [s]."""

    verification: Verification
    physics: dict[str, TilePhysics]
    energies: dict[str, TileEnergy]
    t_read: float


def simulate(
    config: RunConfig,
    mapped: MappedNetwork,
    v_in: dict[str, np.ndarray],
    passes: dict[str, int],
    work: Workspace,
    worker: NgspiceWorker,
    tell: Progress,
) -> Simulated:
    """Solve every tile for its real inputs.

    v_in: by layer, (n_batch, n_in) [V]; passes: by layer, reads for one product. Finished tiles
    are kept in the workspace.
    """
    work.path("tiles").mkdir(exist_ok=True)
    checks, solvers, physics = [], ("", ""), {}
    tell("ngspice", 0, len(mapped.tiles))
    for k, tile in enumerate(mapped.tiles):
        volts = v_in[tile.layer][:, tile.rows]

        def make(draft: Path, tile: Tile = tile, volts: np.ndarray = volts) -> None:
            write_json(draft, _solve_tile(config, tile, volts, worker))

        found = json.loads(work.once(f"tiles/{tile.name}.json", make).read_text(encoding="utf-8"))
        checks.append(TileCheck(**found["check"]))
        solvers = (found["solvers"][0], found["solvers"][1])
        physics[tile.name] = TilePhysics(**found["physics"])
        tell("ngspice", k + 1, len(mapped.tiles))
    verification = Verification(tuple(checks), config.simulation.tolerance, solvers)
    figures = config.energy.settled(max(found.t_settling for found in physics.values()))
    converters, energies = config.hardware.converters, {}
    for tile in mapped.tiles:
        circuit = tile_circuit(tile, config.hardware.wires, config.hardware.periphery)
        solution = solve(circuit, v_in[tile.layer][:, tile.rows], nodes=True)
        n_pass = passes[tile.layer]
        energies[tile.name] = tile_energy(tile, solution, converters, figures, n_pass=n_pass)
    return Simulated(verification, physics, energies, figures.seconds)


def _solve_tile(
    config: RunConfig, tile: Tile, volts: np.ndarray, worker: NgspiceWorker
) -> dict[str, object]:
    parts = config.hardware.wires, config.hardware.periphery
    check, spice, fast = check_tile(tile, volts, *parts, worker)
    return {
        "check": asdict(check),
        "solvers": [spice.solver, fast.solver],
        "physics": asdict(tile_physics(config, tile, volts)),
    }
