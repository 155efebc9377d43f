"""Banks of known resistors, and tiles of them."""

from typing import Any

import numpy as np

from mapping.bank import ResistorBank
from mapping.tiling.tiles import Tile


def bank_of(*ohms: float, **options: Any) -> ResistorBank:
    """Return a bank of these nominal values [ohm]; options are fields of `ResistorBank`."""
    return ResistorBank(n=len(ohms), ladder=ohms, **options)


def full_tile(bank: ResistorBank, n_word: int = 2, n_bit: int = 2) -> Tile:
    """Return a tile that closes every second branch of every cell."""
    shape = (n_word, n_bit)
    chosen = np.full(shape, 0b0101 & (2**bank.n - 1), np.uint32)
    g = np.full(shape, 1e-6)
    rows, columns = np.arange(n_word), np.arange(n_bit)
    present = np.ones(shape, bool)
    return Tile("full", (0, 0), rows, columns, present, chosen, chosen.copy(), g, g.copy())
