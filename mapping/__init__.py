"""Turn weights into selections of imprecise resistors, and layers into crossbar tiles.

The names below are loaded on first use.
"""

from typing import TYPE_CHECKING

from tinynets import moved
from tinynets.lazily import lazily

if TYPE_CHECKING:
    from mapping.bank import Branches, Die, LadderGapWarning, ResistorBank
    from mapping.network.certified import certify_selections
    from mapping.network.map_network import SelectionRule, map_network
    from mapping.network.mapped_layer import MappedLayer
    from mapping.network.mapped_network import MappedNetwork
    from mapping.tiling.tiles import Tile, TileConfig

_HOMES = {
    "bank": ("Branches", "Die", "LadderGapWarning", "ResistorBank"),
    "network.certified": ("certify_selections",),
    "network.map_network": ("SelectionRule", "map_network"),
    "network.mapped_layer": ("MappedLayer",),
    "network.mapped_network": ("MappedNetwork",),
    "tiling.tiles": ("Tile", "TileConfig"),
}

__all__ = [
    "Branches",
    "Die",
    "LadderGapWarning",
    "MappedLayer",
    "MappedNetwork",
    "ResistorBank",
    "SelectionRule",
    "Tile",
    "TileConfig",
    "certify_selections",
    "map_network",
]

moved.install()
__getattr__ = lazily(__name__, _HOMES)
