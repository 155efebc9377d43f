"""Cut a sparse layer into tiles, leaving out every row, column and tile without a weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mapping.tiling.clustering import Piece, cluster
from mapping.tiling.tiles import TileConfig
from tinynets.networks.layers import GroupedMatrix, as_grouped

#: "in order" keeps inputs and outputs in the layer's order; "clustered" permutes them.
Tiling = Literal["in order", "clustered"]


@dataclass(frozen=True)
class Block:
    """The weights that one tile holds: inputs `rows` times outputs `columns` of a layer.

    index: (block of outputs, block of inputs), or (number, 0) for a clustered layer.
    rows, columns: sorted indices (n_word,) and (n_bit,); they permute the layer's lines.
    """

    index: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True)
class TileCounts:
    """The cost of one product, for one way to cut a layer into tiles.

    n_tile: tiles.
    n_cell: crossings of their lines.
    n_word_line: word lines, each driven by a DAC.
    n_conversion: pairs of bit lines, each read once by an ADC.
    """

    n_tile: int
    n_cell: int
    n_word_line: int
    n_conversion: int


def split(
    mask: np.ndarray | GroupedMatrix, config: TileConfig, method: Tiling = "in order"
) -> list[Block]:
    """Cut a layer into blocks that fit a tile and together hold every remaining weight once.

    mask: (n_out, n_in), True where a weight remains; `layer.pattern` of a layer that
        may have groups.
    method: "in order" drops outputs without a weight and fills blocks of at most n_bit with the
        others; in each block it drops inputs without a weight and fills tiles of at most n_word.
        "clustered" (see `mapping.tiling.clustering`) never takes more tiles, but seconds instead
        of milliseconds for a million weights.

    Raises ValueError for another method, or a mask that is not a bool matrix.
    """
    mask = as_grouped(mask)
    values = mask.values
    if values.ndim != 2 or values.dtype != bool:
        raise ValueError(
            f"mask has shape {values.shape} and type {values.dtype}; expected (n_out, n_in) of bool"
        )
    blocks = _in_order(mask, config)
    if method == "in order":
        return blocks
    if method != "clustered":
        raise ValueError(f"method must be one of {get_args(Tiling)}; got {method!r}")
    if not blocks:
        return []
    pieces: list[Piece] = [(block.rows, block.columns) for block in blocks]
    return [Block((k, 0), *piece) for k, piece in enumerate(cluster(mask, config, pieces))]


def split_dense(shape: tuple[int, int], config: TileConfig) -> list[Block]:
    """Cut a layer of shape (n_out, n_in) as if no weight were zero: the naive way."""
    return _in_order(GroupedMatrix(np.ones(shape, bool)), config)


def naive_tile_count(shape: tuple[int, int], config: TileConfig) -> int:
    """Return how many tiles a dense layer of shape (n_out, n_in) takes."""
    return -(-shape[0] // config.n_bit) * -(-shape[1] // config.n_word)


def count_lines(blocks: Sequence[Block]) -> TileCounts:
    """Count tiles, crossings, word lines and conversions."""
    sizes = [(len(block.rows), len(block.columns)) for block in blocks]
    return TileCounts(
        n_tile=len(blocks),
        n_cell=sum(n_word * n_bit for n_word, n_bit in sizes),
        n_word_line=sum(n_word for n_word, _ in sizes),
        n_conversion=sum(n_bit for _, n_bit in sizes),
    )


def compare(mask: np.ndarray | GroupedMatrix, config: TileConfig) -> dict[str, TileCounts]:
    """Return the costs of a mask (n_out, n_in) for each way to cut it: "naive" and both methods."""
    naive = {"naive": count_lines(split_dense(mask.shape, config))}
    return naive | {name: count_lines(split(mask, config, name)) for name in get_args(Tiling)}


def _in_order(mask: GroupedMatrix, config: TileConfig) -> list[Block]:
    blocks = []
    for a, columns in enumerate(_chunks(np.flatnonzero(mask.values.any(axis=1)), config.n_bit)):
        inputs = mask.reach(columns)
        used = inputs[mask.part(columns, inputs).any(axis=0)]
        for b, rows in enumerate(_chunks(used, config.n_word)):
            # A column may have its weights in another tile of the same block of outputs.
            here = columns[mask.part(columns, rows).any(axis=1)]
            blocks.append(Block((a, b), rows, here))
    return blocks


def _chunks(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[k : k + size] for k in range(0, len(indices), size)]
