"""Tiles of a finished run by the nonlinear engine, and by ngspice with the foundry's own models."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossbar_sim.config import ConfigError
from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import FoundryTile
from crossbar_sim.jobs.source import Source
from crossbar_sim.solvers.nodal import solve
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit
from tinynets.files.drafts import new_directory
from tinynets.progress import Progress, silent


@dataclass(frozen=True)
class FoundryCheck:
    """A tile by its foundry's models.

    tile: its name.
    n_vector: number of input vectors.
    error: largest difference of a current between the nonlinear engine and ngspice with the models,
        over the largest current.
    line_error: the same of straight lines in place of the models, as a run takes them.
    engine_s, ngspice_s: time of either [s].
    """

    tile: str
    n_vector: int
    error: float
    line_error: float
    engine_s: float
    ngspice_s: float


def foundry_checks(
    source: Source,
    tiles: Sequence[Tile],
    v_in: Mapping[str, np.ndarray],
    *,
    progress: Progress = silent,
) -> Iterator[FoundryCheck]:
    """Yield the comparison of each tile.

    source: a run whose configuration has the table [foundry].
    v_in: voltages (n_vector, n_in) [V] by layer.
    progress: told of the step "tiles".

    Raises ConfigError for any other source; ModelsMissing, NgspiceError, SolverError and ValueError
    as `FoundryTile` does.
    """
    for k, made in enumerate(foundry_tiles(source, tiles, progress=progress)):
        tile = made.tile
        progress("tiles", k, len(tiles))
        volts = v_in[tile.layer][:, tile.rows]
        circuit = tile_circuit(tile, made.wires, made.periphery)
        times = [time.perf_counter()]
        ours = made.solve(volts).i_out
        times.append(time.perf_counter())
        theirs = made.by_ngspice(volts)
        times.append(time.perf_counter())
        progress("tiles", k + 1, len(tiles))
        errors = [_error(amps, theirs) for amps in (ours, solve(circuit, volts).i_out)]
        yield FoundryCheck(tile.name, len(volts), *errors, *np.diff(times).tolist())


def foundry_tiles(
    source: Source, tiles: Sequence[Tile], *, progress: Progress = silent
) -> list[FoundryTile]:
    """Return tiles of a run on their foundry's devices, which are measured if they never were.

    progress: told of the step "models".

    Raises ConfigError for a source without such devices; ModelsMissing, NgspiceError and ValueError
    as `crossbar_sim.foundry.measured.measured` does.
    """
    branch = source.config.foundry if source.config else None
    if branch is None:
        raise ConfigError(
            f"{source.path} has no devices of a foundry; give a run whose configuration has the "
            "table [foundry]"
        )
    progress("models", 0, 1)
    found = measured(branch)
    progress("models", 1, 1)
    return [FoundryTile(tile, source.mapped.die, found, **source.parts) for tile in tiles]


def write_foundry_decks(
    source: Source, tiles: Sequence[Tile], v_in: Mapping[str, np.ndarray], directory: Path
) -> Path:
    """Write the deck of each tile, TILE.cir, into a new directory.

    Stock `ngspice -b` runs them where they lie, on this machine: they name the files of the models.
    Raises FileExistsError for an existing directory, and as `foundry_tiles` and `FoundryTile.deck`
    do.
    """
    made = foundry_tiles(source, tiles)
    with new_directory(directory) as draft:
        for one in made:
            text = one.deck(v_in[one.tile.layer][:, one.tile.rows])
            (draft / f"{one.tile.name}.cir").write_text(text, encoding="utf-8")
    return directory


def _error(amps: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(amps - right).max() / np.abs(right).max())
