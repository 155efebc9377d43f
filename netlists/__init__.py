"""Circuits as arrays, and the SPICE text written

The names below are loaded on first use.
"""

from typing import TYPE_CHECKING

from tinynets import moved
from tinynets.lazily import lazily

if TYPE_CHECKING:
    from netlists.circuit import Circuit, Elements, Grid, Periphery, Wires
    from netlists.circuit.build import array_circuit, tile_circuit
    from netlists.fabrication.pack import read_pack, write_pack
    from netlists.spice.chain import Chain
    from netlists.spice.deck_directory import write_network
    from netlists.spice.pyspice_circuit import to_pyspice
    from netlists.spice.text import to_spice

_HOMES = {
    "circuit": ("Circuit", "Elements", "Grid", "Periphery", "Wires"),
    "circuit.build": ("array_circuit", "tile_circuit"),
    "fabrication.pack": ("read_pack", "write_pack"),
    "spice.chain": ("Chain",),
    "spice.deck_directory": ("write_network",),
    "spice.pyspice_circuit": ("to_pyspice",),
    "spice.text": ("to_spice",),
}

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
__getattr__ = lazily(__name__, _HOMES)
