"""From a layer to checked mask data, and to a board that a laboratory can order.

Run: python examples/fabrication/layout.py [DIRECTORY]   (needs the extra `layout`)
"""

import sys
from pathlib import Path

import numpy as np

from mapping import Die, ResistorBank, TileConfig, map_network
from netlists.fabrication.board import tile_board, write_board
from netlists.layout.mask_set import write_masks
from netlists.layout.technology import HIGH_PO
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "results/layout")

rng = np.random.default_rng(0)
weight = rng.normal(size=(3, 4)) * (rng.random((3, 4)) < 0.6)
network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
bank = ResistorBank.discrete_e24(n=4, r_min=10e3, ratio=1.75)
tile = map_network(network, Die(bank, seed=1), TileConfig(4, 3)).tiles[0]

for programming in ("switch", "via"):
    print("masks:", *write_masks(tile, bank, directory, HIGH_PO, programming=programming))
print("board:", *write_board(tile_board(tile, bank), directory))
