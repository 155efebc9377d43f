"""Build the circuit of an array from its conductances and wires."""

import numpy as np

from mapping.tiling.tiles import Tile
from netlists.circuit.circuit import Circuit, Grid, Periphery
from netlists.circuit.wires import Wires


def array_circuit(g: np.ndarray, wires: Wires, periphery: Periphery | None = None) -> Circuit:
    """Return the circuit of a crossbar with one device at each crossing.

    g: conductances (n_word, n_bit) [S]; 0 means no device.

    Nodes are named in_i, wl_i_j, bl_i_j, out_j.
    Raises ValueError for a matrix that is not 2-D, or a negative, NaN or infinite conductance.
    """
    g = np.asarray(g, dtype=np.float64)
    if g.ndim != 2:
        raise ValueError(f"g has shape {g.shape}; expected (n_word, n_bit)")
    return Circuit(Grid(g[None], ("",), wires), periphery or Periphery())


def tile_circuit(tile: Tile, wires: Wires, periphery: Periphery | None = None) -> Circuit:
    """Return the circuit of a tile of differential pairs.

    The amplifiers have the offsets that belong to this tile. Both banks of a pair share the
    word-line node wl_i_j. Outputs are ordered: all positive bit lines (out_j_p), then all
    negative ones (out_j_n).
    """
    g = np.stack([tile.g_pos, tile.g_neg])
    ends = (periphery or Periphery()).for_tile(tile.name)
    return Circuit(Grid(g, ("_p", "_n"), wires), ends)
