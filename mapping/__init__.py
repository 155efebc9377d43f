"""Turn weights into selections of imprecise resistors, and layers into crossbar tiles."""

from mapping.bank import Branches, Die, LadderGapWarning, ResistorBank
from mapping.design import MappedLayer, MappedNetwork
from mapping.place import SelectionRule, map_network
from mapping.tiles import Tile, TileConfig

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
