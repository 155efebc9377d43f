"""The one circuit of a tile, as arrays that both engines read, and how it is built."""

from netlists.circuit.circuit import Circuit, Elements, Grid, Periphery, Wires

__all__ = ["Circuit", "Elements", "Grid", "Periphery", "Wires"]
