"""A hash's random projection as resistors just as they were made: no switch chosen, none needed."""

import numpy as np

from crossbar_sim.solvers.nodal import transfer_matrix
from mapping.bank import Die
from mapping.tiling.compact import split
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from netlists.circuit.build import array_circuit


def crossbar_projection(
    projection: np.ndarray,
    die: Die,
    wires: Wires,
    *,
    tile: TileConfig,
    periphery: Periphery | None = None,
    layer: str = "hash",
) -> np.ndarray:
    """Return the matrix (n_code, n_in) [S] by which crossbars hash: i_out = v_in @ it.T.

    projection: (n_code, n_in) bool, True where an input has a resistor to a unit: the die's first
    branch of that cell, of its positive bank, at its true value. Every tile is solved as a
    circuit, wires and amplifiers included; currents of tiles that share a unit are added up.

    Raises ValueError for a projection that is not a bool matrix, SolverError as `transfer_matrix`.
    """
    matrix = np.zeros(projection.shape)
    for block in split(projection, tile):
        where = np.ix_(block.columns, block.rows)
        columns, rows = np.nonzero(projection[where])
        cells = layer, block.rows[rows], block.columns[columns]
        g = np.zeros((len(block.rows), len(block.columns)))
        g[rows, columns] = die.branches(*cells, measured=False).g_closed[:, 0, 0]
        matrix[where] += transfer_matrix(array_circuit(g, wires, periphery)).T
    return matrix
