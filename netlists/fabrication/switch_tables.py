"""The selection for a fab or a laboratory, as a table of branches and as bits."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from tinynets.files.drafts import new_file


def branch_table(mapped: MappedNetwork, tile: Tile) -> dict[str, Any]:
    """Return the table of a tile's branches: columns with an entry for each branch of each cell.

    word_line and bit_line are indices within the tile, input and output within the layer;
    measured_ohm is the meter's reading through the closed switch.
    The order is that of the bitstream: word line, bit line, side (pos, neg), branch.
    """
    bank = mapped.die.bank
    i, j = np.nonzero(tile.present)
    rows, columns = tile.rows[i], tile.columns[j]
    measured = mapped.die.measured(tile.layer, rows, columns)
    n_cell, n_branch = len(i), 2 * bank.n

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, n_branch)

    return {
        "layer": np.full(n_cell * n_branch, tile.layer),
        "tile": np.full(n_cell * n_branch, tile.name),
        "word_line": each(i),
        "bit_line": each(j),
        "input": each(rows),
        "output": each(columns),
        "side": np.tile(np.repeat(np.array(["pos", "neg"]), bank.n), n_cell),
        "branch": np.tile(np.arange(bank.n), 2 * n_cell),
        "nominal_ohm": np.tile(bank.r_nominal, 2 * n_cell),
        "measured_ohm": measured.ravel(),
        "closed": tile.closed(bank.n).ravel().astype(np.int8),
    }


def write_selection(mapped: MappedNetwork, path: str | Path) -> None:
    """Write the table of all branches as CSV."""
    with new_file(path) as draft:
        write_tables((branch_table(mapped, tile) for tile in mapped.tiles), draft)


def write_tables(tables: Iterable[dict[str, Any]], path: Path) -> None:
    """Write tables of the same columns, one below the other, as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for k, table in enumerate(tables):
            if k == 0:
                writer.writerow(table)
            writer.writerows(zip(*(np.asarray(column).tolist() for column in table.values())))


def bitstream(tile: Tile, n: int) -> bytes:
    """Return the switches of a tile as bits, 1 for closed, most significant bit first.

    The order is word line, bit line, side (pos, neg), branch; cells without devices have no bits.
    The last byte is filled with zeros. In a chain of shift registers the first bit travels
    farthest.
    """
    return np.packbits(tile.closed(n).ravel()).tobytes()


def switches_from_bits(bits: bytes, present: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return chosen_pos and chosen_neg (n_word, n_bit) of a bitstream; see `Tile`.

    present: (n_word, n_bit) bool, True where a cell has devices.
    n: branches of a bank.

    Raises ValueError for another length, or a last byte that is not filled with zeros.
    """
    i, j = np.nonzero(present)
    n_bit = len(i) * 2 * n
    if len(bits) != -(-n_bit // 8):
        raise ValueError(f"the bitstream must have {-(-n_bit // 8)} bytes; got {len(bits)}")
    unpacked = np.unpackbits(np.frombuffer(bits, np.uint8))
    if unpacked[n_bit:].any():
        raise ValueError("the bitstream must have zeros after its last switch")
    closed = unpacked[:n_bit].reshape(len(i), 2, n)
    weights = (np.uint32(1) << np.arange(n, dtype=np.uint32)).astype(np.uint32)
    switches = np.zeros((2, *present.shape), np.uint32)
    switches[:, i, j] = (closed.astype(np.uint32) @ weights).T
    return switches[0], switches[1]
