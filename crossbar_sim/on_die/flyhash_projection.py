"""The random projection of a hash, by resistors as manufactured, without any selection."""

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
    """Return the matrix M (n_code, n_in) [S] by which crossbars hash: i_out = v_in @ M.T.

    projection: (n_code, n_in) bool, True where an input has a resistor to a unit. That resistor is
        the first branch of the cell's positive bank, at its true value.
    die: its resistors.
    wires: of the arrays.
    tile: size of the tiles.
    periphery: amplifiers; None for ideal ones.
    layer: name under which the die draws the resistors.

    Every tile is solved as a circuit; the currents of tiles that share a unit are added up. Raises
    ValueError for a projection that is not a bool matrix, SolverError as `transfer_matrix`.
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
