"""Turn weights into selections of imprecise resistors, and layers into crossbar tiles."""

from mapping.bank import Branches, Die, LadderGapWarning, ResistorBank
from mapping.network.map_network import SelectionRule, map_network
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile, TileConfig
from tinynets import moved

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
    "map_network",
]

moved.install()
