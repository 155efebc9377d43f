"""Circuits as arrays, and the SPICE text written from them."""

from netlists.build import array_circuit, tile_circuit
from netlists.circuit import Circuit, Elements, Grid, Periphery, Wires
from netlists.network import write_network
from netlists.spice import to_spice

__all__ = [
    "Circuit",
    "Elements",
    "Grid",
    "Periphery",
    "Wires",
    "array_circuit",
    "tile_circuit",
    "to_spice",
    "write_network",
]
