"""The one circuit of a tile: arrays that both engines read, and the functions that build it."""

from netlists.circuit.circuit import Circuit, Grid, Periphery
from netlists.circuit.elements import Elements
from netlists.circuit.wires import Wires

__all__ = ["Circuit", "Elements", "Grid", "Periphery", "Wires"]
