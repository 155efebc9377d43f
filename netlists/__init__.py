"""Circuits as arrays, and the SPICE text written from them."""

from netlists.build import array_circuit, tile_circuit
from netlists.chain import Chain
from netlists.circuit import Circuit, Elements, Grid, Periphery, Wires
from netlists.network import write_network
from netlists.pack import read_pack, write_pack
from netlists.pyspice import to_pyspice
from netlists.spice import to_spice

__all__ = [
    "Chain",
    "Circuit",
    "Elements",
    "Grid",
    "Periphery",
    "Wires",
    "array_circuit",
    "read_pack",
    "tile_circuit",
    "to_pyspice",
    "to_spice",
    "write_network",
    "write_pack",
]
