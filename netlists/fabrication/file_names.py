"""The names of the files of a fabrication pack, which its writer, manifest and reader share."""

MANIFEST, SCHEMA_COPY, README = "manifest.json", "manifest.schema.json", "README.md"
NETWORK, PLAN = "network.npz", "plan.csv"
#: Tables: of branches (twice), of cells, of pins and of parts.
BRANCHES, BRANCHES_BINARY, CELLS = "branches.csv", "branches.parquet", "cells.csv"
PINS, PARTS = "pins.csv", "bom.csv"
#: What proves the selections; packs without it are older, or were asked to leave it out.
SELECTIONS = "selections.npz"
#: Folders.
BITSTREAMS, PICTURES, NETLISTS = "bitstreams", "pictures", "netlists"
#: Tables that may be left out.
TABLES = (BRANCHES, BRANCHES_BINARY, CELLS)
#: Files that every pack has and lists in its manifest.
ALWAYS = (NETWORK, PINS, PARTS, SCHEMA_COPY, README)


def bits_file(tile: str) -> str:
    """Return the path in a pack of a tile's bitstream."""
    return f"{BITSTREAMS}/{tile}.bin"


def hex_file(tile: str) -> str:
    """Return the path of the same as text."""
    return f"{BITSTREAMS}/{tile}.hex"


def picture_file(tile: str) -> str:
    """Return the path of a tile's picture."""
    return f"{PICTURES}/{tile}.png"
