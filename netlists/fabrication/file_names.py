"""The names of the files of a fabrication pack, which its writer, manifest and reader share."""

from mapping.network.mapped_network import MappedNetwork

MANIFEST, SCHEMA_COPY, README = "manifest.json", "manifest.schema.json", "README.md"
NETWORK, PLAN = "network.npz", "plan.csv"
#: Tables: of branches and of cells, as text and in binary, of pins and of parts.
BRANCHES, BRANCHES_BINARY = "branches.csv", "branches.parquet"
CELLS, CELLS_BINARY = "cells.csv", "cells.parquet"
#: Most rows of a table that is written as text.
MOST_ROWS = 1_000_000
PINS, PARTS = "pins.csv", "bom.csv"
#: What proves the selections; packs without it are older, or were asked to leave it out.
SELECTIONS = "selections.npz"
#: Folders.
BITSTREAMS, PICTURES, NETLISTS = "bitstreams", "pictures", "netlists"
#: Files that every pack has and lists in its manifest.
ALWAYS = (NETWORK, PINS, PARTS, SCHEMA_COPY, README)


def table_files(part: MappedNetwork) -> tuple[str, ...]:
    """Return the tables of cells and of their branches, which an option leaves out.

    part: the network with the tiles that the pack has files of. Above MOST_ROWS there is no text,
    which takes ten times as many bytes and which hardly any program opens.
    """
    n_cell, n = sum(int(tile.present.sum()) for tile in part.tiles), part.die.bank.n
    cells = CELLS if n_cell <= MOST_ROWS else CELLS_BINARY
    text = (BRANCHES,) if 2 * n * n_cell <= MOST_ROWS else ()
    return (cells, BRANCHES_BINARY, *text)


def bits_file(tile: str) -> str:
    """Return the path in a pack of a tile's bitstream."""
    return f"{BITSTREAMS}/{tile}.bin"


def hex_file(tile: str) -> str:
    """Return the path of the same as text."""
    return f"{BITSTREAMS}/{tile}.hex"


def picture_file(tile: str) -> str:
    """Return the path of a tile's picture."""
    return f"{PICTURES}/{tile}.png"
