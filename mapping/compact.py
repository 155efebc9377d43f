"""Cut a sparse layer into tiles, leaving out every row, column and tile without a weight."""

from dataclasses import dataclass

import numpy as np

from mapping.tiles import TileConfig


@dataclass(frozen=True)
class Block:
    """The weights that one tile holds: inputs `rows` times outputs `columns` of a layer.

    index: (block of outputs, block of inputs). rows (n_word,), columns (n_bit,): sorted indices.
    """

    index: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray


def split(mask: np.ndarray, config: TileConfig) -> list[Block]:
    """Cut a layer into blocks that fit a tile and together hold every remaining weight once.

    mask: (n_out, n_in), True where a weight remains. Outputs without a weight are dropped, the
    others fill blocks of at most n_bit; in each block the inputs without a weight are dropped,
    the others fill tiles of at most n_word.
    """
    blocks = []
    for a, columns in enumerate(_chunks(np.flatnonzero(mask.any(axis=1)), config.n_bit)):
        used = np.flatnonzero(mask[columns].any(axis=0))
        for b, rows in enumerate(_chunks(used, config.n_word)):
            # A column may have its weights in another tile of the same block of outputs.
            here = columns[mask[np.ix_(columns, rows)].any(axis=1)]
            blocks.append(Block((a, b), rows, here))
    return blocks


def naive_tile_count(shape: tuple[int, int], config: TileConfig) -> int:
    """Return how many tiles a dense layer of shape (n_out, n_in) takes."""
    return -(-shape[0] // config.n_bit) * -(-shape[1] // config.n_word)


def _chunks(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[k : k + size] for k in range(0, len(indices), size)]
