"""Circuits as arrays, and the SPICE text written from them."""

from netlists.build import array_circuit, tile_circuit
from netlists.circuit import Circuit, Elements, Grid, Periphery, Wires
from netlists.network import write_network
from netlists.pack import read_pack, write_pack
from netlists.spice import to_spice

__all__ = [
    "Circuit",
    "Elements",
    "Grid",
    "Periphery",
    "Wires",
    "array_circuit",
    "read_pack",
    "tile_circuit",
    "to_spice",
    "write_network",
    "write_pack",
]
