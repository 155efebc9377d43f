"""A regular array as its lines, for the two methods that use its structure."""

from typing import NamedTuple

import numpy as np

from netlists.circuit import Circuit, Grid

#: Fields of `Wires` that the methods know; an array with another one set is solved as any circuit.
KNOWN = ("r_word", "r_bit", "r_driver", "c_word", "c_bit")


class Lines(NamedTuple):
    """Cells and wire segments of an array whose wires all have resistance; numba takes it whole.

    g: cells (n_word, n_line) [S], all positive bit lines, then all negative.
    n_bit: pairs of bit lines.
    g_first: segment from a driver to the first cell of a word line [S].
    g_word, g_bit: segments between neighbours on a word line and on a bit line [S].
    g_end: segment from the last cell of a bit line into its TIA [S].
    """

    g: np.ndarray
    n_bit: int
    g_first: float
    g_word: float
    g_bit: float
    g_end: float


def is_regular(circuit: Circuit) -> bool:
    """Return whether a circuit is a grid whose wires all have resistance, and nothing unknown."""
    if circuit.grid is None:
        return False
    wires = circuit.grid.wires
    return not wires.others(KNOWN) and wires.r_word > 0 and wires.r_bit > 0


def lines_of(circuit: Circuit) -> Lines:
    """Return the lines of a regular circuit; ValueError for any other."""
    if not is_regular(circuit):
        raise ValueError(
            "expected a regular array whose wires all have resistance and set no field but "
            f"{', '.join(KNOWN)}; solve any other circuit by `solve`"
        )
    grid = circuit.grid
    assert isinstance(grid, Grid)
    n_side, n_word, n_bit = grid.g.shape
    wires = grid.wires
    return Lines(
        g=np.ascontiguousarray(grid.g.transpose(1, 0, 2).reshape(n_word, n_side * n_bit)),
        n_bit=n_bit,
        g_first=1.0 / (wires.r_driver + wires.r_word),
        g_word=1.0 / wires.r_word,
        g_bit=1.0 / wires.r_bit,
        g_end=1.0 / (wires.r_bit + circuit.periphery.r_tia_input),
    )
