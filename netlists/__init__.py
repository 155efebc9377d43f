"""Circuits as arrays, and the SPICE text written from them."""

from netlists.circuit import Circuit, Elements, Grid, Periphery, Wires
from netlists.circuit.build import array_circuit, tile_circuit
from netlists.fabrication.pack import read_pack, write_pack
from netlists.spice.chain import Chain
from netlists.spice.deck_directory import write_network
from netlists.spice.pyspice_circuit import to_pyspice
from netlists.spice.text import to_spice
from tinynets import moved

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

moved.install()
